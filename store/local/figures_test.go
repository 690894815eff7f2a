package local

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// What a store knows after it was opened again is what it knew before.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	ask := func(s *Store) string {
		t.Helper()
		var all []any
		for _, step := range []int64{0, 60_000, format.HourMs} {
			rows, err := s.Sum(t.Context(), store.Query{ToMs: day0 * 2, StepMs: step, GroupBy: []store.Dimension{store.Namespace, store.Workload, store.ContainerID}})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, rows)
		}
		rows, _, err := s.Power(t.Context(), store.PowerQuery{FromMs: day0 + 145*60_000, ToMs: day0 + 150*60_000, ByContainer: true, Limit: 1000})
		if err != nil || len(rows) == 0 {
			t.Fatal(len(rows), err)
		}
		old, _, err := s.Power(t.Context(), store.PowerQuery{FromMs: day0 + 50*60_000, ToMs: day0 + 70*60_000, Limit: 1000})
		if err != nil || len(old) == 0 {
			t.Fatal(len(old), err)
		}
		workloads, err := s.Workloads(t.Context(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		profiles, err := s.Profiles(t.Context(), day0, day0+150*60_000, nil)
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := s.Nodes(t.Context(), 0, day0*2, nil)
		if err != nil || len(nodes) != 1 {
			t.Fatal(nodes, err)
		}
		position, err := s.Position(t.Context())
		return fmt.Sprint(all, rows, old, workloads, profiles, nodes, position, err)
	}
	s := openTest(t, path, DefaultConfig())
	f := newFleet(6, 3, 2)
	for m := range int64(150) {
		b := store.Batch{Position: uint64(m + 1), Charges: f.minute(day0 + m*60_000)}
		b.Nodes = []power.NodeWindow{{Cluster: "prod", Node: "node-1", StartMs: day0 + m*60_000, Seconds: 60, Generation: "other", Revision: 1}}
		if m == 100 {
			h := *f.holders[4]
			h.Workload.Namespace = "moved"
			b.Holders = []*power.Holder{&h}
			f.holders[4] = &h
		}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := ask(s)
	if after := ask(openTest(t, path, DefaultConfig())); after != before {
		t.Errorf("opened again:\n%s\nbefore:\n%s", after, before)
	}
}

// TestFigures checks the figures that the suite's model does not know.
func TestFigures(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	price := &power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}
	holder := func(id, workload string, typ power.Type) *power.Holder {
		return &power.Holder{HolderKey: power.HolderKey{Cluster: "c", Node: "n", Kind: power.Container, ID: id},
			Workload: power.Workload{Cluster: "c", Namespace: "ns", Kind: "job", Name: workload}, Type: typ}
	}
	a, b, stopped := holder("a", "w", power.Batch), holder("b", "w", power.Batch), holder("s", "stopped", power.Web)
	for m := range int64(20) {
		start := day0 + m*60_000
		full := power.Charge{Holder: a, StartMs: start, Seconds: 60, SeenMs: 60_000, LastMs: start + 59_000, Price: price, Revision: 1,
			Energy: power.Energy{power.CPU: power.Microjoules(m+1) * 60e6, power.DRAM: 60e6}} // m+1 and 1 W
		half := full // seen for half a minute at 10 W
		half.Holder, half.SeenMs, half.Energy = b, 30_000, power.Energy{power.CPU: 300e6}
		batch := store.Batch{Position: uint64(m + 1), Charges: []power.Charge{full, half}}
		if m < 16 {
			c := full
			c.Holder = stopped
			batch.Charges = append(batch.Charges, c)
		}
		batch.Nodes = []power.NodeWindow{{Cluster: "c", Node: "n", StartMs: start, Seconds: 60, Generation: "kepler-0.10+"}}
		if err := s.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	rows, _, err := s.Power(t.Context(), store.PowerQuery{FromMs: day0 + 15*60_000, ToMs: day0 + 20*60_000, Limit: 10})
	if err != nil || len(rows) != 1 {
		t.Fatalf("power: %+v, %v; want one workload, the other has stopped", rows, err)
	}
	// a drew 16 to 20 W, 18 on average; b 10 W while it was seen.
	if w := rows[0].Watts; w != [power.NumComponents]float64{28, 1, 0, 0} || rows[0].Containers != 2 || rows[0].Generation != "kepler-0.10+" || rows[0].Price != *price {
		t.Errorf("power: %+v", rows[0])
	}
	profiles, err := s.Profiles(t.Context(), day0, day0+20*60_000, map[store.Dimension]string{store.WorkloadType: "batch"})
	if err != nil || len(profiles) != 1 {
		t.Fatalf("profiles: %+v, %v", profiles, err)
	}
	p := profiles[0]
	// By minute: m+1 of a's CPU, 1 of its memory, 5 of b: 7 to 26 W.
	if p.Workloads != 1 || p.MeanWatts != 16.5 || p.P50Watts != 16 || p.P95Watts != 25 || p.PeakWatts != 26 || p.DutyCycle != 14.0/20 || p.Energy != 330*60e6 {
		t.Errorf("profile: %+v", p)
	}
	if want := price.Cost(330 * 60e6).Total(); p.Cost.Total()-want > 1e-15 || want-p.Cost.Total() > 1e-15 {
		t.Errorf("cost %v, want %v", p.Cost.Total(), want)
	}
}
