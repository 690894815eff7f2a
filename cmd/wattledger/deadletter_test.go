package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/demo"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/store/local"
)

// TestDeadLetterStory has another program write texts where numbers belong, so
// that InfluxDB refuses rows for good. They are set aside, shown, retried in vain,
// and once the cause is gone they are written and InfluxDB agrees with the books.
func TestDeadLetterStory(t *testing.T) {
	server := startInflux(t, false)
	dir := t.TempDir()
	t.Setenv("INFLUXDB_URL", server.URL)
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := command(t.Context(), append([]string{"dead-letter", args[0], "--storage.path=" + dir}, args[1:]...), &out, &out)
		return out.String(), err
	}
	if _, err := run("list"); err == nil || !strings.Contains(err.Error(), "books.db") {
		t.Errorf("without books: %v", err)
	}

	l := startLine(t, dir, func(c *configs.Config) { c.InfluxDB.URL = server.URL })
	if err := eventually("the buckets are there", func() error {
		// In both days, should one begin just now.
		const line = "energy,cluster=other watts=\"many\" %d\n"
		return server.Write(t.Context(), "power_metrics", fmt.Sprintf(line+line, time.Now().UnixMilli(), time.Now().Add(-10*time.Minute).UnixMilli()))
	}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	sim, err := demo.NewCluster(now.Truncate(time.Minute).Add(-5 * time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	feedSteps(t, sim, l.url, 4)
	hasFollowed(t, l.url, dir, "influxdb")
	err = eventually("something is set aside", func() error {
		_, ready, _ := get(l.url + "/-/ready")
		_, metrics, _ := get(l.url + "/metrics")
		if !regexp.MustCompile(`\nwattledger_dead_letters [1-9]`).MatchString(metrics) || !strings.Contains(ready, "lines refused: see wattledger dead-letter list") {
			return fmt.Errorf("readiness says %s", ready)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	text, err := run("list")
	if err != nil || !strings.Contains(text, "field type conflict") || !strings.Contains(text, "energy,cluster=demo,") || !strings.Contains(text, "influxdb power_metrics, entries ") {
		t.Fatalf("list: %v\n%s", err, text)
	}
	first := regexp.MustCompile(`(?m)^\d+`).FindString(text)
	if text, err := run("list", first); err != nil || strings.Count(text, "line:") != 1 {
		t.Errorf("list %s: %v\n%s", first, err, text)
	}
	if text, err := run("retry", first); err == nil || !strings.Contains(text, "refused again: influxdb: retry a line: ") || !strings.Contains(text, "field type conflict") {
		t.Errorf("retry while the cause is there: %v\n%s", err, text)
	}
	server.Stop()
	if _, err := run("retry", "--all"); err == nil || !strings.Contains(err.Error(), "influxdb.url: ") {
		t.Errorf("retry while InfluxDB is down: %v", err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := run("list"); err != nil || again != text {
		t.Errorf("something of the list is gone: %v\n%s", err, again)
	}
	if err := server.Query(t.Context(), "power_metrics", `DROP MEASUREMENT energy`); err != nil {
		t.Fatal(err)
	}
	if text, err := run("retry", "--all"); err != nil || !strings.Contains(text, " 0 refused again") {
		t.Errorf("retry: %v\n%s", err, text)
	}
	if text, err := run("list"); err != nil || text != "0 set aside\n" {
		t.Errorf("list after a retry: %v\n%s", err, text)
	}
	if _, text, _ := get(l.url + "/metrics"); !strings.Contains(text, "\nwattledger_dead_letters 0\n") {
		t.Error("the metric still counts letters")
	}
	l.stop()

	books, err := local.Open(filepath.Join(dir, "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	cfg := influx.DefaultConfig()
	cfg.URL = server.URL
	sameSums(t, books, cfg, now)
}

// The command works on books that nobody serves, and says what is wrong with a
// question.
func TestDeadLetterCommand(t *testing.T) {
	dir := t.TempDir()
	books, err := local.Open(filepath.Join(dir, "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		d := local.DeadLetter{Follower: "influxdb", Bucket: "b", Key: fmt.Sprint(n), Line: fmt.Sprint("energy x=1i ", n), Reason: "because"}
		if err := books.KeepDeadLetter(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		err := command(t.Context(), append([]string{"dead-letter"}, args...), &out, &out)
		if text := fmt.Sprint(out.String(), err); !strings.Contains(text, want) {
			t.Errorf("%v: %s, want %q", args, text, want)
		}
	}
	at := "--storage.path=" + dir
	f("Usage: wattledger dead-letter")
	f("Usage: wattledger dead-letter", "list", "-h")
	f(`"burn" is none of list, retry, drop`, "burn", at)
	f("say which", "drop", at)
	f("not both", "drop", at, "--all", "1")
	f(`"x" is no id`, "drop", at, "x")
	f("nothing set aside has the id 7, 9", "drop", at, "7", "1", "9")
	f("influxdb.url is not set", "retry", at, "1")
	f("3 set aside", "list", at)
	f("2 dropped", "drop", "1", at, "3")
	f("1 set aside", "list", at)
	f("1 dropped", "drop", at, "--all")
	f("0 set aside", "list", at)
}
