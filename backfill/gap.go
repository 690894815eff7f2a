package backfill

import (
	"context"
	"log/slog"
	"time"

	"github.com/wattledger/wattledger/ledger"
)

// A GapPolicy says what a start does about samples that have not come.
type GapPolicy struct {
	OnStart       string        // off, warn or run
	MinGap        time.Duration // what is shorter is none
	PrometheusURL string
	Interval      time.Duration // between two samples of a series
}

// MindGap looks, before the first sample is taken, whether many have been
// missed, and does about it what the policy says. A Prometheus that does not
// answer keeps nobody from starting.
func MindGap(ctx context.Context, l *ledger.Ledger, policy GapPolicy, logger *slog.Logger, tell func(Event)) error {
	if p, err := loadPlan(l.Config().Path); err != nil {
		return err
	} else if p != nil {
		logger.Warn("a backfill was interrupted: until it has ended, some minutes before and after that moment do not add up",
			"at", clock(p.DoneMs), "run", backfillLine(p.FromMs, p.ToMs))
	}
	newest := l.NewestMs()
	if policy.OnStart == "off" || newest == 0 || time.Since(time.UnixMilli(newest)) < policy.MinGap {
		return nil
	}
	nowMs := time.Now().UnixMilli()
	command := backfillLine(newest, nowMs)
	if policy.OnStart == "warn" {
		logger.Warn("no samples were booked for some time; what Prometheus does not send by itself is booked by backfill",
			"since", clock(newest), "run", command)
		return nil
	}
	b, err := New(l, policy.PrometheusURL, tell)
	if err != nil {
		return err
	}
	// The first round takes a while, and others have sent meanwhile.
	for range 3 {
		if err := b.catchUp(ctx, newest, nowMs); err != nil {
			if ctx.Err() != nil {
				return err
			}
			logger.Error("the gap was not filled; samples are taken all the same", "err", err, "run", command)
			return nil
		}
		newest = nowMs
		if nowMs = time.Now().UnixMilli(); nowMs-newest < policy.Interval.Milliseconds() {
			break
		}
	}
	return nil
}
