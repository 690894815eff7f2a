package follow

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are those of all workers of a process.
type Metrics struct {
	lag        *prometheus.GaugeVec
	lagSeconds *prometheus.GaugeVec
	used       *prometheus.GaugeVec
	errors     *prometheus.CounterVec
	rows       *prometheus.CounterVec
}

// NewMetrics registers the metrics of followers.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	label := []string{"follower"}
	return &Metrics{
		lag: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_follower_lag_entries", Help: "Outbox entries a follower has yet to take."}, label),
		lagSeconds: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_follower_lag_seconds", Help: "Age of the oldest outbox entry a follower has yet to take."}, label),
		used: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wattledger_follower_outbox_used_ratio", Help: "How much of what the outbox may keep a follower has yet to take; at 1 it loses its place and the stored rows are sent again."}, label),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_follower_errors_total", Help: "Times a follower did not take what it was given; each is tried again."}, label),
		rows: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_follower_written_rows_total", Help: "Rows a follower has accepted, those sent again included."}, label),
	}
}

// begin makes a follower's series appear before anything has happened.
func (m *Metrics) begin(follower string) {
	m.lag.WithLabelValues(follower)
	m.lagSeconds.WithLabelValues(follower)
	m.used.WithLabelValues(follower)
	m.errors.WithLabelValues(follower)
	m.rows.WithLabelValues(follower)
}
