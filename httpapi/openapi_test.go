package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/opencost"
	"go.yaml.in/yaml/v3"
)

func description(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestEveryRouteIsDescribed(t *testing.T) {
	paths := description(t)["paths"].(map[string]any)
	served := map[string]bool{}
	for _, rt := range (&api{cfg: Config{Pprof: true}, opencost: opencost.New(nil, nil)}).routes() {
		for method, h := range map[string]handler{"get": rt.get, "post": rt.post} {
			if h != nil {
				served[method+" "+rt.path] = true
			}
		}
	}
	described := map[string]bool{}
	for path, methods := range paths {
		for method := range methods.(map[string]any) {
			described[method+" "+path] = true
		}
	}
	for op := range served {
		if !described[op] {
			t.Errorf("%s is served and not described", op)
		}
	}
	for op := range described {
		if !served[op] {
			t.Errorf("%s is described and not served", op)
		}
	}
}

func TestEveryParameterIsDescribed(t *testing.T) {
	doc := description(t)
	s := serve(t, cluster(now.Add(-time.Hour), now, seed))
	for path, methods := range doc["paths"].(map[string]any) {
		get, ok := methods.(map[string]any)["get"].(map[string]any)
		if !ok || !strings.HasPrefix(path, "/power/") && !strings.HasPrefix(path, "/cost/") && !strings.HasPrefix(path, "/profile/") {
			continue
		}
		var described []string
		params, _ := get["parameters"].([]any)
		for _, p := range params {
			p := resolve(doc, p.(map[string]any))
			if p["in"] == "query" {
				described = append(described, p["name"].(string))
			}
		}
		// A parameter nobody knows is answered with those that are known.
		p := s.problem(400, "GET", strings.Replace(path, "{workload_id}", "ml-training", 1)+"?%F0%9F%94%8B=1", "")
		known := slices.Sorted(slices.Values(p.Errors[0].Allowed))
		if slices.Sort(described); !slices.Equal(described, known) {
			t.Errorf("%s: described %v, known %v", path, described, known)
		}
	}
}

// TestAnswersAreAsDescribed holds real answers against the schemas: every field
// that is promised is there, none that is not, and each of the type it says.
func TestAnswersAreAsDescribed(t *testing.T) {
	doc := description(t)
	s := serve(t, cluster(now.Add(-3*time.Hour), now, seed))
	empty := serve(t, &books{}, func(_ *Config, ops *Operations) { ops.Price = nil })
	f := func(s *server, method, route, path, body string, status int) {
		t.Helper()
		res, text := s.do(method, path, body, "Content-Type", "application/json")
		if res.StatusCode != status {
			t.Errorf("%s %s: status %d, want %d: %s", method, path, res.StatusCode, status, text)
			return
		}
		op := doc["paths"].(map[string]any)[route].(map[string]any)[strings.ToLower(method)].(map[string]any)
		responses := op["responses"].(map[string]any)
		described, ok := responses[fmt.Sprint(status)].(map[string]any)
		if !ok {
			described = responses["default"].(map[string]any)
		}
		content := resolve(doc, described)["content"].(map[string]any)
		media, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		of, ok := content[media].(map[string]any)
		if !ok {
			t.Errorf("%s %s: %s is not described", method, path, media)
			return
		}
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		for _, fault := range check(doc, of["schema"].(map[string]any), v, "answer") {
			t.Errorf("%s %s: %s", method, path, fault)
		}
	}
	for _, s := range []*server{s, empty} {
		f(s, "GET", "/power/current", "/power/current?limit=1", "", 200)
		f(s, "GET", "/power/containers", "/power/containers", "", 200)
		f(s, "GET", "/power/nodes", "/power/nodes", "", 200)
		f(s, "GET", "/cost/current", "/cost/current?aggregate=cluster,workload_type", "", 200)
		f(s, "GET", "/cost/hourly", "/cost/hourly?start=now-5h&aggregate=namespace,workload_kind", "", 200)
		f(s, "GET", "/cost/hourly", "/cost/hourly", "", 200)
		f(s, "GET", "/cost/hourly", "/cost/hourly?start=today&compare=previous&aggregate=node", "", 200)
		f(s, "GET", "/cost/daily", "/cost/daily?tz=Asia/Seoul&aggregate=namespace&compare=previous", "", 200)
		f(s, "GET", "/cost/summary", "/cost/summary?tz=Asia/Seoul", "", 200)
		f(s, "GET", "/cost/monthly", "/cost/monthly?aggregate=workload&sort=total_cost&limit=1", "", 200)
		f(s, "GET", "/profile/workload-types", "/profile/workload-types", "", 200)
		f(s, "GET", "/cost/workload/{workload_id}", "/cost/workload/nobody", "", 404)
	}
	f(s, "GET", "/cost/workload/{workload_id}", "/cost/workload/ml-training?step=30m", "", 200)
	f(s, "GET", "/cost/workload/{workload_id}", "/cost/workload/web", "", 300)
	f(s, "POST", "/profile/classify", "/profile/classify", `{"image":"vllm/vllm-openai:v0.9"}`, 200)
	f(s, "POST", "/profile/classify", "/profile/classify", `{"imag":"x"}`, 400)
	f(s, "GET", "/-/healthy", "/-/healthy", "", 200)
	f(s, "GET", "/-/ready", "/-/ready", "", 200)
	f(s, "POST", "/-/reload", "/-/reload", "", 200)
	f(s, "GET", "/power/current", "/power/current?x=1", "", 400)
}

func resolve(doc, m map[string]any) map[string]any {
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	var v any = doc
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		v = v.(map[string]any)[part]
	}
	return v.(map[string]any)
}

// check returns where v is not as the schema says. It knows what openapi.yaml uses.
func check(doc, schema map[string]any, v any, path string) []string {
	schema = resolve(doc, schema)
	var faults []string
	types, several := schema["type"].([]any)
	if !several {
		types = []any{schema["type"]}
	}
	if kind := kindOf(v); !slices.Contains(types, any(kind)) && !(kind == "integer" && slices.Contains(types, any("number"))) {
		return []string{fmt.Sprintf("%s is %s, want %v", path, kind, types)}
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		faults = append(faults, fmt.Sprintf("%s is %v, want one of %v", path, v, enum))
	}
	if want, ok := schema["const"]; ok && v != want {
		faults = append(faults, fmt.Sprintf("%s is %v, want %v", path, v, want))
	}
	if s, ok := v.(string); ok && schema["format"] == "date-time" {
		if _, err := time.Parse(time.RFC3339Nano, s); err != nil || !strings.HasSuffix(s, "Z") {
			faults = append(faults, fmt.Sprintf("%s is %q, not a time in UTC", path, s))
		}
	}
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			faults = append(faults, check(doc, schema["items"].(map[string]any), e, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		properties := schema["properties"].(map[string]any)
		for _, name := range schema["required"].([]any) {
			if _, ok := v[name.(string)]; !ok {
				faults = append(faults, fmt.Sprintf("%s has no %s", path, name))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			of, ok := properties[name].(map[string]any)
			if !ok {
				faults = append(faults, fmt.Sprintf("%s has %s, which is not described", path, name))
				continue
			}
			faults = append(faults, check(doc, of, v[name], path+"."+name)...)
		}
	}
	return faults
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func TestOpenAPIIsServed(t *testing.T) {
	s := serve(t, &books{})
	res, body := s.do("GET", "/openapi.yaml", "")
	if res.StatusCode != http.StatusOK || body != string(openAPI) {
		t.Errorf("status %d, %d bytes", res.StatusCode, len(body))
	}
}
