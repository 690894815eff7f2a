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
	first   bool   // points[0] is the first sample ever seen
	shadow  bool   // a better source measures the same device: only a check
	rivals  bool   // several exporters told points of it
	origin  uint16 // of the way that is listened to, among those of its node
	source  uint16
	rank    int32 // priority of source
	holder  uint32
	node    uint32
	comp    power.Component
	zone    uint16
	rawSeen bool
	base    [numFields]fieldAt // newest forgotten value of each field
	last    uint16             // origin of the newest forgotten point
	late    fieldAt            // newest raw value that came too late
	quiet   stretch            // of the other generation of Kepler
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
	has    uint8 // bit per field
	state  pointState
	origin uint16
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

// users are who shares a device, sorted. A device is cut into at most seven instances.
type users [7]user

// A user is a holder, plus one, and in the highest bits how many sevenths of the
// device it has; 0 for an even share of what those without have together.
type user uint32

const userShift = 29

func (u user) holder() uint32  { return uint32(u)&(1<<userShift-1) - 1 }
func (u user) sevenths() int64 { return int64(u >> userShift) }

func (u *users) add(holder uint32, sevenths uint8) {
	h := user(holder+1) | user(sevenths)<<userShift
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
		s.quarantine(a, m, o)
		return
	}
	mt := &s.meters[a.side-1]
	n := &s.nodes[mt.node]
	origin, newest := m.Ref.origin(), int64(never)
	if k := len(mt.points); k > 0 {
		newest = mt.points[k-1].t
	} else {
		mt.origin = origin
	}
	if mt.shadow || (!s.elected(n, &mt.origin, newest, m) && !mt.silentAt(m.TMs, s.haFailoverMs)) {
		o.Duplicate++
		return
	}
	f := fieldOf[a.role]
	if v == 0 && mt.madeUp(f, m.TMs) {
		o.Late++
		return
	}
	k := len(mt.points)
	for k > 0 && mt.points[k-1].t > m.TMs {
		k--
	}
	j := k - 1
	for j >= 0 && mt.points[j].t == m.TMs && !n.sameExporter(mt.points[j].origin, origin) {
		j--
	}
	if j >= 0 && mt.points[j].t == m.TMs {
		k = j
		p := &mt.points[k]
		if have, ok := p.get(f); ok {
			if have == v && s.usedBy(mt, k, i) {
				o.Booked++ // another instance of the same device: it tells who shares it
			} else if have == v {
				o.Duplicate++
			} else {
				o.Conflict++
			}
			return
		}
	} else {
		x := meterPoint{t: m.TMs, origin: origin}
		if k == 0 && len(mt.points) > 0 && (!mt.first || m.TMs < newest-s.reorderMs) {
			raw, back := s.runsBack(a, mt, f, m.TMs, v)
			if !back {
				o.Late++
				return
			}
			if k = 1; raw.ok {
				x.v[fieldRaw], x.has = raw.v, 1<<fieldRaw
			}
		}
		mt.points = slices.Insert(mt.points, k, x)
		mt.rivals = mt.rivals || !n.sameExporter(origin, mt.points[max(k-1, 0)].origin) || !n.sameExporter(origin, mt.points[min(k+1, len(mt.points)-1)].origin)
		if n.samePath(origin, mt.origin) {
			mt.origin = origin
		}
	}
	took := s.hear(mt, m.TMs)
	p := &mt.points[k]
	p.v[f], p.has = v, p.has|1<<f
	impossible := false
	if f == fieldRaw {
		t, before, ok := mt.before(k, fieldRaw)
		impossible = ok && v-before > s.limitMicrojoules(t, m.TMs)
	}
	s.usedBy(mt, k, i)
	from := k
	if f == fieldRaw && !mt.rawSeen {
		mt.rawSeen = true
		from = 0
	}
	if took {
		from = 0
	}
	if impossible { // what stands in for it is booked
		s.quarantine(a, m, o)
	} else {
		o.Booked++
	}
	if m.TMs > a.lastT || a.lastT == never {
		a.lastT, a.lastV = m.TMs, v
	}
	s.remark(mt, from)
	mt.trim(s.reorderMs, s.haFailoverMs, n)
}

// madeUp says whether a zero was never shown by a register: senders that know when a
// counter began put one in front of its first sample. What belongs to the same
// moment was not shown either.
func (m *meter) madeUp(f field, tMs int64) bool {
	if m.kind != nodeMeter || f == fieldWatts {
		return false
	}
	if _, _, ok := m.before(len(m.points), f); ok {
		return false
	}
	if f == fieldRaw {
		m.late = fieldAt{tMs, 0, true}
		return true
	}
	return m.late == fieldAt{tMs, 0, true}
}

// remark books what the points from one on should have, and all if what is
// known of their order has changed.
func (s *shard) remark(m *meter, from int) {
	last := len(m.points) - 1
	was := m.points[last].state
	if from == last && !m.rivals {
		s.markNewest(m)
	} else if s.mark(m) {
		from = 0
	}
	for k := from; k < len(m.points); k++ {
		s.rebook(m, k)
	}
	if is := m.points[last].state; from < last || is != 0 || is != was {
		s.testify(m, from < last)
	}
}

// usedBy notes the account's holder as a user of the device at point k, and
// says whether that was news.
func (s *shard) usedBy(m *meter, k int, i uint32) bool {
	a := &s.accounts[i]
	p := &m.points[k]
	if m.kind == shareMeter || a.holder == m.holder {
		return false
	}
	before := p.users
	p.users.add(a.holder, s.sevenths[i])
	if p.users == before {
		return false
	}
	s.rebook(m, k)
	return true
}

// before returns the newest value of f before point k.
func (m *meter) before(k int, f field) (t, v int64, ok bool) {
	for k--; k >= 0; k-- {
		if v, ok := m.points[k].get(f); ok && m.points[k].speaks() {
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
	if p.state&pointTaken != 0 && !slices.ContainsFunc(m.points[:k], func(p meterPoint) bool { return p.speaks() }) {
		return // what it was booked by is forgotten
	}
	var want [3]booked
	var integrated bool
	if p.speaks() {
		want[power.Used], integrated = s.used(m, k)
		if m.kind == nodeMeter {
			want[power.Active] = s.active(m, k)
			want[power.NodeIdle] = s.idle(m, k, want[power.Used], want[power.Active])
		}
		for i := range want {
			m.quiet.cut(&want[i], p.t)
		}
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
	if measure == power.Active {
		s.nodes[m.node].active[m.comp] += e
	}
	if measure != power.Used || s.nodes[m.node].gpuShares {
		return // Kepler itself tells what each container used
	}
	r.Counter = 0
	users := shared[:shared.len()]
	even := int64(0)
	for _, u := range users {
		if u.sevenths() == 0 {
			even++
		}
	}
	whole, first := e, true
	for _, u := range users {
		if of := u.sevenths(); of != 0 { // the device's other slices stay the node's
			e -= whole * of / 7
		}
	}
	for _, u := range users {
		r.Holder = u.holder()
		switch of := u.sevenths(); {
		case of != 0:
			r.Energy = power.Microjoules(whole * of / 7)
		case first:
			r.Energy, first = power.Microjoules(e/even+e%even), false
		default:
			r.Energy = power.Microjoules(e / even)
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
	case p.state&pointAnew != 0:
		// The parts start again, idle with a phantom of the whole register.
		// The register itself is read by the new exporter as by the old.
		// That of several sockets may jump by the range of one.
		watts := s.byWatts(m, k, t)
		if s.plausible(diff, t, p.t) && (watts == 0 || diff <= 4*watts+1e9) {
			b.e = diff
		} else {
			b.e, integrated = watts, true
			if raw > 4*watts+1e9 { // after a reboot it begins at 0
				s.notice(m.node, RegisterJump, p.origin, p.origin)
			}
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

// sumOfParts returns active plus idle. It is empty where one is missing, and
// only the active part after a restart.
func (s *shard) sumOfParts(m *meter, k int) booked {
	p := &m.points[k]
	active, okA := p.get(fieldActive)
	idle, okI := p.get(fieldIdle)
	ta, beforeA, okBA := m.before(k, fieldActive)
	ti, beforeI, okBI := m.before(k, fieldIdle)
	if !okA || !okI || !okBA || !okBI || ta != ti || p.state&pointTaken != 0 {
		return booked{}
	}
	b := booked{start: ta, users: p.users}
	if p.state&pointAnew != 0 {
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
	switch {
	case p.state&pointTaken != 0:
		e = s.own(m, k, fieldActive, t)
	case p.state&pointAnew != 0:
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
	if !ok || !okBefore || p.state&pointAnew != 0 {
		return booked{}
	}
	e := idle - before
	if p.state&pointTaken != 0 {
		e = s.own(m, k, fieldIdle, t)
	}
	if e < 0 && -e <= idle/100 {
		return booked{start: t, e: e} // a ratio a hair above 1: active has what is missing here
	}
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
		known := n.since(p.origin)
		if !m.first || p.t <= known || s.wasBooked(m.holder) || !s.plausible(raw, known, p.t) {
			return booked{}, false
		}
		return booked{start: n.before(p.t), e: raw}, false
	}
	e := raw - before
	if p.state&pointTaken != 0 {
		e = s.own(m, k, fieldRaw, t)
	} else if e < 0 {
		e, integrated = s.byWatts(m, k, t), true
	} else if watts := s.trapezoid(m, k, t); e < watts/5*3 {
		e, integrated = watts, true // a process ended, and others used more than it had
		s.notice(m.node, HiddenProcessEnd, p.origin, p.origin)
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

// trapezoid returns the energy under the power gauge since a point at fromMs that
// has both counter and gauge, 0 where that cannot be told.
func (s *shard) trapezoid(m *meter, k int, fromMs int64) int64 {
	w, ok := m.points[k].get(fieldWatts)
	t, before, okBefore := m.before(k, fieldWatts)
	if !ok || !okBefore || t != fromMs || m.points[k].t-t > s.maxGaugeGapMs {
		return 0
	}
	e := int64((float64(w) + float64(before)) / 2 * float64(m.points[k].t-t) / 1000)
	if !s.plausible(e, t, m.points[k].t) {
		return 0
	}
	return e
}

// trim forgets points that late samples can no longer reach, all but their values.
// A gap of more than gapMs stays for twice as long.
func (m *meter) trim(reorderMs, gapMs int64, of *node) {
	oldest := m.points[len(m.points)-1].t - reorderMs
	n := 0
	for n < len(m.points)-1 && m.points[n+1].t <= oldest {
		if next := m.points[n+1].t; next-m.points[n].t > gapMs && next > oldest-reorderMs {
			break
		}
		p := &m.points[n]
		for f := field(0); f < numFields && p.speaks(); f++ {
			if v, ok := p.get(f); ok {
				m.base[f] = fieldAt{p.t, v, true}
				m.last = p.origin
			}
		}
		n++
	}
	if n > 0 {
		m.points = slices.Delete(m.points, 0, n)
		m.first = false
		m.rivals = m.rivals && slices.ContainsFunc(m.points, func(p meterPoint) bool { return !of.sameExporter(p.origin, m.last) })
	}
}
