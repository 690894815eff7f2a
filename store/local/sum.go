package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// A few holders are read by their keys, many by reading everything.
const maxPointHolders = 64

// Sum answers from the coarsest rows that give the exact answer: sums by space
// or holder for whole hours, single windows for the rest. Where single windows
// have expired, an hour counts as one window that starts with it.
func (s *Store) Sum(ctx context.Context, q store.Query) ([]store.Row, error) {
	if err := checkDimensions(q.GroupBy, q.Match); err != nil {
		return nil, fmt.Errorf("sum: %w", err)
	}
	if q.StepMs < 0 || q.FromMs > q.ToMs {
		return nil, fmt.Errorf("sum: from %d to %d by %d is not a range", q.FromMs, q.ToMs, q.StepMs)
	}
	var rows []store.Row
	err := s.read(ctx, func(sn *snapshot) error {
		g := newGrouping(q, sn.dims, sn.newest)
		r := reading{s: s, sn: sn, q: q, g: g, spaces: q.StepMs == format.HourMs && ofSpaces(q.GroupBy, q.Match)}
		if err := r.run(ctx); err != nil {
			return err
		}
		if err := g.close(); err != nil {
			return err
		}
		rows = g.rows
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sum: %w", err)
	}
	return rows, nil
}

// A reading is one pass over the rows of a range, oldest first.
type reading struct {
	s       *Store
	sn      *snapshot
	q       store.Query
	g       *grouping
	spaces  bool    // sums by space will do
	few     bool    // only the holders in points match
	points  []int32 // sorted
	sealed  format.SealedReader
	summed  format.SumsReader
	rowSums format.Sums
}

// source is where a stretch of time is read from.
type source int

const (
	fromSpaces source = iota
	fromHours
	fromSealed
	fromOpenHour
	fromOpen
)

func (r *reading) run(ctx context.Context) error {
	from, to := ceilSeconds(r.q.FromMs), ceilSeconds(r.q.ToMs)
	from = max(from, r.sn.hoursFrom, format.HourOf(min(r.sn.oldest, r.sn.newest)), 0)
	end := min(to, r.sn.newest+1) // nothing starts later
	if from >= end {
		return nil
	}
	r.choosePoints(from, end)
	hourly := r.q.StepMs%format.HourMs == 0
	var run span
	var kind source
	flush := func(next source, at span) error {
		if next == kind && run.to == at.from {
			run.to = at.to
			return nil
		}
		if run.from < run.to {
			if err := r.readFrom(ctx, kind, run); err != nil {
				return err
			}
		}
		kind, run = next, at
		return nil
	}
	for t := from; t < end; {
		hour := format.HourOf(t)
		next := min(hour+format.HourSeconds, to)
		whole := t == hour && next == hour+format.HourSeconds
		var src source
		switch {
		case hour < r.sn.minutesFrom:
			src = fromHours
			if t != hour { // the hour started before the range
				t = hour + format.HourSeconds
				continue
			}
			next = hour + format.HourSeconds
		case hour < r.sn.sealedBefore && whole && hourly:
			src = fromHours
		case hour < r.sn.sealedBefore:
			src = fromSealed
		default:
			if src = fromOpen; r.sn.recent.hour(hour) == nil {
				// Open hours may lie far apart.
				start, err := nextStart(ctx, r.sn, t)
				if err != nil {
					return err
				}
				if format.HourOf(start) > hour {
					t = format.HourOf(start)
					continue
				}
			} else if whole && hourly {
				src = fromOpenHour
			}
		}
		if src == fromHours && r.spaces && !r.isStale(hour) {
			src = fromSpaces
		}
		if err := flush(src, span{t, next}); err != nil {
			return err
		}
		t = next
	}
	return flush(-1, span{math.MaxInt64, math.MaxInt64})
}

func ceilSeconds(ms int64) int64 {
	s := ms / 1000
	if ms%1000 > 0 {
		s++
	}
	return s
}

func (r *reading) isStale(hour int64) bool {
	return slices.ContainsFunc(r.sn.stale, func(sp span) bool { return sp.from <= hour && hour < sp.to })
}

// choosePoints lists the holders that match if they are few.
func (r *reading) choosePoints(from, to int64) {
	if len(r.q.Match) == 0 || r.spaces {
		return
	}
	for id, h := range r.sn.holders {
		if h == nil || !matches(h.Holder, r.q.Match) {
			continue
		}
		if len(r.points) == maxPointHolders {
			r.points = nil
			return
		}
		r.points = append(r.points, int32(id))
	}
	r.few = true
}

func (r *reading) readFrom(ctx context.Context, kind source, at span) error {
	switch kind {
	case fromSpaces:
		query := "SELECT key, data FROM space_hours WHERE key >= %d AND key < %d ORDER BY key"
		if !knows(r.q.GroupBy, r.q.Match, ofWholes) {
			query = `SELECT key, coalesce(d.data, s.data) FROM space_hours s LEFT JOIN dimension_hours d USING (key)
				WHERE key >= %d AND key < %d ORDER BY key`
		}
		return scanBlobs(ctx, r.sn, "space_hours", fmt.Sprintf(query, format.Key(at.from, 0), format.Key(at.to, 0)), func(key int64, data []byte) error {
			list, err := r.summed.Read(key, data)
			if err != nil {
				return err
			}
			return r.each(list, format.KeyStart(key)*1000, r.g.addSpace)
		})
	case fromHours:
		f := func(key int64, data []byte) error {
			list, err := r.summed.Read(key, data)
			if err != nil {
				return err
			}
			return r.each(list, format.KeyStart(key)*1000, r.g.add)
		}
		if r.few {
			return scanKeys(ctx, r.sn, "hours", r.keys(at, chunkOf), f)
		}
		return scanRange(ctx, r.sn, "hours", format.Key(at.from, 0), format.Key(at.to, 0), f)
	case fromSealed:
		return r.readSealed(ctx, at)
	case fromOpenHour:
		for hour := at.from; hour < at.to; hour += format.HourSeconds {
			if err := r.readOpenHour(ctx, hour); err != nil {
				return err
			}
		}
		return nil
	case fromOpen:
		return r.readOpen(ctx, at)
	}
	return nil
}

func (r *reading) each(list []format.Sums, startMs int64, add func(int64, *format.Sums) error) error {
	for i := range list {
		if err := add(startMs, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// keys returns the keys of the points' rows in each hour of a stretch.
func (r *reading) keys(at span, id func(int32) int32) []int64 {
	var ids []int32
	for _, p := range r.points {
		if i := id(p); len(ids) == 0 || ids[len(ids)-1] != i {
			ids = append(ids, i)
		}
	}
	var keys []int64
	for hour := format.HourOf(at.from); hour < at.to; hour += format.HourSeconds {
		for _, i := range ids {
			keys = append(keys, format.Key(hour, i))
		}
	}
	return keys
}

func (r *reading) addRow(w *format.Row) error {
	r.rowSums = w.Sums()
	return r.g.add(w.Start*1000, &r.rowSums)
}

// readSealed reads single windows of closed hours. Blobs hold an hour of one
// holder each, and steps may be shorter: the rows of an hour are put in the
// order of their starts before they are added.
func (r *reading) readSealed(ctx context.Context, at span) error {
	var rows []format.Row
	hour := int64(-1)
	flush := func() error {
		if r.q.StepMs != 0 {
			slices.SortStableFunc(rows, func(a, b format.Row) int { return int(a.Start - b.Start) })
		}
		for i := range rows {
			if err := r.addRow(&rows[i]); err != nil {
				return err
			}
		}
		rows = rows[:0]
		return nil
	}
	f := func(key int64, data []byte) error {
		if format.KeyStart(key) != hour {
			if err := flush(); err != nil {
				return err
			}
			hour = format.KeyStart(key)
		}
		id := format.KeyID(key)
		if int(id) >= len(r.g.ofID) {
			return nil
		}
		if r.g.ofID[id] == 0 {
			r.g.place(int(id))
		}
		if r.g.ofID[id] < 0 {
			return nil
		}
		list, err := r.sealed.Read(key, data)
		if err != nil {
			return err
		}
		for i := range list {
			if list[i].Start >= at.from && list[i].Start < at.to {
				rows = append(rows, list[i])
			}
		}
		return nil
	}
	var err error
	if r.few {
		err = scanKeys(ctx, r.sn, "sealed", r.keys(at, func(p int32) int32 { return p }), f)
	} else {
		err = scanRange(ctx, r.sn, "sealed", format.Key(format.HourOf(at.from), 0), format.Key(at.to, 0), f)
	}
	if err != nil {
		return err
	}
	return flush()
}

// readOpenHour reads the sums of an open hour.
func (r *reading) readOpenHour(ctx context.Context, hour int64) error {
	h := r.sn.recent.hour(hour)
	older, err := h.read(ctx, r.sn)
	if err != nil {
		return err
	}
	if r.spaces {
		r.s.openHoursAsked.Store(time.Now().Unix())
		return r.each(h.inSpaces(&r.sn.dims, older), hour*1000, r.g.addSpace)
	}
	if !r.few {
		if err := r.each(older, hour*1000, r.g.add); err != nil {
			return err
		}
		return r.readRecent(h.recent)
	}
	for _, id := range r.points {
		for i, _ := slices.BinarySearchFunc(older, id, bySumsID); i < len(older) && older[i].ID == id; i++ {
			if err := r.g.add(hour*1000, &older[i]); err != nil {
				return err
			}
		}
	}
	return r.readRecent(h.recent)
}

// readRecent reads single windows that are in memory.
func (r *reading) readRecent(starts []*recentRows) error {
	for _, st := range starts {
		add := func(w *recentRow) error {
			r.rowSums = w.sums(st.start)
			return r.g.add(st.start*1000, &r.rowSums)
		}
		if r.few {
			for _, id := range r.points {
				if w := st.row(id); w != nil {
					if err := add(w); err != nil {
						return err
					}
				}
			}
			continue
		}
		for i := range st.rows {
			if err := add(&st.rows[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// readOpen reads single windows of open hours, the newest from memory.
func (r *reading) readOpen(ctx context.Context, at span) error {
	lo, hi := int32(0), int32(format.IDMask)
	if r.few {
		if len(r.points) == 0 {
			return nil
		}
		lo, hi = r.points[0], r.points[len(r.points)-1]
	}
	if err := scanRows(ctx, r.sn, at.from, min(at.to, r.sn.recent.from), lo, hi, r.addRow); err != nil {
		return err
	}
	return r.readRecent(r.sn.recent.between(at.from, at.to))
}

// nextStart returns the start of the first row of open hours that does not
// start before from; if there is none, a time after all.
func nextStart(ctx context.Context, sn *snapshot, from int64) (start int64, err error) {
	err = sn.QueryRowContext(ctx, "SELECT key >> 31 FROM minutes WHERE key >= ? ORDER BY key LIMIT 1", format.Key(from, 0)).Scan(&start)
	if errors.Is(err, sql.ErrNoRows) {
		return math.MaxUint32 + 1, nil
	}
	return start, err
}
