package main

import (
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/demo"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/test/influxtest"
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
	sim, err := demo.NewCluster(now.Truncate(time.Minute).Add(-(steps + 1) * time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	feedSteps(t, sim, l.url, 20)
	l.stop()

	l = startLine(t, dir, withInflux)
	feedSteps(t, sim, l.url, 20)
	hasFollowed(t, l.url, dir, "influxdb")
	server.Stop()
	feedSteps(t, sim, l.url, 40)
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
	feedSteps(t, sim, l.url, steps-80)
	hasFollowed(t, l.url, dir, "influxdb")
	l.stop()

	withFollower := local.DefaultConfig()
	withFollower.Followers = []string{"influxdb"} // or it would be a new one afterwards
	books, err := local.Open(filepath.Join(dir, "books.db"), withFollower, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
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
	if books, err = local.Open(filepath.Join(dir, "books.db"), withFollower, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
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

var journalLast = regexp.MustCompile(`(?m)^wattledger_journal_last_position (\S+)$`)

// hasFollowed waits until the books in dir have all that was sent and a follower
// all that they have. The metrics of followers are only as new as their last look.
func hasFollowed(t testing.TB, url, dir, follower string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "books.db")+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = eventually(follower+" has followed", func() error {
		_, text, err := get(url + "/metrics")
		last := journalLast.FindStringSubmatch(text)
		if err != nil || last == nil {
			return fmt.Errorf("no position of the journal: %v", err)
		}
		var booked string
		if err := db.QueryRow("SELECT value FROM state WHERE name = 'position'").Scan(&booked); err != nil || booked != last[1] {
			return fmt.Errorf("the books are at %s of %s, %v", booked, last[1], err)
		}
		var newest, taken int64
		err = db.QueryRow("SELECT (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'), (SELECT seq FROM followers WHERE name = ?)", follower).Scan(&newest, &taken)
		if err != nil || taken != newest {
			return fmt.Errorf("%d of %d entries taken, %w", taken, newest, err)
		}
		return nil
	})
	if err != nil {
		_, ready, _ := get(url + "/-/ready")
		t.Fatal(err, ready)
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
