package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// A gate stands between Prometheus and the server. It passes requests on while
// it is open, answers 503 while it is closed, and remembers every sample the
// server acknowledged.
type gate struct {
	mu       sync.Mutex
	server   string // empty while closed
	first    map[string]int64
	accounts map[gateAccount][]gateSample
	register []gateSample // of the node whose register wraps
	refused  []string
	requests int
	samples  int
}

// A gateAccount is one counter of one container whatever its labels do.
type gateAccount struct{ node, container, component string }

type gateSample struct {
	ms    int64
	value float64
}

func newGate() *gate {
	return &gate{first: make(map[string]int64), accounts: make(map[gateAccount][]gateSample)}
}

func serve(t *testing.T, g *gate) string {
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return server.URL + "/api/v1/write"
}

func (g *gate) open(server string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.server = server
}

func (g *gate) close() { g.open("") }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // Prometheus went away
	}
	g.mu.Lock()
	server := g.server
	g.mu.Unlock()
	if server == "" {
		http.Error(w, "the gate is closed", http.StatusServiceUnavailable)
		return
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, server+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	out.Header = r.Header.Clone()
	resp, err := http.DefaultClient.Do(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	switch resp.StatusCode / 100 {
	case 2:
		if err := g.acknowledge(body); err != nil {
			g.refuse(fmt.Sprintf("acknowledged and cannot be read: %v", err))
		}
	case 4:
		g.refuse(fmt.Sprintf("%d %s", resp.StatusCode, text))
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(text)
}

func (g *gate) refuse(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused = append(g.refused, why)
}

func (g *gate) rejections() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.refused)
}

// describe says how far it is, for failures.
func (g *gate) describe() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprintf("%d requests with %d samples acknowledged, refused %q", g.requests, g.samples, g.refused)
}

// acknowledged containers' counters that are booked, by metric.
var gateComponents = map[string]string{
	"kepler_container_cpu_joules_total": "", "kepler_container_package_joules_total": "package", "kepler_container_dram_joules_total": "dram",
}

func (g *gate) acknowledge(body []byte) error {
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		return err
	}
	var req prompb.WriteRequest
	if err := proto.Unmarshal(raw, &req); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests++
	for _, ts := range req.Timeseries {
		labels := make(map[string]string)
		for _, l := range ts.Labels {
			labels[l.Name] = l.Value
		}
		g.samples += len(ts.Samples)
		if labels["__name__"] == "kepler_node_cpu_joules_total" && labels["zone"] == "package" && !math.IsNaN(ts.Samples[0].Value) {
			g.register = append(g.register, gateSample{ts.Samples[0].Timestamp, ts.Samples[0].Value})
		}
		component, ok := gateComponents[labels["__name__"]]
		if !ok || labels["container_id"] == "system_processes" {
			continue
		}
		account := gateAccount{labels["instance"], labels["container_id"], component + labels["mode"]}
		if component == "" {
			account.component = labels["zone"]
			if labels["zone"] != "package" && labels["zone"] != "dram" {
				continue
			}
		}
		for _, s := range ts.Samples {
			if math.IsNaN(s.Value) {
				continue // a staleness marker
			}
			if first, ok := g.first[account.node]; !ok || s.Timestamp < first {
				g.first[account.node] = s.Timestamp
			}
			g.accounts[account] = append(g.accounts[account], gateSample{s.Timestamp, s.Value})
		}
	}
	return nil
}

// wraps counts how often the register fell.
func (g *gate) wraps() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.SortFunc(g.register, func(a, b gateSample) int { return int(a.ms - b.ms) })
	n := 0
	for i := 1; i < len(g.register); i++ {
		if g.register[i].value < g.register[i-1].value {
			n++
		}
	}
	return n
}

// joules works out, from what was acknowledged alone, what each container must
// have on the books: differences of counters in order of time, a fall meaning a
// restart, a first value meaning energy unless it came with the node's first.
func (g *gate) joules() map[string]float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	joules := make(map[string]float64)
	for account, samples := range g.accounts {
		slices.SortFunc(samples, func(a, b gateSample) int { return int(a.ms - b.ms) })
		booked := 0.0
		for i, s := range samples {
			switch {
			case i == 0 && s.ms == g.first[account.node]:
			case i > 0 && s.value >= samples[i-1].value:
				booked += s.value - samples[i-1].value
			default:
				booked += s.value
			}
		}
		joules[account.container] += booked
	}
	return joules
}
