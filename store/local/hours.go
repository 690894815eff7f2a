package local

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store/local/format"
)

// An openHour is the sums of one open hour as of a commit: older rows are added
// up by holder, the recent ones are at hand. Without it a question that reaches
// into the open hour would read up to 70 rows a holder.
type openHour struct {
	hour   int64
	older  *olderSums
	recent []*recentRows
	spaces spaceSums // of all of it
}

// olderSums are the sums by holder and price of the rows of an open hour that
// recent has let go of, by holder. They are not known after a start, or after a
// row was replaced whose part in them cannot be told, until a question has had
// them read.
type olderSums struct {
	*olderList
	spaces spaceSums
}

type olderList struct {
	reading sync.Mutex
	list    atomic.Pointer[[]format.Sums]
}

func knownSums(list []format.Sums) *olderSums {
	o := unknownSums()
	o.list.Store(&list)
	return o
}

func unknownSums() *olderSums { return &olderSums{olderList: new(olderList)} }

// hour returns an open hour, nil if nothing is held of it.
func (m *recent) hour(hour int64) *openHour {
	if len(m.hours) == 0 {
		return nil
	}
	i := (hour - m.hours[0].hour) / format.HourSeconds
	if hour < m.hours[0].hour || i >= int64(len(m.hours)) {
		return nil
	}
	return m.hours[i]
}

// read returns the sums of the older rows, from the file if need be.
func (h *openHour) read(ctx context.Context, sn *snapshot) ([]format.Sums, error) {
	if p := h.older.list.Load(); p != nil {
		return *p, nil
	}
	h.older.reading.Lock() // one reads, the others wait for it
	defer h.older.reading.Unlock()
	if p := h.older.list.Load(); p != nil {
		return *p, nil
	}
	list := []format.Sums{}
	err := eachStart(ctx, sn, h.hour, min(h.hour+format.HourSeconds, sn.recent.from), func(st *recentRows) { list = addRecent(list, st) })
	if err != nil {
		return nil, err
	}
	h.older.list.Store(&list)
	return list, nil
}

// readOpenHours reads the sums that are not known after a start, so that no
// question has to.
func (s *Store) readOpenHours(ctx context.Context) error {
	for _, at := range s.at().recent.hours {
		// Rows that recent lets go of meanwhile make it in vain, and come once a minute.
		for range 3 {
			known := true
			err := s.read(ctx, func(sn *snapshot) error {
				h := sn.recent.hour(at.hour)
				if known = h == nil || h.older.list.Load() != nil; known {
					return nil
				}
				_, err := h.read(ctx, sn)
				return err
			})
			if err != nil {
				return err
			}
			if known {
				break
			}
		}
	}
	return nil
}

// addRecent returns list, sorted by holder, with the rows of one start.
func addRecent(list []format.Sums, st *recentRows) []format.Sums {
	all := make([]format.Sums, 0, max(len(list), len(st.rows)))
	for i := range st.rows {
		e := st.rows[i].sums(st.start)
		n := 0
		for n < len(list) && list[n].ID <= e.ID {
			n++
		}
		all, list = append(all, list[:n]...), list[n:]
		first := len(all)
		for first > 0 && all[first-1].ID == e.ID {
			first--
		}
		all = format.Accumulate(all, first, e)
	}
	return append(all, list...)
}

// A replacement is a row and the one it takes the place of, if there is one.
type replacement struct {
	new format.Row
	old *format.Row
}

// openFrom is the first hour that sums are held of: the open ones but for those
// that should have been sealed long ago, which may be any number.
func openFrom(at *horizons, closable int64) int64 {
	return max(at.sealedBefore, closable-format.HourSeconds)
}

// apart reports whether m remains true beside a file that has the change: nothing
// of it is where the file is asked beside m, or moves what m has added up.
func (m *recent) apart(c *change) bool {
	return len(c.replaced) == 0 && len(c.moved) == 0 && (len(c.rows) == 0 || c.rows[0].Start >= m.from)
}

// after returns m as it is after a commit, as a draft or for readers.
func (m *recent) after(c change, at *horizons, closable int64, draft bool) recent {
	next := recent{seconds: m.seconds, from: max(m.from, at.newest-m.seconds), starts: m.with(c.rows, draft)}
	for i, st := range next.starts {
		if slices.ContainsFunc(c.moved, func(id int32) bool { return st.row(id) != nil }) {
			next.starts[i] = &recentRows{start: st.start, rows: st.rows, draft: st.draft}
		}
	}
	all := next
	next.starts = all.between(next.from, at.newest+1)
	for hour := openFrom(at, closable); hour <= at.newest; hour += format.HourSeconds {
		before := m.hour(hour)
		if before == nil {
			before = &openHour{hour: hour, older: knownSums(nil)} // nothing was newer
		}
		older := before.older.replace(c.replaced, hour).move(c.moved)
		end := hour + format.HourSeconds
		for _, st := range all.between(hour, min(end, next.from)) {
			older = older.add(st)
		}
		h := &openHour{hour: hour, older: older, recent: next.between(hour, end)}
		if older == before.older && slices.Equal(h.recent, before.recent) {
			h = before
		}
		next.hours = append(next.hours, h)
	}
	return next
}

// add returns o with the rows of a start.
func (o *olderSums) add(st *recentRows) *olderSums {
	if p := o.list.Load(); p != nil {
		return knownSums(addRecent(*p, st))
	}
	return unknownSums()
}

// move returns o after holders have moved to other spaces.
func (o *olderSums) move(moved []int32) *olderSums {
	p := o.list.Load()
	for _, id := range moved {
		among := p == nil // perhaps
		if !among {
			_, among = slices.BinarySearchFunc(*p, id, bySumsID)
		}
		if among {
			return &olderSums{olderList: o.olderList}
		}
	}
	return o
}

func bySumsID(e format.Sums, id int32) int { return int(e.ID - id) }

// replace returns o after rows were put in the place of others.
func (o *olderSums) replace(list []replacement, hour int64) *olderSums {
	lo, _ := slices.BinarySearchFunc(list, hour, byStart)
	hi, _ := slices.BinarySearchFunc(list, hour+format.HourSeconds, byStart)
	list = list[lo:hi]
	p := o.list.Load()
	switch {
	case len(list) == 0:
		return o
	case p == nil:
		return unknownSums()
	}
	have := slices.Clone(*p)
	for len(list) > 0 {
		start, n := list[0].new.Start, 0
		var add []format.Row
		for ; n < len(list) && list[n].new.Start == start; n++ {
			r := &list[n]
			if n > 0 && list[n-1].new.Holder == r.new.Holder {
				return unknownSums() // which one counts is for the file to say
			}
			if r.old == nil {
				add = append(add, r.new)
			} else if !r.apply(have) {
				return unknownSums()
			}
		}
		if len(add) > 0 {
			have = addRecent(have, &recentRows{start: start, rows: mergeRecent(nil, add)})
		}
		list = list[n:]
	}
	return knownSums(have)
}

func byStart(r replacement, t int64) int { return int(r.new.Start - t) }

// apply moves the sum that the old row is part of by the difference. It reports
// whether it can tell: a newest sample that goes back, or another price, asks
// for all rows.
func (r *replacement) apply(list []format.Sums) bool {
	if r.new.Revision < r.old.Revision {
		return true
	}
	i, ok := slices.BinarySearchFunc(list, r.old.Holder, bySumsID)
	for ok && i < len(list)-1 && list[i].ID == r.old.Holder && list[i].Price != r.old.Price {
		i++
	}
	was, is := r.old.Sums(), r.new.Sums()
	if !ok || list[i].ID != was.ID || list[i].Price != was.Price || is.Price != was.Price || is.LastMs < was.LastMs {
		return false
	}
	e := &list[i]
	fits := true
	move := func(sum *int64, is, was int64) {
		fits = fits && was != math.MinInt64 && power.AddChecked(sum, is) && power.AddChecked(sum, -was)
	}
	for c := range e.Energy {
		move(&e.Energy[c], is.Energy[c], was.Energy[c])
	}
	move(&e.Idle, is.Idle, was.Idle)
	move(&e.SeenMs, is.SeenMs, was.SeenMs)
	move(&e.HeldMs, is.HeldMs, was.HeldMs)
	e.LastMs, e.Revision = max(e.LastMs, is.LastMs), max(e.Revision, is.Revision)
	return fits
}
