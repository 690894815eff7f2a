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
