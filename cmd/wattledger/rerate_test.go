package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/internal/demo"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/test/redistest"
)

// feedSteps sends some minutes of the simulated cluster to the line.
func feedSteps(t *testing.T, sim *cluster.Cluster, url string, steps int) {
	t.Helper()
	client := remotewrite.Client{URL: url + "/api/v1/write", UserAgent: "test", HTTP: http.DefaultClient, Format: remotewrite.Format{Version: 2, Encoding: "snappy"}}
	for step := range steps {
		sim.Advance(sim.Now().Add(time.Minute))
		body, err := client.Format.Encode(demo.Samples(sim, nil, func(name string, labels []cluster.Label) bool { return demo.Needed(name, labels, step%10 == 0) }))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Post(t.Context(), body); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs a command as main does and returns what it prints.
func runCommand(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out, said bytes.Buffer
	err = command(t.Context(), args, &out, &said)
	t.Logf("wattledger %s\n%s%s", strings.Join(args, " "), said.String(), out.String())
	return out.String(), err
}

// tookAll waits until Redis has every entry of the outbox in a folder.
func tookAll(t *testing.T, dir string, server *redistest.Server) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "books.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = eventually("redis has every entry", func() error {
		var newest string
		if err := db.QueryRow("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").Scan(&newest); err != nil {
			return err
		}
		seq, err := server.Client().HGet(t.Context(), "wattledger:{0}:meta", "seq").Result()
		if err == nil && seq != newest {
			err = fmt.Errorf("it has %s of %s", seq, newest)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// After a change of prices, rerate gives stored rows the new ones: through the
// running service and on a storage that nobody uses. Energy stays what it was,
// Redis follows, and a second run changes nothing.
func TestRerateStory(t *testing.T) {
	server := redistest.Start(t)
	dir := t.TempDir()
	withRate := func(rate float64) func(*configs.Config) {
		return func(c *configs.Config) {
			c.Redis.URL, c.Transform.Cost.ElectricityPerKWh = server.URL(""), rate
		}
	}
	file := filepath.Join(t.TempDir(), "wattledger.yaml")
	ask := func(url, from, to string, groups string) costAnswer {
		t.Helper()
		status, text, err := get(url + "/cost/hourly?start=" + from + "&end=" + to + groups)
		if err != nil || status != http.StatusOK {
			t.Fatal(status, text, err)
		}
		var a costAnswer
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	costs := func(what string, a costAnswer, energy, rate float64) {
		t.Helper()
		if a.Totals.EnergyKWh != energy {
			t.Errorf("%s: energy was %v kWh and is %v", what, energy, a.Totals.EnergyKWh)
		}
		if want := energy * (rate*2.3 + 0.05); math.Abs(a.Totals.Total-want) > 1e-9 {
			t.Errorf("%s: total_cost %v, want %v", what, a.Totals.Total, want)
		}
	}

	begin := time.Now().Truncate(time.Hour).Add(-3 * time.Hour)
	sim, err := demo.NewCluster(begin)
	if err != nil {
		t.Fatal(err)
	}
	l := startLine(t, dir, withRate(0.12))
	feedSteps(t, sim, l.url, 150)
	followed(t, l.url, server)
	at := func(minutes int) string { return begin.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339) }
	from, to := at(0), at(180)
	first := ask(l.url, from, to, "")
	costs("at first", first, first.Totals.EnergyKWh, 0.12)
	l.stop()
	// Minutes that are still in memory are priced anew by the start itself. All
	// were sent just now: without this none would be left for rerate.
	for _, memory := range []string{"journal", "snapshots"} {
		if err := os.RemoveAll(filepath.Join(dir, memory)); err != nil {
			t.Fatal(err)
		}
	}

	// Through the service, found by its storage.
	l = startLine(t, dir, withRate(0.3))
	tookAll(t, dir, server)
	args := []string{"rerate", "--storage.path=" + dir, "--from=" + from, "--to=" + to}
	dry, err := runCommand(t, append(args, "--dry-run")...)
	if err != nil || !strings.Contains(dry, "would get another price") {
		t.Fatal(dry, err)
	}
	if a := ask(l.url, from, at(120), ""); math.Abs(a.Totals.Total-a.Totals.EnergyKWh*(0.12*2.3+0.05)) > 1e-9 {
		t.Errorf("a dry run changed the cost to %v", a.Totals.Total)
	}
	wet, err := runCommand(t, args...)
	if err != nil || strings.ReplaceAll(dry, "would get", "got") != wet {
		t.Errorf("dry\n%s\nwet\n%s, %v", dry, wet, err)
	}
	costs("through the service", ask(l.url, from, to, ""), first.Totals.EnergyKWh, 0.3)
	costs("by namespace", ask(l.url, from, to, "&aggregate=namespace"), first.Totals.EnergyKWh, 0.3)
	if again, err := runCommand(t, args...); err != nil || !strings.Contains(again, "\n0 rows got another price\n") {
		t.Errorf("the second run: %v\n%s", err, again)
	}
	tookAll(t, dir, server)
	l.stop()

	// On the storage itself, from the middle of an hour to the middle of another.
	if err := os.WriteFile(file, []byte(fmt.Sprintf("transform: {cost: {electricity_rate: 0.5}}\nredis: {url: %q}\n", server.URL(""))), 0o600); err != nil {
		t.Fatal(err)
	}
	args = []string{"rerate", "--config.file=" + file, "--storage.path=" + dir, "--from=" + at(30), "--to=" + at(100)}
	if out, err := runCommand(t, args...); err != nil || !strings.Contains(out, "got another price") || strings.Contains(out, "\n0 rows") {
		t.Fatal(out, err)
	}
	l = startLine(t, dir, withRate(0.3))
	tookAll(t, dir, server)
	for _, part := range []struct {
		from, to int
		rate     float64
	}{{0, 30, 0.3}, {30, 100, 0.5}, {100, 180, 0.3}} {
		a := ask(l.url, at(part.from), at(part.to), "")
		costs(fmt.Sprint("minutes ", part.from, " to ", part.to), a, a.Totals.EnergyKWh, part.rate)
	}
	l.stop()

	books, err := local.Open(filepath.Join(dir, "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	fromMs, toMs := begin.UnixMilli(), begin.Add(6*time.Hour).UnixMilli()
	agree(t, server, "wattledger:{0}:charges", books.WindowsBetween, fromMs, toMs)
	agree(t, server, "wattledger:{0}:hours", books.HoursBetween, fromMs, toMs)
}

// What is asked wrongly is told before anything is done.
func TestTaskMistakes(t *testing.T) {
	l := startLine(t, t.TempDir(), nil)
	f := func(says string, args ...string) {
		t.Helper()
		if _, err := runCommand(t, args...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", args, err, says)
		}
	}
	f("--from is needed", "rerate")
	f(`--from "yesteday" is not a time`, "rerate", "--from=yesteday")
	f("does not lie before", "rerate", "--from=now-1h", "--to=now-2h")
	f("unexpected argument", "rerate", "--from=now-1h", "more")
	f("--server: want a URL", "rerate", "--from=now-1h", "--server=:::")
	f("no route /elsewhere/-/rerate", "rerate", "--from=now-1h", "--server="+l.url+"/elsewhere")
	post := func(path string, want int, header ...string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, l.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("POST %s: %d, want %d", path, res.StatusCode, want)
		}
	}
	post("/-/rerate", 400)
	post("/-/rerate?from=now-1h&dry-run=true", 400)
	post("/-/rerate?from=now-1h&to=now-2h", 400)
	post("/-/rerate?from="+url.QueryEscape("now-1h"), 403, "Sec-Fetch-Site", "cross-site")
}
