package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/cmd/internal/cluster"
	"github.com/wattledger/wattledger/cmd/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/store/influx/influxtest"
	"github.com/wattledger/wattledger/store/local"
)

// TestInfluxStory feeds the line while its InfluxDB is down, for a time or from
// the start, and comes back, once without anything it had. In the end InfluxDB
// answers what the books do, to the microjoule.
func TestInfluxStory(t *testing.T) {
	server := startInflux(t, true)
	dir := t.TempDir()
	withInflux := func(c *configs.Config) {
		c.InfluxDB.URL, c.InfluxDB.Token = server.URL, server.Token
		c.InfluxDB.BatchLines = 500 // several requests to a delivery
	}

	// Books that are older than their follower.
	l := startLine(t, dir, nil)
	now := time.Now()
	const steps = 150
	sim, err := newDemoCluster(now.Truncate(time.Minute).Add(-(steps + 1) * time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	feedSteps(t, l.url, sim, 20)
	l.stop()

	l = startLine(t, dir, withInflux)
	feedSteps(t, l.url, sim, 20)
	lagIsZero(t, l.url, "influxdb")
	server.Stop()
	feedSteps(t, l.url, sim, 40)
	if err := eventually("readiness tells of the outage", func() error {
		if _, text, err := get(l.url + "/-/ready"); err != nil || !strings.Contains(text, "influxdb.url: ") {
			return fmt.Errorf("%s, %w", text, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	feedSteps(t, l.url, sim, steps-80)
	lagIsZero(t, l.url, "influxdb")
	l.stop()

	books, err := local.Open(filepath.Join(dir, "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	cfg := influx.DefaultConfig()
	cfg.URL, cfg.Token = server.URL, server.Token
	sameSums(t, books, cfg, now)
	books.Close()

	// It comes back empty while the line is away.
	for _, name := range []string{cfg.Bucket, cfg.Bucket + "_hourly"} {
		if err := server.Query(t.Context(), "", `DROP DATABASE "`+name+`"`); err != nil {
			t.Fatal(err)
		}
	}
	l = startLine(t, dir, withInflux)
	if err := eventually("the stored rows have been sent again", func() error {
		if _, text, err := get(l.url + "/metrics"); err != nil || !strings.Contains(text, "\nwattledger_follower_errors_total{follower=\"influxdb\"} 1\n") {
			return fmt.Errorf("the loss has not been found out yet, %w", err)
		}
		if _, text, err := get(l.url + "/-/ready"); err != nil || strings.Contains(text, "warning") {
			return fmt.Errorf("%s, %w", text, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	l.stop()
	if books, err = local.Open(filepath.Join(dir, "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	sameSums(t, books, cfg, now)
}

// startInflux runs a real InfluxDB until the test ends.
func startInflux(t testing.TB, auth bool) *influxtest.Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "influxd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	server, err := influxtest.Run(t.Context(), dir, auth)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// feedSteps sends so many minutes of a simulated cluster.
func feedSteps(t testing.TB, url string, sim *cluster.Cluster, steps int) {
	t.Helper()
	client := remotewrite.Client{URL: url + "/api/v1/write", UserAgent: "test", HTTP: http.DefaultClient, Format: remotewrite.Format{Version: 2, Encoding: "snappy"}}
	for step := range steps {
		sim.Advance(sim.Now().Add(time.Minute))
		body, err := client.Format.Encode(demoSamples(sim, nil, func(name string, labels []cluster.Label) bool { return neededInDemo(name, labels, step%10 == 0) }))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Post(t.Context(), body); err != nil {
			t.Fatal(err)
		}
	}
}

// lagIsZero waits until the books have all that was sent and a follower all that they have.
func lagIsZero(t testing.TB, url, follower string) {
	t.Helper()
	err := eventually(follower+" has followed", func() error {
		_, text, err := get(url + "/metrics")
		if err != nil {
			return err
		}
		for _, want := range []string{"\nwattledger_flush_behind_records 0\n", "\nwattledger_follower_lag_entries{follower=\"" + follower + "\"} 0\n"} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("no %s", want)
			}
		}
		if _, text, err = get(url + "/-/ready"); err != nil || strings.Contains(text, "warning") {
			return fmt.Errorf("%s, %w", text, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sameSums asks the books and InfluxDB for everything up to now and compares.
func sameSums(t *testing.T, books *local.Store, cfg influx.Config, now time.Time) {
	t.Helper()
	other, err := influx.NewQuerier(cfg, books)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []time.Duration{0, time.Minute, time.Hour} {
		for _, group := range [][]store.Dimension{nil, {store.Namespace}, {store.Cluster, store.Node, store.Namespace, store.WorkloadKind, store.Workload, store.WorkloadType}} {
			q := store.Query{FromMs: now.Add(-12 * time.Hour).UnixMilli(), ToMs: now.Add(time.Hour).UnixMilli(), StepMs: step.Milliseconds(), GroupBy: group}
			want, err := books.Sum(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			got, err := other.Sum(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) || len(want) == 0 {
				t.Errorf("every %v by %v: %d rows, the books have %d", step, group, len(got), len(want))
				continue
			}
			var total power.Microjoules
			for i := range want {
				g, w := got[i], want[i]
				g.Holders, w.Holders = 0, 0 // another count: see NewQuerier
				if fmt.Sprint(g) != fmt.Sprint(w) {
					t.Errorf("every %v by %v, row %d:\n got %v\nwant %v", step, group, i, g, w)
					break
				}
				total += w.Energy.Total()
			}
			if total == 0 {
				t.Errorf("every %v by %v: no energy", step, group)
			}
		}
	}
}
