package report

import (
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A seenTime is, by start of a step, how much of it samples were seen for, and
// the newest sample.
type seenTime struct {
	ms     map[int64]float64
	lastMs int64
}

// share returns which share of the asked part of a step samples were seen for.
func (s seenTime) share(st Step) float64 {
	if st.ToMs <= st.FromMs {
		return 0
	}
	return min(1, s.ms[st.StartMs]/float64(st.ToMs-st.FromMs))
}

// shareOf returns the share over several steps.
func (s seenTime) shareOf(steps []Step) float64 {
	var seen, asked float64
	for _, st := range steps {
		length := float64(st.ToMs - st.FromMs)
		seen += s.share(st) * length
		asked += length
	}
	if asked == 0 {
		return 0
	}
	return seen / asked
}

// seenIn reads the seen time off the rows of a question that leaves nothing of
// its clusters out and groups by namespace at a place, whatever else it groups by.
//
// It is the mean over the nodes that reported in the step, read off their
// remainders: each node has exactly one __unattributed__, __idle__ and
// __system__, which live as long as it does. Only where no node reports a
// remainder do containers tell instead; a namespace of short-lived ones tells
// too little, so the best seen namespace is believed.
func seenIn(rows []store.Row, groupBy []store.Dimension) seenTime {
	at := slices.Index(groupBy, store.Namespace)
	type key struct {
		startMs int64
		group   string
	}
	type held struct {
		namespace string
		seenMs    int64
		holders   int
	}
	// A group has one row for each price, and the same holder may be in several.
	byGroup := map[key]held{}
	s := seenTime{ms: map[int64]float64{}}
	for _, row := range rows {
		k := key{row.StartMs, strings.Join(row.Group, "\x00")}
		h := byGroup[k]
		byGroup[k] = held{row.Group[at], h.seenMs + row.SeenMs, max(h.holders, row.Holders)}
		s.lastMs = max(s.lastMs, row.LastMs)
	}
	groups := map[key]held{}
	for k, h := range byGroup {
		k.group = h.namespace
		sum := groups[k]
		groups[k] = held{h.namespace, sum.seenMs + h.seenMs, sum.holders + h.holders}
	}
	remainder := map[int64]bool{}
	for k, h := range groups {
		mean := float64(h.seenMs) / float64(max(h.holders, 1))
		pseudo := isPseudo(h.namespace)
		switch {
		case pseudo && !remainder[k.startMs]:
			remainder[k.startMs], s.ms[k.startMs] = true, mean
		case pseudo || !remainder[k.startMs]:
			s.ms[k.startMs] = max(s.ms[k.startMs], mean)
		}
	}
	return s
}

// isPseudo says that a namespace stands for what no workload used.
func isPseudo(namespace string) bool {
	for _, k := range []power.HolderKind{power.System, power.Idle, power.Unattributed} {
		if namespace == k.PseudoName() {
			return true
		}
	}
	return false
}

// amountOf returns what a row of a namespace holds. All of what is idle by
// itself is idle energy, of others the share allotted to them.
func amountOf(namespace string, row store.Row) Amount {
	idle := row.Idle
	if namespace == power.Idle.PseudoName() {
		idle = row.Energy.Total()
	}
	return Amount{parts: []part{{row.Price, row.Energy}}, idle: idle, lastMs: row.LastMs}
}
