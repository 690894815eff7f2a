package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/transform/classify"
)

var (
	now  = time.Date(2026, 3, 10, 12, 30, 20, 0, time.UTC)
	seed = power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}
	// physical is the other model; the two never share an hour in practice.
	physical = power.Price{Model: "physical", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 0.3, CarbonFactor: 1.3, CarbonKgPerKWh: 0.4, CarbonPerKg: 0.05}
)

// A server is the handler under test behind a real listener.
type server struct {
	t    *testing.T
	url  string
	http *http.Client
}

type always struct{ result classify.Classification }

func (a always) ClassifyWithPower(classify.Subject, []float64, time.Duration) classify.Classification {
	return a.result
}

func serve(t *testing.T, books store.Querier, change ...func(*Config, *Operations)) *server {
	t.Helper()
	cfg := Config{Pprof: true, Now: func() time.Time { return now }}
	ops := Operations{
		Ingest:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		Quarantine: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") }),
		Senders:    http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "[]") }),
		Metrics:    http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "up 1\n") }),
		Ready:      func(context.Context) []Check { return []Check{{"journal", true, "replayed"}} },
		Reload:     func(context.Context) error { return nil },
		ConfigYAML: func() string { return "influx:\n  token: <secret>\n" },
		Price:      func(int64) power.Price { return seed },
		Version:    "0.1.0",
	}
	for _, c := range change {
		c(&cfg, &ops)
	}
	classifier := always{classify.Classification{Type: power.Inference, Stage: "rule", Rule: "image-vllm", Reason: "image vllm/vllm-openai", Confidence: 0.9,
		Alternatives: []classify.Alternative{{Type: power.Realtime, Confidence: 0.1}}}}
	s := httptest.NewServer(New(cfg, books, classifier, ops, slog.New(slog.DiscardHandler), prometheus.NewRegistry()))
	t.Cleanup(s.Close)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &server{t, s.URL, client}
}

func (s *server) do(method, path, body string, header ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(b)
}

// get returns the answer to a GET that must succeed.
func (s *server) get(path string) map[string]any {
	s.t.Helper()
	res, body := s.do("GET", path, "")
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, res.StatusCode, body)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		s.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
	return v
}

// problem returns the answer to a request that must go wrong.
func (s *server) problem(status int, method, path, body string, header ...string) Problem {
	s.t.Helper()
	res, text := s.do(method, path, body, header...)
	var p Problem
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		s.t.Fatalf("%s %s: %v in %d %s", method, path, err, res.StatusCode, text)
	}
	if res.StatusCode != status || p.Status != status {
		s.t.Errorf("%s %s: status %d, want %d: %s", method, path, res.StatusCode, status, text)
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
		s.t.Errorf("%s %s: Content-Type %q", method, path, ct)
	}
	if id := res.Header.Get("X-Request-Id"); id == "" || id != p.RequestID {
		s.t.Errorf("%s %s: X-Request-Id %q, request_id %q", method, path, id, p.RequestID)
	}
	if p.Type == "" || p.Title == "" || p.Detail == "" || p.Instance == "" {
		s.t.Errorf("%s %s: incomplete problem %s", method, path, text)
	}
	return p
}

// at follows keys and indexes into a decoded answer.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v: no object to take %q of in %v", path, p, v)
			}
			if v, ok = m[p]; !ok {
				t.Fatalf("%v: no field %q in %v", path, p, m)
			}
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				t.Fatalf("%v: no element %d in %v", path, p, v)
			}
			v = l[p]
		}
	}
	return v
}

func num(t *testing.T, v any, path ...any) float64 {
	t.Helper()
	f, ok := at(t, v, path...).(float64)
	if !ok {
		t.Fatalf("%v is %v, not a number", path, at(t, v, path...))
	}
	return f
}

const minuteMs = 60_000

// cluster is three hours of a small cluster up to now: two workloads, one of
// them with two containers and a namesake in another namespace, and a node's
// remainders. Every minute of it is worth 100 J of the trainer (60 cpu, 40 gpu;
// 10 of them idle), 20 J of each web container, 30 J of system, 25 J of idle and
// -5 J unattributed.
func cluster(from, to time.Time, price power.Price) *books {
	holder := func(kind power.HolderKind, ns, wkind, name, pod, id string, typ power.Type) *power.Holder {
		if p := kind.PseudoName(); p != "" {
			ns, name = p, p
		}
		return &power.Holder{
			HolderKey: power.HolderKey{Cluster: "c1", Node: "n1", Kind: kind, ID: id},
			Workload:  power.Workload{Cluster: "c1", Namespace: ns, Kind: wkind, Name: name},
			Type:      typ, Pod: pod, PodUID: "uid-" + pod, Container: "main", Image: "img",
		}
	}
	trainer := holder(power.Container, "ml", "job", "ml-training", "ml-training-x", "aaa", power.MLTraining)
	web1 := holder(power.Container, "shop", "deployment", "web", "web-1", "bbb", power.Web)
	web2 := holder(power.Container, "shop", "deployment", "web", "web-2", "ccc", power.Web)
	twin := holder(power.Container, "blog", "deployment", "web", "web-3", "ddd", power.Web)
	system := holder(power.System, "", "", "", "", "", "")
	idle := holder(power.Idle, "", "", "", "", "", "")
	rest := holder(power.Unattributed, "", "", "", "", "", "")
	b := &books{}
	const j = 1_000_000
	for ms := from.UnixMilli() / minuteMs * minuteMs; ms < to.UnixMilli(); ms += minuteMs {
		seen := int32(min(minuteMs, to.UnixMilli()-ms))
		add := func(h *power.Holder, e power.Energy, idle power.Microjoules) {
			b.charges = append(b.charges, power.Charge{Holder: h, StartMs: ms, Seconds: 60, Energy: e, Idle: idle, SeenMs: seen, LastMs: ms + int64(seen), Price: &price})
		}
		add(trainer, power.Energy{power.CPU: 60 * j, power.GPU: 40 * j}, 10*j)
		for _, h := range []*power.Holder{web1, web2, twin} {
			add(h, power.Energy{power.CPU: 15 * j, power.DRAM: 5 * j}, 0)
		}
		add(system, power.Energy{power.CPU: 30 * j}, 0)
		add(idle, power.Energy{power.CPU: 25 * j}, 0)
		add(rest, power.Energy{power.CPU: -5 * j}, 0)
		if seen == minuteMs {
			b.nodes = []power.NodeWindow{{Cluster: "c1", Node: "n1", StartMs: ms, Seconds: 60, SeenMs: seen, LastMs: ms + int64(seen), Generation: "kepler-0.10+",
				Used:       power.Energy{power.CPU: 155 * j, power.DRAM: 15 * j, power.GPU: 40 * j},
				Containers: power.Energy{power.CPU: 105 * j, power.DRAM: 15 * j, power.GPU: 40 * j},
				System:     power.Energy{power.CPU: 30 * j}, Idle: power.Energy{power.CPU: 25 * j}, Unattributed: power.Energy{power.CPU: -5 * j}}}
		}
	}
	return b
}
