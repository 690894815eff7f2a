package local

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store/local/format"
)

// A use is what one holder used in the range of a power query.
type use struct {
	energy  [power.NumComponents]int64
	seenMs  int64
	lastMs  int64
	h       *holder
	id      int32
	price   int32
	seconds int32
	total   float64 // watts, once all is added
}

func (u *use) add(energy *[power.NumComponents]int64, seenMs int32, lastMs int64, price, seconds int32) error {
	for c := range energy {
		if !power.AddChecked(&u.energy[c], energy[c]) {
			return errOverflow
		}
	}
	u.seenMs += int64(seenMs)
	if u.seconds == 0 || lastMs >= u.lastMs { // no window lasts 0 seconds
		u.lastMs, u.price, u.seconds = lastMs, price, seconds
	}
	return nil
}

// powerViews are what questions of current power are answered from: they ask for
// the same few stretches again and again.
type powerViews struct {
	mu    sync.Mutex
	views []powerView // guarded by mu; the one asked of last at the end
}

// maxPowerViews bounds what questions about different stretches make it hold.
const maxPowerViews = 2

// askedLately is how long after a question what it was answered from is made anew
// for the next one.
const askedLately = time.Minute

type powerView struct {
	starts   []*recentRows
	used     *usage
	from, to int64     // what was asked for
	asked    time.Time // when
}

// A usage is what was used in a stretch of time.
type usage struct {
	holders []use                       // containers and VMs that were seen to the end, by id
	all     atomic.Pointer[[]candidate] // their workloads, once asked for
}

// workloads returns the sums of the workloads whose holders match.
func (u *usage) workloads(match *matcher) ([]candidate, error) {
	if len(match.match) > 0 {
		return byWorkload(u.holders, match)
	}
	if all := u.all.Load(); all != nil {
		return *all, nil
	}
	list, err := byWorkload(u.holders, match)
	if err == nil {
		u.all.Store(&list)
	}
	return list, err
}

// used returns what was used in [from, to), from memory if that reaches back far
// enough.
func (s *Store) used(ctx context.Context, from, to int64) (*memory, *usage, error) {
	m := s.at()
	if from >= m.recent.from || m.newest == 0 {
		used, err := m.used(from, to)
		return m, used, err
	}
	var uses []use
	err := s.read(ctx, func(sn *snapshot) error {
		m = sn.memory
		uses = make([]use, len(m.holders))
		err := s.eachRow(ctx, sn, from, to, func(r *format.Row) error {
			u := &uses[r.Holder]
			u.id = r.Holder
			return u.add(&r.Energy, r.SeenMs, r.Start*1000+r.LastOff, r.Price, r.Seconds)
		})
		uses = current(slices.DeleteFunc(uses, func(u use) bool { return u.seconds == 0 }), &m.dims)
		return err
	})
	return m, &usage{holders: uses}, err
}

func (m *memory) used(from, to int64) (*usage, error) {
	starts := m.recent.between(from, to)
	p := m.power
	p.mu.Lock() // one adds up, the others wait for it
	defer p.mu.Unlock()
	v := powerView{starts: starts}
	if i := slices.IndexFunc(p.views, func(v powerView) bool { return slices.Equal(v.starts, starts) }); i >= 0 {
		v = p.views[i]
		p.views = slices.Delete(p.views, i, i+1)
	} else {
		var err error
		if v.used, err = addUp(starts, &m.dims); err != nil {
			return nil, err
		}
		p.views = slices.Delete(p.views, 0, max(0, len(p.views)+1-maxPowerViews))
	}
	v.from, v.to, v.asked = from, to, time.Now()
	p.views = append(p.views, v)
	return v.used, nil
}

// next returns the views of m that will be asked of if questions go on as they
// did, their stretches moving with the clock, so that none has to wait for them.
func (p *powerViews) next(m *memory) *powerViews {
	p.mu.Lock()
	views := slices.Clone(p.views)
	p.mu.Unlock()
	views = slices.DeleteFunc(views, func(v powerView) bool { return time.Since(v.asked) > askedLately })
	for i := range views {
		v := &views[i]
		passed := int64(time.Since(v.asked) / time.Second)
		starts := m.recent.between(v.from+passed, v.to+passed)
		used, err := addUp(starts, &m.dims)
		if err == nil && v.used.all.Load() != nil {
			_, err = used.workloads(newMatcher(&m.dims, nil))
		}
		if err != nil {
			return new(powerViews) // who asks will be told
		}
		v.starts, v.used = starts, used
	}
	return &powerViews{views: views}
}

func addUp(starts []*recentRows, d *dims) (*usage, error) {
	var uses []use
	for _, st := range starts {
		var err error
		if uses, err = addUses(uses, st); err != nil {
			return nil, err
		}
		runtime.Gosched()
	}
	return &usage{holders: current(uses, d)}, nil
}

// addUses adds the rows of a start to uses, which are sorted by id.
func addUses(uses []use, st *recentRows) ([]use, error) {
	if uses == nil {
		uses = make([]use, 0, len(st.rows)+len(st.rows)/16)
	}
	at, known := 0, len(uses)
	for i := range st.rows {
		r := &st.rows[i]
		if void(r.seconds) {
			continue
		}
		for at < known && uses[at].id < r.holder {
			at++
		}
		to := at
		if at == known || uses[at].id != r.holder {
			to = len(uses)
			uses = append(uses, use{id: r.holder})
		}
		if err := uses[to].add(&r.energy, r.seenMs, st.start*1000+r.lastOff, r.price, r.seconds); err != nil {
			return nil, err
		}
	}
	if known > 0 && len(uses) > known {
		slices.SortFunc(uses, func(a, b use) int { return int(a.id - b.id) })
	}
	return uses, nil
}

// current leaves the containers and VMs that were seen to the end of uses.
func current(uses []use, d *dims) []use {
	newest := make([]int64, len(d.nodes))
	for i := range uses {
		if h := d.holder(uses[i].id); h != nil {
			uses[i].h = h
			newest[h.node] = max(newest[h.node], uses[i].lastMs)
		}
	}
	uses = slices.DeleteFunc(uses, func(u use) bool {
		return u.h == nil || u.h.Kind != power.Container && u.h.Kind != power.VM ||
			u.lastMs < newest[u.h.node]-max(2*int64(u.seconds)*1000, 120_000)
	})
	for i := range uses {
		t := uses[i].totals()
		uses[i].total = t.total()
	}
	return uses
}
