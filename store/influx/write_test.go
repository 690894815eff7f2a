package influx

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/test/influxtest"
)

const day0 = 1_760_054_400_000

// rowOf is a row of one workload at a minute of the day.
func rowOf(workload string, minute int64, uj power.Microjoules) store.WindowRow {
	r := store.WindowRow{
		Node: "n1", Workload: power.Workload{Cluster: "c1", Namespace: "shop", Kind: "deployment", Name: workload}, Type: power.Web,
		StartMs: day0 + minute*60_000, Seconds: 60, Energy: power.Energy{uj}, Price: seed, SeenMs: 60_000, HeldMs: 60_000,
		LastMs: day0 + minute*60_000 + 59_000, Containers: 1, Revision: 1,
	}
	r.Cost = seed.Cost(uj)
	return r
}

func delivery(rows ...store.WindowRow) store.Delivery {
	return store.Delivery{FromSeq: 1, ToSeq: uint64(len(rows)), Windows: rows}
}

const all = `SELECT energy_uj, workload FROM energy`

func TestWriteAgainAndAnew(t *testing.T) {
	t.Parallel()
	cfg := testConfig(shared.URL)
	f, refused := open(t, cfg)
	d := delivery(rowOf("a", 0, 60_000_000), rowOf("b", 0, 5), rowOf("a", 1, 7))
	hour := rowOf("a", 0, 60_000_007)
	hour.Seconds = 3600
	d.Hours = append(d.Hours, hour)
	write(t, f, d)
	want := "1760054400000 60000000 a\n1760054400000 5 b\n1760054460000 7 a\n"
	if got := values(t, cfg, cfg.Bucket, all); got != want {
		t.Errorf("windows are\n%swant\n%s", got, want)
	}
	if got, want := values(t, cfg, cfg.hourly(), all), "1760054400000 60000007 a\n"; got != want {
		t.Errorf("hours are %q, want %q", got, want)
	}
	write(t, f, d)
	if got := values(t, cfg, cfg.Bucket, all); got != want {
		t.Errorf("written again windows are\n%swant\n%s", got, want)
	}
	// A restated row takes the place of the first, field by field.
	r := rowOf("a", 0, 30_000_000)
	r.Revision, r.Containers = 9, 2
	write(t, f, delivery(r))
	if got, want := values(t, cfg, cfg.Bucket, `SELECT energy_uj, cpu_uj, watts, revision, containers FROM energy WHERE workload = 'a' LIMIT 1`), "1760054400000 30000000 30000000 0.5 9 2\n"; got != want {
		t.Errorf("restated it is %q, want %q", got, want)
	}
	if len(refused.list) != 0 {
		t.Errorf("refused: %v", refused.list)
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	cfg := testConfig(shared.URL)
	f, _ := open(t, cfg)
	r := rowOf("a", 0, 60_000_000)
	r.Cost.Electricity *= 2 // at several prices: every field there is
	write(t, f, delivery(rowOf("b", 0, 1), r))
	lines := func(statement string) []string {
		return strings.Split(strings.TrimSpace(values(t, cfg, cfg.Bucket, statement)), "\n")
	}
	want := "carbon float|carbon_kg float|containers integer|cooling float|cost_nano integer|cpu_uj integer|dram_uj integer|electricity float|energy_uj integer|" +
		"gpu_uj integer|held_ms integer|idle_uj integer|last_ms integer|other_uj integer|price integer|revision integer|seconds integer|seen_ms integer|watts float"
	if got := strings.Join(lines("SHOW FIELD KEYS FROM energy"), "|"); got != want {
		t.Errorf("fields are %s\nwant %s", got, want)
	}
	if got, want := strings.Join(lines("SHOW TAG KEYS FROM energy"), " "), "cluster namespace node workload workload_kind workload_type"; got != want {
		t.Errorf("tags are %s, want %s", got, want)
	}
}

func TestRefusedLines(t *testing.T) {
	t.Parallel()
	cfg := testConfig(shared.URL)
	cfg.BatchLines = 100
	f, refused := open(t, cfg)
	write(t, f, store.Delivery{})
	// Another program got there first, with a field of another type, on one series' shard.
	other := cfg.Bucket
	if err := f.windows.WriteRecord(t.Context(), fmt.Sprintf("energy,cluster=c1,workload=other watts=\"many\" %d", int64(day0-30*24*3600*1000))); err != nil {
		t.Fatal(err)
	}
	var rows []store.WindowRow
	for m := range int64(250) {
		rows = append(rows, rowOf("a", m, power.Microjoules(m)))
	}
	bad := rowOf("bad", 0, 1)
	bad.StartMs = day0 - 30*24*3600*1000 // in the shard where watts is a text
	rows = append(rows[:137], append([]store.WindowRow{bad}, rows[137:]...)...)
	d := delivery(rows...)
	write(t, f, d)
	if len(refused.list) != 1 {
		t.Fatalf("%d lines are refused, want 1: %v", len(refused.list), refused.list)
	}
	r := refused.list[0]
	if r.Bucket != other || !strings.HasPrefix(r.Line, "energy,cluster=c1,namespace=shop,node=n1,workload=bad") || !strings.Contains(r.Reason, "field type conflict") || r.ToSeq != d.ToSeq {
		t.Errorf("refused is %+v", r)
	}
	if got, want := values(t, cfg, cfg.Bucket, `SELECT count(energy_uj) FROM energy WHERE workload = 'a'`), "0 250\n"; got != want {
		t.Errorf("of the others there are %q, want %q", got, want)
	}
	err := f.Retry(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), "field type conflict") {
		t.Errorf("retried: %v, want the server's words", err)
	}
	// Once the cause is gone, a retry does it.
	if err := shared.Query(t.Context(), cfg.Bucket, `DROP MEASUREMENT energy`); err != nil {
		t.Fatal(err)
	}
	if err := f.Retry(t.Context(), r); err != nil {
		t.Error(err)
	}
	if got, want := values(t, cfg, cfg.Bucket, `SELECT energy_uj FROM energy WHERE workload = 'bad'`), fmt.Sprintln(bad.StartMs, 1); got != want {
		t.Errorf("retried it is %q, want %q", got, want)
	}
}

// What was refused once does not take the place of what was accepted since.
func TestRetryOfTheOlder(t *testing.T) {
	t.Parallel()
	cfg := testConfig(shared.URL)
	f, _ := open(t, cfg)
	for i, name := range []string{"plain", `a b,c=d\ "e"`, "ends in \\", "한글 ␛"} {
		older, newer := rowOf(name, int64(i), 5), rowOf(name, int64(i), 7)
		older.Workload.Kind, newer.Workload.Kind = "", "" // a tag that is left out
		newer.Revision = 2
		line := strings.TrimSuffix(string(newEncoder().row(nil, &older)), "\n")
		r := Rejected{Bucket: cfg.Bucket, Line: line}
		f2 := Rejected{Bucket: cfg.Bucket, Line: strings.TrimSuffix(string(newEncoder().row(nil, &newer)), "\n")}
		if r.Key() != f2.Key() {
			t.Errorf("keys of two versions differ: %q, %q", r.Key(), f2.Key())
		}
		has := func(want string) {
			t.Helper()
			if got := values(t, cfg, cfg.Bucket, fmt.Sprintf(`SELECT energy_uj FROM energy WHERE time = %dms`, older.StartMs)); got != want {
				t.Errorf("%s: there is %q, want %q", name, got, want)
			}
		}
		write(t, f, store.Delivery{}) // makes the buckets
		if err := f.Retry(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		has(fmt.Sprintln(older.StartMs, 5))
		write(t, f, delivery(newer))
		if err := f.Retry(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		has(fmt.Sprintln(older.StartMs, 7))
	}
}

func TestRefusedLineIsNotKept(t *testing.T) {
	cfg := testConfig(shared.URL)
	f, _ := open(t, cfg)
	write(t, f, store.Delivery{})
	if err := f.windows.WriteRecord(t.Context(), fmt.Sprintf("energy,cluster=c1 watts=\"many\" %d", int64(day0))); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no room")
	f.reject = func(context.Context, Rejected) error { return full }
	if err := f.Write(t.Context(), delivery(rowOf("a", 0, 1))); !errors.Is(err, full) {
		t.Errorf("write: %v, want %v", err, full)
	}
}

func TestOlderThanRetention(t *testing.T) {
	t.Parallel()
	cfg := testConfig(shared.URL)
	cfg.MinutesRetention = 48 * time.Hour
	f, refused := open(t, cfg)
	now := time.Now().UnixMilli() / 60_000 * 60_000
	var rows []store.WindowRow
	for m := range int64(100) { // all but ten are years old
		r := rowOf("a", m, 1)
		if m >= 90 {
			r.StartMs = now - m*60_000
		}
		rows = append(rows, r)
	}
	write(t, f, delivery(rows...))
	if got, want := values(t, cfg, cfg.Bucket, `SELECT count(energy_uj) FROM energy`), "0 10\n"; got != want {
		t.Errorf("there are %q, want %q", got, want)
	}
	if len(refused.list) != 0 {
		t.Errorf("refused: %d, want none: %v", len(refused.list), refused.list[0])
	}
}

func TestAuthorisation(t *testing.T) {
	t.Parallel()
	server, err := influxtest.Run(t.Context(), t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	for _, statement := range []string{"CREATE USER reader WITH PASSWORD 'r'", "CREATE DATABASE power_metrics_there", "GRANT READ ON power_metrics_there TO reader"} {
		if err := server.Query(t.Context(), "", statement); err != nil {
			t.Fatal(err)
		}
	}
	f := func(token, bucket string, create bool, wants ...string) {
		t.Helper()
		cfg := testConfig(server.URL)
		cfg.Token, cfg.CreateBuckets = token, create
		if bucket != "" {
			cfg.Bucket = bucket
		}
		f, _ := open(t, cfg)
		err := f.Write(t.Context(), delivery(rowOf("a", 0, 1)))
		if len(wants) == 0 {
			if err != nil {
				t.Errorf("token %q: %v", token, err)
			}
			return
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("token %q: %v is not a store.ErrUnavailable", token, err)
			return
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("token %q: %v, want %q in it", token, err, want)
			}
		}
	}
	f(server.Token, "", true)
	f("", "", true, "influxdb.token: 401")
	f("admin:wrong", "", true, "influxdb.token: 401", "user:password")
	f("reader:r", "power_metrics_there", true, "influxdb.token: 403", "power_metrics_there")
	f("reader:r", "power_metrics_new", true, "influxdb.bucket: 403", `influx -execute 'CREATE DATABASE "power_metrics_new"`)
	f(server.Token, "power_metrics_other", false, "influxdb.bucket: 404", `influx -execute 'CREATE DATABASE "power_metrics_other"'`)
}

func TestBucketDropped(t *testing.T) {
	t.Parallel()
	cfg := testConfig(shared.URL)
	cfg.HoursRetention = 400 * 24 * time.Hour
	f, _ := open(t, cfg)
	write(t, f, delivery(rowOf("a", 0, 1)))
	if got, want := values(t, cfg, cfg.hourly(), "SHOW RETENTION POLICIES"), "autogen 9600h0m0s 168h0m0s 1 true\n"; got != want {
		t.Errorf("hours are kept %q, want %q", got, want)
	}
	if err := shared.Query(t.Context(), "", `DROP DATABASE "`+cfg.Bucket+`"`); err != nil {
		t.Fatal(err)
	}
	err := f.Write(t.Context(), delivery(rowOf("a", 0, 1)))
	if err == nil || !strings.Contains(err.Error(), "influxdb.bucket: 404") {
		t.Errorf("write: %v, want influxdb.bucket: 404", err)
	}
	// It is made again, but what it had is gone.
	if err := f.Write(t.Context(), delivery(rowOf("a", 0, 1))); !errors.Is(err, store.ErrLostPlace) {
		t.Errorf("write: %v, want %v", err, store.ErrLostPlace)
	}
	write(t, f, store.Delivery{FromSeq: 4, ToSeq: 4, Windows: delivery(rowOf("a", 0, 1)).Windows, Resync: true})
	if err := f.Check(t.Context(), 4); !errors.Is(err, store.ErrLostPlace) {
		t.Errorf("half of it sent again: %v, want %v", err, store.ErrLostPlace)
	}
	write(t, f, store.Delivery{FromSeq: 4, ToSeq: 4, Resync: true})
	if err := f.Check(t.Context(), 4); err != nil {
		t.Errorf("all of it sent again: %v", err)
	}
	if got, want := values(t, cfg, cfg.Bucket, all), fmt.Sprintln(day0, 1, "a"); got != want {
		t.Errorf("made again it has %q, want %q", got, want)
	}

	// Dropped and made again between two writes.
	for _, name := range []string{cfg.Bucket, cfg.hourly()} {
		for _, statement := range []string{"DROP", "CREATE"} {
			if err := shared.Query(t.Context(), "", statement+` DATABASE "`+name+`"`); err != nil {
				t.Fatal(err)
			}
		}
		d := delivery(rowOf("a", 1, 1))
		d.FromSeq, d.ToSeq = 5, 5
		if err := f.Write(t.Context(), d); !errors.Is(err, store.ErrLostPlace) || !strings.Contains(err.Error(), name) {
			t.Errorf("write: %v, want %v", err, store.ErrLostPlace)
		}
		write(t, f, store.Delivery{FromSeq: 4, ToSeq: 4, Resync: true})
		write(t, f, d)
		write(t, f, store.Delivery{FromSeq: 4, ToSeq: 4, Resync: true})
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	server, err := influxtest.Run(t.Context(), t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	cfg := testConfig(server.URL)
	f, refused := open(t, cfg)
	write(t, f, delivery(rowOf("a", 0, 1)))
	server.Stop()
	// What was sent on a connection that ended with the server gets no answer;
	// who connects anew is refused.
	for try, says := range []string{"", "", "refused"} {
		err := f.Write(t.Context(), delivery(rowOf("a", 1, 2)))
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "influxdb.url: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("while it is gone, try %d: %v, want %q in it", try+1, err, says)
		}
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, f, delivery(rowOf("a", 1, 2)))
	if got, want := values(t, cfg, cfg.Bucket, all), fmt.Sprint(day0, " 1 a\n", day0+60_000, " 2 a\n"); got != want {
		t.Errorf("after it there is %q, want %q", got, want)
	}
	if len(refused.list) != 0 {
		t.Errorf("refused: %v", refused.list)
	}
}

// What a server or the way to it may do to a write, and what must come of it.
func TestFaults(t *testing.T) {
	t.Parallel()
	var fault atomic.Pointer[func(w http.ResponseWriter, r *http.Request, pass http.Handler)]
	proxy := gate(t, shared.URL, false, func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool {
		do := fault.Load()
		if do == nil || !strings.HasSuffix(r.URL.Path, "/write") {
			return false
		}
		(*do)(w, r, pass)
		return true
	})
	cfg := testConfig(proxy.URL)
	f, refused := open(t, cfg)
	write(t, f, store.Delivery{})
	minute := int64(0)
	check := func(name string, do func(w http.ResponseWriter, r *http.Request, pass http.Handler), wants ...string) *Error {
		t.Helper()
		minute++
		d := delivery(rowOf("a", minute, power.Microjoules(minute)))
		fault.Store(&do)
		err := f.Write(t.Context(), d)
		fault.Store(nil)
		e, ok := asError(err)
		if !ok {
			t.Fatalf("%s: %v is not an Error", name, err)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
		write(t, f, d)
		if got, want := values(t, cfg, cfg.Bucket, fmt.Sprintf("SELECT energy_uj FROM energy WHERE time = %dms", d.Windows[0].StartMs)), fmt.Sprintln(d.Windows[0].StartMs, minute); got != want {
			t.Errorf("%s: then there is %q, want %q", name, got, want)
		}
		return e
	}
	answer := func(status int, text string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Retry-After", "17")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"code":"x","message":%q}`, text)
		}
	}
	if e := check("too many", answer(429, "slow down"), "influxdb.url: 429 slow down"); e.RetryAfter() != 17*time.Second {
		t.Errorf("retry after %v, want 17s", e.RetryAfter())
	}
	check("busy", answer(503, "not now"), "influxdb.url: 503 not now")
	check("full disk", answer(500, "engine: no space left on device"), "influxdb.url: 500 engine: no space left on device")
	check("a proxy in between", answer(408, "timeout"), "influxdb.url: 408")
	check("token revoked", answer(401, "unauthorized access"), "influxdb.token: 401 unauthorized access")
	check("not permitted", answer(403, "insufficient permissions"), "influxdb.token: 403", cfg.Bucket)
	check("no bucket", answer(404, "bucket not found"), "influxdb.bucket: 404", cfg.Bucket)
	check("error, not persisted", func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }, "influxdb.url: EOF")
	check("error, but persisted", func(_ http.ResponseWriter, r *http.Request, pass http.Handler) {
		pass.ServeHTTP(recorder(), r)
		panic(http.ErrAbortHandler)
	}, "influxdb.url: EOF")
	check("cut in the middle of the body", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = r.Body.Read(make([]byte, 10))
		panic(http.ErrAbortHandler)
	}, "influxdb.url: ")
	if len(refused.list) != 0 {
		t.Errorf("refused: %v", refused.list)
	}

	// Bodies that are too large are halved until they fit.
	limit := func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.ContentLength > 700 {
			answer(413, "too large")(w, r, pass)
			return
		}
		pass.ServeHTTP(w, r)
	}
	fault.Store(&limit)
	var rows []store.WindowRow
	for m := range int64(300) {
		rows = append(rows, rowOf("large", m, power.Microjoules(m*7919)))
	}
	write(t, f, delivery(rows...))
	if got, want := values(t, cfg, cfg.Bucket, `SELECT count(energy_uj) FROM energy WHERE workload = 'large'`), "0 300\n"; got != want || len(refused.list) != 0 {
		t.Errorf("of a large body there is %q, want %q; refused %v", got, want, refused.list)
	}
}

func TestOtherServers(t *testing.T) {
	f := func(version, want string) {
		t.Helper()
		server := gate(t, shared.URL, false, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
			if version != "" {
				w.Header().Set("X-Influxdb-Version", version)
			}
			w.WriteHeader(http.StatusNoContent)
			return true
		})
		f, _ := open(t, testConfig(server.URL))
		if err := f.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("version %q: %v, want %q", version, err, want)
		}
	}
	f("", "influxdb.url: what answers there is not InfluxDB")
	f("1.7.11", "influxdb.url: InfluxDB 1.7.11 is too old: want 1.8 or later")
	f("v2.7.1", "influxdb.org: InfluxDB v2.7.1 wants the name of an organisation")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	var zipped atomic.Bool
	server := gate(t, shared.URL, true, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		zipped.Store(zipped.Load() || r.Header.Get("Content-Encoding") == "gzip")
		return false
	})
	cfg := testConfig(server.URL)
	f, _ := open(t, cfg)
	if err := f.Write(t.Context(), delivery(rowOf("a", 0, 1))); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate nobody vouches for: %v", err)
	}
	cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(cfg.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _ = open(t, cfg)
	write(t, f, delivery(rowOf("a", 0, 1)))
	if !zipped.Load() {
		t.Error("nothing was compressed")
	}
}

func TestConfigCheck(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.URL = "http://127.0.0.1:8086"
		change(&cfg)
		err := cfg.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("check: %v, want %q", err, want)
		}
	}
	f(func(*Config) {}, "")
	f(func(c *Config) { c.URL = "127.0.0.1:8086" }, "influxdb.url")
	f(func(c *Config) { c.Bucket = "" }, "influxdb.bucket")
	f(func(c *Config) { c.MinutesRetention = time.Minute }, "influxdb.minutes_retention")
	f(func(c *Config) { c.Timeout = 0 }, "influxdb.timeout")
	f(func(c *Config) { c.BatchLines = 0 }, "influxdb.batch_lines")
	f(func(c *Config) { c.KeyFile = "key.pem" }, "influxdb.cert_file")
}
