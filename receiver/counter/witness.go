package counter

import (
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// What a node's own counters say of its exporters, for all other counters of the node.

// A restart is a time between two scrapes at which an exporter started again:
// its active counter, which only rises, fell.
type restart struct {
	from, to int64 // Unix milliseconds
	after    int64 // active counter at to
	comp     uint8
	origin   uint16
}

// maxRestarts bounds how many of a node are remembered.
const maxRestarts = 16

// olderScrape says whether the node's own counters show that the scrape of x is
// older than what had come before.
func (s *shard) olderScrape(a *account, x point) bool {
	if a.flags&flagNode != 0 {
		return false // it tells for itself
	}
	_, found := slices.BinarySearch(s.nodes[a.node].olderTimes, x.t)
	return found
}

// restarted says whether the exporter started again between two points of a
// counter of its, which can then show no more than the node was active since.
func (s *shard) restarted(a *account, p, x point) bool {
	n := &s.nodes[a.node]
	if a.flags&flagNode != 0 {
		return false // it tells for itself
	}
	for _, r := range n.restarts {
		if r.comp != uint8(a.comp) || p.t > r.from || x.t < r.to || !n.sameExporter(r.origin, x.origin) {
			continue
		}
		if x.v < p.v || x.v <= r.after+r.after/50+1e6 {
			return true
		}
	}
	return false
}

// bearsWitness says whether a meter is of Kepler's own counters of a processor.
func (s *shard) bearsWitness(m *meter) bool {
	return m.inUse && m.kind == nodeMeter && m.source == 0 && int(m.node) < len(s.nodes) && int(m.comp) < power.NumComponents &&
		s.nodes[m.node].witnesses[m.comp] == 0
}

// witness returns the meter of a node's own counters of a component.
func (s *shard) witness(ni uint32, comp uint8) *meter {
	if i := s.nodes[ni].witnesses[comp]; i != 0 {
		return &s.meters[i-1]
	}
	return nil
}

// exceedsActive says whether a first value is more than the node has been active
// since it is known: then the counter is older than what is known of its node.
func (s *shard) exceedsActive(a *account, v, tMs int64) bool {
	n := &s.nodes[a.node]
	active, known := n.active[a.comp], false
	m := s.witness(a.node, uint8(a.comp))
	if m == nil { // legacy Kepler's counters are accounts like any other
		u := n.turns[a.comp]
		known, m = u.legacy && u.t >= tMs, &meter{}
	}
	for i := range m.points {
		p := &m.points[i]
		if _, ok := p.get(fieldActive); ok && p.t >= tMs && p.state&(pointOlder|pointMuted) == 0 {
			known = true
		}
		if p.t > tMs {
			active -= p.booked[power.Active].e
		}
	}
	if !known || v <= active+active/20+20e6 {
		return false
	}
	s.notice(a.node, LateContainers, a.origin, a.origin)
	return true
}

// revise does what changes what the node's own counters say of its exporters, and
// books anew what follows from it for the other counters of the node.
func (s *shard) revise(ni uint32, change func()) {
	type kept struct {
		account uint32
		points  []point
		steps   []step
	}
	var histories []kept
	n := &s.nodes[ni]
	accounts := s.accountsOf(ni, false)
	for _, i := range accounts {
		a := &s.accounts[i]
		if a.side == 0 {
			continue
		}
		h := s.histories[a.side-1]
		points := h.track.points(nil)
		histories = append(histories, kept{i, points, s.steps(a, h, points, nil)})
	}
	old := slices.Clone(n.restarts)
	change()
	n = &s.nodes[ni]
	for _, k := range histories {
		a := &s.accounts[k.account]
		h := s.histories[a.side-1]
		after := s.steps(a, h, k.points, nil)
		s.restate(a, k.points, k.steps, after)
		s.settle(a, h, k.points, after)
		if h.first && !h.credited {
			s.credit(a, h)
		}
	}
	for _, r := range n.restarts {
		if !slices.Contains(old, r) {
			s.expect(accounts, r)
		}
	}
	for i := range s.meters {
		m := &s.meters[i]
		if m.inUse && m.kind == shareMeter && m.node == ni && len(m.points) > 0 {
			s.remark(m, 0)
		}
	}
}

// attest tells the node what the points of a legacy exporter's counter of its active
// energy say of it: it started again, or scrapes are older than their times say.
func (s *shard) attest(a *account, points []point, steps []step) {
	if a.flags&flagNode == 0 || a.measure != power.Active {
		return
	}
	n := &s.nodes[a.node]
	from := points[0].t
	restarts := slices.DeleteFunc(slices.Clone(n.restarts), func(r restart) bool { return r.comp == uint8(a.comp) && r.to > from })
	olderTimes, before := slices.Clone(n.olderTimes), points[0].t
	for k := 1; k < len(points); k++ {
		x := points[k]
		if steps[k].anew {
			restarts = append(restarts, restart{from: before, to: x.t, after: x.v, comp: uint8(a.comp), origin: x.origin})
		}
		if steps[k].how == spoke {
			before = x.t
		}
		i, found := slices.BinarySearch(olderTimes, x.t)
		switch is := steps[k].how == older; {
		case is && !found:
			olderTimes = slices.Insert(olderTimes, i, x.t)
		case !is && found:
			olderTimes = slices.Delete(olderTimes, i, i+1)
		}
	}
	s.hold(a.node, a.origin, restarts, olderTimes)
}

// hold keeps what is known of a node's exporters and scrapes, and books anew what
// follows from what is new of it.
func (s *shard) hold(ni uint32, origin uint16, restarts []restart, olderTimes []int64) {
	n := &s.nodes[ni]
	if slices.Equal(restarts, n.restarts) && slices.Equal(olderTimes, n.olderTimes) {
		return
	}
	restarts = restarts[max(len(restarts)-maxRestarts, 0):]
	olderTimes = olderTimes[max(len(olderTimes)-maxOlder, 0):]
	s.revise(ni, func() {
		n := &s.nodes[ni]
		if len(olderTimes) > len(n.olderTimes) {
			s.notice(ni, UnlabelledPair, origin, origin)
		}
		n.restarts, n.olderTimes = restarts, olderTimes
		n.restartT, n.olderT = never, never
		for _, r := range restarts {
			n.restartT = max(n.restartT, r.to)
		}
		if k := len(olderTimes); k > 0 {
			n.olderT = olderTimes[k-1]
		}
	})
}

// maxOlder bounds how many scrapes that came out of order are remembered.
const maxOlder = 64

// accountsOf returns the counters of the containers of a node, and its own if so
// wished, always in one order.
func (s *shard) accountsOf(ni uint32, own bool) []uint32 {
	var holders, accounts []uint32
	for next := s.nodes[ni].holders; next != 0; next = s.holders[next-1].next {
		holders = append(holders, next-1)
	}
	slices.Sort(holders) // replay must book in the same order
	for _, hi := range holders {
		for next := s.holders[hi].accounts; next != 0; next = s.accounts[next-1].next {
			if a := &s.accounts[next-1]; a.role == metric.RoleCounter && a.flags&flagDead == 0 && a.lastT != never && (own || a.flags&flagNode == 0) {
				accounts = append(accounts, next-1)
			}
		}
	}
	return accounts
}

// expect keeps the histories of counters that started again with their exporter.
func (s *shard) expect(accounts []uint32, r restart) {
	for _, i := range accounts {
		a := &s.accounts[i]
		if a.side != 0 || uint8(a.comp) != r.comp || !s.nodes[a.node].sameExporter(r.origin, a.origin) && a.lastT > r.from {
			continue
		}
		switch {
		case a.lastT <= r.from && a.lastT >= r.from-s.forgetMs:
			s.remember(i, a)
		case a.lastT == r.to:
			before := a.last()
			before.t, before.v = r.from, a.prevV
			points := []point{before, a.last()}
			h := s.remember(i, a)
			h.track.set(points)
			if st := s.steps(a, h, points, nil)[1]; st.anew && a.lastV >= a.prevV {
				s.book(a, r.from, a.lastT, a.prevV, 0) // it was taken for the difference
			}
		}
	}
}
