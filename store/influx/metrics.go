package influx

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	lines    prometheus.Counter
	rejected prometheus.Counter
	expired  prometheus.Counter
	errors   *prometheus.CounterVec // by the setting that is to blame
	seconds  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		lines:    f.NewCounter(prometheus.CounterOpts{Name: "wattledger_influxdb_lines_total", Help: "Lines InfluxDB accepted."}),
		rejected: f.NewCounter(prometheus.CounterOpts{Name: "wattledger_influxdb_rejected_lines_total", Help: "Lines InfluxDB refused for good; they are in the dead-letter table."}),
		expired:  f.NewCounter(prometheus.CounterOpts{Name: "wattledger_influxdb_expired_lines_total", Help: "Lines older than the bucket's retention."}),
		errors:   f.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_influxdb_errors_total", Help: "Requests that will be made again, by the setting to look at."}, []string{"setting"}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{Name: "wattledger_influxdb_write_seconds", Help: "Time of a write request.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}),
	}
}
