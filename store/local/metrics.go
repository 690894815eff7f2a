package local

import (
	"context"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	appendedRows        prometheus.Counter
	appendSeconds       prometheus.Histogram
	lateRows            prometheus.Counter
	expiredRows         prometheus.Counter
	sealedRows          prometheus.Counter
	sealedBytes         prometheus.Counter
	maintenanceFailures prometheus.Counter
	fileBytes           *prometheus.GaugeVec
	outboxBytes         prometheus.Gauge
	followerLag         *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		appendedRows: f.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_store_appended_rows_total", Help: "Charges and node windows made durable."}),
		appendSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "wattledger_store_append_duration_seconds", Help: "Time to make a batch durable.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
		lateRows: f.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_store_late_rows_total", Help: "Rows that restated an hour that was already sealed."}),
		expiredRows: f.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_store_expired_rows_total", Help: "Rows refused because they are older than the minutes retention."}),
		sealedRows: f.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_store_sealed_rows_total", Help: "Rows sealed."}),
		sealedBytes: f.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_store_sealed_bytes_total", Help: "Bytes of sealed rows."}),
		maintenanceFailures: f.NewCounter(prometheus.CounterOpts{
			Name: "wattledger_store_maintenance_failures_total", Help: "Times sealing, mending or expiring stopped with an error."}),
		fileBytes: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_store_file_bytes", Help: "Size of the database and its write-ahead log."}, []string{"file"}),
		outboxBytes: f.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_store_outbox_bytes", Help: "Bytes of outbox entries that are kept."}),
		followerLag: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_store_follower_lag_entries", Help: "Outbox entries a follower has yet to take."}, []string{"follower"}),
	}
}

// measure updates the gauges.
func (s *Store) measure(ctx context.Context) error {
	for _, f := range [2][2]string{{"data", ""}, {"wal", "-wal"}} {
		if st, err := os.Stat(s.path + f[1]); err == nil {
			s.metrics.fileBytes.WithLabelValues(f[0]).Set(float64(st.Size()))
		}
	}
	if len(s.cfg.Followers) == 0 {
		return nil
	}
	return s.measureFollowers(ctx)
}
