package counter

import (
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// A meter keeps the recent samples of what is measured in several series at
// once: a zone of a node (raw register, active, idle, power), a device, the GPU
// share of a container (counter, power). There are few of them, so unlike an
// account a meter keeps every sample of the reorder window, and what it has
// booked is a function of those samples alone, whatever order they came in.
type meter struct {
	kind    meterKind
	inUse   bool
	first   bool // points[0] is the first sample ever seen
	shadow  bool // a better source measures the same device: only a check
	replica uint16
	source  uint16
	rank    int32 // priority of source
	holder  uint32
	node    uint32
	comp    power.Component
	zone    uint16
	rawSeen bool
	base    [numFields]fieldAt // newest forgotten value of each field
	points  []meterPoint
}

type meterKind uint8

const (
	nodeMeter  meterKind = iota + 1 // a RAPL zone or a device of a node
	shareMeter                      // a container's share of the GPUs: falls when a process ends
	gaugeMeter                      // a device known by a power gauge only
)

type field uint8

const (
	fieldRaw field = iota
	fieldActive
	fieldIdle
	fieldWatts // microwatts
	numFields
)

var fieldOf = map[metric.Role]field{
	metric.RoleNodeRaw: fieldRaw, metric.RoleNodeActive: fieldActive, metric.RoleNodeIdle: fieldIdle, metric.RoleNodeWatts: fieldWatts,
	metric.RoleGPUCounter: fieldRaw, metric.RoleGPUWatts: fieldWatts, metric.RoleGauge: fieldWatts,
}

type fieldAt struct {
	t, v int64
	ok   bool
}

type meterPoint struct {
	t      int64
	v      [numFields]int64
	has    uint8     // bit per field
	users  users     // holders that the series named as the device's users
	booked [3]booked // by measure: Used, Active, NodeIdle
}

func (p *meterPoint) get(f field) (int64, bool) { return p.v[f], p.has>>f&1 != 0 }

// booked is the energy a point has booked, over (start, t of the point].
type booked struct {
	start int64
	e     int64
	users users
}

// users are the holders, plus one, that share a device evenly, sorted. A device
// is cut into at most seven instances.
type users [7]uint32

func (u *users) add(holder uint32) {
	h := holder + 1
	for i := range u {
		if u[i] == h {
			return
		}
		if u[i] == 0 || u[i] > h {
			u[i], h = h, u[i]
		}
		if h == 0 {
			return
		}
	}
}

func (u *users) len() int {
	n := 0
	for n < len(u) && u[n] != 0 {
		n++
	}
	return n
}

// measureTogether takes a sample of a role that a meter keeps.
func (s *shard) measureTogether(i uint32, m *Sample, o *Outcome) {
	a := &s.accounts[i]
	v, ok := micro(m.Value, a.scale)
	if !ok {
		s.quarantine(a, m, "no counter shows this", o)
		return
	}
	mt := &s.meters[a.side-1]
	newest := int64(never)
	if n := len(mt.points); n > 0 {
		newest = mt.points[n-1].t
	}
	if len(mt.points) == 0 {
		mt.replica = m.Ref.replica()
	}
	if !s.elected(&mt.replica, newest, m) || mt.shadow {
		o.Duplicate++
		return
	}
	f := fieldOf[a.role]
	k := len(mt.points)
	for k > 0 && mt.points[k-1].t > m.TMs {
		k--
	}
	if k > 0 && mt.points[k-1].t == m.TMs {
		k--
		p := &mt.points[k]
		if have, ok := p.get(f); ok {
			if have == v && s.usedBy(mt, k, a) {
				o.Booked++ // another instance of the same device: it tells who shares it
			} else if have == v {
				o.Duplicate++
			} else {
				o.Conflict++
			}
			return
		}
	} else {
		if len(mt.points) > 0 && (m.TMs < newest-s.reorderMs || (k == 0 && !mt.first)) {
			o.Late++
			return
		}
		mt.points = slices.Insert(mt.points, k, meterPoint{t: m.TMs})
	}
	p := &mt.points[k]
	p.v[f], p.has = v, p.has|1<<f
	impossible := false
	if f == fieldRaw {
		t, before, ok := mt.before(k, fieldRaw)
		impossible = ok && v-before > s.limitMicrojoules(t, m.TMs)
	}
	s.usedBy(mt, k, a)
	if f == fieldRaw && !mt.rawSeen {
		mt.rawSeen = true
		k = 0
	}
	if impossible { // what stands in for it is booked
		s.quarantine(a, m, "more than the node can draw", o)
	} else {
		o.Booked++
	}
	if m.TMs > a.lastT || a.lastT == never {
		a.lastT, a.lastV = m.TMs, v
	}
	for ; k < len(mt.points); k++ {
		s.rebook(mt, k)
	}
	mt.trim(s.reorderMs)
}

// usedBy notes the account's holder as a user of the device at point k, and
// says whether that was news.
func (s *shard) usedBy(m *meter, k int, a *account) bool {
	p := &m.points[k]
	if m.kind == shareMeter || a.holder == m.holder {
		return false
	}
	before := p.users
	p.users.add(a.holder)
	if p.users == before {
		return false
	}
	s.rebook(m, k)
	return true
}

// before returns the newest value of f before point k.
func (m *meter) before(k int, f field) (t, v int64, ok bool) {
	for k--; k >= 0; k-- {
		if v, ok := m.points[k].get(f); ok {
			return m.points[k].t, v, true
		}
	}
	b := m.base[f]
	return b.t, b.v, b.ok
}

// rebook books the difference between what point k should have booked and what
// it has.
func (s *shard) rebook(m *meter, k int) {
	p := &m.points[k]
	used, integrated := s.used(m, k)
	want := [3]booked{used, {}, {}}
	if m.kind == nodeMeter {
		want[power.Active] = s.active(m, k)
		want[power.NodeIdle] = s.idle(m, k, used, want[power.Active])
	}
	raw, _ := p.get(fieldRaw)
	for measure, w := range want {
		b := p.booked[measure]
		if w == b {
			continue
		}
		if w.start == b.start && w.users == b.users {
			s.emit(m, power.Measure(measure), w.start, p.t, w.e-b.e, w.users, raw, integrated)
		} else {
			s.emit(m, power.Measure(measure), b.start, p.t, -b.e, b.users, 0, integrated)
			s.emit(m, power.Measure(measure), w.start, p.t, w.e, w.users, raw, integrated)
		}
		p.booked[measure] = w
	}
}

func (s *shard) emit(m *meter, measure power.Measure, fromMs, toMs, e int64, shared users, counter int64, integrated bool) {
	if fromMs == 0 {
		return // nothing was booked
	}
	r := power.Reading{
		Holder: m.holder, Measure: measure, Component: m.comp, Integrated: integrated,
		Energy: power.Microjoules(e), StartMs: fromMs, EndMs: toMs,
	}
	if m.kind == shareMeter || m.comp != power.GPU {
		r.Counter = power.Microjoules(counter) // a node has several GPUs: no one counter tells
	}
	s.out = append(s.out, r)
	if measure != power.Used || s.nodes[m.node].gpuShares {
		return // Kepler itself tells what each container used
	}
	r.Counter = 0
	n := int64(shared.len())
	for i := range n {
		r.Holder = shared[i] - 1
		r.Energy = power.Microjoules(e / n)
		if i == 0 {
			r.Energy += power.Microjoules(e % n)
		}
		s.out = append(s.out, r)
	}
}

// used returns the energy that the whole of the zone or device took between the
// sample before and point k.
func (s *shard) used(m *meter, k int) (b booked, integrated bool) {
	p := &m.points[k]
	switch m.kind {
	case gaugeMeter:
		return s.integrate(m, k), true
	case shareMeter:
		return s.share(m, k)
	}
	raw, ok := p.get(fieldRaw)
	if !ok {
		if m.rawSeen {
			return booked{}, false
		}
		return s.sumOfParts(m, k), false
	}
	t, before, ok := m.before(k, fieldRaw)
	if !ok {
		return booked{}, false
	}
	b = booked{start: t, users: p.users}
	diff := raw - before
	parts := s.sumOfParts(m, k)
	partsKnown := parts.start == t && s.plausible(parts.e, t, p.t)
	switch {
	case s.restarted(m, k):
		// The parts start again, idle with a phantom of the whole register.
		// The register itself is read by the new exporter as by the old.
		if s.plausible(diff, t, p.t) {
			b.e = diff
		} else {
			b.e, integrated = s.byWatts(m, k, t), true
		}
	case diff < 0 && partsKnown:
		b.e = parts.e // the register wrapped; the parts are wrap-safe
	case diff < 0 && m.comp == power.GPU && s.plausible(raw, t, p.t):
		b.e = raw // a device's counter starts again with its driver
	case diff < 0:
		b.e, integrated = s.byWatts(m, k, t), true
	case partsKnown && parts.e > diff+1e6 && !s.nearer(m, k, t, diff, parts.e):
		b.e = parts.e // it wrapped unseen, within a gap
	case s.plausible(diff, t, p.t):
		b.e = diff
	case partsKnown:
		b.e = parts.e
	default:
		b.e, integrated = s.byWatts(m, k, t), true
	}
	return b, integrated
}

// nearer says whether the power gauge speaks for a rather than for b. Where the
// register and its parts disagree over a gap, either it wrapped unseen or the
// exporter started again unseen and the idle part holds a phantom.
func (s *shard) nearer(m *meter, k int, fromMs, a, b int64) bool {
	e := s.byWatts(m, k, fromMs)
	return e > 0 && max(a-e, e-a) < max(b-e, e-b)
}

// restarted says whether the exporter started again before point k: a part,
// which is otherwise rising, fell. It may be the idle part alone, when the
// active one has caught up or had not begun.
func (s *shard) restarted(m *meter, k int) bool {
	return m.fell(k, fieldActive) || m.fell(k, fieldIdle)
}

func (m *meter) fell(k int, f field) bool {
	v, ok := m.points[k].get(f)
	_, before, okBefore := m.before(k, f)
	return ok && okBefore && v < before
}

// sumOfParts returns active plus idle. It is empty where one is missing, and
// only the active part after a restart.
func (s *shard) sumOfParts(m *meter, k int) booked {
	p := &m.points[k]
	active, okA := p.get(fieldActive)
	idle, okI := p.get(fieldIdle)
	ta, beforeA, okBA := m.before(k, fieldActive)
	ti, beforeI, okBI := m.before(k, fieldIdle)
	if !okA || !okI || !okBA || !okBI || ta != ti {
		return booked{}
	}
	b := booked{start: ta, users: p.users}
	if s.restarted(m, k) {
		b.e = active
	} else {
		b.e = active - beforeA + idle - beforeI
	}
	if !s.plausible(b.e, ta, p.t) {
		return booked{}
	}
	return b
}

// byWatts estimates from the power gauge where no counter can tell. Without a
// gauge it is nothing: an unknown is not invented.
func (s *shard) byWatts(m *meter, k int, fromMs int64) int64 {
	microwatts, ok := m.points[k].get(fieldWatts)
	if !ok {
		_, microwatts, ok = m.before(k, fieldWatts)
	}
	if !ok {
		return 0
	}
	e := int64(float64(microwatts) * float64(m.points[k].t-fromMs) / 1000)
	if !s.plausible(e, fromMs, m.points[k].t) {
		return 0
	}
	return e
}

func (s *shard) active(m *meter, k int) booked {
	p := &m.points[k]
	active, ok := p.get(fieldActive)
	t, before, okBefore := m.before(k, fieldActive)
	if !ok || !okBefore {
		return booked{}
	}
	e := active - before
	if s.restarted(m, k) {
		e = active // it starts at 0 with the exporter
	}
	if !s.plausible(e, t, p.t) {
		return booked{}
	}
	return booked{start: t, e: e}
}

// idle returns the idle part. Over a restart of the exporter it is unknown: the
// counter then begins at the register's value, which nobody used.
func (s *shard) idle(m *meter, k int, used, active booked) booked {
	p := &m.points[k]
	idle, ok := p.get(fieldIdle)
	t, before, okBefore := m.before(k, fieldIdle)
	if !ok || !okBefore || s.restarted(m, k) {
		return booked{}
	}
	e := idle - before
	if used.start == t {
		e = min(e, max(0, used.e-active.e))
	}
	if !s.plausible(e, t, p.t) {
		return booked{}
	}
	return booked{start: t, e: e}
}

// share returns a container's GPU energy. Its counter is a sum over live
// processes: when one ends the sum falls, and only the power gauge knows what
// was used meanwhile.
func (s *shard) share(m *meter, k int) (b booked, integrated bool) {
	p := &m.points[k]
	raw, ok := p.get(fieldRaw)
	if !ok {
		return booked{}, false
	}
	t, before, ok := m.before(k, fieldRaw)
	if !ok {
		n := &s.nodes[m.node]
		known := n.since(m.replica)
		if !m.first || p.t <= known || s.wasBooked(m.holder) || !s.plausible(raw, known, p.t) {
			return booked{}, false
		}
		return booked{start: n.before(p.t), e: raw}, false
	}
	e := raw - before
	if e < 0 {
		e, integrated = s.byWatts(m, k, t), true
	}
	if !s.plausible(e, t, p.t) {
		return booked{}, false
	}
	return booked{start: t, e: e}, integrated
}

// integrate returns the energy under a power gauge, by the trapezoidal rule.
func (s *shard) integrate(m *meter, k int) booked {
	p := &m.points[k]
	w, ok := p.get(fieldWatts)
	t, before, okBefore := m.before(k, fieldWatts)
	if !ok || !okBefore || p.t-t > s.maxGaugeGapMs {
		return booked{}
	}
	e := int64((float64(w) + float64(before)) / 2 * float64(p.t-t) / 1000)
	if !s.plausible(e, t, p.t) {
		return booked{}
	}
	return booked{start: t, e: e, users: p.users}
}

// trim forgets points that late samples can no longer reach, all but their values.
func (m *meter) trim(reorderMs int64) {
	oldest := m.points[len(m.points)-1].t - reorderMs
	n := 0
	for n < len(m.points)-1 && m.points[n+1].t <= oldest {
		for f := field(0); f < numFields; f++ {
			if v, ok := m.points[n].get(f); ok {
				m.base[f] = fieldAt{m.points[n].t, v, true}
			}
		}
		n++
	}
	if n > 0 {
		m.points = slices.Delete(m.points, 0, n)
		m.first = false
	}
}
