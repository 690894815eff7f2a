package counter

// A step is what a point of a history books: the energy since the point that
// spoke before it.
type step struct {
	start, e int64 // start in Unix milliseconds
	how      how
	anew     bool // the counter started again
}

type how uint8

const (
	spoke how = iota // booked, were it 0
	muted            // another exporter speaks
	older            // it shows less than was heard before, so it is older than its time says
)

// steps returns what each of the points books. It is a function of the points
// and of what the node's own counters say of its exporters, whatever the order in
// which they came.
func (s *shard) steps(a *account, h *history, points []point, to []step) []step {
	n := &s.nodes[a.node]
	to = append(to[:0], step{})
	var heard []speaker
	if h.rivals {
		heard = s.heard[:0]
		for _, p := range points {
			heard = append(heard, speaker{p.t, p.origin})
		}
		s.heard = heard[:0]
	}
	cur := 0
	for k := 1; k < len(points); k++ {
		p, x := points[cur], points[k]
		st := step{start: p.t}
		if h.rivals && !n.sameExporter(p.origin, x.origin) {
			takes, overlapped := n.takesOver(heard, cur, k, s.haFailoverMs)
			switch {
			case !takes:
				st = step{how: muted}
			case overlapped:
				st.e = n.handover(points, cur, k)
			default: // one followed the other
				st.anew = x.v < p.v || s.anew(a, p, x)
				st.e = x.since(p, st.anew)
			}
		} else if st.anew = s.anew(a, p, x); !st.anew && (x.v < p.v || s.olderScrape(a, x)) {
			st = step{how: older}
		} else {
			st.e = x.since(p, st.anew)
		}
		if st.how == spoke {
			cur = k
		}
		to = append(to, st)
	}
	return to
}

// since returns the energy between two neighbouring points: the difference, or
// after a reset the whole new value.
func (p point) since(before point, anew bool) int64 {
	if anew {
		return p.v
	}
	return p.v - before.v
}

// handover returns what the exporter of the point at k tells of the time since
// the point at cur, the last of another exporter that fell silent.
func (n *node) handover(points []point, cur, k int) int64 {
	last, x := points[cur], points[k]
	for j := k - 1; j >= 0; j-- {
		p := points[j]
		if !n.sameExporter(p.origin, x.origin) {
			continue
		}
		switch {
		case p.v <= last.v && last.v <= x.v:
			return x.v - last.v // both scraped one counter
		case x.v < p.v:
			return x.v
		}
		whole, since := x.t-p.t, x.t-max(last.t, p.t)
		return int64(float64(x.v-p.v) * float64(since) / float64(max(whole, 1)))
	}
	return 0 // its first: where it stands
}

// restate books the difference between what points have booked and what they
// should have.
func (s *shard) restate(a *account, points []point, before, after []step) {
	for k := range points {
		was, is := before[k], after[k]
		newest := int64(0)
		if k == len(points)-1 {
			newest = points[k].v
		}
		switch {
		case was.how == is.how && was.start == is.start && was.e == is.e:
		case was.start == is.start && was.e != 0:
			s.book(a, is.start, points[k].t, is.e-was.e, newest)
		default:
			if was.e != 0 {
				s.book(a, was.start, points[k].t, -was.e, 0)
			}
			if is.start != 0 || is.e != 0 {
				s.book(a, is.start, points[k].t, is.e, newest)
			}
		}
	}
}

// anew says whether the counter started again between two points. A fall shows
// it, unless the later one is only an older reading with a wrong time; a start
// timestamp proves it; and if the node's own counters show that the exporter
// started again, all of its counters did, whether they fell or not.
func (s *shard) anew(a *account, p, x point) bool {
	if x.start > p.t || (p.start != 0 && x.start > p.start) {
		return true
	}
	n := &s.nodes[a.node]
	if n.restartT > p.t && s.restarted(a, p, x) {
		return true
	}
	if x.v >= p.v {
		return false
	}
	if p.tail {
		return true
	}
	if a.flags&flagNode == 0 && len(n.firsts) > 0 {
		return !s.olderScrape(a, x)
	}
	return x.v < p.v/2 // nothing else tells
}
