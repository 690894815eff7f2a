package counter

import "slices"

// A history is the recent samples of a counter that has just started or
// restarted. While it is kept, a late sample is booked exactly, whatever order
// samples arrive in: around a first sample or a reset differences do not
// telescope. Once start and resets are out of reach of the reorder window, it
// is dropped, and only the account remains.
type history struct {
	account  uint32
	first    bool  // points[0] is the first sample ever seen of the account
	credited bool  // the first sample was booked in full, from creditT on
	creditT  int64 // Unix milliseconds
	breakT   int64 // time of the newest start or reset, Unix milliseconds
	track    track
}

// A point is one sample.
type point struct {
	t     int64 // Unix milliseconds
	v     int64 // microjoules
	start int64 // start timestamp of the counter, Unix milliseconds; 0 for none
	tail  bool  // of a terminated series, from a replica that is not elected
}

// since returns the energy between two neighbouring points: the difference, or
// after a reset the whole new value.
func (p point) since(before point) int64 {
	if p.resets(before) {
		return p.v
	}
	return p.v - before.v
}

// resets says whether the counter started again between two points: it fell, or
// the sender proves it with a start timestamp.
func (p point) resets(before point) bool {
	return p.v < before.v || p.start > before.t || (before.start != 0 && p.start > before.start)
}

func (s *shard) newHistory(i uint32, a *account) *history {
	var n int
	if k := len(s.freeHistories); k > 0 {
		n = int(s.freeHistories[k-1])
		s.freeHistories = s.freeHistories[:k-1]
	} else {
		n = len(s.histories)
		s.histories = append(s.histories, nil)
	}
	h := &history{account: i}
	s.histories[n] = h
	a.side = uint32(n) + 1
	return h
}

// remember starts a history with the newest sample of an account.
func (s *shard) remember(i uint32, a *account) *history {
	h := s.newHistory(i, a)
	h.track.add(a.last())
	h.breakT = a.lastT
	return h
}

func (s *shard) dropHistory(a *account) {
	n := a.side - 1
	s.histories[n] = nil // most live only for a while after a start, and then their memory goes
	s.freeHistories = append(s.freeHistories, n)
	a.side = 0
}

// first takes the first sample ever seen of an account. If the node's counters
// were being received before it, the counter began at zero in between, and the
// whole value is energy that nobody has booked; otherwise it is a mere baseline.
func (s *shard) first(i uint32, a *account, x point, replica uint16) {
	a.lastT, a.lastV, a.startT, a.replica = x.t, x.v, x.start, replica
	h := s.remember(i, a)
	h.first = true
	s.credit(a, h)
}

// credit books the first sample of h in full if the account's node was known before it.
func (s *shard) credit(a *account, h *history) {
	n := &s.nodes[a.node]
	head := h.track.head()
	t, v := head.t, head.v
	known := n.since(a.replica)
	if a.flags&flagNode != 0 || t <= known || s.wasBooked(a.holder) || !s.plausible(v, known, t) {
		return
	}
	h.credited, h.creditT = true, n.before(t)
	s.book(a, h.creditT, t, v, v)
}

// wasBooked reports whether the books had the holder before memory was lost.
func (s *shard) wasBooked(hi uint32) bool {
	h := &s.holders[hi]
	_, ok := s.nodes[h.node].booked[localName{h.kind, h.id}]
	return ok
}

// maxSkewMs is how far the clocks of a pair of replicas may lie apart.
const maxSkewMs = 5000

// tail takes the end of a counter from the replica that is not elected. Its
// clock may be behind: the end then seems to come before running samples that
// show less. It still comes after them.
func (s *shard) tail(i uint32, a *account, x point, m *Sample, o *Outcome) {
	x.tail = true
	points := append(s.points[:0], a.last())
	if a.side != 0 {
		points = s.histories[a.side-1].track.points(s.points[:0])
	}
	for _, p := range points {
		if p.t < m.TMs-maxSkewMs || p.t > m.TMs+maxSkewMs {
			continue
		}
		if p.v >= x.v {
			o.Duplicate++
			return
		}
		x.t = max(x.t, p.t+1)
	}
	if a.side == 0 {
		s.remember(i, a)
	}
	h := s.histories[a.side-1]
	h.breakT = max(h.breakT, x.t)
	s.insert(a, h, x, m, o)
}

// insert takes a sample of an account whose history is kept.
func (s *shard) insert(a *account, h *history, x point, m *Sample, o *Outcome) {
	v := x.v
	// Nearly all samples are newer than the newest: then there is nothing to unpack.
	points := append(s.points[:0], h.track.last())
	if x.t <= h.track.t {
		points = h.track.points(s.points[:0])
	}
	s.points = points[:0]
	k := len(points)
	for k > 0 && points[k-1].t > x.t {
		k--
	}
	if k > 0 && !x.tail && points[k-1].tail && v < points[k-1].v && x.t <= points[k-1].t+maxSkewMs {
		o.Duplicate++ // by the other replica's clock the counter had ended; it had not
		return
	}
	if k > 0 && points[k-1].t == x.t {
		if points[k-1].v == v {
			o.Duplicate++
		} else {
			o.Conflict++
		}
		return
	}
	if x.t < a.lastT-s.reorderMs || (k == 0 && !h.first) {
		o.Late++
		return
	}
	at := x.t
	if x.tail {
		at = m.TMs + maxSkewMs // the latest it may have been
	}
	if k > 0 && !s.plausible(x.since(points[k-1]), points[k-1].t, max(at, x.t)) {
		s.suspect(h.account, a, x, m, o)
		return
	}
	if k < len(points) && !s.plausible(points[k].since(x), x.t, points[k].t) {
		s.quarantine(a, m, "more than the node can draw", o)
		return
	}
	if a.flags&flagSuspected != 0 {
		s.clear(h.account, a)
	}

	switch {
	case k == len(points): // the newest
		p := points[k-1]
		s.book(a, p.t, x.t, x.since(p), v)
		a.lastT, a.lastV = x.t, v
		if x.start != 0 {
			a.startT = x.start
		}
	case k == 0: // before the first
		n := points[0]
		if h.credited {
			s.book(a, h.creditT, n.t, -n.v, 0)
			h.credited = false
		}
		s.book(a, x.t, n.t, n.since(x), 0)
		o.Late++
	default: // between two
		p, n := points[k-1], points[k]
		s.book(a, p.t, n.t, -n.since(p), 0)
		s.book(a, p.t, x.t, x.since(p), 0)
		s.book(a, x.t, n.t, n.since(x), 0)
		o.Late++
	}
	if k == len(points) {
		o.Booked++
		points = append(points, x)
		h.track.add(x)
	} else { // it is counted as late
		points = slices.Insert(points, k, x)
		h.track.set(points)
	}
	s.points = points[:0]
	if k == 0 {
		s.credit(a, h)
	}
	for j := max(k, 1); j <= k+1 && j < len(points); j++ {
		if points[j].resets(points[j-1]) {
			h.breakT = max(h.breakT, points[j].t)
			if j == k {
				o.Resets++
			}
		}
	}
	s.trim(a, h)
}

// trim forgets what late samples can no longer reach.
func (s *shard) trim(a *account, h *history) {
	if a.lastT-h.breakT > 2*s.reorderMs {
		s.dropHistory(a)
		return
	}
	if h.track.drop(a.lastT - s.reorderMs) {
		h.first = false
	}
}
