package ledger

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// findingsLogged bounds the log lines of one inspection.
const findingsLogged = 20

// An Inspector verifies the folder of a running server, at once and then
// again and again. A start reads only what it needs, and a disk forgets in
// silence: without this, damage to an old hour would show when somebody asks
// for it.
type Inspector struct {
	path     string
	every    time.Duration // 0: never
	logger   *slog.Logger
	findings atomic.Int64

	repairs prometheus.Gauge
	found   prometheus.Gauge
	seconds prometheus.Gauge
	last    prometheus.Gauge
}

// NewInspector returns one that has not begun.
func NewInspector(path string, every time.Duration, logger *slog.Logger, reg prometheus.Registerer) *Inspector {
	f := promauto.With(reg)
	i := &Inspector{
		path: path, every: every, logger: logger,
		repairs: f.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_storage_repairs", Help: "Repairs whose damaged-… folders are still in the storage path; what they lost is in them and in the log."}),
		found: f.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_storage_findings", Help: "Damaged places the last inspection of the storage path found; wattledger verify names them."}),
		seconds: f.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_storage_inspection_seconds", Help: "How long the last inspection of the storage path took."}),
		last: f.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_storage_inspection_timestamp_seconds", Help: "When the last inspection of the storage path ended; 0 before the first."}),
	}
	i.repairs.Set(float64(pastRepairs(path, logger)))
	return i
}

// Run inspects until ctx ends.
func (i *Inspector) Run(ctx context.Context) error {
	if i.every == 0 {
		return nil
	}
	tick := time.NewTicker(i.every)
	defer tick.Stop()
	for {
		i.inspect(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (i *Inspector) inspect(ctx context.Context) {
	began := time.Now()
	v, err := Verify(ctx, i.path, true)
	if err != nil {
		if ctx.Err() == nil {
			i.logger.Error("storage could not be inspected", "err", err)
		}
		return
	}
	findings := v.Findings(i.path)
	for _, f := range findings[:min(len(findings), findingsLogged)] {
		i.logger.Error("storage is damaged; stop, and run wattledger repair", "finding", f)
	}
	i.findings.Store(int64(len(findings)))
	i.found.Set(float64(len(findings)))
	i.seconds.Set(time.Since(began).Seconds())
	i.last.SetToCurrentTime()
}

// Findings is how many damaged places the last inspection found.
func (i *Inspector) Findings() int { return int(i.findings.Load()) }
