package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/transform"
)

// run wires the line from its end to its start, serves until ctx ends, and
// takes it down from its start to its end. listening, if not nil, is called with
// the address once the port is open.
func run(ctx context.Context, cfg *configs.Config, logger *slog.Logger, listening func(addr string)) (err error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	lock, err := lockStorage(cfg.Storage.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer lock.release()
	cfg.Store.Followers = followerNames(cfg)
	books, err := local.Open(filepath.Join(cfg.Storage.Path, "books.db"), cfg.Store, logger, reg)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer func() { err = errors.Join(err, books.Close()) }()

	table, rules, err := cfg.Tables()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	tariff, err := transform.NewTariff(cfg.Transform.Cost)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	directory := transform.NewDirectory(cfg.Transform, rules)
	stage := transform.New(cfg.Transform, counter.NumShards, cfg.Accounting.ReorderWindow.Milliseconds(), directory, tariff)
	cache := counter.New(cfg.Accounting, stage)

	journalDir := filepath.Join(cfg.Storage.Path, "journal")
	log, err := journal.Open(journalDir, cfg.Journal, logger, reg)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	ingest, err := receiver.New(cfg.Receiver, cache, table, log, logger, reg)
	if err != nil {
		return err
	}
	flush := &flusher{
		every: cfg.Storage.FlushInterval, snapshotEvery: cfg.Storage.SnapshotInterval,
		dir: filepath.Join(cfg.Storage.Path, "snapshots"), cache: cache, stage: stage, directory: directory,
		books: books, journal: log, logger: logger, metrics: newFlushMetrics(reg),
	}
	reg.MustRegister(newCacheMetrics(cache, directory))

	following, err := newFollowers(cfg, books, logger, reg)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	querier, err := newEngine(cfg, books, following, reg)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	inspect := newInspector(cfg.Storage.Path, cfg.Storage.InspectInterval, logger, reg)
	ready := &readiness{following: following, storage: inspect}
	stopping, stopTasks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTasks()
	work := &tasks{ready: ready, stopping: stopping}
	var tokens *access.Tokens
	if cfg.Web.TokensFile != "" {
		if tokens, err = access.Open(cfg.Web.TokensFile, logger, reg); err != nil {
			return fmt.Errorf("%w: web: %w", errUsage, err)
		}
	}
	api := httpapi.New(cfg.API, querier, classifier{rules}, httpapi.Operations{
		Ingest:     ingest,
		Senders:    http.HandlerFunc(ingest.ServeSenders),
		Quarantine: quarantine{cache},
		Metrics:    promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}),
		Ready:      ready.checks,
		ConfigYAML: func() string { return string(cfg.Masked()) },
		Price:      func(ms int64) power.Price { return *tariff.At(ms) },
		Rerate: work.task(func(ctx context.Context, r httpapi.TaskRange, tell func(httpapi.Event)) error {
			return rerate(ctx, books, tariff, r, tell)
		}),
		Version: buildVersion(),
		Tokens:  tokens,
	}, logger, reg)

	ports, err := openFronts(&cfg.Web, api, logger)
	if err != nil {
		return err
	}
	if cfg.Transform.Cost.Model == transform.SeedModel {
		p := tariff.Flat()
		logger.Info("cost model seed: what it implies", "pue", p.ImpliedPUE(), "carbon_kg_per_kwh", p.ImpliedCarbonKgPerKWh())
	}

	for _, notice := range cfg.Notices() {
		logger.Warn(notice)
	}

	// Each of these ends when its context does; the first that fails ends all.
	group, ctx := errgroup.WithContext(ctx)
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	for _, p := range ports {
		group.Go(func() error { return p.serve(&cfg.Web, logger) })
	}
	if err := lock.tell(ports.of("operations_listen_address")); err != nil {
		logger.Warn("commands will not find this process by its storage path", "err", err)
	}
	if tokens != nil {
		group.Go(func() error { return tokens.Run(ctx) })
	}
	main := ports[0].listener.Addr().String()
	logger.Info("listening", "address", main, "version", buildVersion())
	for _, p := range ports[1:] {
		logger.Info("listening as well", "address", p.listener.Addr().String(), "by", "web."+p.name)
	}
	if listening != nil {
		listening(main)
	}
	group.Go(func() error {
		if err := replay(ctx, flush, ingest, books, logger); err != nil {
			if ctx.Err() != nil {
				return nil // told to stop: the next start replays what is left
			}
			return err
		}
		ingest.SetReady(true)
		ready.set()
		group.Go(func() error { return books.Run(background) })
		group.Go(func() error { return following.run(background) })
		group.Go(func() error { return inspect.run(background) })
		return flush.Run(background)
	})
	group.Go(func() error {
		<-ctx.Done()
		logger.Info("stopping")
		stopTasks()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := errors.Join(ingest.Stop(stop), ports.shutdown(stop))
		stopBackground()
		return err
	})
	return group.Wait()
}

// replay brings memory to where the journal ends.
func replay(ctx context.Context, f *flusher, ingest *receiver.Handler, books *local.Store, logger *slog.Logger) error {
	begin := time.Now()
	from, err := f.load(ctx)
	if err != nil {
		return err
	}
	if first := f.journal.First(); first > from {
		return fmt.Errorf("journal begins at record %d, after record %d that is needed next: the books would miss what lies between", first, from)
	}
	records, samples, err := ingest.Replay(ctx, from)
	if err != nil {
		return fmt.Errorf("replay the journal from record %d: %w", from, err)
	}
	if records > 0 || from > 1 {
		logger.Info("books are up to date", "records", records, "samples", samples, "from", from, "seconds", time.Since(begin).Seconds())
	}
	return nil
}
