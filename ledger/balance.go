package ledger

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
)

// What is unattributed may be this part of what a node used before it is worth a
// word, and that for so many windows in a row: samples of a node and of its
// containers are not of one moment.
const (
	mostNegative  = 0.01
	mostPositive  = 0.10
	unevenWindows = 5
)

// A balance watches how the parts of nodes add up.
type balance struct {
	mu    sync.Mutex
	nodes map[nodeName]*evenness // guarded by mu
}

type nodeName struct{ cluster, node string }

// An evenness is how the windows of a node have added up lately.
type evenness struct {
	newest  power.NodeWindow // may still move
	kind    counter.FindingKind
	uneven  int // windows in a row before the newest
	sinceMs int64
}

// take looks at windows that were made durable.
func (b *balance) take(windows []power.NodeWindow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nodes == nil {
		b.nodes = map[nodeName]*evenness{}
	}
	byTime := func(x, y power.NodeWindow) int { return cmp.Compare(x.StartMs, y.StartMs) }
	for _, w := range slices.SortedStableFunc(slices.Values(windows), byTime) { // a copy: the store may keep its own
		name := nodeName{w.Cluster, w.Node}
		e := b.nodes[name]
		switch {
		case e == nil:
			b.nodes[name] = &evenness{newest: w}
		case w.StartMs > e.newest.StartMs:
			e.close()
			e.newest = w
		case w.StartMs == e.newest.StartMs:
			e.newest = w
		}
	}
}

// close judges the newest window: another follows it.
func (e *evenness) close() {
	kind, uneven := judge(&e.newest)
	if !uneven {
		e.uneven = 0
		return
	}
	if e.uneven == 0 || kind != e.kind {
		e.uneven, e.kind, e.sinceMs = 0, kind, e.newest.StartMs
	}
	e.uneven++
}

func judge(w *power.NodeWindow) (kind counter.FindingKind, uneven bool) {
	used, left := float64(w.Used.Total()), float64(w.Unattributed.Total())
	switch {
	case left < -mostNegative*used:
		return counter.AttributedTooMuch, true
	case left > mostPositive*used:
		return counter.AttributedTooLittle, true
	}
	return 0, false
}

// findings returns the nodes that have not added up for some windows.
func (b *balance) findings(window time.Duration) (all []counter.Finding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, e := range b.nodes {
		if e.uneven >= unevenWindows {
			all = append(all, counter.Finding{
				Cluster: name.cluster, Node: name.node, Kind: e.kind, Count: uint64(e.uneven),
				SinceMs: e.sinceMs, LastMs: e.newest.StartMs + window.Milliseconds(),
			})
		}
	}
	slices.SortFunc(all, func(x, y counter.Finding) int {
		return cmp.Or(strings.Compare(x.Cluster, y.Cluster), strings.Compare(x.Node, y.Node))
	})
	return all
}
