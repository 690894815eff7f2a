package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/transform"
)

// An interrupted is an Appender whose caller gives up waiting for its first
// Append, as a flush does when the service is told to stop.
type interrupted struct {
	store.Appender
	giveUp func()
	asked  int
}

func (i *interrupted) Append(ctx context.Context, b store.Batch) error {
	i.asked++
	if i.asked == 1 {
		i.giveUp()
		return ctx.Err()
	}
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
	cfg, logger, reg := configs.Default(), slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	log, err := journal.Open(t.TempDir(), cfg.Journal, logger, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	add := func() (position uint64) {
		if position, err = log.Append(t.Context(), &journal.Record{Protocol: journal.V1, Encoding: journal.Snappy, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		return position
	}
	_, rules, err := cfg.Tables()
	if err != nil {
		t.Fatal(err)
	}
	tariff, err := transform.NewTariff(cfg.Transform.Cost)
	if err != nil {
		t.Fatal(err)
	}
	directory := transform.NewDirectory(cfg.Transform, rules)
	stage := transform.New(cfg.Transform, counter.NumShards, cfg.Accounting.ReorderWindow.Milliseconds(), directory, tariff)
	f := &flusher{cache: counter.New(cfg.Accounting, stage), stage: stage, directory: directory, books: stuck{}, journal: log, logger: logger}
	f.register(reg)
	began := gauge(t, reg, "wattledger_flush_last_success_timestamp_seconds")
	f.cache.Apply(&counter.Request{Position: add(), ArrivalMs: 1_795_476_240_000})
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
	f.flushed.Store(f.cache.Position())
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
	cfg, logger, reg, dir := configs.Default(), slog.New(slog.DiscardHandler), prometheus.NewRegistry(), t.TempDir()
	books, err := local.Open(filepath.Join(dir, "books.db"), cfg.Store, logger, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	log, err := journal.Open(filepath.Join(dir, "journal"), cfg.Journal, logger, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	_, rules, err := cfg.Tables()
	if err != nil {
		t.Fatal(err)
	}
	tariff, err := transform.NewTariff(cfg.Transform.Cost)
	if err != nil {
		t.Fatal(err)
	}
	directory := transform.NewDirectory(cfg.Transform, rules)
	stage := transform.New(cfg.Transform, counter.NumShards, cfg.Accounting.ReorderWindow.Milliseconds(), directory, tariff)
	cache := counter.New(cfg.Accounting, stage)

	ctx, stop := context.WithCancel(t.Context())
	between := &interrupted{Appender: books, giveUp: stop}
	f := &flusher{
		every: time.Millisecond, snapshotEvery: time.Millisecond, dir: filepath.Join(dir, "snapshots"),
		cache: cache, stage: stage, directory: directory, books: between, journal: log, logger: logger,
	}
	f.register(reg)
	const startMs = 1_795_476_240_000
	key := power.HolderKey{Cluster: "c1", Node: "n1", Kind: power.Node}
	stage.Holder(0, 0, key, power.Attributes{}, "other")
	stage.Append(0, 1, startMs, []power.Reading{{Energy: 5e6, StartMs: startMs, EndMs: startMs + 30_000}})
	cache.Apply(&counter.Request{Position: 1, ArrivalMs: startMs})
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
	nodes, err := books.Nodes(t.Context(), startMs, startMs+60_000, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 1 || nodes[0].Used[power.CPU] != 5e6 {
		t.Errorf("the books hold %+v, want 5 J of n1", nodes)
	}
	if at, err := books.Position(t.Context()); at != 1 || err != nil {
		t.Errorf("the books are at record %d (%v), want 1", at, err)
	}
}
