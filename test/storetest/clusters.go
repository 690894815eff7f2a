package storetest

import (
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// clusters asks for several clusters of four, in every way there is to ask.
func clusters(s *story) {
	var list []*power.Holder
	var nodes []power.NodeWindow
	for i, cluster := range []string{"a", "b", "ab", ""} {
		for k := range 5 {
			h := container(fmt.Sprintf("n%d", k%2), fmt.Sprintf("%d-%d", i, k), fmt.Sprintf("ns%d", k%2), fmt.Sprintf("w%d", k), power.Web)
			if k == 4 {
				h = remainder("n0", power.Idle)
			}
			h.Cluster, h.Workload.Cluster = cluster, cluster
			list = append(list, h)
		}
		c := charge(list[0], Day0, int64(i), 1)
		nodes = append(nodes, power.NodeWindow{Cluster: cluster, Node: "n0", StartMs: Day0, Seconds: 60, Used: c.Energy, Containers: c.Energy, LastMs: c.LastMs, Revision: 1})
	}
	s.append(store.Batch{Nodes: nodes})
	s.fill(list, 0, 130)
	check := func() {
		s.Helper()
		for _, some := range [][]string{{"a", "ab"}, {"a"}, {"", "b"}, {"none", "b"}, {"none"}} {
			s.checkClusters(some)
		}
	}
	check()
	s.settle()
	check()
}

func (s *story) checkClusters(some []string) {
	s.Helper()
	const from, to = int64(Day0), int64(Day0) + 130*minute
	match := map[store.Dimension]string{store.AnyCluster: store.Any(some)}
	for _, g := range [][]store.Dimension{nil, {store.Cluster}, {store.Namespace}, {store.Cluster, store.Namespace, store.WorkloadType}, {store.Cluster, store.Workload}, {store.ContainerID}} {
		for _, step := range []int64{0, minute, hour, 24 * hour} {
			s.compare(store.Query{FromMs: from, ToMs: to, StepMs: step, GroupBy: g, Match: match})
			s.compare(store.Query{FromMs: from, ToMs: to - to%hour, StepMs: step, GroupBy: g, Match: match, WorkloadsOnly: true})
		}
	}
	s.compare(store.Query{FromMs: from, ToMs: to, Match: map[store.Dimension]string{store.AnyCluster: match[store.AnyCluster], store.Namespace: "ns1"}})

	var energy power.Microjoules
	for _, r := range s.compare(store.Query{FromMs: from, ToMs: to, Match: match, WorkloadsOnly: true}) {
		energy += r.Energy.Total()
	}
	profiles, err := s.engine.Profiles(s.Context(), from, to, match)
	if err != nil {
		s.Fatal(err)
	}
	for _, p := range profiles {
		energy -= p.Energy
	}
	if energy != 0 {
		s.Errorf("profiles of %q lack %v", some, energy)
	}

	windows, err := s.engine.Nodes(s.Context(), from, to, match)
	if err != nil {
		s.Fatal(err)
	}
	if want := s.model.windows(from, to, match); !slices.Equal(windows, want) {
		s.Errorf("nodes of %q: %v, want %v", some, windows, want)
	}
	workloads, err := s.engine.Workloads(s.Context(), match, 1000)
	if err != nil {
		s.Fatal(err)
	}
	real := 0
	for _, c := range some {
		if c != "none" {
			real++
		}
	}
	if len(workloads) != 4*real {
		s.Errorf("%d workloads of %q, want %d", len(workloads), some, 4*real)
	}
	for _, w := range workloads {
		if !slices.Contains(some, w.Workload.Cluster) {
			s.Errorf("asked for %q, got the workload %s", some, w.Workload.ID())
		}
	}
	seen := 0
	q := store.PowerQuery{FromMs: to - 10*minute, ToMs: to, ByContainer: true, Match: match, By: store.ByName, Limit: 3}
	for {
		rows, next, err := s.engine.Power(s.Context(), q)
		if err != nil {
			s.Fatal(err)
		}
		for _, r := range rows {
			seen++
			if !slices.Contains(some, r.Holder.Cluster) {
				s.Errorf("asked for %q, got the container %+v", some, r.Holder.HolderKey)
			}
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	if seen != 4*real {
		s.Errorf("power of %d containers of %q, want %d", seen, some, 4*real)
	}
}
