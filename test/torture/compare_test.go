package main

import (
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/test/redistest"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func sample(at time.Duration, value float64, pairs ...string) remotewrite.Sample {
	return remotewrite.Sample{Labels: cluster.With([]cluster.Label{}, pairs...), TMs: start.Add(at).UnixMilli(), Value: value}
}

func container(id string, at time.Duration, value float64) remotewrite.Sample {
	return sample(at, value, "__name__", "kepler_container_cpu_joules_total", "container_id", id, "node_name", "n", "zone", "package")
}

func node(at time.Duration) remotewrite.Sample {
	return sample(at, 1e5, "__name__", "kepler_node_cpu_joules_total", "node_name", "n", "zone", "package")
}

func TestOracle(t *testing.T) {
	o := newOracle()
	o.deliver([]remotewrite.Sample{
		node(0), container("old", 0, 500), // of unknown age
		node(30 * time.Second), container("old", 30*time.Second, 510),
		node(60 * time.Second), container("old", 90*time.Second, 520.000001), // half of it in the next minute
		node(90 * time.Second), container("new", 90*time.Second, 7), // began after 60 s
		container("old", 120*time.Second, 3), // started again
		container("old", 75*time.Second, 515),
		sample(0, 9, "__name__", "kepler_container_cpu_joules_total", "container_id", "old", "node_name", "n", "zone", "core"),
		container("old", 130*time.Second, impossibleUj/1e6),
	})
	held := o.books()
	f := func(id string, total power.Microjoules, minutes ...power.Microjoules) {
		t.Helper()
		h := held[id]
		if h == nil || h.total != (power.Energy{power.CPU: total}) {
			t.Fatalf("%s: %+v, want %d", id, h, total)
		}
		for i, want := range minutes {
			if got := h.minutes[start.UnixMilli()+int64(i)*minuteMs][power.CPU]; got != want {
				t.Errorf("%s, minute %d: %d, want %d", id, i, got, want)
			}
		}
	}
	f("old", 23_000_001, 13_333_333, 9_666_668)
	f("new", 7_000_000, 0, 7_000_000)
}

// One microjoule in the wrong place is seen, wherever it is.
func TestOneMicrojouleIsSeen(t *testing.T) {
	sim, err := cluster.New(cluster.Sized("c", 1, start, 1, 2, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{name: "c", sim: sim, oracle: newOracle(), inOrder: true}
	for range 9 {
		sim.Advance(sim.Now().Add(15 * time.Second))
		for _, target := range sim.Targets() {
			series, _ := target.Scrape()
			for _, s := range series {
				w.oracle.deliver([]remotewrite.Sample{{Labels: target.Labels(s), TMs: sim.Now().UnixMilli(), Value: s.Value}})
			}
		}
	}
	r := &run{worlds: []*world{w}}
	f := func(name string, spoil func(b *books), want int) {
		t.Helper()
		b := &books{holders: map[holderAt]*holding{}, rows: map[nodeAt]power.Energy{}}
		for id, h := range w.oracle.books() {
			b.holders[holderAt{"c", "node-1", id}] = h
		}
		used := power.Energy{}
		for _, a := range sim.Truth().Accounts {
			switch {
			case a.Kind == "node" && a.Zone == "package":
				used[power.CPU] = power.Microjoules(a.ReportedMicrojoules)
			case a.Kind == "node" && a.Zone == "dram":
				used[power.DRAM] = power.Microjoules(a.ReportedMicrojoules)
			}
		}
		b.nodes = []power.NodeWindow{{Cluster: "c", Node: "node-1", StartMs: 0, Used: used, System: used}}
		b.rows[nodeAt{"c", "node-1", 0}] = used
		if spoil != nil {
			spoil(b)
		}
		var t1 totals
		var whole, minutes, holders, nodes, closing differ
		r.compareOracle(b, &t1, &whole, &minutes)
		r.compareTruth(b, &t1, &holders, &nodes)
		identities(b, &closing)
		if got := whole.n + minutes.n + holders.n + nodes.n + closing.n; (got > 0) != (want > 0) || t1.minutes == 0 {
			t.Errorf("%s: %d differences: %v %v %v %v %v", name, got, whole, minutes, holders, nodes, closing)
		}
	}
	var id holderAt
	for k := range w.oracle.books() {
		id = holderAt{"c", "node-1", k}
	}
	minute := start.UnixMilli() + minuteMs
	f("nothing", nil, 0)
	f("a total", func(b *books) { b.holders[id].total[power.DRAM]++ }, 1)
	f("a minute", func(b *books) {
		h := b.holders[id]
		e, before := h.minutes[minute], h.minutes[minute-minuteMs]
		e[power.CPU]++
		before[power.CPU]--
		h.minutes[minute], h.minutes[minute-minuteMs] = e, before
	}, 1)
	f("a container that does not exist", func(b *books) {
		b.holders[holderAt{"c", "node-1", "ghost"}] = &holding{total: power.Energy{1}}
	}, 1)
	f("a container that is missing", func(b *books) { delete(b.holders, id) }, 1)
	f("a node", func(b *books) { b.nodes[0].Used[power.CPU]++; b.nodes[0].System[power.CPU]++ }, 1)
	f("a part of a node", func(b *books) { b.nodes[0].Idle[power.CPU]++ }, 1)
	f("a row of a node", func(b *books) { b.rows[nodeAt{"c", "node-1", 0}] = power.Energy{1} }, 1)
}

func TestStreamDifferencesAreSeen(t *testing.T) {
	server := redistest.Start(t)
	row := store.WindowRow{Workload: power.Workload{Cluster: "c", Namespace: "n", Kind: "pod", Name: "w"}, StartMs: 60_000, Seconds: 60, Energy: power.Energy{7}, Revision: 3}
	add := func(key, start, uj, revision string) {
		server.Do("XADD", key, "*", "workload_id", "c:n:pod:w", "start", start, "seconds", "60", "energy_uj", uj, "cost_nano", "0", "revision", revision)
	}
	f := func(key string, want int) {
		t.Helper()
		var d differ
		if _, _, err := compareStream(t.Context(), server.Client(), key, []store.WindowRow{row}, &d); err != nil || d.n != want {
			t.Errorf("%s: %d differences, want %d: %v, %v", key, d.n, want, d.first, err)
		}
	}
	add("good", "60000", "5", "2")
	add("good", "60000", "7", "3")
	f("good", 0)
	add("older revision last", "60000", "7", "3")
	add("older revision last", "60000", "5", "2")
	f("older revision last", 0)
	add("twice", "60000", "7", "3")
	add("twice", "60000", "7", "3")
	f("twice", 1)
	add("one microjoule", "60000", "8", "3")
	f("one microjoule", 1)
	add("too much", "60000", "7", "3")
	add("too much", "120000", "1", "3")
	f("too much", 1)
	f("nothing", 1)
}
