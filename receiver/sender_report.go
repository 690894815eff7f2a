package receiver

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/wattledger/wattledger/receiver/decode"
)

// A senderReport is one entry of /debug/senders.
type senderReport struct {
	Sender     string `json:"sender"`
	Agent      string `json:"user_agent"`
	Address    string `json:"address,omitempty"`
	Prometheus string `json:"prometheus,omitempty"`
	Replica    string `json:"prometheus_replica,omitempty"`
	Protocol   string `json:"proto"`
	Encoding   string `json:"encoding"`

	LastRequest string         `json:"last_request"`
	LagSeconds  *float64       `json:"lag_seconds"`        // now − newest sample; null before the first
	SkewSeconds float64        `json:"clock_skew_seconds"` // the sender's clock is at least that far ahead; 0 when not seen to be
	Requests    int            `json:"requests"`
	Retries     int            `json:"retries"`
	Codes       map[string]int `json:"codes"`

	Samples        int             `json:"samples"`
	UsableSeries   int             `json:"usable_series"`
	FilteredSeries int             `json:"filtered_series"`
	Usable         bool            `json:"delivers_usable_series"`
	Generations    []string        `json:"kepler_generations"`
	Rejected       []rejectReport  `json:"rejected"`
	LastRefusal    string          `json:"last_refusal,omitempty"`
	Families       []decode.Family `json:"families,omitempty"`
	Fixes          []string        `json:"suggested_fixes"`
}

type rejectReport struct {
	Reason  string `json:"reason"`
	Count   int    `json:"count"`
	Example string `json:"example"`
}

// keepRule is what a sender needs to send us what the metric table maps and no more.
func keepRule(metrics []string) string {
	var names []string
	for _, m := range metrics {
		names = append(names, regexp.QuoteMeta(m))
	}
	return `write_relabel_configs: [{source_labels: [__name__], regex: "` + strings.Join(names, "|") + `", action: keep}]`
}

// ServeSenders answers /debug/senders: who writes to us, and what is wrong with it.
func (h *Handler) ServeSenders(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are answered", http.StatusMethodNotAllowed)
		return
	}
	now := time.Now()
	found := h.ledger.Findings()
	findings := []findingReport{}
	for _, f := range found {
		findings = append(findings, reportOf(f))
	}
	var advice []string
	for _, s := range summarize(found, now) {
		if grave(s.kind) {
			advice = append(advice, s.text())
		}
	}
	reports := []senderReport{}
	for _, s := range h.senders.all() {
		r := s.report(now, h.keepRule)
		if r.Usable { // which of the senders it is cannot always be told
			r.Fixes = append(r.Fixes, advice...)
		}
		reports = append(reports, r)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		Senders   []senderReport  `json:"senders"`
		Findings  []findingReport `json:"findings"`
		Timestamp string          `json:"timestamp"`
	}{reports, findings, now.UTC().Format(time.RFC3339)})
	if err != nil {
		h.logger.Debug("answer cut short", "path", r.URL.Path, "err", err)
	}
}

// all returns the senders in the order of their names.
func (s *senders) all() []*sender {
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.known))
	s.mu.RUnlock()
	s.others.mu.Lock()
	if s.others.requests > 0 {
		all = append(all, s.others)
	}
	s.others.mu.Unlock()
	slices.SortFunc(all, func(a, b *sender) int { return strings.Compare(a.name, b.name) })
	return all
}

func (s *sender) report(now time.Time, keepRule string) senderReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := senderReport{
		Sender:         s.name,
		Agent:          s.agent,
		Address:        s.address,
		Prometheus:     s.prometheus,
		Replica:        s.replica,
		Protocol:       protocolLabel(s.protocol),
		Encoding:       encodingLabel(s.encoding),
		LastRequest:    s.lastSeen.UTC().Format(time.RFC3339Nano),
		SkewSeconds:    float64(s.aheadMs) / 1000,
		Requests:       s.requests,
		Retries:        s.retries,
		Codes:          make(map[string]int, len(s.codes)),
		Samples:        s.samples,
		UsableSeries:   s.usable,
		FilteredSeries: s.filtered,
		Usable:         s.usable > 0,
		Generations:    append([]string{}, s.generations...),
		Rejected:       []rejectReport{},
		LastRefusal:    s.lastRefusal,
		Fixes:          []string{},
	}
	if s.newestMs != 0 {
		lag := now.Sub(time.UnixMilli(s.newestMs)).Seconds()
		r.LagSeconds = &lag
	}
	for code, n := range s.codes {
		r.Codes[strconv.Itoa(code)] = n
	}
	for why, n := range s.rejected {
		if n > 0 {
			r.Rejected = append(r.Rejected, rejectReport{decode.Reason(why).Label(), n, s.example[why]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.families)) {
		r.Families = append(r.Families, s.families[name])
	}
	r.Fixes = s.fixes(r.Fixes, keepRule)
	return r
}

// fixes says what the owner of a sender should do, the gravest first. The
// caller holds s.mu.
func (s *sender) fixes(fixes []string, keepRule string) []string {
	series := s.usable + s.filtered
	switch {
	case s.samples == 0 && s.lastRefusal != "":
		fixes = append(fixes, "no request of this sender could be read: "+s.lastRefusal)
	case series > 0 && s.usable == 0:
		fixes = append(fixes, "none of the series this sender delivers is of use here: let it scrape Kepler and keep its series with "+keepRule)
	case series > 0 && s.filtered > 9*s.usable:
		fixes = append(fixes, fmt.Sprintf("%d of 100 series are not of use here and only cost traffic: keep the others with %s", 100*s.filtered/series, keepRule))
	}
	if s.aheadMs > 1000 {
		fixes = append(fixes, fmt.Sprintf("its clock is at least %.1f s ahead of ours: set both by NTP", float64(s.aheadMs)/1000))
	}
	for why, n := range s.rejected {
		if n == 0 {
			continue
		}
		fix := decode.Reason(why).Fix()
		if decode.Reason(why) == decode.FutureTimestamp && s.aheadMs <= 1000 {
			fix = decode.FixOwnTimes
		}
		fixes = append(fixes, decode.Reason(why).Text()+": "+fix)
	}
	return fixes
}

var (
	lastSeenDesc = prometheus.NewDesc("wattledger_sender_last_seen_seconds", "Time since the last request of a sender.", []string{"sender"}, nil)
	lagDesc      = prometheus.NewDesc("wattledger_sender_lag_seconds", "Time since the newest sample of a sender.", []string{"sender"}, nil)
)

// Describe and Collect make senders a prometheus.Collector; their number is
// bounded by max_senders.
func (s *senders) Describe(ch chan<- *prometheus.Desc) {
	ch <- lastSeenDesc
	ch <- lagDesc
}

func (s *senders) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	for _, one := range s.all() {
		one.mu.Lock()
		seen, newestMs := one.lastSeen, one.newestMs
		one.mu.Unlock()
		ch <- prometheus.MustNewConstMetric(lastSeenDesc, prometheus.GaugeValue, now.Sub(seen).Seconds(), one.name)
		if newestMs != 0 {
			ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, now.Sub(time.UnixMilli(newestMs)).Seconds(), one.name)
		}
	}
}
