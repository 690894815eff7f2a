package httpapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A step is one stretch of an answer, and the part of it that was asked for and
// has happened.
type step struct {
	startMs int64 // aligned to the step's length
	fromMs  int64 // max(startMs, the start asked for)
	toMs    int64 // min(the end of the step, the end asked for)
	endMs   int64
}

// whole says that the step was asked for from its start to its end.
func (s step) whole() bool { return s.fromMs == s.startMs && s.toMs == s.endMs }

func stepsOf(start, end time.Time, length time.Duration) []step {
	fromMs, toMs, stepMs := start.UnixMilli(), end.UnixMilli(), length.Milliseconds()
	var steps []step
	for s := fromMs - fromMs%stepMs; s < toMs; s += stepMs {
		steps = append(steps, step{startMs: s, fromMs: max(s, fromMs), toMs: min(s+stepMs, toMs), endMs: s + stepMs})
	}
	return steps
}

// alignedEnd returns the end to ask the store for. Nothing is booked after now,
// so an end of now may as well be the end of its step, which lets rollups answer.
func alignedEnd(end, now time.Time, length time.Duration) int64 {
	ms := end.UnixMilli()
	if over := ms % length.Milliseconds(); over != 0 && !end.Before(now) {
		ms += length.Milliseconds() - over
	}
	return ms
}

// A seenTime is, by start of a step, how much of it samples were seen for, and
// the newest sample.
type seenTime struct {
	ms     map[int64]float64
	lastMs int64
}

// share returns which share of the asked part of a step samples were seen for.
func (s seenTime) share(st step) float64 {
	if st.toMs <= st.fromMs {
		return 0
	}
	return min(1, s.ms[st.startMs]/float64(st.toMs-st.fromMs))
}

// shareOf returns the share over several steps.
func (s seenTime) shareOf(steps []step) float64 {
	var seen, asked float64
	for _, st := range steps {
		length := float64(st.toMs - st.fromMs)
		seen += s.share(st) * length
		asked += length
	}
	if asked == 0 {
		return 0
	}
	return seen / asked
}

// seen asks how much of each step the nodes of a cluster, or of all, were seen.
//
// It is the mean over the nodes that reported in the step, read off their
// remainders: each node has exactly one __unattributed__, __idle__ and
// __system__, which live as long as it does. Only where no node reports a
// remainder do containers tell instead; a namespace of short-lived ones tells
// too little, so the best seen namespace is believed.
func (a *api) seen(ctx context.Context, fromMs, toMs, stepMs int64, cluster string) (seenTime, error) {
	q := store.Query{FromMs: fromMs, ToMs: toMs, StepMs: stepMs, GroupBy: []store.Dimension{store.Namespace}}
	if cluster != "" {
		q.Match = map[store.Dimension]string{store.Cluster: cluster}
	}
	rows, err := a.books.Sum(ctx, q)
	if err != nil {
		return seenTime{}, fmt.Errorf("coverage: %w", err)
	}
	return seenIn(rows, q), nil
}

// seenIn reads the seen time off the rows of a question that leaves nothing of
// its clusters out and groups by namespace, whatever else it groups by.
func seenIn(rows []store.Row, q store.Query) seenTime {
	at := slices.Index(q.GroupBy, store.Namespace)
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
		k := key{row.StartMs - row.StartMs%q.StepMs, strings.Join(row.Group, "\x00")}
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

// idleOf returns the idle energy in a row: all of what is idle by itself, and
// the share allotted to others.
func idleOf(namespace string, row store.Row) power.Microjoules {
	if namespace == power.Idle.PseudoName() {
		return row.Energy.Total()
	}
	return row.Idle
}
