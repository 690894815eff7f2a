package counter

import (
	"slices"

	"github.com/wattledger/wattledger/power"
)

// A pointState says how a point of a meter stands to those before it.
type pointState uint8

const (
	pointOlder pointState = 1 << iota // it shows less than was heard before, so it is older than its time says
	pointMuted                        // another exporter speaks
	pointAnew                         // the exporter started again before it
	pointTaken                        // the first of another exporter, which was running beside the one that fell silent
)

func (p *meterPoint) speaks() bool { return p.state&(pointOlder|pointMuted) == 0 }

// mark says how the points of a meter stand to each other, which is a function of
// them alone. changed says that points but the newest stand differently than before.
func (s *shard) mark(m *meter) (changed bool) {
	n := &s.nodes[m.node]
	ref := m.base
	heard := s.heard[:0]
	for _, b := range m.base { // what is forgotten spoke
		if b.ok && (len(heard) == 0 || b.t > heard[0].t) {
			heard = append(heard[:0], speaker{b.t, m.last})
		}
	}
	forgotten := len(heard)
	last := forgotten - 1
	for i := range m.points {
		heard = append(heard, speaker{m.points[i].t, m.points[i].origin})
	}
	s.heard = heard[:0]
	for k := range m.points {
		p := &m.points[k]
		state := pointState(0)
		if m.rivals && last >= 0 && !n.sameExporter(p.origin, heard[last].origin) {
			decided := last < forgotten && p.speaks() && p.has != 0 && p.booked[power.Used].start != 0
			switch takes, overlapped := n.takesOver(heard, last, forgotten+k, s.haFailoverMs); {
			case decided: // by points that are forgotten
				state = p.state & pointTaken
			case !takes:
				state = pointMuted
			case overlapped:
				state = pointTaken
			}
		}
		if state == 0 {
			state = s.order(m, &ref, p)
		}
		if state != p.state {
			changed = changed || k < len(m.points)-1
			p.state = state
		}
		if !p.speaks() {
			continue
		}
		last = forgotten + k
		for f := range p.v {
			if v, ok := p.get(field(f)); ok {
				ref[f] = fieldAt{p.t, v, true}
			}
		}
	}
	return changed
}

// markNewest says how the newest point stands to those before it, of one exporter.
// Nearly all samples need no more.
func (s *shard) markNewest(m *meter) {
	k := len(m.points) - 1
	var ref [numFields]fieldAt
	for f := range ref {
		ref[f].t, ref[f].v, ref[f].ok = m.before(k, field(f))
	}
	p := &m.points[k]
	p.state = s.order(m, &ref, p)
}

// smallFall is less than any register falls by when it wraps, in microjoules.
const smallFall = 60e9

// order says how a point stands to the newest values before it.
func (s *shard) order(m *meter, ref *[numFields]fieldAt, p *meterPoint) pointState {
	switch m.kind {
	case shareMeter:
		if _, found := slices.BinarySearch(s.nodes[m.node].olderTimes, p.t); found {
			return pointOlder
		}
		return 0
	case gaugeMeter:
		return 0
	}
	rise := func(f field) (by, before int64, known bool) {
		v, ok := p.get(f)
		return v - ref[f].v, ref[f].v, ok && ref[f].ok
	}
	active, activeBefore, okA := rise(fieldActive)
	idle, idleBefore, okI := rise(fieldIdle)
	raw, rawBefore, okR := rise(fieldRaw)
	// A register falls a little only if its reading is older than the time says: a
	// wrap is larger.
	back := okR && raw < 0 && -raw < smallFall && -raw <= rawBefore/2 && p.t-ref[fieldRaw].t <= 2*maxSkewMs
	switch {
	case back:
		return pointOlder
	case okA && active < 0 && -active > activeBefore/2:
		return pointAnew
	case okA && active < 0:
		if okI && (idle > 0 || -idle > idleBefore/2) {
			return pointAnew
		}
		return pointOlder
	case okI && idle < 0 && -idle > idleBefore/2:
		return pointAnew
	case okI && idle < 0 && !(okA && okR):
		return 0
	case okI && idle < 0:
		// Where both parts together follow the register no exporter started again.
		off := active + idle - raw
		if raw >= 0 && max(off, -off) > 1e6+raw/100 {
			return pointAnew
		}
	}
	return 0
}

// own returns how far a counter of the exporter that speaks from point k on rose
// since fromMs, when the one before it fell silent. At an unknown stretch of it,
// it is taken to have risen evenly.
func (s *shard) own(m *meter, k int, f field, fromMs int64) int64 {
	n := &s.nodes[m.node]
	p := &m.points[k]
	v, _ := p.get(f)
	for j := k - 1; j >= 0; j-- {
		q := &m.points[j]
		before, ok := q.get(f)
		if !ok || !n.sameExporter(q.origin, p.origin) {
			continue
		}
		switch {
		case v < before && m.kind == shareMeter:
			return s.byWatts(m, k, max(fromMs, q.t))
		case v < before:
			return v
		}
		return int64(float64(v-before) * float64(p.t-max(fromMs, q.t)) / float64(max(p.t-q.t, 1)))
	}
	return 0
}

// silentAt says whether t lies in a gap between points that is longer than a way
// is silent while it is listened to: nobody has told of it.
func (m *meter) silentAt(t, silenceMs int64) bool {
	k, _ := slices.BinarySearchFunc(m.points, t, func(p meterPoint, t int64) int {
		if p.t < t {
			return -1
		}
		return 1
	})
	return k > 0 && k < len(m.points) && m.points[k].t-m.points[k-1].t > silenceMs
}

// testify tells the node what its own counters say of its exporters. inserted says
// that the newest point is not all that is new.
func (s *shard) testify(m *meter, inserted bool) {
	n := &s.nodes[m.node]
	if m.kind != nodeMeter || int(n.witnesses[m.comp]) == 0 || &s.meters[n.witnesses[m.comp]-1] != m || len(m.points) == 0 {
		return
	}
	from := m.points[0].t
	restarts := slices.DeleteFunc(slices.Clone(n.restarts), func(r restart) bool { return r.comp == uint8(m.comp) && r.to >= from })
	var olderTimes []int64
	for _, t := range n.olderTimes {
		if t < from && t >= from-s.reorderMs {
			olderTimes = append(olderTimes, t)
		}
	}
	for k := range m.points {
		p := &m.points[k]
		switch {
		case p.state&pointOlder != 0:
			olderTimes = append(olderTimes, p.t)
		case p.state&pointAnew != 0:
			v, ok := p.get(fieldActive)
			t, before, okBefore := m.before(k, fieldActive)
			if ok && okBefore && v < before {
				restarts = append(restarts, restart{from: t, to: p.t, after: v, comp: uint8(m.comp), origin: p.origin})
			}
		}
	}
	if m.comp != power.CPU {
		olderTimes = n.olderTimes // the processors' counters tell
	}
	if inserted {
		s.revise(m.node, func() {})
	}
	s.hold(m.node, m.origin, restarts, olderTimes)
}
