package storetest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

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
