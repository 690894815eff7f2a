package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/test/accesstest"
)

// everyRoute calls f with every route of the route table and a method it answers.
func everyRoute(f func(method string, rt route)) {
	for _, rt := range (&api{cfg: Config{Pprof: true}}).routes() {
		if rt.get != nil {
			f("GET", rt)
		}
		if rt.post != nil {
			f("POST", rt)
		}
	}
}

// open routes are the only ones that take no token.
var openRoutes = []string{"/", "/ui/", "/openapi.yaml", "/docs", "/-/healthy", "/health", "/healthz", "/live", "/-/ready", "/ready"}

// Every route of the table with every kind of token: who may do what.
func TestScopes(t *testing.T) {
	file := accesstest.New(t)
	tokens := map[string]string{
		"writer":   file.Token("writer", "scopes: [write]"),
		"reader":   file.Token("reader", "scopes: [read]"),
		"confined": file.Token("confined", "scopes: [read, write], clusters: [c1]"),
		"admin":    file.Token("admin", "scopes: [admin]"),
		"none":     "",
		"unknown":  "wlt_" + strings.Repeat("x", 43),
	}
	list := file.Open()
	s := serve(t, cluster(now.Add(-time.Hour), now, seed), func(_ *Config, ops *Operations) { ops.Tokens = list })
	may := func(who string, rt route) bool {
		switch rt.audience() {
		case forAll:
			return true
		case forReaders:
			return who == "reader" || who == "confined"
		case forWriters:
			return who == "writer" || who == "confined"
		case forOperators:
			return who == "reader" || who == "admin"
		}
		return who == "admin"
	}
	everyRoute(func(method string, rt route) {
		if open := slices.Contains(openRoutes, rt.path); open != (rt.audience() == forAll) {
			t.Errorf("%s is open: %v", rt.path, rt.audience() == forAll)
		}
		if rt.path == "/debug/pprof/profile" || rt.path == "/debug/pprof/trace" {
			return // they take their time
		}
		path := strings.ReplaceAll(rt.path, "{workload_id}", "ml-training")
		for who, token := range tokens {
			var header []string
			if token != "" {
				header = []string{"Authorization", "Bearer " + token}
			}
			res, body := s.do(method, path, "", header...)
			refused := res.StatusCode == 401 || res.StatusCode == 403
			if refused == may(who, rt) {
				t.Errorf("%s %s with the token of %s: %d %s", method, path, who, res.StatusCode, body)
			}
			if !refused {
				continue
			}
			challenge := res.Header.Get("WWW-Authenticate")
			if want := who == "none" || who == "unknown"; want != (res.StatusCode == 401) || want && !strings.HasPrefix(challenge, "Bearer realm=") {
				t.Errorf("%s %s with the token of %s: %d, WWW-Authenticate %q", method, path, who, res.StatusCode, challenge)
			}
			if rt.audience() == forWriters && (res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(body, "nothing was stored")) {
				t.Errorf("%s %s: %q %s", method, path, res.Header.Get("Content-Type"), body)
			}
			if rt.envelope && !strings.HasPrefix(body, fmt.Sprintf(`{"code":%d,"status":"error"`, res.StatusCode)) {
				t.Errorf("%s %s: no envelope: %s", method, path, body)
			}
			if rt.audience() != forWriters && !rt.envelope {
				var p Problem
				if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != res.StatusCode || p.RequestID != res.Header.Get("X-Request-Id") {
					t.Errorf("%s %s: no problem: %s", method, path, body)
				}
			}
			if token != "" && strings.Contains(body, token) {
				t.Errorf("%s %s tells the token", method, path)
			}
		}
	})

	// Whether it is ready is told to everybody, why not to those who may know.
	for who, token := range tokens {
		_, body := s.do("GET", "/-/ready", "", "Authorization", "Bearer "+token)
		if told := strings.Contains(body, "replayed"); told != (who == "reader" || who == "admin") || !strings.Contains(body, `"journal","ok":true`) {
			t.Errorf("/-/ready tells %s %s", who, body)
		}
	}

	auth := func(who string) []string { return []string{"Authorization", "Bearer " + tokens[who]} }
	if p := s.problem(403, "GET", "/power/current", "", auth("writer")...); p.Detail != `the token "writer" has scope write; this route needs scope read` {
		t.Errorf("detail %q", p.Detail)
	}
	if p := s.problem(403, "GET", "/metrics", "", auth("confined")...); !strings.Contains(p.Detail, "confined to clusters") {
		t.Errorf("detail %q", p.Detail)
	}
	if res, body := s.do("POST", "/api/v1/write", "x", auth("reader")...); res.StatusCode != 403 || !strings.Contains(body, "needs scope write") {
		t.Errorf("write with a reader's token: %d %s", res.StatusCode, body)
	}
	// The scheme may be written in any case; other schemes are no token.
	if res, _ := s.do("GET", "/power/current", "", "Authorization", "bearer "+tokens["reader"]); res.StatusCode != 200 {
		t.Errorf("bearer: %d", res.StatusCode)
	}
	s.problem(401, "GET", "/power/current", "", "Authorization", "Basic "+tokens["reader"])
	s.problem(401, "GET", "/power/current?token="+tokens["reader"], "")
	s.problem(404, "GET", "/nowhere", "")
	s.problem(405, "PUT", "/power/current", "")
}

// Without an admin's token, what is for admins is for this machine only.
func TestAdminRoutesAreLocal(t *testing.T) {
	file := accesstest.New(t)
	file.Token("reader", "scopes: [read]")
	withoutAdmin := file.Open()
	admin := file.Token("admin", "scopes: [admin]")
	withAdmin := file.Open()

	f := func(tokens *access.Tokens, remote, host string, want int, header ...string) {
		t.Helper()
		var log bytes.Buffer
		h := New(Config{Pprof: true}, &books{}, always{}, Operations{
			Tokens:  tokens,
			Senders: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "[]") }),
			Reload:  func(context.Context) error { return nil },
		}, slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
		for i, rt := range []struct{ method, path string }{{"GET", "/debug/senders"}, {"POST", "/-/reload"}, {"GET", "/debug/pprof/cmdline"}} {
			r := httptest.NewRequest(rt.method, "http://"+host+rt.path+"?a=b", nil)
			r.RemoteAddr = remote
			for k := 0; k < len(header); k += 2 {
				r.Header.Set(header[k], header[k+1])
			}
			log.Reset()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s %s from %s to %s: %d, want %d: %s", rt.method, rt.path, remote, host, w.Code, want, w.Body)
			}
			line := log.String()
			if told := strings.Contains(line, "request refused"); told != (want != 200 && i == 0) {
				t.Errorf("%s %s from %s to %s: refusal %d is in the log: %v", rt.method, rt.path, remote, host, i, told)
			}
			if audited := strings.Contains(line, "admin action"); audited != (want == 200) {
				t.Errorf("%s %s from %s to %s, %d, is in the log: %q", rt.method, rt.path, remote, host, w.Code, line)
			}
			if want == 200 {
				who := `who="this host"`
				if len(header) > 0 && header[0] == "Authorization" {
					who = "who=admin"
				}
				for _, text := range []string{who, "request_id=" + w.Header().Get("X-Request-Id"), "route=" + rt.path, `parameters="a=b"`, "status=200", "method=" + rt.method} {
					if !strings.Contains(line, text) {
						t.Errorf("the line about %s lacks %s: %s", rt.path, text, line)
					}
				}
			}
		}
	}
	const here, there = "127.0.0.1:4000", "10.1.2.3:4000"
	for _, tokens := range []*access.Tokens{nil, withoutAdmin} {
		f(tokens, here, "localhost:9201", 200)
		f(tokens, "[::1]:4000", "[::1]:9201", 200)
		f(tokens, "[::ffff:127.0.0.1]:4000", "127.0.0.1", 200)
		f(tokens, there, "localhost:9201", 403)
		f(tokens, there, "127.0.0.1:9201", 403)
		f(tokens, here, "evil.example:9201", 403) // a name that was made to mean 127.0.0.1
		f(tokens, here, "localhost:9201", 403, "X-Forwarded-For", "10.1.2.3")
		f(tokens, here, "localhost:9201", 403, "Forwarded", "for=10.1.2.3")
		f(tokens, here, "localhost:9201", 403, "Via", "1.1 proxy")
	}
	f(withAdmin, here, "localhost:9201", 401)
	f(withAdmin, there, "wattledger:9201", 401)
	f(withAdmin, there, "wattledger:9201", 200, "Authorization", "Bearer "+admin)
	f(nil, there, "wattledger:9201", 403, "Authorization", "Bearer "+admin) // nobody gave it
}

// A token that somebody put where it should not be is not in the log.
func TestAuditMasksTokens(t *testing.T) {
	file := accesstest.New(t)
	var log bytes.Buffer
	token := file.Token("admin", "scopes: [admin]")
	h := New(Config{}, &books{}, always{}, Operations{Tokens: file.Open(), Reload: func(context.Context) error { return nil }},
		slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	r := httptest.NewRequest("POST", "/-/reload?token="+token+"&x="+strings.Repeat("y", 2000), nil)
	r.Header.Set("Authorization", "Bearer "+token)
	h.ServeHTTP(httptest.NewRecorder(), r)
	if s := log.String(); !strings.Contains(s, "wlt_<secret>") || strings.Contains(s, token) || len(s) > 1200 {
		t.Errorf("log: %s", s)
	}
}

// Pages of other origins are told nothing, and change nothing.
func TestCrossOrigin(t *testing.T) {
	s := serve(t, &books{})
	everyRoute(func(method string, rt route) {
		if strings.HasPrefix(rt.path, "/debug/pprof/") && rt.path != "/debug/pprof/" {
			return
		}
		for _, m := range []string{method, "OPTIONS"} {
			res, _ := s.do(m, strings.ReplaceAll(rt.path, "{workload_id}", "web"), "", "Origin", "https://elsewhere.example", "Access-Control-Request-Method", method)
			for name := range res.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s: %s is %q", m, rt.path, name, res.Header.Get(name))
				}
			}
			if m == "POST" && res.StatusCode != 403 {
				t.Errorf("POST %s from another origin: %d", rt.path, res.StatusCode)
			}
		}
		if method == "POST" {
			if res, _ := s.do("POST", rt.path, "", "Sec-Fetch-Site", "cross-site"); res.StatusCode != 403 {
				t.Errorf("POST %s from another site: %d", rt.path, res.StatusCode)
			}
			if res, body := s.do("POST", rt.path, "", "Origin", s.url, "Sec-Fetch-Site", "same-origin"); res.StatusCode == 403 {
				t.Errorf("POST %s from our own page: %s", rt.path, body)
			}
		}
	})
}

func TestQueryRate(t *testing.T) {
	file := accesstest.New(t)
	slow := file.Token("slow", "scopes: [read], queries_per_second: 0.2")
	free := file.Token("free", "scopes: [read]")
	tokens := file.Open()
	s := serve(t, cluster(now.Add(-time.Hour), now, seed), func(_ *Config, ops *Operations) { ops.Tokens = tokens })
	if res, body := s.do("GET", "/power/current", "", "Authorization", "Bearer "+slow); res.StatusCode != 200 {
		t.Fatalf("the first question: %d %s", res.StatusCode, body)
	}
	for range 3 {
		p := s.problem(429, "GET", "/power/nodes", "", "Authorization", "Bearer "+slow)
		if !strings.Contains(p.Detail, `"slow"`) || !strings.Contains(p.Detail, "queries_per_second") {
			t.Errorf("detail %q", p.Detail)
		}
	}
	if res, _ := s.do("GET", "/power/nodes", "", "Authorization", "Bearer "+slow); res.Header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q, want 5", res.Header.Get("Retry-After"))
	}
	for range 20 {
		if res, _ := s.do("GET", "/power/nodes", "", "Authorization", "Bearer "+free); res.StatusCode != 200 {
			t.Fatalf("another token: %d", res.StatusCode)
		}
	}
}

// twoTenants are the books of the clusters alpha and bravo. Every name of
// bravo's, its price and its energy are known by a word that alpha has not.
func twoTenants(from, to time.Time) *books {
	b := cluster(from, to, seed)
	other := seed
	other.Model, other.Currency = "bravo-model", "bravo-coin"
	all := &books{}
	for i, name := range []string{"alpha", "bravo"} {
		renamed := map[*power.Holder]*power.Holder{}
		for _, c := range b.charges {
			h := renamed[c.Holder]
			if h == nil {
				copy := *c.Holder
				h = &copy
				renamed[c.Holder] = h
				h.Cluster, h.Workload.Cluster = name, name
				if h.Kind == power.Container {
					h.Node, h.ID, h.Pod, h.Image = name+"-node", name+"-"+h.ID, name+"-"+h.Pod, name+"-image"
					h.Workload.Namespace, h.Workload.Name = name+"-"+h.Workload.Namespace, name+"-"+h.Workload.Name
				}
				h.Node = name + "-node"
			}
			c.Holder = h
			if i == 1 {
				c.Price = &other
			}
			all.charges = append(all.charges, c)
		}
		for _, n := range b.nodes {
			n.Cluster, n.Node = name, name+"-node"
			all.nodes = append(all.nodes, n)
		}
	}
	slices.SortStableFunc(all.charges, func(a, b power.Charge) int { return int(a.StartMs - b.StartMs) })
	return all
}

// Tenant A asks every route there is, for everything and for what is B's by
// name, and is told nothing of B.
func TestTenantsSeeNothingOfEachOther(t *testing.T) {
	file := accesstest.New(t)
	tokens := map[string]string{
		"one cluster":  file.Token("one", "scopes: [read, write], clusters: [alpha]"),
		"two clusters": file.Token("two", "scopes: [read, write], clusters: [alpha, nothing]"),
	}
	all := file.Token("all", "scopes: [read]")
	list := file.Open()
	books := twoTenants(now.Add(-4*time.Hour), now)
	for engine, querier := range map[string]store.Querier{"local": stored(t, books), "plain": books} {
		s := serve(t, querier, func(_ *Config, ops *Operations) {
			ops.Tokens = list
			leak := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "bravo") })
			ops.Senders, ops.Quarantine, ops.Metrics = leak, leak, leak
			ops.ConfigYAML = func() string { return "bravo" }
		})
		// One tenant alone has the books that B is not to be seen in.
		alone := serve(t, onlyOf(books, "alpha"))
		paths := []string{
			"?cluster=bravo", "?cluster=alpha", "?node=bravo-node", "?namespace=bravo-ml", "?workload=bravo-ml-training", "?workload=bravo:bravo-ml:job:bravo-ml-training",
			"?aggregate=cluster", "?aggregate=cluster,node,namespace,workload,pod,container_id", "?start=now-4h&aggregate=cluster&format=csv", "?start=now-3h&step=1m",
			"?time_range=1h", "?sort=name&limit=1", "?limit=1", "?start=now-4h",
		}
		for kind, token := range tokens {
			auth := []string{"Authorization", "Bearer " + token}
			check := func(method, path, body string) string {
				t.Helper()
				res, text := s.do(method, path, body, append([]string{"Content-Type", "application/json"}, auth...)...)
				if res.StatusCode >= 500 {
					t.Errorf("%s, %s: %s %s: %d %s", engine, kind, method, path, res.StatusCode, text)
				}
				// What was asked for may be repeated; nothing else.
				said := text
				if decoded, err := url.QueryUnescape(path); err == nil && res.StatusCode >= 300 {
					for _, word := range strings.FieldsFunc(decoded, func(r rune) bool { return strings.ContainsRune("/?=&", r) }) {
						said = strings.ReplaceAll(said, word, "")
					}
				}
				if strings.Contains(said, "bravo") {
					t.Errorf("%s, %s: %s %s tells of bravo: %d %.600s", engine, kind, method, path, res.StatusCode, text)
				}
				for name, values := range res.Header {
					if strings.Contains(strings.Join(values, ""), "bravo") {
						t.Errorf("%s, %s: %s %s: header %s %q", engine, kind, method, path, name, values)
					}
				}
				return text
			}
			everyRoute(func(method string, rt route) {
				if strings.HasPrefix(rt.path, "/debug/pprof") {
					return
				}
				for _, id := range []string{"alpha-ml-training", "bravo-ml-training", "bravo-shop:bravo-web", "bravo:bravo-shop:deployment:bravo-web", "__idle__"} {
					path := strings.ReplaceAll(rt.path, "{workload_id}", id)
					for _, query := range append(paths, "") {
						check(method, path+query, `{"image":"x"}`)
					}
					if path == rt.path {
						break
					}
				}
			})
			// And what it is told is the whole truth about its own.
			for _, path := range []string{
				"/power/current", "/power/containers?sort=name", "/power/nodes", "/cost/current?aggregate=namespace", "/cost/hourly?start=now-4h&aggregate=cluster,workload",
				"/cost/hourly?start=now-4h&workload_type=web", "/cost/workload/alpha-ml-training?start=now-2h",
			} {
				var got map[string]any
				if err := json.Unmarshal([]byte(check("GET", path, "")), &got); err != nil {
					t.Fatal(err)
				}
				for _, fault := range differences(any(alone.get(path)), any(got), "answer") {
					t.Errorf("%s, %s: %s: %s", engine, kind, path, fault)
				}
			}
			// Pages, to the last.
			for cursor, n := "", 0; ; n++ {
				path := "/power/containers?limit=1"
				if cursor != "" {
					path += "&cursor=" + cursor
				}
				var page struct {
					Containers []any
					Next       *string
				}
				if err := json.Unmarshal([]byte(check("GET", path, "")), &page); err != nil {
					t.Fatal(err)
				}
				if page.Next == nil {
					if n != 3 {
						t.Errorf("%s, %s: %d pages, want 4", engine, kind, n+1)
					}
					break
				}
				cursor = *page.Next
			}
		}
		// The test would see it if there were something to see.
		for _, path := range []string{"/power/current", "/power/nodes", "/cost/hourly?aggregate=cluster", "/metrics", "/api/v1/status/config", "/profile/workload-types?cluster=bravo"} {
			if res, text := s.do("GET", path, "", "Authorization", "Bearer "+all); res.StatusCode != 200 || !strings.Contains(text, "bravo") {
				t.Errorf("%s: an unconfined token is told nothing of bravo by %s: %d", engine, path, res.StatusCode)
			}
		}
	}
}

func onlyOf(b *books, cluster string) *books {
	only := &books{}
	for _, c := range b.charges {
		if c.Holder.Cluster == cluster {
			only.charges = append(only.charges, c)
		}
	}
	for _, n := range b.nodes {
		if n.Cluster == cluster {
			only.nodes = append(only.nodes, n)
		}
	}
	return only
}

// Every route belongs to a part, and a part serves its own routes only.
func TestParts(t *testing.T) {
	h := New(Config{Pprof: true}, &books{}, always{}, Operations{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	for _, part := range []Part{PartIngest, PartQueries, PartOperations} {
		routes := h.Of(part)
		everyRoute(func(method string, rt route) {
			if strings.HasPrefix(rt.path, "/debug/pprof/") && rt.path != "/debug/pprof/" {
				return
			}
			// PUT is answered nowhere: 405 where the route is served, 404 elsewhere.
			w := httptest.NewRecorder()
			routes.ServeHTTP(w, httptest.NewRequest("PUT", strings.ReplaceAll(rt.path, "{workload_id}", "x"), nil))
			if served := w.Code == http.StatusMethodNotAllowed; served != (rt.part()&part != 0) || !served && w.Code != http.StatusNotFound {
				t.Errorf("part %d, %s: %d", part, rt.path, w.Code)
			}
		})
	}
	f := func(path string, want Part) {
		t.Helper()
		for _, rt := range h.api.routes() {
			if rt.path == path && rt.part() != want {
				t.Errorf("%s is of part %d, want %d", path, rt.part(), want)
			}
		}
	}
	f("/api/v1/push", PartIngest)
	f("/cost/hourly", PartQueries)
	f("/", PartQueries)
	f("/-/reload", PartOperations)
	f("/metrics", PartOperations)
	f("/ready", PartIngest|PartQueries|PartOperations)
}
