package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

func TestParseFault(t *testing.T) {
	f := func(text string, ok bool) {
		t.Helper()
		if _, err := parseFault(text); (err == nil) != ok {
			t.Errorf("parseFault(%q): %v", text, err)
		}
	}
	f("exporter-restart@30s:node-1:10s", true)
	f("job@70s:node-1:40:8s", true)
	f("exporter-restart@30s:node-1", false)
	f("flood@30s:node-1", false)
	f("job@-1s:node-1:40:8s", false)
	f("job", false)
}

func TestParseStat(t *testing.T) {
	f := func(stat string, want float64) {
		t.Helper()
		got, err := parseStat(stat)
		if want < 0 != (err != nil) || err == nil && got != want {
			t.Errorf("parseStat(%q) = %v, %v", stat, got, err)
		}
	}
	f("7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0", 2)
	f("7 (short) S 1", -1)
	own, err := process(os.Getpid()).cpuSeconds()
	if err != nil || own < 0 {
		t.Errorf("own CPU time %v, %v", own, err)
	}
	if resident, peak, err := process(os.Getpid()).memory(); err != nil || resident == 0 || peak < resident {
		t.Errorf("own memory %d, peak %d, %v", resident, peak, err)
	}
}

// TestExporterClock drives the exporter with a clock of its own: it stands
// still until the first scrape, runs at its speed, and stops.
func TestExporterClock(t *testing.T) {
	begin := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	wall := begin
	sim := simulation{name: "c", seed: 1, nodes: 2, containers: 4, legacyEvery: 2}
	if err := sim.faults.Set("exporter-restart@40s:node-1:10s"); err != nil {
		t.Fatal(err)
	}
	c, err := sim.build(begin)
	if err != nil {
		t.Fatal(err)
	}
	s := newExporterServer(c, clock{begin: begin, speed: 10, duration: 100 * time.Second}, func() time.Time { return wall })
	server := httptest.NewServer(s.handler())
	defer server.Close()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	truth := func() (status Status) {
		t.Helper()
		_, body := get("/truth")
		if err := json.Unmarshal([]byte(body), &status); err != nil {
			t.Fatal(err)
		}
		return status
	}
	wall = wall.Add(time.Hour)
	if status := truth(); status.Elapsed != 0 || status.Finished {
		t.Errorf("before the first scrape: %v s, finished %v", status.Elapsed, status.Finished)
	}
	if code, body := get("/metrics/node-1"); code != 200 || !strings.Contains(body, `kepler_node_cpu_joules_total{node_name="node-1"`) {
		t.Errorf("first scrape: %d %.200s", code, body)
	}
	wall = wall.Add(4500 * time.Millisecond)
	if code, _ := get("/metrics/node-1"); code != 503 {
		t.Errorf("while the exporter is down: %d", code)
	}
	if code, body := get("/metrics/node-2"); code != 200 || !strings.Contains(body, `kepler_node_package_joules_total{instance="node-2"`) {
		t.Errorf("legacy: %d %.200s", code, body)
	}
	if code, body := get("/metrics/kube-state-metrics"); code != 200 || !strings.Contains(body, "kube_pod_owner{") {
		t.Errorf("kube-state-metrics: %d %.200s", code, body)
	}
	wall = wall.Add(time.Hour)
	if status := truth(); status.Elapsed != 100 || !status.Finished || status.Settled {
		t.Errorf("after the end: %v s, finished %v, settled %v", status.Elapsed, status.Finished, status.Settled)
	}
	for _, path := range []string{"/metrics/node-1", "/metrics/node-2", "/metrics/kube-state-metrics"} {
		get(path)
	}
	status := truth()
	if !status.Settled {
		t.Error("not settled after the last scrapes")
	}
	for _, a := range status.Accounts {
		if a.Kind == "node" && a.ReportedMicrojoules == 0 {
			t.Errorf("nothing reported of %s %s", a.Node, a.Zone)
		}
	}
	if _, body := get("/targets"); !strings.Contains(body, `"__metrics_path__":"/metrics/node-1"`) {
		t.Errorf("targets: %s", body)
	}
}

// A sink decodes what is sent and keeps a plain account of every counter.
type sink struct {
	mu      sync.Mutex
	samples int
	refuse  int // this many requests are answered 503 first
	newest  map[string]float64
	booked  map[string]float64
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var req prompb.WriteRequest
	if err := proto.Unmarshal(raw, &req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, ts := range req.Timeseries {
		s.samples++
		labels := make(map[string]string)
		for _, l := range ts.Labels {
			labels[l.Name] = l.Value
		}
		if labels["__name__"] != "kepler_container_cpu_joules_total" || labels["zone"] != "package" {
			continue
		}
		id, v := labels["container_id"], ts.Samples[0].Value
		old, known := s.newest[id]
		switch {
		case known && v >= old:
			s.booked[id] += v - old
		case known: // a reset
			s.booked[id] += v
		}
		s.newest[id] = v
	}
	w.WriteHeader(http.StatusNoContent)
}

func newSink() *sink {
	return &sink{newest: make(map[string]float64), booked: make(map[string]float64)}
}

// TestSend checks the truth that is printed against what a receiver can work
// out by itself, across an exporter restart and refused requests.
func TestSend(t *testing.T) {
	sink := newSink()
	sink.refuse = 3
	server := httptest.NewServer(sink)
	defer server.Close()
	var out bytes.Buffer
	err := runSend(t.Context(), []string{"-url", server.URL, "-nodes", "1", "-containers", "6", "-duration", "10m", "-interval", "10s",
		"-fault", "exporter-restart@200s:node-1:25s"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	var got sent
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Samples != sink.samples || got.Samples == 0 || got.Retries != 3 || got.Rejected != 0 {
		t.Errorf("sent %d, received %d, %d retries, %d rejected", got.Samples, sink.samples, got.Retries, got.Rejected)
	}
	checked := 0
	for _, a := range got.Truth.Accounts {
		if a.Kind != "container" || a.Zone != "package" {
			continue
		}
		checked++
		if diff := sink.booked[a.ID] - float64(a.ReportedMicrojoules)/1e6; diff > 1e-5 || diff < -1e-5 {
			t.Errorf("%s: booked %v J, reported %v J", a.Name, sink.booked[a.ID], float64(a.ReportedMicrojoules)/1e6)
		}
		if a.ReportedMicrojoules >= a.UsedMicrojoules {
			t.Errorf("%s: nothing was lost while the exporter was down", a.Name)
		}
	}
	if checked != 6 {
		t.Errorf("%d containers", checked)
	}
}

func TestSendFromTwoReplicas(t *testing.T) {
	one, two := newSink(), newSink()
	f := func(s *sink, args ...string) {
		t.Helper()
		server := httptest.NewServer(s)
		defer server.Close()
		args = append(args, "-url", server.URL, "-nodes", "1", "-containers", "2", "-duration", "1m", "-rate", "1e6")
		if err := runSend(t.Context(), args, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	f(one)
	f(two, "-replicas", "2")
	if two.samples != 2*one.samples {
		t.Errorf("one replica sends %d samples, two send %d", one.samples, two.samples)
	}
}

func TestBench(t *testing.T) {
	f := func(args ...string) {
		t.Helper()
		s := newSink()
		server := httptest.NewServer(s)
		defer server.Close()
		args = append(args, "-url", server.URL, "-series", "2500", "-batch", "1000", "-rounds", "4", "-settle", "0s", "-json")
		var out bytes.Buffer
		if err := runBench(t.Context(), args, &out); err != nil {
			t.Fatal(err)
		}
		var got benchResult
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Series != 2500 || got.FirstSight.Samples != 2500 || got.Steady.Samples != 7500 || s.samples != 10000 {
			t.Errorf("%v: %+v, %d samples came", args, got, s.samples)
		}
		if got.Steady.P50Ms <= 0 || got.Steady.P999Ms < got.Steady.P50Ms || got.Steady.SamplesPerSecond <= 0 {
			t.Errorf("%v: %+v", args, got.Steady)
		}
	}
	f()
	f("-rate", "100000", "-senders", "2", "-ahead", "3s")
}

// seriesOf reads a body of remote write 1.0.
func seriesOf(t *testing.T, r request) []prompb.TimeSeries {
	t.Helper()
	raw, err := snappy.Decode(nil, r.body)
	if err != nil {
		t.Fatal(err)
	}
	var w prompb.WriteRequest
	if err := proto.Unmarshal(raw, &w); err != nil {
		t.Fatal(err)
	}
	return w.Timeseries
}

// TestBenchValues checks that prepared load is what it says: every round the
// same series, values that rise, and some that are reset.
func TestBenchValues(t *testing.T) {
	plan := benchPlan{series: 4000, batch: 500, rounds: 5, interval: 15 * time.Second, legacyEvery: 3, ahead: time.Minute}
	began := time.Now()
	plan.format.Version, plan.format.Encoding = 1, "snappy"
	load, err := plan.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ahead := load.start.Sub(began); ahead < time.Minute || ahead > 2*time.Minute {
		t.Errorf("the first samples are %v ahead", ahead)
	}
	newest := make(map[string]float64)
	rises, falls := 0, 0
	for round, requests := range load.rounds {
		n := 0
		for _, r := range requests {
			for _, ts := range seriesOf(t, r) {
				n++
				var key strings.Builder
				for _, l := range ts.Labels {
					key.WriteString(l.Name + "=" + l.Value + ",")
				}
				old, known := newest[key.String()]
				if due := load.start.Add(time.Duration(round) * plan.interval).UnixMilli(); ts.Samples[0].Timestamp != due {
					t.Fatalf("round %d has a sample of %d, not of %d", round, ts.Samples[0].Timestamp, due)
				}
				v := ts.Samples[0].Value
				if known != (round > 0) {
					t.Fatalf("round %d, %s: known %v", round, key.String(), known)
				}
				if v > old {
					rises++
				} else if v < old {
					falls++
				}
				newest[key.String()] = v
			}
		}
		if n != plan.series {
			t.Errorf("round %d has %d samples", round, n)
		}
	}
	if rises < 5*falls || falls < plan.series/20 {
		t.Errorf("%d rises, %d falls", rises, falls)
	}
}

// In a cluster the name of a pod is that of one pod.
func TestBenchPodNames(t *testing.T) {
	plan := benchPlan{series: 8000, batch: 1000, rounds: 2, interval: 15 * time.Second, all: true}
	plan.format.Version, plan.format.Encoding = 1, "snappy"
	load, err := plan.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]string{}
	nodes := map[string]bool{}
	for _, r := range load.rounds[0] {
		for _, ts := range seriesOf(t, r) {
			labels := map[string]string{}
			for _, l := range ts.Labels {
				labels[l.Name] = l.Value
			}
			if labels["pod_id"] == "" || labels["pod_name"] == "" {
				continue
			}
			nodes[labels["node_name"]] = true
			name := labels["pod_namespace"] + "/" + labels["pod_name"]
			if was, known := uids[name]; known && was != labels["pod_id"] {
				t.Fatalf("pod %s is both %s and %s", name, was, labels["pod_id"])
			}
			uids[name] = labels["pod_id"]
		}
	}
	if len(uids) < 100 || len(nodes) < 2 {
		t.Fatalf("%d pods on %d nodes are too few to tell", len(uids), len(nodes))
	}
}
