// Package storetest is the one suite that every engine passes: what it is
// given and what it answers is compared with a model that is too plain to be
// wrong.
package storetest

import (
	"context"
	"slices"
	"testing"

	"github.com/wattledger/wattledger/store"
)

// An Engine is what the suite tests.
type Engine interface {
	store.Appender
	store.Querier
}

// A Settler is an engine that does part of its work in the background. Settle
// does at once all of it that is due; no answer may change by it.
type Settler interface {
	Settle(ctx context.Context) error
}

// A Rougher is an engine that does not count holders as the suite does, or takes
// so long to answer that one in seven of the many questions has to do.
type Rougher interface {
	Rough() (holders, slow bool)
}

// Day0 is the start of the suite's time: a whole day, so that steps of any
// length begin there.
const Day0 = 1_760_054_400_000

const (
	minute = 60_000
	hour   = 60 * minute
)

// Run tests an engine. open returns a new, empty one that keeps minutes for at
// least three days and is closed by the test's cleanup. without names the tests
// of what the engine does not promise.
func Run(t *testing.T, open func(t *testing.T) Engine, without ...string) {
	tests := []struct {
		name string
		run  func(s *story)
	}{
		{"empty engine answers with nothing", emptyEngine},
		{"sums are exact for every grouping, step and edge", exactSums},
		{"appending again changes nothing", replay},
		{"a lower revision is ignored", lowerRevision},
		{"an hour long over is restated", restatement},
		{"what is learned of a holder moves its past", redescription},
		{"energy keeps the tags it was used under", tags},
		{"names of any kind come back as they were and match only themselves", names},
		{"values near the ends of 64 bits are exact or refused", extremes},
		{"prices stay apart", prices},
		{"remainders of nodes add up", remainders},
		{"node windows", nodeWindows},
		{"workloads", workloads},
		{"questions about some clusters tell nothing of others", clusters},
		{"pages of power neither repeat nor miss a row", pages},
		{"readers see whole batches while batches are written", readers},
		{"batches in any order", anyOrder},
	}
	for _, tt := range tests {
		if i := slices.Index(without, tt.name); i >= 0 {
			without = slices.Delete(without, i, i+1)
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // an engine waits for its disk most of the time
			s := &story{T: t, engine: open(t), model: newModel()}
			if e, ok := s.engine.(Rougher); ok {
				s.anyHolders, s.slow = e.Rough()
			}
			tt.run(s)
		})
	}
	if len(without) > 0 {
		t.Errorf("there are no tests named %q", without)
	}
}

// A story is one engine, the model of it, and what happens to both.
type story struct {
	*testing.T
	engine   Engine
	model    *model
	position uint64

	anyHolders bool // holders are not compared
	slow       bool // one question in seven has to do
	asked      int
}

// append gives a batch to the engine and the model.
func (s *story) append(b store.Batch) {
	s.Helper()
	s.position++
	b.Position = s.position
	if err := s.engine.Append(s.Context(), b); err != nil {
		s.Fatalf("append: %v", err)
	}
	s.model.append(b)
}

func (s *story) settle() {
	s.Helper()
	if e, ok := s.engine.(Settler); ok {
		if err := e.Settle(s.Context()); err != nil {
			s.Fatalf("settle: %v", err)
		}
	}
}

// compare asks both and compares.
func (s *story) compare(q store.Query) []store.Row {
	s.Helper()
	rows, err := s.engine.Sum(s.Context(), q)
	want, fits := s.model.sum(q)
	if !fits {
		if err == nil {
			s.Fatalf("sum %+v does not fit into 64 bits, and the engine answers %v", q, linesOf(rows))
		}
		return nil
	}
	if err != nil {
		s.Fatalf("sum %+v: %v", q, err)
	}
	got := linesOf(rows)
	if s.anyHolders {
		for i := range got {
			got[i].holders = 0
		}
		for i := range want {
			want[i].holders = 0
		}
	}
	if !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				s.Fatalf("sum %+v: %d rows, want %d; the first that differs is %d:\n got %+v\nwant %+v",
					q, len(got), len(want), i, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
			}
		}
	}
	return rows
}

// compareAll asks for every grouping that matters, over the whole of time and
// over ranges whose ends lie anywhere.
func (s *story) compareAll(from, to int64) {
	s.Helper()
	groups := [][]store.Dimension{
		nil, {store.Namespace}, {store.Cluster, store.Namespace}, {store.WorkloadType}, {store.Namespace, store.WorkloadType},
		{store.Cluster, store.Namespace, store.WorkloadKind, store.Workload}, {store.Node}, {store.Pod}, {store.Container}, {store.ContainerID},
		{store.Cluster, store.Node, store.ContainerID},
	}
	ranges := [][2]int64{{from, to}, {from + hour, to - to%hour}, {from + 7*minute, to - 13*minute}, {from + 1, to - 1}, {from + 59*minute, from + 61*minute}, {from, from}}
	n := 0
	for _, g := range groups {
		for _, step := range []int64{0, minute, 5 * minute, hour, 24 * hour} {
			if s.asked++; s.slow && s.asked%7 != 0 {
				n++
				continue
			}
			s.compare(store.Query{FromMs: from, ToMs: to, StepMs: step, GroupBy: g})
			// Of the other ranges each grouping meets one with each step.
			if r := ranges[n%len(ranges)]; r[0] <= r[1] {
				s.compare(store.Query{FromMs: r[0], ToMs: r[1], StepMs: step, GroupBy: g, WorkloadsOnly: n%2 == 0})
			}
			n++
		}
	}
}
