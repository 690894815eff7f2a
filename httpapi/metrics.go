package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	waiting  prometheus.Gauge
	refused  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) metrics {
	f := promauto.With(reg)
	return metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_http_requests_total",
			Help: "HTTP requests answered, by route, method and status code.",
		}, []string{"route", "method", "code"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "wattledger_http_request_duration_seconds",
			Help:    "Time from the first byte of a request's header to the end of its answer, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		waiting: f.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_http_queries_waiting",
			Help: "Requests waiting for their turn to ask the store.",
		}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_http_refused_total",
			Help: "Requests refused for who made them: no_token, unknown_token, scope, clusters, rate, not_local, cross_origin.",
		}, []string{"reason"}),
	}
}
