package counter

import (
	"math"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// An account is the state of one counter: what it last showed, and whose it is.
// It holds no pointers and fits a cache line, because at a million series this
// is the memory and the cache miss that count.
type account struct {
	lastT   int64 // time of the newest sample, Unix milliseconds; never before the first
	lastV   int64 // counter at lastT, microjoules
	prevV   int64 // counter at the sample before the newest
	startT  int64 // start timestamp the sender gave for the counter; 0 for none
	holder  uint32
	node    uint32
	next    uint32 // next account of the same holder, plus one; 0 ends the list
	side    uint32 // index plus one into the shard's histories (metric.RoleCounter) or meters (other roles)
	seenMin uint32 // arrival of the last sample, minutes since the epoch
	scale   float32
	origin  uint16 // of whom the account listens to, among those of its node
	zone    uint16
	role    metric.Role
	measure power.Measure
	comp    power.Component
	flags   accountFlags
}

type accountFlags uint8

const (
	flagDead      accountFlags = 1 << iota // memory given back
	flagCondemned                          // will be given back at the next sweep unless a sample comes
	flagNode                               // held by a node
	flagWitness                            // shows that the node's exporter is being received
	flagSuspected                          // the newest sample was impossible; see suspect
)

const never = math.MinInt64

// maxMicro is the largest counter that is believed, 9e12 J: a float64
// holds whole microjoules up to there, and an int64 the sum of many.
const maxMicro = 9e18

// micro converts a sample's value to microjoules. ok is false for what cannot
// be a counter: NaN, infinite, negative, or larger than any machine's lifetime.
func micro(value float64, scale float32) (v int64, ok bool) {
	x := value * float64(scale)
	if !(x >= 0 && x < maxMicro) {
		return 0, false
	}
	return int64(x + 0.5), true
}

// limitMicrojoules is the most energy believed over a stretch of time.
func (s *shard) limitMicrojoules(fromMs, toMs int64) int64 {
	const century = 100 * 365 * 24 * 3600 * 1000 // keeps the product within an int64
	return s.maxPerMs * min(max(toMs-fromMs, 0), century)
}

func (s *shard) plausible(e, fromMs, toMs int64) bool {
	return e >= 0 && e <= s.limitMicrojoules(fromMs, toMs)
}

// count books one sample of a RoleCounter account. The usual sample (newer,
// larger, of a counter without recent breaks) takes the first branches only.
func (s *shard) count(i uint32, m *Sample, o *Outcome) {
	a := &s.accounts[i]
	v, ok := micro(m.Value, a.scale)
	if !ok {
		s.quarantine(a, m, o)
		return
	}
	x := point{t: m.TMs, v: v, start: m.StartMs, origin: m.Ref.origin()}
	if x.start >= x.t && v > 0 {
		x.start = 0 // a counter cannot start when it already shows energy
	}
	if a.flags&flagNode != 0 && s.waits(i, a, x, o) {
		return
	}
	if a.lastT == never {
		s.first(i, a, x)
		o.Booked++
		return
	}
	if x.origin != a.origin && !s.listens(i, a, x, m, o) {
		return
	}
	if a.side != 0 {
		s.insert(a, s.histories[a.side-1], x, m, o)
		return
	}
	if m.TMs <= a.lastT {
		s.late(i, a, x, m, o)
		return
	}
	if v < a.lastV || x.start > a.startT {
		if p := a.last(); s.anew(a, p, x) {
			s.attest(a, []point{p, x}, []step{{}, {anew: true}})
			s.insert(a, s.remember(i, a), x, m, o)
			return
		} else if v < p.v {
			s.attest(a, []point{p, x}, []step{{}, {how: older}})
			o.Late++ // the reading is older than its time says
			return
		}
	}
	e := v - a.lastV
	if e > s.limitMicrojoules(a.lastT, m.TMs) {
		s.suspect(i, a, x, m, o)
		return
	}
	if a.flags&flagSuspected != 0 {
		s.clear(i, a)
	}
	s.book(a, a.lastT, m.TMs, e, v)
	a.prevV = a.lastV
	a.lastT, a.lastV = m.TMs, v
	if x.start != 0 {
		a.startT = x.start
	}
	o.Booked++
}

func (a *account) last() point {
	return point{t: a.lastT, v: a.lastV, start: a.startT, origin: a.origin}
}

// late answers a sample that is not newer than the newest one, of an account
// that has neither started nor restarted within reach. The differences around
// it telescope: whatever it says is part of what is booked already. Only one
// that is above the newest says more: within one life of a counter the higher
// value is the newer one, whatever the times say; if it is too high for that, the
// counter started again after it.
func (s *shard) late(i uint32, a *account, x point, m *Sample, o *Outcome) {
	switch {
	case x.t == a.lastT && x.v == a.lastV:
		o.Duplicate++
	case x.t == a.lastT:
		o.Conflict++
	case x.v <= a.lastV:
		o.Late++
	case x.t < a.lastT-s.reorderMs:
		s.behind(a, x, o)
	case x.v/2 > a.lastV:
		// No fall was seen, so the one before x showed no more than the newest.
		if !s.plausible(a.lastV, x.t, a.lastT) || !s.plausible(x.v-a.lastV, x.t-s.reorderMs, x.t) || s.wasQuarantined(a, m) {
			s.quarantine(a, m, o)
			return
		}
		// Of the samples around x the earlier cancels out: instead of last-before,
		// (x-before) + last should have been booked.
		s.book(a, x.t, a.lastT, x.v, 0)
		h := s.remember(i, a)
		h.track.set([]point{x, h.track.last()})
		o.Late++
	case !s.plausible(x.v-a.lastV, x.t, max(a.lastT, x.t+minuteMs)):
		s.quarantine(a, m, o)
	default:
		s.book(a, min(x.t, a.lastT-1), a.lastT, x.v-a.lastV, x.v)
		a.prevV, a.lastV = a.lastV, x.v
		o.Late++
	}
}

// book emits the reading of a counter.
func (s *shard) book(a *account, fromMs, toMs, e, counter int64) {
	s.out = append(s.out, power.Reading{
		Holder: a.holder, Measure: a.measure, Component: a.comp,
		Energy: power.Microjoules(e), StartMs: fromMs, EndMs: toMs, Counter: power.Microjoules(counter),
	})
	if a.measure == power.Active {
		s.nodes[a.node].active[a.comp] += e
	}
	if a.measure == power.Active || a.measure == power.NodeIdle {
		// A legacy node counts its active and idle energy apart and has no
		// counter of the whole.
		s.out = append(s.out, power.Reading{
			Holder: a.holder, Measure: power.Used, Component: a.comp,
			Energy: power.Microjoules(e), StartMs: fromMs, EndMs: toMs,
		})
	}
}
