package ledger

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/decode"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/test/wire"
	"github.com/wattledger/wattledger/transform"
	"github.com/wattledger/wattledger/transform/classify"
)

// testConfig is that of an installation that sets nothing, on a folder.
func testConfig(t *testing.T, dir string) Config {
	t.Helper()
	read := func(name string) []byte {
		file, err := os.ReadFile("../configs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	table, err := metric.Parse(read("metrics.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := classify.ParseRules(read("workloads.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Path: dir, FlushInterval: 5 * time.Second, SnapshotInterval: 5 * time.Minute, StopTime: 8 * time.Second,
		Table: table, Rules: rules, Accounting: counter.DefaultConfig(), Transform: transform.DefaultConfig(), Store: local.DefaultConfig(),
		Limits: decode.Limits{
			MaxDecodedBytes: 32 << 20, MaxSeriesPerRequest: 1000, MaxSamplesPerRequest: 1000, MaxSymbols: 1000, MaxLabelsPerSeries: 64,
			MaxLabelNameBytes: 1 << 10, MaxLabelValueBytes: 1 << 10, MaxLabelSetBytes: 1 << 14, MaxFuture: 10 * time.Minute,
		},
	}
}

// A fragile sink panics when it is told of a reading.
type fragile struct{ counter.Sink }

func (fragile) Append(_ int, _ uint64, _ int64, readings []power.Reading) {
	if len(readings) > 0 {
		panic("a sink that breaks")
	}
}

// A panic while a request is counted leaves a position that nobody else may
// count before: the process must end, whoever recovers from panics around it,
// and the next start counts the request from the journal.
func TestPanicWhileBookingEndsTheProcess(t *testing.T) {
	startMs := time.Now().Add(-time.Hour).Truncate(time.Minute).UnixMilli()
	record := func(tMs int64, joules float64) *journal.Record {
		r := wire.One(wire.Labels("__name__", "kepler_node_cpu_joules_total", "node_name", "n1", "zone", "package"), wire.At(0, joules))
		r.Timeseries[0].Samples[0].Timestamp = tMs
		return &journal.Record{Protocol: journal.V1, Encoding: journal.Snappy, ArrivalMs: tMs, Body: wire.BodyV1(t, r)}
	}
	open := func(dir string) *Ledger {
		l, err := Open(testConfig(t, dir), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Replay(t.Context()); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if dir := os.Getenv("WATTLEDGER_TEST_PANIC_IN"); dir != "" { // the process that is to end
		l := open(dir)
		l.cache = counter.New(l.cfg.Accounting, fragile{l.stage})
		var err error
		if l.decoder, err = decode.New(l.cfg.Limits, l.cache, l.table); err != nil {
			t.Fatal(err)
		}
		defer func() {
			p := recover()
			t.Logf("somebody recovered: %v", p)
			os.Exit(0)
		}()
		for i := range 3 {
			if _, err := l.Take(t.Context(), record(startMs+int64(i)*60_000, 1000*float64(i+1))); err != nil {
				t.Fatal(err)
			}
		}
		t.Fatal("nothing broke")
	}

	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestPanicWhileBookingEndsTheProcess$")
	child.Env = append(os.Environ(), "WATTLEDGER_TEST_PANIC_IN="+dir)
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "booking: a sink that breaks") {
		t.Fatalf("the process ended with %v:\n%s", err, out)
	}

	l := open(dir)
	defer l.Close()
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	minutes, err := l.Books.Nodes(t.Context(), startMs-120_000, startMs+300_000, nil)
	if err != nil {
		t.Fatal(err)
	}
	used := power.Microjoules(0)
	for _, n := range minutes {
		used += n.Used[power.CPU]
	}
	if used != 1000e6 { // what was durable when it broke: the first two samples
		t.Errorf("the books hold %d uJ after the restart, want 1000 J", used)
	}
}
