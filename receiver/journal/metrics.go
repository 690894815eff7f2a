package journal

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	fsync        prometheus.Histogram
	group        prometheus.Histogram
	records      prometheus.Counter
	recordBytes  prometheus.Counter
	failures     *prometheus.CounterVec
	undone       prometheus.Counter
	tornBytes    prometheus.Counter
	failedToUndo prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	auto := promauto.With(reg)
	m := &metrics{
		fsync: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "wattledger_journal_fsync_seconds",
			Help:    "Time of one fsync, shared by the records of a group.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		group: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "wattledger_journal_group_records",
			Help:    "Records that shared one fsync.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		records: auto.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_journal_records_total",
			Help: "Records made durable.",
		}),
		recordBytes: auto.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_journal_record_bytes_total",
			Help: "Bytes of records made durable, without the log's own framing.",
		}),
		failures: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_journal_append_failures_total",
			Help: "Records refused, by reason: full, failed (restart needed), closed, too_large, error.",
		}, []string{"reason"}),
		undone: auto.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_journal_undone_groups_total",
			Help: "Groups whose write or sync failed and whose bytes were cut off again.",
		}),
		tornBytes: auto.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_journal_torn_bytes_total",
			Help: "Bytes of torn records cut off when the journal was opened.",
		}),
		failedToUndo: auto.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_journal_failed",
			Help: "1 when a failed write could not be undone and the journal takes nothing until restart.",
		}),
	}
	for _, reason := range []string{"full", "failed", "closed", "too_large", "error"} {
		m.failures.WithLabelValues(reason)
	}
	return m
}

// registerGauges follows load: until then there is nothing to show.
func (j *Local) registerGauges(reg prometheus.Registerer) {
	auto := promauto.With(reg)
	gauge := func(name, help string, value func() float64) {
		auto.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	gauge("wattledger_journal_bytes", "Size of all journal segments.", func() float64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return float64(j.bytes)
	})
	gauge("wattledger_journal_max_bytes", "Size at which the journal is full.", func() float64 { return float64(j.cfg.MaxBytes) })
	gauge("wattledger_journal_segments", "Journal segments kept.", func() float64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return float64(len(j.segments))
	})
	gauge("wattledger_journal_first_position", "Position of the oldest record kept.", func() float64 { return float64(j.First()) })
	gauge("wattledger_journal_last_position", "Position of the newest record.", func() float64 { return float64(j.Last()) })
}

func (m *metrics) fail(err error) {
	reason := "error"
	switch {
	case errors.Is(err, ErrFailed):
		reason = "failed"
	case errors.Is(err, ErrFull):
		reason = "full"
	case errors.Is(err, ErrClosed):
		reason = "closed"
	case errors.Is(err, ErrTooLarge):
		reason = "too_large"
	}
	m.failures.WithLabelValues(reason).Inc()
}
