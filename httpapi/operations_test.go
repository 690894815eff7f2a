package httpapi

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/transform/classify"
)

func TestOperations(t *testing.T) {
	f := func(s *server, method, path string, status int, says string) {
		t.Helper()
		res, body := s.do(method, path, "")
		if res.StatusCode != status || !strings.Contains(body, says) {
			t.Errorf("%s %s: %d %s, want %d with %q", method, path, res.StatusCode, body, status, says)
		}
	}
	s := serve(t, &books{})
	for _, path := range []string{"/-/healthy", "/health", "/live"} {
		f(s, "GET", path, 200, `{"status":"healthy","version":"0.1.0"}`)
	}
	for _, path := range []string{"/-/ready", "/ready"} {
		f(s, "GET", path, 200, `{"status":"ready","checks":[{"name":"journal","ok":true,"detail":"replayed"}]}`)
	}
	f(s, "POST", "/-/reload", 200, "reloaded")
	f(s, "GET", "/metrics", 200, "up 1")
	f(s, "GET", "/debug/senders", 200, "[]")
	f(s, "GET", "/api/v1/status/config", 200, "<secret>")
	f(s, "GET", "/debug/pprof/", 200, "goroutine")
	f(s, "GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile")
	f(s, "GET", "/debug/pprof/cmdline", 200, "httpapi")

	s = serve(t, &books{}, func(cfg *Config, ops *Operations) {
		cfg.Pprof, ops.Reload = false, nil
		ops.Ready = func(context.Context) []Check {
			return []Check{{"store", true, "open"}, {"journal", false, "replaying record 12 of 400"}}
		}
	})
	f(s, "GET", "/-/ready", 503, "replaying record 12 of 400")
	f(s, "GET", "/-/healthy", 200, "healthy")
	s.problem(403, "POST", "/-/reload", "")
	s.problem(404, "GET", "/debug/pprof/", "")

	s = serve(t, &books{}, func(_ *Config, ops *Operations) {
		ops.Reload = func(context.Context) error { return errors.New("wattledger.yaml line 3: unknown key tariffs") }
	})
	if p := s.problem(500, "POST", "/-/reload", ""); !strings.Contains(p.Detail, "line 3") {
		t.Errorf("detail %q", p.Detail)
	}
}

// TestPageAgreesWithTheExample keeps the block to paste on the page the one that
// the project ships.
func TestPageAgreesWithTheExample(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "configs", "prometheus.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	keep := regexp.MustCompile(`regex: "([^"]+)"`)
	joined := regexp.MustCompile(`\\+\n\s*`) // a folded line, whose backslash the script escapes
	var found []string
	block, err := os.ReadFile(filepath.Join("..", "web", "src", "block.ts"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{example, block} {
		m := keep.FindSubmatch(text)
		if m == nil {
			t.Fatal("no keep rule")
		}
		found = append(found, joined.ReplaceAllString(string(m[1]), ""))
	}
	if found[0] != found[1] {
		t.Errorf("the page keeps\n%s\nthe example keeps\n%s", found[1], found[0])
	}
	if _, err := regexp.Compile(found[1]); err != nil {
		t.Error(err)
	}
}

func TestParseClassify(t *testing.T) {
	in, errs := parseClassify([]byte(`{"namespace":"ml","workload":"llm","owner_kind":"Deployment","labels":{"app":"llm"},"annotations":{"a":"b"},
		"image":"vllm/vllm-openai","command":["python","-m"],"resources":{"requests":{"cpu":"500m"},"limits":{"cpu":"2","nvidia.com/gpu":1}},
		"power_watts":[1,2.5],"interval_seconds":60}`))
	want := classifyInput{powerWatts: []float64{1, 2.5}, intervalSeconds: 60, Subject: classify.Subject{
		Namespace: "ml", Workload: "llm", OwnerKinds: []string{"Deployment"}, Labels: map[string]string{"app": "llm"}, Annotations: map[string]string{"a": "b"},
		Images: []string{"vllm/vllm-openai"}, Command: []string{"python", "-m"}, Resources: map[string]float64{"cpu": 0.5, "nvidia.com/gpu": 1}}}
	if len(errs) > 0 || !reflect.DeepEqual(in, want) {
		t.Errorf("got %+v, %v", in, errs)
	}

	f := func(body, field, reason string) {
		t.Helper()
		_, errs := parseClassify([]byte(body))
		if !slices.ContainsFunc(errs, func(e ParamError) bool { return e.Parameter == field && strings.Contains(e.Reason, reason) }) {
			t.Errorf("%s: %+v, want %s: …%s…", body, errs, field, reason)
		}
	}
	f(`{"imag":"x"}`, "imag", `did you mean "image"?`)
	f(`{"ownerKind":"Job"}`, "ownerKind", `did you mean "owner_kind"?`)
	f(`{}`, "body", "nothing")
	f(`[]`, "body", "not a JSON object")
	f(`{"image":"x"} trailing`, "body", "not a JSON object")
	f(``, "body", "not a JSON object")
	f(`null`, "body", "nothing")
	f(`{"image":1}`, "image", "not a string")
	f(`{"image":null}`, "image", "not a string")
	f(`{"labels":{"a":1}}`, "labels", "object of strings")
	f(`{"command":"sh"}`, "command", "array of strings")
	f(`{"resources":{"cpu":[1]}}`, "resources", "quantities")
	f(`{"resources":[]}`, "resources", "quantities")
	f(`{"power_watts":[1],"interval_seconds":0}`, "interval_seconds", "more than 0")
	f(`{"power_watts":[1]}`, "interval_seconds", "needed")
	f(`{"power_watts":[-1],"interval_seconds":1}`, "power_watts", "negative")
	f(`{"power_watts":[1e999],"interval_seconds":1}`, "power_watts", "array of numbers")
}

func TestClassify(t *testing.T) {
	s := serve(t, &books{}, func(cfg *Config, _ *Operations) { cfg.MaxClassifyBodyBytes = 200 })
	res, body := s.do("POST", "/profile/classify", `{"image":"vllm/vllm-openai:v0.9"}`, "Content-Type", "application/json; charset=utf-8")
	want := `{"classification":{"workload_type":"inference","stage":"rule","rule":"image-vllm","reason":"image vllm/vllm-openai","alternatives":[{"workload_type":"realtime","confidence":0.1}]},"confidence":0.9,"timestamp":"2026-03-10T12:30:20Z"}` + "\n"
	if res.StatusCode != 200 || body != want {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	s.problem(413, "POST", "/profile/classify", `{"image":"`+strings.Repeat("x", 200)+`"}`, "Content-Type", "application/json")
	s.problem(415, "POST", "/profile/classify", `{"image":"x"}`, "Content-Type", "application/x-www-form-urlencoded")
	s.problem(400, "POST", "/profile/classify?namespace=x", `{"image":"x"}`, "Content-Type", "application/json")
}

func FuzzClassify(f *testing.F) {
	f.Add([]byte(`{"image":"x","resources":{"limits":{"cpu":1}},"power_watts":[1],"interval_seconds":1}`))
	f.Add([]byte(`{"imag":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		in, errs := parseClassify(body)
		if len(errs) == 0 && len(in.powerWatts) > 0 && in.intervalSeconds <= 0 {
			t.Errorf("%q: power without an interval was accepted", body)
		}
	})
}

func TestParseQuantity(t *testing.T) {
	f := func(s string, want float64) {
		t.Helper()
		got, ok := parseQuantity(s)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("parseQuantity(%q) = %v, %v, want %v", s, got, ok, want)
		}
	}
	f("2", 2)
	f("500m", 0.5)
	f("1.5", 1.5)
	f("1e3", 1000)
	f("4Gi", 4<<30)
	f("100M", 100e6)
	f("2E", 2e18)
	f("0", 0)
	f("", -1)
	f("Gi", -1)
	f("-1", -1)
	f("1Kib", -1)
	f("1iK", -1)
	f("0x10", -1)
	f("Inf", -1)
	f("NaN", -1)
	f("1_000", -1)
	f("null", -1)
	f("[1]", -1)
	f("1 ", -1)
}
