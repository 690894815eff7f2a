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
	breakT   int64 // time of the newest start, reset or change of origin, Unix milliseconds
	rivals   bool  // several exporters told points of it
	older    bool  // some point is older than its time says
	track    track
}

// A point is one sample.
type point struct {
	t     int64 // Unix milliseconds
	v     int64 // microjoules
	start int64 // start timestamp of the counter, Unix milliseconds; 0 for none
	tail  bool  // of a terminated series, from a replica that is not elected

	origin uint16
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
func (s *shard) first(i uint32, a *account, x point) {
	a.lastT, a.lastV, a.startT, a.origin = x.t, x.v, x.start, x.origin
	h := s.remember(i, a)
	h.first = true
	s.credit(a, h)
}

// credit books the first sample of h in full if the account's node was known
// before it, and has been active enough since to have used that much.
func (s *shard) credit(a *account, h *history) {
	n := &s.nodes[a.node]
	head := h.track.head()
	t, v := head.t, head.v
	known := n.since(head.origin)
	if start := head.start; start != 0 && start < t && t-start <= s.reorderMs && a.flags&flagNode == 0 && !s.wasBooked(a.holder) && s.plausible(v, start, t) {
		// It says itself that it began at 0 a moment ago.
		h.credited, h.creditT = true, start
		s.book(a, start, t, v, v)
		return
	}
	if a.flags&flagNode != 0 || t <= known || s.wasBooked(a.holder) || !s.plausible(v, known, t) || s.exceedsActive(a, v, t) {
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

// maxTailSkewMs is how far the clocks of a pair of replicas may lie apart where
// a counter ends.
const maxTailSkewMs = 5000

// tail takes the end of a counter from the replica that is not elected. Its
// clock may be behind: the end then seems to come before running samples that
// show less. It still comes after them.
func (s *shard) tail(i uint32, a *account, x point, m *Sample, o *Outcome) {
	x.tail, x.origin = true, a.origin
	points := append(s.points[:0], a.last())
	if a.side != 0 {
		points = s.histories[a.side-1].track.points(s.points[:0])
	}
	for _, p := range points {
		if p.t < m.TMs-maxTailSkewMs || p.t > m.TMs+maxTailSkewMs {
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
	if s.follows(a, h, x) {
		p := h.track.last()
		if !s.plausible(x.v-p.v, p.t, x.t) {
			s.suspect(h.account, a, x, m, o)
			return
		}
		if a.flags&flagSuspected != 0 {
			s.clear(h.account, a)
		}
		s.book(a, p.t, x.t, x.v-p.v, x.v)
		h.track.add(x)
		a.prevV = a.lastV
		a.lastT, a.lastV = x.t, x.v
		if x.start != 0 {
			a.startT = x.start
		}
		o.Booked++
		s.trim(a, h)
		return
	}
	points := h.track.points(s.points[:0])
	s.points = points[:0]
	k, news := s.place(a, h, points, x, o)
	if !news {
		return
	}
	before := s.steps(a, h, points, s.before)
	points = slices.Insert(points, k, x)
	after := s.steps(a, h, points, s.after)
	s.points, s.before, s.after = points[:0], before[:0], after[:0]
	if !s.believes(a, h, points, after, k, m, o) {
		return
	}
	if a.flags&flagSuspected != 0 {
		s.clear(h.account, a)
	}
	if k == 0 && h.credited {
		s.book(a, h.creditT, points[1].t, -points[1].v, 0)
		h.credited = false
	}
	s.restate(a, points, slices.Insert(before, k, step{}), after)
	h.track.set(points)
	s.settle(a, h, points, after)
	if k == 0 {
		s.credit(a, h)
	}
	switch {
	case k < len(points)-1 || after[k].how == older:
		o.Late++
	case after[k].how == muted:
		s.noticeRival(a, x)
		o.Duplicate++
	default:
		o.Booked++
	}
	if after[k].anew {
		o.Resets++
	}
	s.attest(a, points, after)
	s.trim(a, h)
}

// follows says whether x just goes on from the newest point, as nearly all samples do.
func (s *shard) follows(a *account, h *history, x point) bool {
	p := h.track.last()
	n := &s.nodes[a.node]
	return x.t > p.t && x.v >= p.v && x.start <= p.start && x.origin == p.origin &&
		!p.tail && !x.tail && !h.rivals && !h.older && n.restartT <= p.t && n.olderT < x.t
}

// place returns where x belongs among the points. news says that it tells any.
func (s *shard) place(a *account, h *history, points []point, x point, o *Outcome) (k int, news bool) {
	n := &s.nodes[a.node]
	k = len(points)
	for k > 0 && points[k-1].t > x.t {
		k--
	}
	if k > 0 && !x.tail && points[k-1].tail && x.v < points[k-1].v && x.t <= points[k-1].t+maxTailSkewMs {
		o.Duplicate++ // by the other replica's clock the counter had ended; it had not
		return k, false
	}
	for j := k - 1; j >= 0 && points[j].t == x.t; j-- {
		if n.sameExporter(points[j].origin, x.origin) {
			if points[j].v == x.v {
				o.Duplicate++
			} else {
				o.Conflict++
			}
			return k, false
		}
	}
	if k == 0 && (!h.first || x.t < a.lastT-s.reorderMs) {
		if x.t < a.lastT-s.reorderMs && x.v > a.lastV && x.v/2 <= a.lastV {
			s.behind(a, x, o)
		} else {
			o.Late++
		}
		return k, false
	}
	return k, true
}

// believes says whether what x at k and the point after it book is possible.
func (s *shard) believes(a *account, h *history, points []point, after []step, k int, m *Sample, o *Outcome) bool {
	x, to := points[k], points[k].t
	if x.tail {
		to = m.TMs + maxTailSkewMs // the latest it may have been
	}
	if st := after[k]; k > 0 && st.how == spoke && !s.plausible(st.e, st.start, max(to, x.t)) {
		s.suspect(h.account, a, x, m, o)
		return false
	}
	if k+1 < len(points) {
		if st := after[k+1]; st.how == spoke && !s.plausible(st.e, st.start, points[k+1].t) {
			s.quarantine(a, m, o)
			return false
		}
	}
	return true
}

// settle brings the account in line with its points.
func (s *shard) settle(a *account, h *history, points []point, steps []step) {
	last := 0
	for k, st := range steps {
		if st.how == spoke {
			last = k
		}
		if st.anew {
			h.breakT = max(h.breakT, points[k].t)
		}
	}
	p := points[last]
	if p.v != a.lastV {
		a.prevV = a.lastV
	}
	a.lastT, a.lastV, a.origin = p.t, p.v, p.origin
	if p.start != 0 {
		a.startT = p.start
	}
	h.older = slices.ContainsFunc(steps, func(st step) bool { return st.how == older })
}

// manyMuted is how many points of an exporter that does not speak are kept while
// order may still matter. If there are more, both exporters will go on for long, on
// all accounts of the node, and only what a change needs is kept.
const manyMuted = 12

// trim forgets what late samples can no longer reach. What remains begins with
// a point that spoke.
func (s *shard) trim(a *account, h *history) {
	if a.lastT-h.breakT > 2*s.reorderMs {
		s.dropHistory(a)
		return
	}
	if !h.rivals && !h.older {
		if h.track.drop(a.lastT-s.reorderMs, s.haFailoverMs) {
			h.first = false
		}
		return
	}
	points := h.track.points(s.points[:0])
	s.points = points[:0]
	steps := s.steps(a, h, points, s.before)
	s.before = steps[:0]
	until := a.lastT - s.reorderMs
	silent := 0
	for _, st := range steps {
		if st.how == muted {
			silent++
		}
	}
	if silent > manyMuted {
		until = a.lastT - 2*s.haFailoverMs
	}
	from := 0
	for k := range points {
		if steps[k].how == spoke && points[k].t <= until {
			from = k
		}
	}
	if from == 0 {
		return
	}
	h.first = false
	points = points[from:]
	h.track.set(points)
	n := &s.nodes[a.node]
	h.rivals = slices.ContainsFunc(points, func(p point) bool { return !n.sameExporter(p.origin, points[0].origin) })
	h.older = slices.ContainsFunc(steps[from:], func(st step) bool { return st.how == older })
}
