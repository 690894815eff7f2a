package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/internal/demo"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/test/redistest"
)

// TestRedisStory feeds the line while its Redis is killed and comes back empty,
// twice, once of those times without anything new to write. In the end the
// streams hold every row of the books, and no entry twice.
func TestRedisStory(t *testing.T) {
	server := redistest.Start(t)
	dir := t.TempDir()
	withRedis := func(c *configs.Config) { c.Redis.URL = server.URL("") }
	l := startLine(t, dir, withRedis)

	now := time.Now()
	const steps = 150
	sim, err := demo.NewCluster(now.Truncate(time.Minute).Add(-(steps + 1) * time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	client := remotewrite.Client{URL: l.url + "/api/v1/write", UserAgent: "test", HTTP: http.DefaultClient, Format: remotewrite.Format{Version: 2, Encoding: "snappy"}}
	for step := range steps {
		sim.Advance(sim.Now().Add(time.Minute))
		facts := step%10 == 0
		body, err := client.Format.Encode(demo.Samples(sim, nil, func(name string, labels []cluster.Label) bool { return demo.Needed(name, labels, facts) }))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Post(t.Context(), body); err != nil {
			t.Fatal(err)
		}
		switch step {
		case 40:
			followed(t, l.url, server)
			server.Kill()
		case 80:
			server.Run()
		}
	}
	followed(t, l.url, server)
	server.Kill()
	server.Run()
	followed(t, l.url, server)

	// Once more from the start: what is replayed was published already.
	l.stop()
	l = startLine(t, dir, withRedis)
	followed(t, l.url, server)
	if _, text, err := get(l.url + "/ready"); err != nil || !strings.Contains(text, `"redis"`) {
		t.Errorf("readiness says %s, %v", text, err)
	}
	l.stop()

	books, err := local.Open(filepath.Join(dir, "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	from, to := now.Add(-12*time.Hour).UnixMilli(), now.Add(time.Hour).UnixMilli()
	agree(t, server, "wattledger:{0}:charges", books.WindowsBetween, from, to)
	agree(t, server, "wattledger:{0}:hours", books.HoursBetween, from, to)
}

// followed waits until Redis has all that the line was sent.
func followed(t *testing.T, url string, server *redistest.Server) {
	t.Helper()
	err := eventually("redis has followed", func() error {
		_, text, err := get(url + "/metrics")
		if err != nil {
			return err
		}
		for _, want := range []string{"\nwattledger_flush_behind_records 0\n", "\nwattledger_follower_lag_entries{follower=\"redis\"} 0\n"} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("no %s", want)
			}
		}
		if seq, err := server.Client().HGet(context.Background(), "wattledger:{0}:meta", "seq").Result(); err != nil {
			return fmt.Errorf("meta has no seq (%s): %w", seq, err)
		}
		return nil
	})
	if err != nil {
		_, ready, _ := get(url + "/ready")
		t.Fatal(err, ready)
	}
}

// agree holds a stream against the books, row for row.
func agree(t *testing.T, server *redistest.Server, key string, between func(ctx context.Context, fromMs, toMs int64) ([]store.WindowRow, error), from, to int64) {
	t.Helper()
	rows, err := between(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	type sum struct {
		uj       int64
		cost     float64
		revision uint64
	}
	want := map[string]sum{}
	for _, r := range rows {
		k := r.Workload.ID() + "@" + strconv.FormatInt(r.StartMs, 10)
		s := want[k]
		s.uj += int64(r.Energy.Total())
		s.cost += r.Cost.Total()
		s.revision = max(s.revision, r.Revision)
		want[k] = s
	}
	got, seen := map[string]map[string]any{}, map[string]bool{}
	for _, m := range server.Stream(key) {
		if text := fmt.Sprint(m.Values); seen[text] {
			t.Errorf("%s has twice %s", key, text)
		} else {
			seen[text] = true
		}
		got[fmt.Sprint(m.Values["workload_id"], "@", m.Values["start"])] = m.Values
	}
	var wantUJ, gotUJ int64
	for k, w := range want {
		v := got[k]
		if v == nil {
			t.Errorf("%s lacks %s", key, k)
			continue
		}
		uj, _ := strconv.ParseInt(v["energy_uj"].(string), 10, 64)
		nano, _ := strconv.ParseInt(v["cost_nano"].(string), 10, 64)
		wantUJ, gotUJ = wantUJ+w.uj, gotUJ+uj
		if uj != w.uj || math.Abs(float64(nano)-w.cost*1e9) > 1 || v["revision"] != strconv.FormatUint(w.revision, 10) {
			t.Errorf("%s has %v, the books %+v", key, v, w)
		}
		delete(got, k)
	}
	for k, v := range got {
		if v["energy_uj"] != "0" {
			t.Errorf("%s has %s, the books do not: %v", key, k, v)
		}
	}
	if len(want) == 0 || wantUJ == 0 || wantUJ != gotUJ {
		t.Errorf("%s has %d µJ in %d rows, the books %d", key, gotUJ, len(want), wantUJ)
	}
	t.Logf("%s: %d rows, %d entries, %d µJ", key, len(want), len(seen), gotUJ)
}
