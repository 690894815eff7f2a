package backfill

import (
	"context"
	"fmt"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store/local"
)

// A seam is a minute in which the books and the shadow say the same of a node
// and of everything on it. Between two seams the rows of the one may take the
// place of the rows of the other: what crosses either edge was split alike by
// both, so the sums between the edges are of the same stretch of the counters.

// A stretch is what is known of one node: where the rows may be replaced, and
// what would come of it.
type stretch struct {
	fromMs, toMs  int64 // [fromMs, toMs) is between seams; toMs counts when closed
	anchored      bool  // there is a seam before, or nothing in the books
	closed        bool  // and one behind
	newestMs      int64 // start of the newest window looked at; 0 before the first
	differs       int   // windows in which the two say different things
	lastDiffersMs int64
	lastSeamMs    int64
	booked, found [2]power.Energy // in those: of the node, and of the containers and VMs on it
	lacks         string          // what the books have and the shadow does not
	skipped       string          // why nothing is done
}

// An examination compares the shadow with the books and finds the seams.
type examination struct {
	books        *local.Store
	windowMs     int64
	fromMs, toMs int64
	known        map[nodeKey]local.BookedNode
	elsewhere    map[string]string // node name → a cluster of the books that has it
	nodes        map[nodeKey]*stretch
	hours        bookedHours
}

func newExamination(books *local.Store, windowMs, fromMs, toMs int64) *examination {
	x := &examination{
		books: books, windowMs: windowMs, fromMs: fromMs, toMs: toMs,
		known: map[nodeKey]local.BookedNode{}, elsewhere: map[string]string{}, nodes: map[nodeKey]*stretch{},
		hours: bookedHours{books: books, of: map[nodeKey]bookedHour{}},
	}
	for _, n := range books.BookedNodes() {
		x.known[nodeKey{n.Cluster, n.Node}] = n
		x.elsewhere[n.Node] = n.Cluster
	}
	return x
}

// take looks at the next window of a node.
func (x *examination) take(ctx context.Context, w *shadowWindow) error {
	k, start := w.key(), w.node.StartMs
	n := x.nodes[k]
	if n == nil {
		n = x.begin(k)
		x.nodes[k] = n
	}
	if n.closed || n.skipped != "" {
		return nil
	}
	if n.anchored && n.newestMs != 0 {
		for t := max(n.newestMs+x.windowMs, x.fromMs); t < min(start, x.toMs); t += x.windowMs {
			if b, err := x.hours.at(ctx, k, t); err != nil {
				return err
			} else if b.Node != nil && n.lacks == "" {
				n.lacks = "the books have rows of " + clock(t) + ", and this Prometheus shows nothing"
			}
		}
	}
	n.newestMs = start
	b, err := x.hours.at(ctx, k, start)
	if err != nil {
		return err
	}
	same, telling := compare(w, b)
	if same && telling {
		n.lastSeamMs = start
	}
	switch {
	case same && telling && start < x.fromMs: // a seam: nothing before it matters
		*n = stretch{fromMs: start + x.windowMs, anchored: true, newestMs: start, lastSeamMs: start}
	case same && telling && start >= x.toMs && n.anchored:
		n.toMs, n.closed = start, true
	case same || !n.anchored || start < n.fromMs:
	default:
		n.differs++
		n.lastDiffersMs = start
		addNode(&n.found, w.node)
		if b.Node != nil {
			addNode(&n.booked, *b.Node)
		}
		if n.lacks == "" && knowsMore(b, w) {
			n.lacks = "the books have samples of " + clock(start) + ", and this Prometheus has none"
		}
	}
	return nil
}

// knowsMore says whether the books were told of a sample in a window in which
// the shadow has none: a row holds the raw counter only where one fell into it.
func knowsMore(b local.BookedWindow, w *shadowWindow) bool {
	for i := range b.Charges {
		shown := w.charges[b.Charges[i].Holder.HolderKey].Counter // of none it is zero
		for c, v := range b.Charges[i].Counter {
			if v != 0 && shown[c] == 0 {
				return true
			}
		}
	}
	return false
}

// begin says where a node's stretch may begin before anything is known of it.
func (x *examination) begin(k nodeKey) *stretch {
	n := &stretch{fromMs: x.fromMs}
	life, known := x.known[k]
	if other, ok := x.elsewhere[k.node]; ok && !known {
		n.skipped = fmt.Sprintf("the books have it in cluster %s: does external_labels name the cluster, or metrics.default_cluster?", other)
	}
	n.anchored = !known || life.FirstMs >= x.fromMs
	return n
}

func addNode(sum *[2]power.Energy, n power.NodeWindow) {
	sum[0].Add(n.Used)
	sum[1].Add(n.Containers)
	sum[1].Add(n.VMs)
}

// loose says whether nodes that have been seen have no seam before the range.
func (x *examination) loose() bool {
	for _, n := range x.nodes {
		if !n.anchored && n.skipped == "" {
			return true
		}
	}
	return false
}

// waiting says whether a seam behind the range may still be found.
func (x *examination) waiting() bool {
	for k, n := range x.nodes {
		if n.anchored && !n.closed && n.skipped == "" && n.differs > 0 && x.known[k].LastMs >= x.toMs {
			return true
		}
	}
	return false
}

// end judges what has been found. openMs says from when on a node's windows are
// still open in memory.
func (x *examination) end(openMs func(nodeKey) int64) {
	for k, n := range x.nodes {
		if !n.closed && n.anchored && x.known[k].LastMs < x.toMs {
			n.toMs, n.closed = x.toMs, true // nothing follows that could be told apart
		}
		if !n.closed && n.anchored && n.lastSeamMs > n.lastDiffersMs {
			n.toMs, n.closed = n.lastSeamMs, true // the range reaches to where minutes are still open
		}
		switch {
		case n.skipped != "":
		case !n.anchored:
			n.skipped = "there is no minute before " + clock(x.fromMs) + " in which the books and this Prometheus say the same"
		case n.differs == 0:
		case !n.closed:
			n.skipped = "there is no minute after " + clock(x.toMs) + " in which the books and this Prometheus say the same"
		case n.lastDiffersMs+x.windowMs > openMs(k):
			n.skipped = "its minutes from " + clock(openMs(k)) + " on are still open; run it again later"
		case n.lacks != "":
			n.skipped = n.lacks
		default:
			n.skipped = n.less()
		}
	}
}

// less says what the books have more of than the shadow: then samples are
// missing there, and the books are the better ones. Energy that gauges tell is
// an estimate either way.
func (n *stretch) less() string {
	for i, what := range []string{"the node", "its containers"} {
		for _, c := range []power.Component{power.CPU, power.DRAM} {
			if d := n.booked[i][c] - n.found[i][c]; d > 0 {
				return fmt.Sprintf("this Prometheus shows %.3f J less %s energy of %s than the books have", d.Joules(), c, what)
			}
		}
	}
	return ""
}

// compare says whether the books hold what the shadow shows, and whether that
// tells anything: two zeros do not.
func compare(w *shadowWindow, b local.BookedWindow) (same, telling bool) {
	if b.Node == nil {
		return false, false
	}
	n, m := w.node, b.Node
	same = n.Used == m.Used && n.Containers == m.Containers && n.VMs == m.VMs && n.System == m.System && n.Idle == m.Idle && n.Unattributed == m.Unattributed
	for i := range b.Charges {
		c := &b.Charges[i]
		same = same && w.charges[c.Holder.HolderKey].Energy == c.Energy // none is zero
	}
	if same {
		have := make(map[power.HolderKey]bool, len(b.Charges))
		for i := range b.Charges {
			have[b.Charges[i].Holder.HolderKey] = true
		}
		for key, c := range w.charges {
			same = same && (have[key] || c.Energy == power.Energy{})
		}
	}
	return same, n.Used != power.Energy{} || n.Containers != power.Energy{}
}

// bookedHours reads the books an hour of a node at a time.
type bookedHours struct {
	books *local.Store
	of    map[nodeKey]bookedHour
}

type bookedHour struct {
	startMs int64
	windows map[int64]local.BookedWindow
}

func (h *bookedHours) at(ctx context.Context, k nodeKey, startMs int64) (local.BookedWindow, error) {
	hour := startMs - startMs%hourMs
	have, ok := h.of[k]
	if !ok || have.startMs != hour {
		windows, err := h.books.Booked(ctx, k.cluster, k.node, hour, hour+hourMs)
		if err != nil {
			return local.BookedWindow{}, err
		}
		have = bookedHour{hour, windows}
		h.of[k] = have
	}
	return have.windows[startMs], nil
}
