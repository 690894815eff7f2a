package counter

// listens says whether a sample of another origin than the one that an account
// listens to is taken like any other. If not, what it says has been dealt with.
func (s *shard) listens(i uint32, a *account, x point, m *Sample, o *Outcome) bool {
	n := &s.nodes[a.node]
	if n.exporterOf(a.origin) == "" && n.samePath(a.origin, x.origin) {
		a.origin = x.origin // nobody knew who it was
		return true
	}
	if n.samePath(a.origin, x.origin) {
		if a.side == 0 {
			s.remember(i, a)
		}
		h := s.histories[a.side-1]
		h.rivals = true
		h.breakT = max(h.breakT, x.t)
		return true
	}
	same := n.sameExporter(a.origin, x.origin)
	switch {
	case m.Ref.terminated() && same:
		s.tail(i, a, x, m, o)
	case x.t > a.lastT+s.haFailoverMs && (same || n.since(x.origin) > a.lastT):
		// What the other way tells later of the time between is heard.
		if a.side == 0 {
			s.remember(i, a)
		}
		h := s.histories[a.side-1]
		h.breakT = max(h.breakT, x.t)
		a.origin = x.origin
		return true
	case x.t > a.lastT+s.haFailoverMs:
		// A counter of its own that was running beside the one that fell silent.
		if a.side != 0 {
			s.dropHistory(a)
		}
		a.lastT, a.lastV, a.startT, a.origin = x.t, x.v, x.start, x.origin
		o.Booked++
	case same && x.t < a.lastT && a.side != 0 && s.histories[a.side-1].silentAt(x.t, s.haFailoverMs):
		return true
	default:
		if x, y := n.origins[a.origin], n.origins[x.origin]; x.replica == y.replica {
			s.notice(a.node, UnnamedPair, a.origin, m.Ref.origin())
		}
		o.Duplicate++
	}
	return false
}

// silentAt says whether t lies in a gap of a history that is longer than a pair
// is silent while one of it is listened to: nobody has told of it.
func (h *history) silentAt(t, silenceMs int64) bool {
	before := int64(never)
	for _, p := range h.track.points(nil) {
		if p.t >= t {
			return p.t > t && before != never && p.t-before > silenceMs
		}
		before = p.t
	}
	return false
}

// elected says whether a sample's way is the one listened to, and elects
// another when that one has been silent for too long. A terminated series is
// heard from any replica, because often only one of a pair sees it.
func (s *shard) elected(n *node, listened *uint16, lastMs int64, m *Sample) bool {
	r := m.Ref.origin()
	if r == *listened || m.Ref.terminated() {
		return true
	}
	if n.samePath(*listened, r) || m.TMs > lastMs+s.haFailoverMs {
		*listened = r
		return true
	}
	return false
}
