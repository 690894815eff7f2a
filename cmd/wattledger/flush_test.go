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
		metrics: newFlushMetrics(reg),
	}
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
