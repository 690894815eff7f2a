package receiver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/metric"
)

// reports fetches /debug/senders.
func (s *station) reports() map[string]senderReport {
	s.Helper()
	page := httptest.NewRecorder()
	s.handler.ServeSenders(page, httptest.NewRequest(http.MethodGet, "/debug/senders", nil))
	var answer struct{ Senders []senderReport }
	if err := json.Unmarshal(page.Body.Bytes(), &answer); err != nil {
		s.Fatalf("%v in %s", err, page.Body)
	}
	all := make(map[string]senderReport)
	for _, r := range answer.Senders {
		all[r.Agent] = r
	}
	return all
}

func (s *station) postAs(agent string, r *prompb.WriteRequest) answer {
	s.Helper()
	return s.post(bodyV1(s, r), "User-Agent", agent)
}

func TestSendersAreDescribed(t *testing.T) {
	s := newStation(t, nil)
	s.want(s.postAs("Prometheus/3.16.0 (linux)", one(append(labels("prometheus", "mon/k8s", "prometheus_replica", "r-1"), kepler...), at(2*time.Minute, 1))), 204)
	s.want(s.post(bodyV2(t, asV2(one(labels("a", "b"), at(0, 1)))), "User-Agent", "alloy/1", "Content-Type", contentTypeV2), 400)
	s.want(s.post([]byte("x"), "User-Agent", "broken/1"), 400)
	s.want(s.post([]byte("x"), "User-Agent", "gzipper/1", "Content-Encoding", "gzip"), 415)

	got := s.reports()
	p := got["Prometheus/3.16.0"]
	if p.Sender != "Prometheus/3.16.0@127.0.0.1/r-1" || p.Prometheus != "mon/k8s" || p.Replica != "r-1" || p.Protocol != "v1" || p.Encoding != "snappy" ||
		!p.Usable || fmt.Sprint(p.Generations) != "[kepler-0.10+]" || p.Requests != 1 || p.Codes["204"] != 1 || p.SkewSeconds != 0 || len(p.Fixes) != 0 {
		t.Errorf("Prometheus is described as %+v", p)
	}
	if p.LagSeconds == nil || *p.LagSeconds < 119 || *p.LagSeconds > 130 {
		t.Errorf("lag is %v", p.LagSeconds)
	}
	if seen, err := time.Parse(time.RFC3339Nano, p.LastRequest); err != nil || time.Since(seen) > time.Minute {
		t.Errorf("last request %s, %v", p.LastRequest, err)
	}
	a := got["alloy/1"]
	if a.Protocol != "v2" || len(a.Rejected) != 1 || a.Rejected[0] != (rejectReport{"no_name", 1, `{a="b"}`}) || !strings.Contains(strings.Join(a.Fixes, "\n"), "metric name") {
		t.Errorf("Alloy is described as %+v", a)
	}
	b := got["broken/1"]
	if b.LagSeconds != nil || len(b.Fixes) != 1 || !strings.Contains(b.Fixes[0], "undecodable body") {
		t.Errorf("the broken sender is described as %+v", b)
	}
	if g := got["gzipper/1"]; g.Codes["415"] != 1 || !strings.Contains(g.LastRefusal, "gzip") {
		t.Errorf("the gzip sender is described as %+v", g)
	}
	if got := s.metric(`wattledger_sender_lag_seconds{sender="Prometheus/3.16.0@127.0.0.1/r-1"}`); got == "" {
		t.Error("no lag in the metrics")
	}
	if got := s.metric(`wattledger_sender_last_seen_seconds{sender="broken/1@127.0.0.1"}`); got == "" {
		t.Error("no last seen in the metrics")
	}
}

func TestSenderWithoutUsableSeriesIsToldHow(t *testing.T) {
	s := newStation(t, nil)
	s.want(s.postAs("useless/1", one(labels("__name__", "up"), at(0, 1))), 204)
	r := one(kepler, at(0, 1))
	for i := range 30 {
		r.Timeseries = append(r.Timeseries, one(labels("__name__", "up", "i", fmt.Sprint(i)), at(0, 1)).Timeseries...)
	}
	s.want(s.postAs("wasteful/1", r), 204)
	got := s.reports()
	if u := got["useless/1"]; u.Usable || u.FilteredSeries != 1 || len(u.Fixes) != 1 || !strings.Contains(u.Fixes[0], "write_relabel_configs") || !strings.Contains(u.Fixes[0], `regex: "kepler_x|kube_y"`) {
		t.Errorf("the useless sender is described as %+v", u)
	}
	if w := got["wasteful/1"]; !w.Usable || len(w.Fixes) != 1 || !strings.Contains(w.Fixes[0], "96 of 100 series") {
		t.Errorf("the wasteful sender is described as %+v", w)
	}
}

func TestSenderClockAhead(t *testing.T) {
	s := newStation(t, nil)
	s.want(s.postAs("ahead/1", one(kepler, at(-5*time.Minute, 1))), 204)
	s.want(s.postAs("far/1", one(kepler, at(-2*time.Hour, 1))), 400)
	got := s.reports()
	if a := got["ahead/1"]; a.SkewSeconds < 290 || a.SkewSeconds > 301 || !strings.Contains(strings.Join(a.Fixes, "\n"), "NTP") {
		t.Errorf("described as %+v", a)
	}
	if f := got["far/1"]; f.SkewSeconds < 7190 || f.SkewSeconds > 7201 || f.LagSeconds != nil || f.Rejected[0].Reason != "future" {
		t.Errorf("described as %+v", f)
	}
}

// The series of a second sender are all known; it is described all the same.
func TestSecondSenderOfTheSameSeries(t *testing.T) {
	s := newStation(t, nil)
	for _, agent := range []string{"first/1", "second/1"} {
		s.want(s.postAs(agent, one(append(labels("prometheus_replica", "r"), kepler...), at(0, 1))), 204)
		if r := s.reports()[agent]; fmt.Sprint(r.Generations) != "[kepler-0.10+]" || r.Replica != "r" {
			t.Errorf("%s is described as %+v", agent, r)
		}
	}
}

func TestFamiliesOfMetadata(t *testing.T) {
	s := newStation(t, nil)
	s.want(s.postAs("v1/1", &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{
		{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "kepler_node_cpu_joules_total", Unit: "joules"},
		{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "up"},
	}}), 204)
	r := asV2(one(kepler, at(0, 1)))
	r.Symbols = append(r.Symbols, "joules")
	r.Timeseries[0].Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, UnitRef: uint32(len(r.Symbols) - 1)}
	s.want(s.post(bodyV2(t, r), "User-Agent", "v2/1", "Content-Type", contentTypeV2), 204)
	got := s.reports()
	if f := got["v1/1"].Families; fmt.Sprint(f) != "[{kepler_node_cpu_joules_total counter joules}]" {
		t.Errorf("families of 1.0 are %v", f)
	}
	if f := got["v2/1"].Families; fmt.Sprint(f) != "[{kepler_container_cpu_joules_total counter joules}]" {
		t.Errorf("families of 2.0 are %v", f)
	}
}

func TestSendersAreBounded(t *testing.T) {
	s := newStation(t, func(c *Config) { c.MaxSenders = 3 })
	for i := range 20 {
		s.want(s.postAs(fmt.Sprintf("agent-%02d/1", i), one(kepler, at(0, 1))), 204)
	}
	got := s.reports()
	if len(got) != 4 || got["others"].Requests != 17 {
		t.Errorf("%d senders are told apart, %d requests from others", len(got), got["others"].Requests)
	}
	// One that has been silent for long makes room.
	for _, one := range s.handler.senders.known {
		if one.agent == "agent-01/1" {
			one.lastSeen = time.Now().Add(-time.Hour)
		}
	}
	s.want(s.postAs("new/1", one(kepler, at(0, 1))), 204)
	got = s.reports()
	if _, ok := got["agent-01/1"]; ok || got["new/1"].Requests != 1 {
		t.Errorf("senders are %v", got)
	}
	// Names that only differ in what is not UTF-8 must not break the metrics.
	s.want(s.postAs("\xff/1", one(kepler, at(0, 1))), 204)
	s.want(s.postAs("\xfe/1", one(kepler, at(0, 1))), 204)
	if got := s.metric(`wattledger_sender_last_seen_seconds{sender="new/1@127.0.0.1"}`); got == "" {
		t.Error("the metrics are gone")
	}
}

func TestConfigIsChecked(t *testing.T) {
	if err := Default.Check(); err != nil {
		t.Error(err)
	}
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := Default
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	f("max_series_per_request", func(c *Config) { c.MaxSeriesPerRequest = 0 })
	f("max_future", func(c *Config) { c.MaxFuture = -time.Second })
	f("max_senders", func(c *Config) { c.MaxSenders = -1 })
	f("must not exceed", func(c *Config) { c.MaxDecodedBytes = 2 << 30 })
	f("max_inflight_body_bytes", func(c *Config) { c.MaxInflightBodyBytes = 1 })
}

// Who follows the fix that a sender of useless series is told loses nothing that
// the metric table maps.
func TestKeepRuleKeepsWhatIsMapped(t *testing.T) {
	file, err := os.ReadFile("../configs/metrics.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := metric.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newStationOf(t, table, nil)
	s.want(s.postAs("useless/1", one(labels("__name__", "up"), at(0, 1))), 204)
	report := s.reports()["useless/1"]
	if len(report.Fixes) != 1 {
		t.Fatalf("%+v", report)
	}
	rule := regexp.MustCompile(`regex: "(.*)", action: keep`).FindStringSubmatch(report.Fixes[0])
	if rule == nil {
		t.Fatalf("no rule in %q", report.Fixes[0])
	}
	keep := regexp.MustCompile("^(?s:" + rule[1] + ")$")
	for _, m := range table.Metrics() {
		if !keep.MatchString(m) {
			t.Errorf("the rule drops %s", m)
		}
	}
	for _, m := range []string{"kepler_process_cpu_joules_total", "kepler_pod_cpu_watts", "up", "kube_pod_status_phase"} {
		if keep.MatchString(m) {
			t.Errorf("the rule keeps %s", m)
		}
	}
}

// One sample of the future among others of now is not the clock's fault.
func TestOneSampleAheadIsNoClock(t *testing.T) {
	s := newStation(t, nil)
	r := one(kepler, at(0, 1))
	r.Timeseries = append(r.Timeseries, one(labels("__name__", "kepler_odd"), at(-time.Hour, 1)).Timeseries...)
	a := s.postAs("odd/1", r)
	s.want(a, 400, "out-of-range future timestamp (1)", "honor_timestamps")
	if strings.Contains(a.text, "NTP") {
		t.Errorf("the clock is blamed: %s", a.text)
	}
	report := s.reports()["odd/1"]
	if report.SkewSeconds > 1 || len(report.Fixes) != 1 || !strings.Contains(report.Fixes[0], "honor_timestamps") {
		t.Errorf("skew %v, fixes %q", report.SkewSeconds, report.Fixes)
	}
}

// Two replicas behind one address send the same series and are two senders; what
// was refused before it could be read is nobody's third entry.
func TestReplicasBehindOneAddress(t *testing.T) {
	s := newStation(t, nil)
	s.handler.SetReady(false)
	pair := func(replica string) *prompb.WriteRequest {
		return one(labels("__name__", "kepler_container_cpu_joules_total", "container_id", "abc", "prometheus_replica", replica), at(0, 1))
	}
	s.want(s.postAs("pair/1", pair("a")), 503)
	s.handler.SetReady(true)
	for range 3 {
		s.want(s.postAs("pair/1", pair("a")), 204)
		s.want(s.postAs("pair/1", pair("b")), 204)
	}
	s.handler.SetReady(false)
	s.want(s.postAs("pair/1", pair("b")), 503)
	page := httptest.NewRecorder()
	s.handler.ServeSenders(page, httptest.NewRequest(http.MethodGet, "/debug/senders", nil))
	var answer struct{ Senders []senderReport }
	if err := json.Unmarshal(page.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range answer.Senders {
		got = append(got, fmt.Sprintf("%s %s %d", r.Sender, r.Replica, r.Codes["204"]))
	}
	if want := []string{"pair/1@127.0.0.1/a a 3", "pair/1@127.0.0.1/b b 3"}; !slices.Equal(got, want) {
		t.Errorf("senders are %q, want %q", got, want)
	}
}

// What a setup is at fault with is said with its cause and its fix wherever people
// look: in /debug/senders, beside each sender, in metrics, and once in the log.
func TestFindingsAreTold(t *testing.T) {
	s := newStation(t, nil)
	now := time.Now()
	for kind := range counter.FindingKind(len(advices)) {
		a := advices[kind]
		if a.cause == "" || a.fix == "" {
			t.Errorf("%v is not explained", kind)
		}
		s.found = append(s.found, counter.Finding{
			Cluster: "c", Node: fmt.Sprintf("n%d", kind), Kind: kind, Count: 7, SinceMs: now.Add(-time.Hour).UnixMilli(), LastMs: now.UnixMilli(),
			Sources: []string{"job=kepler", "job=kepler-2"},
		})
	}
	s.want(s.postAs("some/1", one(kepler, at(0, 1))), 204)
	report := s.reports()["some/1"]
	if len(report.Fixes) != len(advices)-1 || !strings.Contains(report.Fixes[0], "two_exporters on node n0: ") || !strings.Contains(report.Fixes[0], "remove one") {
		t.Errorf("fixes are %q", report.Fixes)
	}
	page := httptest.NewRecorder()
	s.handler.ServeSenders(page, httptest.NewRequest(http.MethodGet, "/debug/senders", nil))
	var answer struct{ Findings []findingReport }
	if err := json.Unmarshal(page.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Findings) != len(advices) || answer.Findings[0].Finding != "two_exporters" || answer.Findings[0].Samples != 7 || len(answer.Findings[0].Sources) != 2 {
		t.Errorf("findings are %+v", answer.Findings)
	}
	if got := s.metric(`wattledger_findings_nodes{finding="unnamed_pair"}`); got != "1" {
		t.Errorf("the metric says %q nodes", got)
	}
	var log bytes.Buffer
	s.handler.teller.logger = slog.New(slog.NewTextHandler(&log, nil))
	s.handler.teller.tell(now)
	s.handler.teller.tell(now.Add(time.Minute))
	if n := strings.Count(log.String(), "finding=two_exporters"); n != 1 || strings.Contains(log.String(), "hidden_process_end") {
		t.Errorf("the log says it %d times: %s", n, log.String())
	}
	s.handler.teller.tell(now.Add(time.Hour)) // gone
	s.found[0].LastMs = now.Add(2 * time.Hour).UnixMilli()
	s.handler.teller.tell(now.Add(2 * time.Hour))
	if n := strings.Count(log.String(), "finding=two_exporters"); n != 2 {
		t.Errorf("what came back is said %d times", n)
	}
}
