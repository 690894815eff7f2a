package httpapi

import (
	"math"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestPowerCurrent(t *testing.T) {
	s := serve(t, cluster(now.Add(-time.Hour), now, seed))
	v := s.get("/power/current?time_range=10m")
	if len(at(t, v, "data").([]any)) != 3 || v["time_range"] != "10m" || v["next"] != nil {
		t.Fatalf("answer %v", v)
	}
	w := at(t, v, "data", 0)
	if at(t, w, "workload_id") != "c1:ml:job:ml-training" || at(t, w, "workload_type") != "ml_training" || at(t, w, "observed_at") != "2026-03-10T12:30:20Z" {
		t.Errorf("first workload %v", w)
	}
	watts := num(t, w, "power_watts")
	var parts float64
	for _, c := range []string{"cpu_watts", "dram_watts", "gpu_watts", "other_watts"} {
		parts += num(t, w, "components", c)
	}
	near(t, "components", parts, watts)
	near(t, "cost_per_hour", num(t, w, "cost_per_hour"), 0.326*watts/1000)
	if num(t, at(t, s.get("/power/current?workload=shop:web"), "data", 0), "containers") != 2 {
		t.Error("web has two containers")
	}
	for _, none := range []string{"namespace=nobody", "cluster=c2", "node=n2", "workload_type=cache"} {
		if data := at(t, s.get("/power/current?"+none), "data").([]any); len(data) != 0 {
			t.Errorf("%s: %v", none, data)
		}
	}
	if data := at(t, s.get("/power/current?workload_type=ml-training"), "data").([]any); len(data) != 1 {
		t.Errorf("hyphens: %v", data)
	}
}

func TestPages(t *testing.T) {
	b := cluster(now.Add(-time.Hour), now, seed)
	clock := now
	s := serve(t, b, func(cfg *Config, _ *Operations) { cfg.Now = func() time.Time { return clock } })
	var ids []string
	var stamps []any
	path := "/power/containers?sort=name&limit=3"
	cursor := ""
	for {
		v := s.get(path + cursor)
		for _, c := range at(t, v, "containers").([]any) {
			ids = append(ids, at(t, c, "container_id").(string))
		}
		stamps = append(stamps, v["timestamp"])
		next, more := v["next"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + url.QueryEscape(next)
		clock = clock.Add(time.Hour) // however long a reader takes, all pages tell of one moment
	}
	if got := strings.Join(ids, " "); got != "ddd aaa bbb ccc" {
		t.Errorf("pages hold %s", got)
	}
	if len(stamps) != 2 || stamps[0] != stamps[1] {
		t.Errorf("pages tell of %v", stamps)
	}
	s.problem(400, "GET", "/power/containers?sort=-name"+cursor, "")
	s.problem(400, "GET", "/power/current?x="+cursor, "")
	s.get("/power/containers?sort=name&limit=1" + cursor) // the size of a page may change
}

func TestPowerNodes(t *testing.T) {
	s := serve(t, cluster(now.Add(-time.Hour), now, seed))
	v := s.get("/power/nodes?cluster=c1&node=n1")
	if num(t, v, "count") != 1 {
		t.Fatalf("answer %v", v)
	}
	n := at(t, v, "nodes", 0)
	near(t, "power_watts", num(t, n, "power_watts"), 3.5)
	near(t, "gpu_watts", num(t, n, "components", "gpu_watts"), 40.0/60)
	id := at(t, n, "identity")
	var sum float64
	for _, part := range []string{"containers", "vms", "system", "idle", "unattributed"} {
		sum += num(t, id, part+"_joules")
	}
	if got := num(t, id, "node_joules"); math.Abs(sum-got) > 1e-9*got {
		t.Errorf("parts add up to %v of %v", sum, got)
	}
	if num(t, id, "unattributed_joules") != -5 || at(t, id, "unattributed_negative") != true || at(t, id, "closes") != true {
		t.Errorf("identity %v", id)
	}
	if at(t, id, "window_start") != "2026-03-10T12:29:00Z" || num(t, id, "window_seconds") != 60 {
		t.Errorf("window %v", id)
	}

	t.Run("books that do not close say so", func(t *testing.T) {
		b := cluster(now.Add(-time.Hour), now, seed)
		b.nodes[0].System[0]++
		b.nodes[0].SeenMs = 0
		n := at(t, serve(t, b).get("/power/nodes"), "nodes", 0)
		if at(t, n, "identity", "closes") != false || at(t, n, "power_watts") != nil {
			t.Errorf("node %v", n)
		}
	})
}

func TestProfiles(t *testing.T) {
	s := serve(t, cluster(now.Add(-time.Hour), now, seed))
	v := s.get("/profile/workload-types?start=now-1h")
	if at(t, v, "profiles", 0, "workload_type") != "ml_training" || v["cost_model"] != "seed" {
		t.Fatalf("answer %v", v)
	}
	near(t, "share", num(t, v, "profiles", 0, "share"), 100.0/160)
	near(t, "cost", num(t, v, "profiles", 0, "total_cost"), 0.326*num(t, v, "profiles", 0, "energy_kwh"))
}
