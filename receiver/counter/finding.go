package counter

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// A Finding says that a setup needed a rule to be booked right: what was found on a
// node, since when and how often, and whose samples it is about.
type Finding struct {
	Cluster, Node string
	Kind          FindingKind
	Sources       []string // labels that name who sent them, as "job=kepler instance=10.0.0.1:28282"; the one listened to first
	Count         uint64   // samples
	SinceMs       int64    // arrival of the first, Unix milliseconds, to the minute
	LastMs        int64    // arrival of the newest
}

// A FindingKind is what was found.
type FindingKind uint8

const (
	// TwoExporters of one node were scraped at one time, or one twice.
	TwoExporters FindingKind = iota
	// UnnamedPair samples came on two ways that no replica label tells apart, but others do.
	UnnamedPair
	// UnlabelledPair samples came on two ways that nothing tells apart, or by a clock that jumps a little.
	UnlabelledPair
	// TwoGenerations of Kepler, legacy and new, tell of one node.
	TwoGenerations
	// ClockSetBack of who sends the node's samples.
	ClockSetBack
	// LateContainers are older than the node's own counters: their series came later.
	LateContainers
	// HiddenProcessEnd says that the sum of a container's GPU processes rose by less than the power gauge tells.
	HiddenProcessEnd
	// RegisterJump of a node at a restart of its exporter.
	RegisterJump
	numFindings // that rules make here

	// AttributedTooMuch and AttributedTooLittle are of nodes whose parts do not add
	// up for minutes; who sees the windows finds them.
	AttributedTooMuch   = numFindings
	AttributedTooLittle = numFindings + 1
)

var findingNames = [...]string{
	"two_exporters", "unnamed_pair", "unlabelled_pair", "two_generations", "clock_set_back", "late_containers", "hidden_process_end", "register_jump",
	"attributed_too_much", "attributed_too_little",
}

func (k FindingKind) String() string { return findingNames[k] }

// found is what a node keeps of a finding.
type found struct {
	count             uint64
	sinceMin, lastMin uint32
	origins           [2]uint16
}

// notice notes that a rule took effect for a sample of a node.
func (s *shard) notice(ni uint32, kind FindingKind, listened, other uint16) {
	n := &s.nodes[ni]
	if n.found == nil {
		n.found = new([numFindings]found)
	}
	f := &n.found[kind]
	if f.count == 0 {
		f.sinceMin = s.nowMin
	}
	f.count++
	f.lastMin, f.origins = s.nowMin, [2]uint16{listened, other}
}

// noticeRival notes that a sample of another exporter than the one that speaks was
// not booked.
func (s *shard) noticeRival(a *account, x point) {
	n, kind := &s.nodes[a.node], TwoExporters
	if isLegacy(n.exporterOf(a.origin)) != isLegacy(n.exporterOf(x.origin)) {
		kind = TwoGenerations
	}
	s.notice(a.node, kind, a.origin, x.origin)
}

func isLegacy(exporter string) bool { return strings.HasPrefix(exporter, metric.KeplerLegacy) }

// Findings returns what rules took effect since the start, by node. They are not
// part of the books: a snapshot does not keep them.
func (c *Cache) Findings() []Finding {
	var all []Finding
	for _, s := range c.shards {
		s.mu.Lock()
		for i := range s.nodes {
			if n := &s.nodes[i]; n.found != nil {
				all = n.findings(all)
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.Node, b.Node), cmp.Compare(a.Kind, b.Kind))
	})
	return all
}

func (n *node) findings(to []Finding) []Finding {
	for kind := range n.found {
		f := &n.found[kind]
		if f.count == 0 {
			continue
		}
		one := Finding{
			Cluster: n.cluster, Node: n.name, Kind: FindingKind(kind), Count: f.count,
			SinceMs: int64(f.sinceMin) * 60_000, LastMs: int64(f.lastMin) * 60_000,
		}
		if kind == int(TwoGenerations) {
			f.origins = n.generations()
		}
		for i, o := range f.origins {
			if int(o) < len(n.origins) && (i == 0 || o != f.origins[0]) {
				one.Sources = append(one.Sources, n.origins[o].String())
			}
		}
		to = append(to, one)
	}
	return to
}

// generations returns the newest origins of both generations of Kepler, of the one
// that speaks first.
func (n *node) generations() (newest [2]uint16) {
	for i, o := range n.origins {
		if isLegacy(o.exporter) {
			newest[1] = uint16(i)
		} else {
			newest[0] = uint16(i)
		}
	}
	if n.turns[power.CPU].legacy {
		newest[0], newest[1] = newest[1], newest[0]
	}
	return newest
}
