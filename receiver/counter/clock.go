package counter

import (
	"slices"

	"github.com/wattledger/wattledger/power"
)

// minuteMs is the time for which a rise is believed that no two times bound.
const minuteMs = 60_000

// behind takes a sample of a counter that is older by its time than any late one
// may be, and shows more than the newest. The node's own counters decide whether a
// clock was set back; where there are none, this one does.
func (s *shard) behind(a *account, x point, o *Outcome) {
	n := &s.nodes[a.node]
	tells := a.flags&flagNode != 0 && a.measure == power.Active
	if !tells && len(n.times) > 0 || x.v/2 > a.lastV || !s.plausible(x.v-a.lastV, 0, minuteMs) {
		o.Late++
		return
	}
	s.setBack(a.node, x.t)
	s.book(a, a.lastT, x.t, x.v-a.lastV, x.v)
	a.prevV = a.lastV
	a.lastT, a.lastV = x.t, x.v
	if a.side != 0 {
		s.dropHistory(a)
	}
	o.Booked++
}

// runsBack says whether a sample that is older by its time than any late one may
// be is newer than all by what it shows, and if so, sets the node's clock back. raw
// is the register of the same scrape.
func (s *shard) runsBack(a *account, m *meter, f field, tMs, v int64) (raw fieldAt, back bool) {
	if m.kind != nodeMeter || (f != fieldRaw && f != fieldActive) {
		return fieldAt{}, false
	}
	_, newest, ok := m.before(len(m.points), f)
	_, _, parts := m.before(len(m.points), fieldActive)
	if f == fieldRaw && parts {
		m.late = fieldAt{tMs, v, true} // the active counter decides, which does not wrap
		return fieldAt{}, false
	}
	if !ok || v <= newest || v/2 > newest {
		return fieldAt{}, false
	}
	if f == fieldActive && m.rawSeen {
		raw = m.late
		_, register, _ := m.before(len(m.points), fieldRaw)
		if raw.t != tMs || (raw.v < register && register-raw.v < smallFall) {
			return fieldAt{}, false
		}
	}
	s.setBack(a.node, tMs)
	return raw, true
}

// setBack lets all counters of a node go on at tMs from where they are, after the
// clock of who sends them was set back.
func (s *shard) setBack(ni uint32, tMs int64) {
	n := &s.nodes[ni]
	if k := len(n.firsts); k > 0 {
		s.notice(ni, ClockSetBack, n.firsts[k-1].origin, n.firsts[k-1].origin)
	}
	gap := int64(15_000)
	if k := len(n.times); k > 1 {
		gap = min(max(n.times[k-1]-n.times[k-2], 1000), minuteMs)
	}
	at := tMs - gap
	for _, i := range s.accountsOf(ni, true) {
		a := &s.accounts[i]
		if a.lastT <= at {
			continue
		}
		a.lastT = at
		if a.side != 0 {
			h := s.histories[a.side-1]
			h.track.set([]point{a.last()})
			h.breakT, h.first, h.rivals, h.older = at, false, false, false
		}
	}
	for i := range s.meters {
		m := &s.meters[i]
		if m.inUse && m.node == ni && len(m.points) > 0 {
			m.setBack(at)
		}
	}
	n.times = append(n.times[:0], at)
	n.restarts, n.olderTimes = nil, nil
	n.restartT, n.olderT = never, never
	for i := range n.firsts {
		n.firsts[i].t = min(n.firsts[i].t, at)
	}
	for i := range n.turns {
		n.turns[i].t = min(n.turns[i].t, at)
	}
}

// setBack makes what a meter showed last its only point, at a time.
func (m *meter) setBack(at int64) {
	p := meterPoint{t: at, origin: m.origin}
	for f := range p.v {
		if _, v, ok := m.before(len(m.points), field(f)); ok {
			p.v[f] = v
			p.has |= 1 << f
		}
	}
	m.points = append(slices.Delete(m.points, 0, len(m.points)), p)
	m.base, m.late = [numFields]fieldAt{}, fieldAt{}
	m.first, m.rivals = false, false
	if m.quiet.to == forever {
		m.quiet.from = min(m.quiet.from, at)
	} else {
		m.quiet = stretch{}
	}
}
