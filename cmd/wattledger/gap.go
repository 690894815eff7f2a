package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
)

// mindGap looks, before the first sample is taken, whether many have been
// missed, and does about it what the configuration says. A Prometheus that does
// not answer keeps nobody from starting.
func (l *stages) mindGap(ctx context.Context, cfg *configs.Config, logger *slog.Logger) error {
	if p, err := loadPlan(cfg.Storage.Path); err != nil {
		return err
	} else if p != nil {
		logger.Warn("a backfill was interrupted: until it has ended, some minutes before and after that moment do not add up",
			"at", clock(p.DoneMs), "run", backfillLine(p.FromMs, p.ToMs))
	}
	newest := l.newestMs()
	if cfg.Backfill.OnStart == "off" || newest == 0 || time.Since(time.UnixMilli(newest)) < cfg.Backfill.MinGap {
		return nil
	}
	nowMs := time.Now().UnixMilli()
	command := backfillLine(newest, nowMs)
	if cfg.Backfill.OnStart == "warn" {
		logger.Warn("no samples were booked for some time; what Prometheus does not send by itself is booked by backfill",
			"since", clock(newest), "run", command)
		return nil
	}
	source, err := newSource(cfg, l)
	if err != nil {
		return err
	}
	show := newDisplay(nil, logger, "backfill")
	tell := func(e httpapi.Event) { show.event(e) }
	// The first round takes a while, and others have sent meanwhile.
	for range 3 {
		if err := l.catchUp(ctx, cfg, source, newest, nowMs, tell); err != nil {
			if ctx.Err() != nil {
				return err
			}
			logger.Error("the gap was not filled; samples are taken all the same", "err", err, "run", command)
			return nil
		}
		newest = nowMs
		if nowMs = time.Now().UnixMilli(); nowMs-newest < cfg.Kepler.Interval.Milliseconds() {
			break
		}
	}
	return nil
}
