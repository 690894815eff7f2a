package local

import (
	"context"
	"slices"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store/local/format"
)

// recent mirrors the newest rows, so that what is asked most is answered without
// reading a file, and adds up the open hours behind them. It holds absolute
// rows, as the file does, and is read again from it on start. What readers have of
// it is shared between commits and never changes.
type recent struct {
	seconds int64
	from    int64         // rows that start before are not held
	starts  []*recentRows // by start
	hours   []*openHour   // one after the other, to that of the newest row; see hours.go
}

// recentRows are the rows of one start, by holder.
type recentRows struct {
	start  int64
	rows   []recentRow
	spaces spaceSums
	draft  bool // of the writer alone: no reader has it yet
}

type recentRow struct {
	energy   [power.NumComponents]int64
	idle     int64
	revision uint64
	lastOff  int64
	holder   int32
	seconds  int32
	seenMs   int32
	price    int32
}

func (w *recentRow) sums(start int64) format.Sums {
	return format.Sums{
		ID: w.holder, Price: w.price, Energy: w.energy, Idle: w.idle,
		SeenMs: int64(w.seenMs), HeldMs: int64(w.seconds) * 1000,
		LastMs: start*1000 + w.lastOff, Revision: w.revision,
	}
}

// between returns the starts in [from, to).
func (m *recent) between(from, to int64) []*recentRows {
	at := func(start int64) int {
		i, _ := slices.BinarySearchFunc(m.starts, start, func(st *recentRows, t int64) int { return int(st.start - t) })
		return i
	}
	i := at(from)
	return m.starts[i:max(i, at(to))]
}

// with returns the starts after rows, sorted by start and holder, were written.
// Rows that are held give way to those that are not older. Drafts are changed in
// place if the result is to be one.
func (m *recent) with(rows []format.Row, draft bool) []*recentRows {
	starts := slices.Clone(m.starts)
	for len(rows) > 0 {
		start, n := rows[0].Start, 1
		for n < len(rows) && rows[n].Start == start {
			n++
		}
		if start >= m.from {
			i, held := slices.BinarySearchFunc(starts, start, func(st *recentRows, t int64) int { return int(st.start - t) })
			if !held {
				starts = slices.Insert(starts, i, &recentRows{})
			}
			if st := starts[i]; draft && st.draft {
				st.merge(rows[:n])
			} else {
				starts[i] = &recentRows{start: start, rows: mergeRecent(st.rows, rows[:n]), draft: draft}
			}
		}
		rows = rows[n:]
	}
	return starts
}

func recentOf(r *format.Row) recentRow {
	return recentRow{r.Energy, r.Idle, r.Revision, r.LastOff, r.Holder, r.Seconds, r.SeenMs, r.Price}
}

// mergeRecent returns have with rows; both are sorted by holder.
func mergeRecent(have []recentRow, rows []format.Row) []recentRow {
	all := make([]recentRow, 0, max(len(have), len(rows)))
	for i := range rows {
		r := &rows[i]
		n := 0
		for n < len(have) && have[n].holder <= r.Holder {
			n++
		}
		all, have = append(all, have[:n]...), have[n:]
		w := recentOf(r)
		last := len(all) - 1
		switch {
		case last < 0 || all[last].holder != r.Holder:
			all = append(all, w)
		case all[last].revision <= r.Revision:
			all[last] = w
		}
	}
	return append(all, have...)
}

// merge changes a draft, so that the pieces of a flush do not copy it each.
func (st *recentRows) merge(rows []format.Row) {
	have, at := st.rows, 0
	var fresh []format.Row
	for i := range rows {
		r := &rows[i]
		for at < len(have) && have[at].holder < r.Holder {
			at++
		}
		switch {
		case at == len(have) || have[at].holder != r.Holder:
			fresh = append(fresh, *r)
		case have[at].revision <= r.Revision:
			have[at] = recentOf(r)
		}
	}
	// From the end, where there is room.
	add := mergeRecent(nil, fresh)
	st.rows = append(have, add...)
	for to := len(st.rows) - 1; len(add) > 0 && len(have) > 0; to-- {
		from := &have
		if have[len(have)-1].holder < add[len(add)-1].holder {
			from = &add
		}
		st.rows[to] = (*from)[len(*from)-1]
		*from = (*from)[:len(*from)-1]
	}
	copy(st.rows, add)
}

// row returns the row of a holder, nil if there is none.
func (st *recentRows) row(holder int32) *recentRow {
	i, ok := slices.BinarySearchFunc(st.rows, holder, func(w recentRow, id int32) int { return int(w.holder - id) })
	if !ok {
		return nil
	}
	return &st.rows[i]
}

// loadRecent reads the newest rows from the file.
func (s *Store) loadRecent(ctx context.Context, at *horizons) (recent, error) {
	m := recent{seconds: int64(s.cfg.RecentWindow / time.Second)}
	m.from = max(at.newest-m.seconds, at.sealedBefore)
	for hour := openFrom(at, s.closable(at.newest)); hour <= at.newest; hour += format.HourSeconds {
		older := unknownSums()
		if hour >= m.from {
			older = knownSums(nil)
		}
		m.hours = append(m.hours, &openHour{hour: hour, older: older})
	}
	err := eachStart(ctx, s.w, m.from, at.newest+1, func(st *recentRows) { m.starts = append(m.starts, st) })
	return m.after(change{}, at, s.closable(at.newest), false), err
}

// eachStart calls f for the rows of each start in [from, to), oldest first.
func eachStart(ctx context.Context, w querier, from, to int64, f func(*recentRows)) error {
	var rows []format.Row
	flush := func() {
		if len(rows) > 0 {
			f(&recentRows{start: rows[0].Start, rows: mergeRecent(nil, rows)})
			rows = rows[:0]
		}
	}
	err := scanRows(ctx, w, from, to, 0, format.IDMask, func(r *format.Row) error {
		if len(rows) > 0 && rows[0].Start != r.Start {
			flush()
		}
		rows = append(rows, *r)
		return nil
	})
	flush()
	return err
}
