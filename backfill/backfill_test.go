package backfill

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/receiver/journal"
)

// After an outage a service waits until the minutes that were booked over it are
// closed: before, the line itself would write them again.
func TestAwaitClosed(t *testing.T) {
	all := configs.Default()
	all.Storage.Path, all.Storage.FlushInterval = t.TempDir(), time.Millisecond
	cfg, err := all.Ledger()
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Replay(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Truncate(time.Minute).Add(-3 * time.Hour)
	joules := 0.0
	scrapeAt := func(after time.Duration) {
		t.Helper()
		joules += 1000
		at := begin.Add(after).UnixMilli()
		raw, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
			Labels:  []prompb.Label{{Name: "__name__", Value: "kepler_node_cpu_joules_total"}, {Name: "node_name", Value: "n1"}, {Name: "zone", Value: "package"}},
			Samples: []prompb.Sample{{Timestamp: at, Value: joules}},
		}}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		n, err := l.Take(t.Context(), &journal.Record{Protocol: journal.V1, Encoding: journal.Snappy, ArrivalMs: at, Body: snappy.Encode(nil, raw)})
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for m := range 20 {
		scrapeAt(time.Duration(m) * time.Minute)
	}
	resumed := 80 * time.Minute
	scrapeAt(resumed)
	toMs := begin.Add(40 * time.Minute).UnixMilli() // in the outage
	waiting, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- (&Backfill{cfg: &cfg, l: l, tell: func(e Event) { waiting <- e.Text }}).awaitClosed(t.Context(), toMs)
	}()
	if text := <-waiting; !strings.Contains(text, "waiting until what 1 nodes were booked") {
		t.Error(text)
	}
	for m := time.Minute; m < 6*time.Minute; m += time.Minute {
		scrapeAt(resumed + m)
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	scrapeAt(resumed + 7*time.Minute)
	scrapeAt(resumed + 8*time.Minute)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
