package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/backfill"
	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/transform/tariff"
)

// run wires the line from its end to its start, serves until ctx ends, and
// takes it down from its start to its end. listening, if not nil, is called with
// the address once the port is open.
func run(ctx context.Context, cfg *configs.Config, logger *slog.Logger, listening func(addr string)) (err error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	lock, err := ledger.Lock(cfg.Storage.Path)
	if errors.As(err, new(*ledger.InUseError)) {
		return fmt.Errorf("%w: %w; stop it, or give another --storage.path", errUsage, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer lock.Release()
	of, err := cfg.Ledger()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	l, err := ledger.Open(of, logger, reg)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	ingest, err := receiver.New(cfg.Receiver, l.Decoder(), l, logger, reg)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}

	following, err := newFollowers(cfg, l.Books, logger, reg)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	querier := store.Querier(l.Books)
	if cfg.Query.Engine == "influx" {
		if querier, err = influx.NewEngine(cfg.InfluxDB, l.Books, following.influxIsCurrent, reg); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	inspect := ledger.NewInspector(cfg.Storage.Path, cfg.Storage.InspectInterval, logger, reg)
	ready := &readiness{following: following, storage: inspect, senders: ingest}
	registerLimits(cfg, ready, reg)
	stopping, stopTasks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTasks()
	work := &tasks{ready: ready, stopping: stopping}
	var tokens *access.Tokens
	if cfg.Web.TokensFile != "" {
		if tokens, err = access.Open(cfg.Web.TokensFile, logger, reg); err != nil {
			return fmt.Errorf("%w: web: %w", errUsage, err)
		}
	}
	cfg.API.Dimensions = of.Dimensions.Names()
	api := httpapi.New(cfg.API, querier, of.Rules, httpapi.Operations{
		Ingest:     ingest,
		Senders:    http.HandlerFunc(ingest.ServeSenders),
		Quarantine: http.HandlerFunc(ingest.ServeQuarantine),
		Metrics:    promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}),
		Ready:      ready.checks,
		ConfigYAML: func() string { return string(cfg.Masked()) },
		Price:      func(ms int64) power.Price { return *l.Tariff().At(ms) },
		Rerate: work.task(func(ctx context.Context, r httpapi.TaskRange, tell func(httpapi.Event)) error {
			return rerate(ctx, l.Books, l.Tariff(), r, tell)
		}),
		Remap: work.task(func(ctx context.Context, r httpapi.TaskRange, tell func(httpapi.Event)) error {
			return remap(ctx, l, r, tell)
		}),
		Backfill: work.task(func(ctx context.Context, r httpapi.TaskRange, tell func(httpapi.Event)) error {
			return backfillServing(ctx, cfg, l, r, tell)
		}),
		DefaultPrices: cfg.Transform.Cost.IsDefault(),
		Version:       buildVersion(),
		Tokens:        tokens,
	}, logger, reg)

	ports, err := openFronts(&cfg.Web, api, logger)
	if err != nil {
		return err
	}
	if cfg.Transform.Cost.Model == tariff.SeedModel {
		p := l.Tariff().Flat()
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
	if err := lock.Tell(ports.of("operations_listen_address")); err != nil {
		logger.Warn("commands will not find this process by its storage path", "err", err)
	}
	if tokens != nil {
		group.Go(func() error { return tokens.Run(ctx) })
	}
	address := ports[0].listener.Addr().String()
	logger.Info("listening", "address", address, "version", buildVersion())
	for _, p := range ports[1:] {
		logger.Info("listening as well", "address", p.listener.Addr().String(), "by", "web."+p.name)
	}
	if listening != nil {
		listening(address)
	}
	group.Go(func() error {
		err := l.Replay(ctx)
		if err == nil {
			err = mindGap(ctx, cfg, l, logger)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil // told to stop: the next start replays what is left
			}
			return err
		}
		ingest.SetReady(true)
		ready.set()
		group.Go(func() error { return l.Books.Run(background) })
		group.Go(func() error { return following.run(background) })
		group.Go(func() error { return inspect.Run(background) })
		group.Go(func() error { return ingest.Run(background) })
		return l.Run(background)
	})
	group.Go(func() error {
		<-ctx.Done()
		logger.Info("stopping")
		stopTasks()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Web.StopTime)
		defer cancel()
		if err := ingest.Stop(stop); err != nil {
			logger.Warn("cutting off requests that are not whole; they were not answered and will come again", "err", err)
		}
		err := ports.shutdown(stop)
		cut, cancel := context.WithTimeout(context.WithoutCancel(ctx), configs.CutOffTime)
		defer cancel()
		err = errors.Join(err, ingest.Stop(cut)) // what was whole is booked before the last flush
		stopBackground()
		return err
	})
	return group.Wait()
}

// mindGap does about samples that have not come what the configuration says.
func mindGap(ctx context.Context, cfg *configs.Config, l *ledger.Ledger, logger *slog.Logger) error {
	show := newDisplay(nil, logger, "backfill")
	policy := backfill.GapPolicy{
		OnStart: cfg.Backfill.OnStart, MinGap: cfg.Backfill.MinGap, PrometheusURL: cfg.Kepler.PrometheusURL, Interval: cfg.Kepler.Interval,
	}
	return backfill.MindGap(ctx, l, policy, logger, func(e backfill.Event) { show.event(eventOf(e)) })
}
