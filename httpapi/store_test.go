package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local"
)

// stored appends the books to a local store on disk, an hour at a time and the
// last hour minute by minute, as the line would.
func stored(t *testing.T, b *books) *local.Store {
	t.Helper()
	s, err := local.Open(filepath.Join(t.TempDir(), "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var position uint64
	var batch store.Batch
	flush := func() {
		if len(batch.Charges) == 0 {
			return
		}
		if err := s.Append(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		batch = store.Batch{}
	}
	known := map[power.HolderKey]bool{}
	until := int64(0)
	for _, c := range b.charges {
		if c.StartMs >= until {
			flush()
			until = c.StartMs + time.Hour.Milliseconds()
			if c.StartMs > now.Add(-time.Hour).UnixMilli() {
				until = c.StartMs + minuteMs
			}
		}
		position++
		if !known[c.Holder.HolderKey] {
			known[c.Holder.HolderKey] = true
			batch.Holders = append(batch.Holders, c.Holder)
		}
		c.Revision = position
		batch.Position, batch.Charges = position, append(batch.Charges, c)
	}
	for _, n := range b.nodes {
		position++
		n.Revision = position
		batch.Position, batch.Nodes = position, append(batch.Nodes, n)
	}
	flush()
	if err := s.Maintain(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAnswersFromTheStore asks the local engine and the plain books the same
// questions: sealed hours, rollups and open minutes give the answers that adding
// up the charges one by one gives.
func TestAnswersFromTheStore(t *testing.T) {
	b := cluster(now.Add(-30*time.Hour), now, seed)
	plain, engine := serve(t, b), serve(t, stored(t, b))
	doc := description(t)
	for _, path := range []string{
		"/power/current",
		"/power/current?time_range=1h&namespace=shop",
		"/power/current?workload_type=web&node=n1&cluster=c1",
		"/power/containers?sort=name",
		"/power/containers?sort=-name",
		"/power/containers?sort=power_watts&pod=web-1",
		"/power/nodes",
		"/power/nodes?node=n2",
		"/cost/current",
		"/cost/current?namespace=ml&aggregate=workload",
		"/cost/hourly",
		"/cost/hourly?aggregate=namespace",
		"/cost/hourly?start=now-36h&aggregate=cluster,workload_type",
		"/cost/hourly?start=now-2h&end=now-20m&aggregate=node,pod",
		"/cost/hourly?start=2026-03-10T00:00:00Z&end=2026-03-10T06:00:00Z&workload=shop:web&aggregate=container_id",
		"/cost/hourly?workload_type=system&aggregate=workload_kind",
		"/cost/workload/ml-training",
		"/cost/workload/shop:web?start=now-7h&step=30m",
		"/cost/workload/c1:blog:deployment:web?start=now-30m&step=1m",
	} {
		for _, fault := range differences(plain.get(path), engine.get(path), "answer") {
			t.Errorf("%s: %s", path, fault)
		}
	}
	for path, name := range map[string]string{
		"/profile/workload-types": "Profiles", "/power/current": "PowerCurrent", "/power/containers": "PowerContainers", "/power/nodes": "PowerNodes",
		"/cost/current": "CostCurrent", "/cost/hourly?aggregate=node": "CostHourly", "/cost/workload/ml-training": "CostWorkload",
	} {
		schema := resolve(doc, map[string]any{"$ref": "#/components/schemas/" + name})
		for _, fault := range check(doc, schema, any(engine.get(path)), "answer") {
			t.Errorf("%s: %s", path, fault)
		}
	}
	if p := engine.problem(300, "GET", "/cost/workload/web", ""); len(p.Candidates) != 2 {
		t.Errorf("candidates %v", p.Candidates)
	}
	engine.problem(404, "GET", "/cost/workload/nobody", "")

	t.Run("profiles", func(t *testing.T) {
		a, b := plain.get("/profile/workload-types"), engine.get("/profile/workload-types")
		for i, p := range at(t, a, "profiles").([]any) {
			for _, field := range []string{"energy_kwh", "share", "total_cost"} {
				if x, y := num(t, p, field), num(t, b, "profiles", i, field); math.Abs(x-y) > 1e-9*x {
					t.Errorf("%v %s: %v, want %v", at(t, p, "workload_type"), field, y, x)
				}
			}
		}
	})
	t.Run("pages", func(t *testing.T) {
		v := engine.get("/power/containers?limit=3")
		next, ok := v["next"].(string)
		if !ok || num(t, v, "count") != 3 {
			t.Fatalf("first page %v", v)
		}
		v = engine.get("/power/containers?limit=3&cursor=" + next)
		if v["next"] != nil || num(t, v, "count") != 1 {
			t.Errorf("second page %v", v)
		}
	})
}

func TestOneKWhFromTheStore(t *testing.T) {
	near(t, "total_cost", num(t, serve(t, stored(t, oneKWh(seed))).get("/cost/hourly?start=now-3h"), "totals", "total_cost"), 0.326)
	near(t, "total_cost", num(t, serve(t, stored(t, oneKWh(physical))).get("/cost/hourly?start=now-3h"), "totals", "total_cost"), 0.182)
}

func TestEmptyStore(t *testing.T) {
	s := serve(t, stored(t, &books{}))
	for _, path := range []string{"/power/current", "/power/containers", "/power/nodes", "/cost/current", "/cost/hourly", "/profile/workload-types"} {
		s.get(path)
	}
	if v := s.get("/cost/hourly"); at(t, v, "totals", "energy_kwh") != nil || v["cost_model"] != "seed" {
		t.Errorf("empty books: %v, %v", v["totals"], v["cost_model"])
	}
}

// differences returns where got is not want; numbers may differ by rounding.
func differences(want, got any, path string) []string {
	switch w := want.(type) {
	case float64:
		if g, ok := got.(float64); ok && math.Abs(g-w) <= 1e-9*math.Abs(w) {
			return nil
		}
	case map[string]any:
		g, ok := got.(map[string]any)
		if ok && len(g) == len(w) {
			var faults []string
			for k := range w {
				faults = append(faults, differences(w[k], g[k], path+"."+k)...)
			}
			return faults
		}
	case []any:
		g, ok := got.([]any)
		if ok && len(g) == len(w) {
			var faults []string
			for i := range w {
				faults = append(faults, differences(w[i], g[i], fmt.Sprintf("%s[%d]", path, i))...)
			}
			return faults
		}
	default:
		if want == got {
			return nil
		}
	}
	w, _ := json.Marshal(want)
	g, _ := json.Marshal(got)
	return []string{fmt.Sprintf("%s is %.300s, want %.300s", path, g, w)}
}
