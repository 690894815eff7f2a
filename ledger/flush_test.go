package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local"
)

// An interrupted is an Appender whose caller gives up waiting for one Append, as
// a flush does when the service is told to stop.
type interrupted struct {
	store.Appender
	giveUp func()
	at     int // which one, the first being 1
	asked  int
	more   []bool // of what was taken: is it not the last of its flush
}

func (i *interrupted) Append(ctx context.Context, b store.Batch) error {
	i.asked++
	if i.asked == i.at {
		i.giveUp()
		return ctx.Err()
	}
	i.more = append(i.more, b.More)
	return i.Appender.Append(ctx, b)
}

// A stuck store takes nothing, and does not say so before the caller goes.
type stuck struct{ store.Appender }

func (stuck) Append(ctx context.Context, _ store.Batch) error {
	<-ctx.Done()
	return ctx.Err()
}

// While one flush waits for the store, the metrics go on telling how much more
// is waiting and since when.
func TestBehindWhileStuck(t *testing.T) {
	f, _, reg := newTestFlusher(t)
	f.books = stuck{}
	add := func() uint64 {
		position, err := f.log.Append(t.Context(), &journal.Record{Protocol: journal.V1, Encoding: journal.Snappy, Body: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		return position
	}
	began := gauge(t, reg, "wattledger_flush_last_success_timestamp_seconds")
	f.memory.cache.Apply(&counter.Request{Position: add(), ArrivalMs: 1_795_476_240_000})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- f.flush(ctx) }()
	for range 4 {
		add()
	}
	if got := gauge(t, reg, "wattledger_flush_behind_records"); got != 5 {
		t.Errorf("%v records are said to be behind, want 5", got)
	}
	stop()
	if err := <-ended; err == nil {
		t.Error("a store that took nothing made a flush that says nothing")
	}
	if got := gauge(t, reg, "wattledger_flush_last_success_timestamp_seconds"); got != began {
		t.Errorf("the last success moved from %v to %v", began, got)
	}
	f.books = nil // asked for nothing: the position is that of the books
	f.pending = nil
	f.flushed.Store(f.memory.cache.Position())
	if err := f.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := gauge(t, reg, "wattledger_flush_last_success_timestamp_seconds"); got <= began {
		t.Errorf("with nothing to hand over the last success stays at %v", got)
	}
}

func gauge(t *testing.T, reg prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// What a flush has collected when the service is told to stop reaches the books
// with the last flush, not never.
func TestStopDuringFlush(t *testing.T) {
	f, books, _ := newTestFlusher(t)
	ctx, stop := context.WithCancel(t.Context())
	f.books = &interrupted{Appender: books, giveUp: stop, at: 1}
	f.cfg.FlushInterval, f.cfg.SnapshotInterval = time.Millisecond, time.Millisecond
	key := power.HolderKey{Cluster: "c1", Node: "n1", Kind: power.Node}
	f.memory.stage.Holder(0, 0, key, power.Attributes{}, "other")
	f.memory.stage.Append(0, 1, flushStartMs, []power.Reading{{Energy: 5e6, StartMs: flushStartMs, EndMs: flushStartMs + 30_000}})
	f.memory.cache.Apply(&counter.Request{Position: 1, ArrivalMs: flushStartMs})
	if err := f.run(ctx); err != nil {
		t.Fatal(err)
	}
	if used := usedBy(t, books, "n1"); used != 5e6 {
		t.Errorf("the books hold %d uJ of n1, want 5 J", used)
	}
	if at, err := books.Position(t.Context()); at != 1 || err != nil {
		t.Errorf("the books are at record %d (%v), want 1", at, err)
	}
}

// A large flush goes out in pieces. Cut off between two, the books have the first
// and not the position; no snapshot lets go of the rest, and the next flush
// brings it.
func TestStopBetweenPieces(t *testing.T) {
	f, books, _ := newTestFlusher(t)
	ctx, stop := context.WithCancel(t.Context())
	f.books = &interrupted{Appender: books, giveUp: stop, at: 2}
	for shard, node := range []string{"n1", "n2"} {
		f.memory.stage.Holder(shard, 0, power.HolderKey{Cluster: "c1", Node: node, Kind: power.Node}, power.Attributes{}, "other")
		readings := []power.Reading{{Energy: 5e6, StartMs: flushStartMs, EndMs: flushStartMs + 30_000}}
		for i := range uint32(pieceCharges) {
			f.memory.stage.Holder(shard, 1+i, power.HolderKey{Cluster: "c1", Node: node, Kind: power.Container, ID: fmt.Sprint(node, i)}, power.Attributes{}, "other")
			readings = append(readings, power.Reading{Holder: 1 + i, Energy: 100, StartMs: flushStartMs, EndMs: flushStartMs + 30_000})
		}
		f.memory.stage.Append(shard, 1, flushStartMs, readings)
	}
	f.memory.cache.Apply(&counter.Request{Position: 1, ArrivalMs: flushStartMs})
	for _, want := range []struct {
		fails    bool
		n2       power.Microjoules
		position uint64
	}{{true, 0, 0}, {false, 5e6, 1}} {
		if err := f.flush(ctx); (err != nil) != want.fails {
			t.Fatalf("flush: %v", err)
		}
		if n1, n2 := usedBy(t, books, "n1"), usedBy(t, books, "n2"); n1 != 5e6 || n2 != want.n2 {
			t.Errorf("the books hold %d uJ of n1 and %d of n2, want 5 J and %d uJ", n1, n2, want.n2)
		}
		if err := f.snapshot(); err != nil {
			t.Fatal(err)
		}
		kept, err := journal.Snapshots(f.cfg.snapshotsDir())
		at, failed := books.Position(t.Context())
		if err := errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
		if at != want.position || (len(kept) > 0) == want.fails || f.flushed.Load() != want.position {
			t.Errorf("the books are at %d, the flusher at %d, snapshots %v; want %d", at, f.flushed.Load(), kept, want.position)
		}
		ctx = t.Context()
	}
	if more := f.books.(*interrupted).more; !slices.Equal(more, []bool{true, true, false}) {
		t.Errorf("more was to come after each piece: %v", more)
	}
}

const flushStartMs = 1_795_476_240_000

// usedBy returns what the books say a node used.
func usedBy(t *testing.T, books *local.Store, node string) (used power.Microjoules) {
	t.Helper()
	list, err := books.Nodes(t.Context(), flushStartMs, flushStartMs+60_000, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if list[i].Node == node {
			used += list[i].Used[power.CPU]
		}
	}
	return used
}

// newTestFlusher returns a flusher and the books it writes to.
func newTestFlusher(t *testing.T) (f *flusher, books *local.Store, reg *prometheus.Registry) {
	t.Helper()
	cfg, logger := testConfig(t, t.TempDir()), slog.New(slog.DiscardHandler)
	reg = prometheus.NewRegistry()
	books, err := local.Open(cfg.booksFile(), cfg.Store, logger, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { books.Close() })
	log, err := journal.Open(cfg.journalDir(), cfg.Journal, logger, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	l, err := newLedger(cfg, log, books, logger, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.decoder.Close)
	return l.flush, books, reg
}
