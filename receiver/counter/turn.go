package counter

import "github.com/wattledger/wattledger/power"

// A turn says which generation of Kepler speaks for a component of a node. Legacy
// Kepler counts active and idle energy, the new one reads a register: nothing
// says that both are one, but that they are of one node.
type turn struct {
	known, legacy bool
	t             int64 // newest sample of the one that speaks, Unix milliseconds
	since         int64 // of the last of the other, which had spoken before; never if none had
}

// A stretch of time, of which the other generation tells. The zero stretch is none.
type stretch struct{ from, to int64 }

// cut takes what lies in the stretch from what a point at tMs books.
func (q stretch) cut(b *booked, tMs int64) {
	if q.to == 0 || b.start == 0 || tMs <= q.from || b.start >= q.to {
		return
	}
	if tMs <= q.to {
		*b = booked{}
		return
	}
	b.e = int64(float64(b.e) * float64(tMs-q.to) / float64(tMs-b.start))
	b.start = q.to
}

// speaks says whether a generation speaks for a component, at a sample of it.
// took says that it does from now on.
func (s *shard) speaks(ni uint32, comp power.Component, legacy bool, tMs int64) (speaks, took bool) {
	u := &s.nodes[ni].turns[comp]
	switch {
	case !u.known:
		*u = turn{known: true, legacy: legacy, t: tMs, since: never}
	case u.legacy == legacy:
		u.t = max(u.t, tMs)
	case tMs > u.t+s.haFailoverMs:
		u.legacy, u.since, u.t = legacy, u.t, tMs
		return true, true
	default:
		s.notice(ni, TwoGenerations, 0, 0)
		return false, false
	}
	return true, false
}

// hear notes a sample of Kepler's own counters of a node, and whose turn it is.
func (s *shard) hear(m *meter, tMs int64) (took bool) {
	if m.kind != nodeMeter || m.source != 0 && s.zones.name(m.source) != "kepler" {
		return false
	}
	speaks, took := s.speaks(m.node, m.comp, false, tMs)
	u := &s.nodes[m.node].turns[m.comp]
	switch {
	case !speaks && m.quiet.to != forever:
		m.quiet = stretch{u.since, forever}
	case speaks && m.quiet.to == forever:
		m.quiet.to = u.since
		return true
	}
	return took
}

// waits takes a sample of a node's own counter of legacy Kepler while the other
// generation speaks, and the first one after that.
func (s *shard) waits(i uint32, a *account, x point, o *Outcome) bool {
	speaks, _ := s.speaks(a.node, a.comp, true, x.t)
	u := &s.nodes[a.node].turns[a.comp]
	if !speaks {
		if a.side != 0 {
			s.dropHistory(a)
		}
		if x.t > a.lastT {
			if a.lastT <= u.t && a.lastT != never {
				s.waiting[i] = a.last()
			}
			a.lastT, a.lastV, a.startT, a.origin = x.t, x.v, x.start, x.origin
		}
		o.Duplicate++
		return true
	}
	base, waited := s.waiting[i]
	if !waited || x.t <= base.t {
		return false
	}
	delete(s.waiting, i)
	e := x.v
	if x.v >= base.v {
		e = x.v - base.v
	}
	from := max(base.t, u.since)
	if e = int64(float64(e) * float64(x.t-from) / float64(x.t-base.t)); s.plausible(e, from, x.t) {
		s.book(a, from, x.t, e, x.v)
	}
	a.lastT, a.lastV, a.startT, a.origin = x.t, x.v, x.start, x.origin
	o.Booked++
	return true
}
