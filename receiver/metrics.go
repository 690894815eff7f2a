package receiver

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/decode"
	"github.com/wattledger/wattledger/receiver/journal"
)

type metrics struct {
	requests       *prometheus.CounterVec   // proto, encoding, code
	samples        *prometheus.CounterVec   // proto
	rejected       *prometheus.CounterVec   // reason
	malformed      *prometheus.CounterVec   // what
	ackLatency     *prometheus.HistogramVec // proto
	bodyBytes      prometheus.Counter
	filteredSeries prometheus.Counter
	filtered       prometheus.Counter
	newSeries      prometheus.Counter
	histograms     prometheus.Counter
	exemplars      prometheus.Counter
	retryAttempts  prometheus.Counter
	booked         prometheus.Counter
	facts          prometheus.Counter
	duplicates     prometheus.Counter
	late           prometheus.Counter
	conflicts      prometheus.Counter
	resets         prometheus.Counter
	stale          prometheus.Counter
	notNumbers     prometheus.Counter
	quarantined    prometheus.Counter
	inflight       prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "wattledger_" + name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_" + name, Help: help}, labels)
	}
	m := &metrics{
		requests:  counters("requests_total", "Remote-write requests by protocol, encoding and status code.", "proto", "encoding", "code"),
		samples:   counters("samples_total", "Samples received by protocol.", "proto"),
		rejected:  counters("rejected_total", "Samples, histograms, exemplars and empty series rejected, by reason.", "reason"),
		malformed: counters("malformed_total", "Oddities that were tolerated: mixed series hold samples and histograms; symbol_zero is a 2.0 request whose first symbol is not empty.", "what"),
		ackLatency: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "wattledger_ack_latency_seconds",
			Help:    "Time from the headers of a request to its answer, the sync of the journal included.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
		}, []string{"proto"}),
		bodyBytes:      counter("received_bytes_total", "Bytes of request bodies, compressed."),
		filteredSeries: counter("filtered_series_total", "Series received that the metric table does not map."),
		filtered:       counter("filtered_samples_total", "Samples of series that the metric table does not map."),
		newSeries:      counter("new_series_total", "Series seen for the first time."),
		histograms:     counter("histograms_total", "Native histograms received; they are checked and not kept."),
		exemplars:      counter("exemplars_total", "Exemplars received; they are checked and not kept."),
		retryAttempts:  counter("retry_attempts_total", "Requests that the sender said were retries."),
		booked:         counter("booked_samples_total", "Samples that moved an account."),
		facts:          counter("facts_total", "Samples that tell about pods."),
		duplicates:     counter("duplicates_total", "Samples that told nothing new."),
		late:           counter("late_total", "Samples older than the newest of their account."),
		conflicts:      counter("conflicts_total", "Samples with another value at a time already booked."),
		resets:         counter("counter_resets_total", "Counter resets seen in samples."),
		stale:          counter("stale_markers_total", "Staleness markers received."),
		notNumbers:     counter("not_numbers_total", "Samples that are NaN or infinite."),
		quarantined:    counter("quarantined_samples_total", "Samples set aside because the energy they claim is impossible."),
		inflight: f.NewGauge(prometheus.GaugeOpts{
			Name: "wattledger_requests_inflight",
			Help: "Remote-write requests in the works.",
		}),
	}
	for why := decode.Reason(1); why < decode.NumReasons; why++ {
		m.rejected.WithLabelValues(decode.Reason(why).Label())
	}
	return m
}

// request counts an answered request.
func (m *metrics) request(f form, code int, took time.Duration, bodyBytes int) {
	proto := protocolLabel(f.protocol)
	m.requests.WithLabelValues(proto, encodingLabel(f.encoding), strconv.Itoa(code)).Inc()
	m.ackLatency.WithLabelValues(proto).Observe(took.Seconds())
	m.bodyBytes.Add(float64(bodyBytes))
	if f.attempt > 0 {
		m.retryAttempts.Inc()
	}
}

// contents counts what was in a request that could be read.
func (m *metrics) contents(p journal.Protocol, t *decode.Tally, newSeries int) {
	m.samples.WithLabelValues(protocolLabel(p)).Add(float64(t.Samples))
	m.filteredSeries.Add(float64(t.FilteredSeries))
	m.filtered.Add(float64(t.FilteredSamples))
	m.newSeries.Add(float64(newSeries))
	m.histograms.Add(float64(t.Histograms))
	m.exemplars.Add(float64(t.Exemplars))
	if t.MixedSeries > 0 {
		m.malformed.WithLabelValues("mixed").Add(float64(t.MixedSeries))
	}
	if t.SymbolZero > 0 {
		m.malformed.WithLabelValues("symbol_zero").Inc()
	}
	for why, n := range t.Rejected {
		if n > 0 {
			m.rejected.WithLabelValues(decode.Reason(why).Label()).Add(float64(n))
		}
	}
}

// outcome counts what became of the samples that were booked.
func (m *metrics) outcome(o counter.Outcome) {
	m.booked.Add(float64(o.Booked))
	m.facts.Add(float64(o.Facts))
	m.duplicates.Add(float64(o.Duplicate))
	m.late.Add(float64(o.Late))
	m.conflicts.Add(float64(o.Conflict))
	m.resets.Add(float64(o.Resets))
	m.stale.Add(float64(o.Stale))
	m.notNumbers.Add(float64(o.NotNumbers))
	m.quarantined.Add(float64(o.Quarantined))
}
