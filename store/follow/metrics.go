package follow

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are those of all workers of a process.
type Metrics struct {
	lag        *prometheus.GaugeVec
	lagSeconds *prometheus.GaugeVec
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
	m.errors.WithLabelValues(follower)
	m.rows.WithLabelValues(follower)
}
