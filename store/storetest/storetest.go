// Package storetest is the one suite that every engine passes: what it is
// given and what it answers is compared with a model that is too plain to be
// wrong.
package storetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wattledger/wattledger/power"
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

// Day0 is the start of the suite's time: a whole day, so that steps of any
// length begin there.
const Day0 = 1_760_054_400_000

const (
	minute = 60_000
	hour   = 60 * minute
)

// Run tests an engine. open returns a new, empty one that keeps minutes for at
// least three days and is closed by the test's cleanup.
func Run(t *testing.T, open func(t *testing.T) Engine) {
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
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // an engine waits for its disk most of the time
			tt.run(&story{T: t, engine: open(t), model: newModel()})
		})
	}
}

// A story is one engine, the model of it, and what happens to both.
type story struct {
	*testing.T
	engine   Engine
	model    *model
	position uint64
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
			s.compare(store.Query{FromMs: from, ToMs: to, StepMs: step, GroupBy: g})
			// Of the other ranges each grouping meets one with each step.
			if r := ranges[n%len(ranges)]; r[0] <= r[1] {
				s.compare(store.Query{FromMs: r[0], ToMs: r[1], StepMs: step, GroupBy: g, WorkloadsOnly: n%2 == 0})
			}
			n++
		}
	}
}

var flat = &power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}

func container(node, id, namespace, workload string, typ power.Type) *power.Holder {
	return &power.Holder{
		HolderKey: power.HolderKey{Cluster: "c1", Node: node, Kind: power.Container, ID: id},
		Workload:  power.Workload{Cluster: "c1", Namespace: namespace, Kind: "deployment", Name: workload},
		Type:      typ, Rule: "a rule", Pod: workload + "-" + id, PodUID: "uid-" + id, Container: "main", Image: "image:1",
	}
}

func remainder(node string, kind power.HolderKind) *power.Holder {
	name := kind.PseudoName()
	return &power.Holder{
		HolderKey: power.HolderKey{Cluster: "c1", Node: node, Kind: kind},
		Workload:  power.Workload{Cluster: "c1", Namespace: name, Kind: "", Name: name}, Type: power.SystemType,
	}
}

// charge returns a full charge whose numbers depend on n alone.
func charge(h *power.Holder, startMs int64, n int64, revision uint64) power.Charge {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	c := power.Charge{Holder: h, StartMs: startMs, Seconds: 60, SeenMs: 59_000 + r.Int32N(1000), LastMs: startMs + r.Int64N(minute), Price: flat, Revision: revision}
	for i := range c.Energy {
		c.Energy[i] = power.Microjoules(r.Int64N(2_000_000_000))
		c.Counter[i] = power.Microjoules(r.Int64N(1 << 50))
	}
	c.Idle = c.Energy[power.CPU] / 3
	return c
}

func holders() []*power.Holder {
	var list []*power.Holder
	for i := range 12 {
		types := []power.Type{power.MLTraining, power.Web, power.Unknown}
		list = append(list, container(fmt.Sprintf("n%d", i%3), fmt.Sprintf("id-%d", i), fmt.Sprintf("ns%d", i%4), fmt.Sprintf("w%d", i%5), types[i%3]))
	}
	for _, n := range []string{"n0", "n1", "n2"} {
		list = append(list, remainder(n, power.System), remainder(n, power.Idle), remainder(n, power.Unattributed))
	}
	return list
}

func emptyEngine(s *story) {
	s.compareAll(Day0, Day0+2*hour)
	if p, err := s.engine.Position(s.Context()); err != nil || p != 0 {
		s.Errorf("position %d, %v; want 0", p, err)
	}
	rows, next, err := s.engine.Power(s.Context(), store.PowerQuery{FromMs: Day0, ToMs: Day0 + hour, Limit: 10})
	if len(rows) != 0 || next != "" || err != nil {
		s.Errorf("power: %v, %q, %v; want nothing", rows, next, err)
	}
	if w, err := s.engine.Nodes(s.Context(), Day0, Day0+hour, nil); len(w) != 0 || err != nil {
		s.Errorf("nodes: %v, %v; want nothing", w, err)
	}
	if p, err := s.engine.Profiles(s.Context(), Day0, Day0+hour, nil); len(p) != 0 || err != nil {
		s.Errorf("profiles: %v, %v; want nothing", p, err)
	}
}

// fill appends minutes [from, to) of the holders.
func (s *story) fill(list []*power.Holder, from, to int64) {
	s.Helper()
	var b store.Batch
	for m := from; m < to; m++ {
		for i, h := range list {
			if (m+int64(i))%7 == 0 {
				continue // not everything is there all the time
			}
			b.Charges = append(b.Charges, charge(h, Day0+m*minute, m*1000+int64(i), uint64(m+1)))
		}
		if m%5 == 0 || m == to-1 {
			s.append(b)
			b = store.Batch{}
		}
	}
}

func exactSums(s *story) {
	list := holders()
	s.fill(list, 0, 200)
	s.compareAll(Day0, Day0+200*minute)
	s.settle()
	s.compareAll(Day0, Day0+200*minute)
	s.compareAll(Day0-3*hour, Day0+48*hour)
	s.fill(list, 200, 260)
	s.compareAll(Day0, Day0+260*minute)
	s.settle()
	s.compareAll(Day0, Day0+260*minute)
	if p, err := s.engine.Position(s.Context()); err != nil || p != s.position {
		s.Errorf("position %d, %v; want %d", p, err, s.position)
	}
}

func replay(s *story) {
	list := holders()
	var batches []store.Batch
	for m := int64(0); m < 150; m++ {
		var b store.Batch
		for i, h := range list {
			b.Charges = append(b.Charges, charge(h, Day0+m*minute, m*1000+int64(i), uint64(m+1)))
		}
		batches = append(batches, b)
		s.append(b)
	}
	for range 2 {
		for _, b := range batches[100:] {
			s.append(b)
		}
		s.settle()
		for _, b := range batches[:70] {
			s.append(b)
		}
		s.settle()
		s.compareAll(Day0, Day0+150*minute)
	}
}

func lowerRevision(s *story) {
	h := container("n0", "a", "ns", "w", power.Web)
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 1, 5)}})
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 2, 4)}})
	rows := s.compare(store.Query{FromMs: Day0, ToMs: Day0 + hour})
	if len(rows) != 1 || rows[0].Energy != charge(h, Day0, 1, 5).Energy {
		s.Errorf("the lower revision won: %v", rows)
	}
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 3, 5)}})
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 4, 6), charge(h, Day0, 5, 5)}})
	s.compareAll(Day0, Day0+hour)
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0+5*hour, 9, 7)}})
	s.settle()
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 6, 5)}}) // and in a closed hour
	s.compareAll(Day0, Day0+6*hour)
}

func restatement(s *story) {
	list := holders()
	s.fill(list, 0, 300)
	s.settle()
	late := container("n9", "late", "ns-late", "w", power.Batch)
	s.append(store.Batch{Charges: []power.Charge{
		charge(list[0], Day0+10*minute, 77, 9000),
		charge(list[1], Day0+61*minute, 78, 9000),
		charge(late, Day0+3*minute, 79, 9001),
		charge(late, Day0+299*minute, 80, 9001),
	}})
	s.compareAll(Day0, Day0+300*minute)
	s.settle()
	s.compareAll(Day0, Day0+300*minute)
	s.append(store.Batch{Charges: []power.Charge{charge(late, Day0-26*hour, 81, 9002)}}) // before everything else
	s.compareAll(Day0-26*hour, Day0+300*minute)
	s.settle()
	s.compareAll(Day0-26*hour, Day0+300*minute)
}

func redescription(s *story) {
	list := holders()
	s.fill(list, 0, 200)
	s.settle()
	moved := *list[0]
	moved.Workload.Namespace, moved.Workload.Name, moved.Workload.Kind, moved.Type = "elsewhere", "other", "job", power.Batch
	s.append(store.Batch{Holders: []*power.Holder{&moved}})
	s.compareAll(Day0, Day0+200*minute)
	s.settle()
	s.compareAll(Day0, Day0+200*minute)
	again := *list[1]
	again.Type = power.Inference
	s.append(store.Batch{Charges: []power.Charge{charge(&again, Day0+200*minute, 5, 500)}})
	s.compareAll(Day0, Day0+201*minute)
	s.settle()
	s.compareAll(Day0, Day0+201*minute)
	// A holder may be described before its first row.
	early := container("n0", "early", "ns0", "w0", power.Web)
	s.append(store.Batch{Holders: []*power.Holder{early}})
	s.append(store.Batch{Charges: []power.Charge{charge(early, Day0+201*minute, 6, 501)}})
	s.compareAll(Day0, Day0+202*minute)
}

func names(s *story) {
	odd := []string{
		"", " ", "two words", "a,b", "a=b", "a:b", `say "hi"`, `it's`, `back\slash`, `ends in \`, "한글 이름", "é\u0301", "'; DROP TABLE holders; --",
		`" OR ""="`, "%", "_", "*", ".*", "$1", "?", "NULL", "0", "tab\there", "line\nbreak", "|2|ab", strings.Repeat("x", 2000),
	}
	var b store.Batch
	for i, n := range odd {
		h := container("n "+n, fmt.Sprintf("id %d %s", i, n), n, n, power.Web)
		h.Pod, h.Container = n, n
		b.Charges = append(b.Charges, charge(h, Day0, int64(i), 1))
	}
	s.append(b)
	for _, settled := range []bool{false, true} {
		if settled {
			s.append(store.Batch{Charges: []power.Charge{charge(container("n", "z", "z", "z", power.Web), Day0+4*hour, 1, 2)}})
			s.settle()
		}
		s.compareAll(Day0, Day0+hour)
		for _, n := range odd {
			for _, d := range []store.Dimension{store.Namespace, store.Workload, store.Pod, store.Container} {
				rows := s.compare(store.Query{FromMs: Day0, ToMs: Day0 + hour, StepMs: hour, GroupBy: []store.Dimension{d}, Match: map[store.Dimension]string{d: n}})
				if len(rows) != 1 || rows[0].Group[0] != n {
					s.Errorf("match %s=%q: %d rows, want the one of that name", d, n, len(rows))
				}
			}
		}
		for _, n := range []string{"x", "한", "two", "' OR '1'='1", "a,b\x00"} {
			if rows := s.compare(store.Query{FromMs: Day0, ToMs: Day0 + hour, Match: map[store.Dimension]string{store.Namespace: n}}); len(rows) != 0 {
				s.Errorf("match namespace=%q: %v, want nothing", n, rows)
			}
		}
	}
	if _, err := s.engine.Sum(s.Context(), store.Query{ToMs: 1, Match: map[store.Dimension]string{"namespace'--": "x"}}); err == nil {
		s.Error("an unknown dimension was accepted")
	}
}

func extremes(s *story) {
	const most = math.MaxInt64
	a, b := container("n0", "a", "one", "w", power.Web), container("n0", "b", "two", "w", power.Web)
	put := func(h *power.Holder, m int64, e power.Microjoules) {
		c := charge(h, Day0+m*minute, 1, uint64(m+1))
		c.Energy, c.Counter, c.Idle = power.Energy{e, 0, -e, 1}, power.Energy{most, 1, e, 0}, 0
		s.append(store.Batch{Charges: []power.Charge{c}})
	}
	put(a, 0, 9e18)
	put(b, 0, -9e18)
	put(a, 1, -9e18)
	put(b, 1, most)
	check := func() {
		s.Helper()
		for _, step := range []int64{0, minute, hour} {
			for _, g := range [][]store.Dimension{nil, {store.Namespace}, {store.ContainerID}} {
				s.compare(store.Query{FromMs: Day0, ToMs: Day0 + minute, StepMs: step, GroupBy: g})
				s.compare(store.Query{FromMs: Day0 + minute, ToMs: Day0 + 2*minute, StepMs: step, GroupBy: g})
			}
		}
	}
	check()
	s.append(store.Batch{Charges: []power.Charge{charge(a, Day0+5*hour, 1, 99)}})
	s.settle()
	check()
	// Two that only fit apart.
	for m := int64(360); m < 363; m++ {
		put(a, m, 9e18)
	}
	q := store.Query{FromMs: Day0 + 6*hour, ToMs: Day0 + 7*hour, GroupBy: []store.Dimension{store.Namespace}}
	for _, step := range []int64{0, minute, hour} {
		q.StepMs = step
		s.compare(q)
	}
	s.append(store.Batch{Charges: []power.Charge{charge(b, Day0+12*hour, 1, 999)}})
	s.settle()
	for _, step := range []int64{0, minute, hour} {
		q.StepMs = step
		s.compare(q)
	}
}

func prices(s *story) {
	list := holders()[:4]
	night := *flat
	night.ElectricityPerKWh = 0.07
	same := *flat // another pointer, the same price
	for m := int64(0); m < 130; m++ {
		var b store.Batch
		for i, h := range list {
			c := charge(h, Day0+m*minute, m*10+int64(i), uint64(m+1))
			switch {
			case m >= 30 && m < 90:
				c.Price = &night
			case m%2 == 0:
				c.Price = &same
			}
			b.Charges = append(b.Charges, c)
		}
		s.append(b)
	}
	s.compareAll(Day0, Day0+130*minute)
	s.append(store.Batch{Charges: []power.Charge{charge(list[0], Day0+6*hour, 1, 500)}})
	s.settle()
	s.compareAll(Day0, Day0+130*minute)
	// Re-rated: the same energy at another price.
	c := charge(list[0], Day0+10*minute, 100, 600)
	c.Price = &night
	s.append(store.Batch{Charges: []power.Charge{c}})
	s.compareAll(Day0, Day0+130*minute)
}

func remainders(s *story) {
	var b store.Batch
	for m := int64(0); m < 70; m++ {
		for i, n := range []string{"n0", "n1"} {
			for k, h := range []*power.Holder{container(n, "c"+n, "ns", "w", power.Web), remainder(n, power.System), remainder(n, power.Idle), remainder(n, power.Unattributed)} {
				c := charge(h, Day0+m*minute, m*100+int64(i*10+k), uint64(m+1))
				if h.Kind == power.Unattributed && m%3 == 0 {
					for x := range c.Energy {
						c.Energy[x] = -c.Energy[x]
					}
				}
				b.Charges = append(b.Charges, c)
			}
		}
	}
	s.append(b)
	check := func() {
		s.Helper()
		s.compareAll(Day0, Day0+70*minute)
		whole := s.compare(store.Query{FromMs: Day0, ToMs: Day0 + 70*minute})
		for _, d := range store.Dimensions {
			var sum power.Energy
			for _, r := range s.compare(store.Query{FromMs: Day0, ToMs: Day0 + 70*minute, GroupBy: []store.Dimension{d}}) {
				sum.Add(r.Energy)
			}
			if sum != whole[0].Energy {
				s.Errorf("groups by %s add up to %v, the whole is %v", d, sum, whole[0].Energy)
			}
		}
	}
	check()
	s.append(store.Batch{Charges: []power.Charge{charge(container("n0", "cn0", "ns", "w", power.Web), Day0+9*hour, 3, 900)}})
	s.settle()
	check()
}

func nodeWindows(s *story) {
	window := func(node string, m int64, revision uint64) power.NodeWindow {
		c := charge(container(node, "", "", "", ""), Day0, m*31+int64(revision), 0)
		n := power.NodeWindow{Cluster: "c1", Node: node, StartMs: Day0 + m*minute, Seconds: 60, Containers: c.Energy, VMs: c.Counter,
			System: power.Energy{1, 2, 3, 4}, Idle: power.Energy{5, 6, 7, 8}, Unattributed: power.Energy{-9, 0, 0, -1},
			SeenMs: c.SeenMs, LastMs: Day0 + m*minute + 55_000, Generation: "kepler-0.10+", Revision: revision}
		for _, part := range []power.Energy{n.Containers, n.VMs, n.System, n.Idle, n.Unattributed} {
			n.Used.Add(part)
		}
		if m%5 == 0 {
			n.Generation = "kepler-legacy"
			n.Used[0] += 3 // what does not add up must come back as it is too
		}
		return n
	}
	for m := int64(0); m < 140; m++ {
		b := store.Batch{Nodes: []power.NodeWindow{window("n0", m, 2)}}
		if m%2 == 0 {
			b.Nodes = append(b.Nodes, window("n1", m, 2))
		}
		if m < 100 {
			b.Nodes = append(b.Nodes, window("n2 gone", m, 2))
		}
		b.Charges = []power.Charge{charge(container("n0", "a", "ns", "w", power.Web), Day0+m*minute, m, 2)}
		s.append(b)
	}
	check := func() {
		s.Helper()
		for _, r := range [][2]int64{{0, 140}, {0, 141}, {135, 140}, {139, 140}, {50, 61}, {60, 60}, {99, 101}, {100, 120}, {-50, 1}, {0, 1000}} {
			for _, match := range []map[store.Dimension]string{nil, {store.Node: "n1"}, {store.Cluster: "c1", store.Node: "n2 gone"}, {store.Cluster: "none"}} {
				from, to := Day0+r[0]*minute, Day0+r[1]*minute
				got, err := s.engine.Nodes(s.Context(), from, to, match)
				if err != nil {
					s.Fatal(err)
				}
				if want := s.model.windows(from, to, match); !slices.Equal(got, want) {
					s.Fatalf("nodes of minutes %v, %v:\n got %+v\nwant %+v", r, match, got, want)
				}
			}
		}
	}
	check()
	s.settle()
	check()
	s.append(store.Batch{Nodes: []power.NodeWindow{window("n0", 60, 9), window("n1", 60, 1), window("n2 gone", 99, 3)}})
	check()
	s.settle()
	check()
}

func workloads(s *story) {
	list := holders()
	s.fill(list, 0, 30)
	ask := func(match map[store.Dimension]string, limit int) []store.WorkloadRow {
		s.Helper()
		got, err := s.engine.Workloads(s.Context(), match, limit)
		if err != nil {
			s.Fatal(err)
		}
		if !slices.IsSortedFunc(got, func(a, b store.WorkloadRow) int { return strings.Compare(a.Workload.ID(), b.Workload.ID()) }) {
			s.Errorf("not sorted by id: %v", got)
		}
		return got
	}
	want := map[power.Workload]bool{}
	for _, h := range list[:12] {
		want[h.Workload] = true
	}
	got := ask(nil, 1000)
	if len(got) != len(want) {
		s.Errorf("%d workloads, want %d", len(got), len(want))
	}
	for _, w := range got {
		if !want[w.Workload] {
			s.Errorf("no such workload: %v", w.Workload)
		}
		first, last := int64(math.MaxInt64), int64(0)
		for _, c := range s.model.rows {
			if c.Holder.Workload == w.Workload {
				first, last = min(first, c.StartMs), max(last, c.StartMs)
			}
		}
		if w.FirstMs != first || w.LastMs != last {
			s.Errorf("%s from %d to %d, want %d to %d", w.Workload.ID(), w.FirstMs, w.LastMs, first, last)
		}
	}
	if got := ask(map[store.Dimension]string{store.Namespace: "ns1"}, 1000); len(got) == 0 || len(got) == len(want) {
		s.Errorf("%d workloads in one namespace", len(got))
	}
	if got := ask(nil, 2); len(got) != 2 {
		s.Errorf("%d workloads, limit 2", len(got))
	}
	if got := ask(map[store.Dimension]string{store.Workload: "none"}, 10); len(got) != 0 {
		s.Errorf("workloads of a name that no one has: %v", got)
	}
}

func pages(s *story) {
	var b store.Batch
	for i := range 250 {
		h := container(fmt.Sprintf("n%d", i%3), fmt.Sprintf("id-%03d", i), fmt.Sprintf("ns%d", i%5), fmt.Sprintf("w%d", i%40), power.Web)
		for m := int64(0); m < 3; m++ {
			c := charge(h, Day0+m*minute, int64(i/2)*10+m, uint64(m+1)) // in pairs that draw the same
			c.SeenMs = 60_000
			b.Charges = append(b.Charges, c)
		}
	}
	s.append(b)
	for _, by := range []store.PowerOrder{store.ByPower, store.ByName} {
		for _, ascending := range []bool{false, true} {
			for _, byContainer := range []bool{false, true} {
				q := store.PowerQuery{FromMs: Day0, ToMs: Day0 + 3*minute, ByContainer: byContainer, By: by, Ascending: ascending, Limit: 1000}
				all, next, err := s.engine.Power(s.Context(), q)
				if err != nil || next != "" {
					s.Fatalf("power: %v, next %q", err, next)
				}
				var energy power.Energy
				for i, r := range all {
					energy.Add(r.Energy)
					if r.TotalWatts() <= 0 {
						s.Errorf("row %d draws %v W", i, r.TotalWatts())
					}
					if by == store.ByPower && i > 0 && (all[i-1].TotalWatts() > r.TotalWatts()+1e-9) == ascending && all[i-1].TotalWatts() != r.TotalWatts() {
						s.Fatalf("row %d is out of order", i)
					}
				}
				if whole := s.compare(store.Query{FromMs: Day0, ToMs: Day0 + 3*minute}); energy != whole[0].Energy {
					s.Errorf("rows add up to %v, the whole is %v", energy, whole[0].Energy)
				}
				q.Limit = 7
				var paged []store.PowerRow
				for {
					rows, next, err := s.engine.Power(s.Context(), q)
					if err != nil {
						s.Fatal(err)
					}
					paged = append(paged, rows...)
					if next == "" {
						break
					}
					q.Cursor = next
					// More arrives between two pages, outside the range of the query.
					s.append(store.Batch{Charges: []power.Charge{charge(b.Charges[0].Holder, Day0+3*minute, int64(len(paged)), uint64(len(paged)))}})
				}
				if !slices.Equal(paged, all) {
					s.Fatalf("by %s, ascending %v, by container %v: %d rows in pages, %d in one, or in another order", by, ascending, byContainer, len(paged), len(all))
				}
			}
		}
	}
	q := store.PowerQuery{FromMs: Day0, ToMs: Day0 + 3*minute, By: store.ByPower, Limit: 5}
	_, next, err := s.engine.Power(s.Context(), q)
	if err != nil {
		s.Fatal(err)
	}
	for _, c := range []string{"x", next + "x", next[:len(next)-4]} {
		q.Cursor = c
		if _, _, err := s.engine.Power(s.Context(), q); err == nil {
			s.Errorf("cursor %q was accepted", c)
		}
	}
	q.Cursor, q.Ascending = next, true
	if _, _, err := s.engine.Power(s.Context(), q); err == nil {
		s.Error("a cursor of another order was accepted")
	}
}

// readers checks that a reader sees either all of a batch or nothing: the
// charges of every batch add up to nothing.
func readers(s *story) {
	a, b := container("n0", "a", "one", "w", power.Web), container("n0", "b", "two", "w", power.Web)
	ctx, cancel := context.WithCancel(s.Context())
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			q := store.Query{FromMs: Day0, ToMs: Day0 + 48*hour}
			if i == 1 {
				q.StepMs = hour
			}
			if i == 2 {
				q.GroupBy = []store.Dimension{store.Cluster}
				q.StepMs = minute
			}
			for ctx.Err() == nil {
				rows, err := s.engine.Sum(s.Context(), q)
				if err != nil {
					s.Errorf("sum: %v", err)
					return
				}
				var sum power.Energy
				for _, r := range rows {
					sum.Add(r.Energy)
				}
				if sum != (power.Energy{}) {
					s.Errorf("a reader saw half a batch: %v", sum)
					return
				}
			}
		})
	}
	for m := int64(0); m < 300; m++ {
		x := charge(a, Day0+m*minute, m, uint64(m+1))
		y := x
		y.Holder = b
		for c := range y.Energy {
			y.Energy[c] = -x.Energy[c]
		}
		batch := store.Batch{Charges: []power.Charge{x, y}}
		if m%50 == 49 { // and something late
			x.StartMs, y.StartMs = Day0+(m-49)*minute, Day0+(m-49)*minute
			batch.Charges = append(batch.Charges, x, y)
		}
		s.append(batch)
		if m%40 == 0 {
			s.settle()
		}
	}
	cancel()
	wg.Wait()
	s.compareAll(Day0, Day0+300*minute)
}

func anyOrder(s *story) {
	list := holders()
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		var b store.Batch
		for range 1 + r.IntN(20) {
			h := list[r.IntN(len(list))]
			start := Day0 + r.Int64N(10*60)*minute
			// A revision belongs to one content.
			revision := uint64(1 + r.IntN(50))
			b.Charges = append(b.Charges, charge(h, start, start/minute*97+int64(revision), revision))
		}
		s.append(b)
		if n%37 == 0 {
			s.settle()
			s.compareAll(Day0, Day0+10*hour)
		}
	}
	s.settle()
	s.compareAll(Day0, Day0+10*hour)
}
