package httpapi

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/store"
)

func TestParametersAreStrict(t *testing.T) {
	s := serve(t, cluster(now.Add(-time.Hour), now, seed))
	f := func(path, parameter, reason string) {
		t.Helper()
		p := s.problem(400, "GET", path, "")
		i := slices.IndexFunc(p.Errors, func(e ParamError) bool { return e.Parameter == parameter })
		if i < 0 || !strings.Contains(p.Errors[i].Reason, reason) {
			t.Errorf("GET %s: errors %+v, want %s: …%s…", path, p.Errors, parameter, reason)
		}
	}
	f("/power/current?namspace=x", "namspace", `did you mean "namespace"?`)
	f("/power/current?namespace=a&namespace=b", "namespace", "more than once")
	f("/power/current?namespace=", "namespace", "empty")
	f("/power/current?time_range=5", "time_range", "not a duration")
	f("/power/current?time_range=5s", "time_range", "between 1m and 7d")
	f("/power/current?limit=0", "limit", "from 1 to 10000")
	f("/power/current?limit=ten", "limit", "from 1 to 10000")
	f("/power/current?workload_type=webb", "workload_type", "not a workload type")
	f("/power/current?workload=a:b:c", "workload", "cluster:namespace:kind:name")
	f("/power/current?namespace=a&workload=b:c", "workload", "contradicts")
	f("/power/current?cursor=nonsense", "cursor", "does not belong")
	f("/power/current?namespace=%zz", "query", "well formed")
	f("/power/current?namespace="+strings.Repeat("x", 2000), "namespace", "longer")
	f("/power/containers?sort=watts", "sort", "not known")
	f("/power/containers?limit=10001", "limit", "10000")
	f("/power/nodes?namespace=x", "namespace", "not a parameter")
	f("/cost/current?start=now", "start", "not a parameter")
	f("/cost/hourly?start=yesteday", "start", "not a time")
	f("/cost/hourly?start=now&end=now-1h", "start", "future")
	f("/cost/hourly?start=now-1h&end=now-2h", "end", "later than start")
	f("/cost/hourly?start=now-500d", "start", "more than 400d")
	f("/cost/hourly?aggregate=team", "aggregate", "not a dimension")
	f("/cost/hourly?aggregate=node,node", "aggregate", "twice")
	f("/cost/hourly?aggregate=node,", "aggregate", "not a dimension")
	f("/cost/hourly?format=xml", "format", "not known")
	f("/cost/workload/web?step=90s", "step", "whole minutes")
	f("/cost/workload/web?start=now-400d&step=1m", "step", "11000 steps")
	f("/cost/workload/a:b:c", "workload_id", "no workload id")
	f("/profile/workload-types?clutser=x", "clutser", `did you mean "cluster"?`)

	// Everything that is wrong is said at once, with what is allowed.
	p := s.problem(400, "GET", "/power/containers?limit=0&sort=x&nod=y", "")
	if len(p.Errors) != 3 || !slices.Contains(p.Errors[0].Allowed, "node") {
		t.Errorf("errors: %+v", p.Errors)
	}
}

func TestStatusOfErrors(t *testing.T) {
	f := func(err error, status int) {
		t.Helper()
		s := serve(t, &books{err: err})
		p := s.problem(status, "GET", "/power/current", "")
		if strings.Contains(p.Detail, "secret") {
			t.Errorf("%v: the detail tells %q", err, p.Detail)
		}
	}
	f(fmt.Errorf("open /secret: %w", store.ErrBadCursor), 400)
	f(fmt.Errorf("secret: %w", store.ErrTooMany), 400)
	f(fmt.Errorf("secret: %w", store.ErrUnavailable), 503)
	f(fmt.Errorf("secret: %w", context.DeadlineExceeded), 503)
	f(errors.New("secret"), 500)
}

func TestMethodsAndPaths(t *testing.T) {
	s := serve(t, &books{})

	p := s.problem(404, "GET", "/power/curent", "")
	if !strings.Contains(p.Detail, "/power/current") {
		t.Errorf("detail %q names no near route", p.Detail)
	}
	s.problem(404, "PUT", "/nowhere", "")
	s.problem(404, "GET", "/power/current/", "")
	s.problem(404, "GET", "//power/current", "")

	res, _ := s.do("DELETE", "/power/current", "")
	if res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("DELETE: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	s.problem(405, "GET", "/-/reload", "")
	s.problem(405, "GET", "/api/v1/write", "")

	res, _ = s.do("OPTIONS", "/profile/classify", "", "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "POST")
	if res.StatusCode != 204 || res.Header.Get("Allow") != "POST, OPTIONS" || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("OPTIONS: %d %v", res.StatusCode, res.Header)
	}

	res, body := s.do("HEAD", "/power/nodes", "")
	if res.StatusCode != 200 || body != "" || res.ContentLength <= 0 {
		t.Errorf("HEAD: %d, %d bytes, length %d", res.StatusCode, len(body), res.ContentLength)
	}
	for _, path := range []string{"/api/v1/write", "/api/v1/push", "/api/v1/receive"} {
		if res, _ := s.do("POST", path, "body"); res.StatusCode != 204 || res.Header.Get("X-Request-Id") == "" {
			t.Errorf("POST %s: %d %v", path, res.StatusCode, res.Header)
		}
	}
}

func TestRequestID(t *testing.T) {
	s := serve(t, &books{})
	res, _ := s.do("GET", "/power/nodes", "", "X-Request-Id", "trace-1.a_B")
	if id := res.Header.Get("X-Request-Id"); id != "trace-1.a_B" {
		t.Errorf("a harmless id came back as %q", id)
	}
	for _, bad := range []string{"a b", "<script>", strings.Repeat("x", 65)} {
		res, _ := s.do("GET", "/power/nodes", "", "X-Request-Id", bad)
		if id := res.Header.Get("X-Request-Id"); id == bad || len(id) != 16 {
			t.Errorf("id %q came back as %q", bad, id)
		}
	}
}

func TestPanicIsAnswered(t *testing.T) {
	s := serve(t, &books{}, func(_ *Config, ops *Operations) {
		ops.Senders = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
	})
	s.problem(500, "GET", "/debug/senders", "")
}

func TestQueriesAreBounded(t *testing.T) {
	b := &books{block: make(chan struct{})}
	s := serve(t, b, func(cfg *Config, _ *Operations) { cfg.MaxQueries, cfg.QueryTimeout = 1, 20*time.Millisecond })
	// The store does not answer: the first to come runs into its time, the
	// others do so waiting for their turn.
	statuses := make(chan int)
	for range 3 {
		go func() {
			res, err := http.Get(s.url + "/power/current")
			if err != nil {
				statuses <- 0
				return
			}
			res.Body.Close()
			if res.Header.Get("Retry-After") == "" {
				statuses <- -res.StatusCode
				return
			}
			statuses <- res.StatusCode
		}()
	}
	for range 3 {
		if got := <-statuses; got != 503 {
			t.Errorf("status %d, want 503 with Retry-After", got)
		}
	}
	// Operations never wait.
	if res, _ := s.do("GET", "/-/healthy", ""); res.StatusCode != 200 {
		t.Errorf("healthy: %d", res.StatusCode)
	}
	close(b.block)
	if res, body := s.do("GET", "/power/current", ""); res.StatusCode != 200 {
		t.Errorf("after the store came back: %d %s", res.StatusCode, body)
	}
}

func TestGzip(t *testing.T) {
	s := serve(t, cluster(now.Add(-24*time.Hour), now, seed))
	res, plain := s.do("GET", "/cost/hourly", "", "Accept-Encoding", "identity")
	if res.Header.Get("Content-Encoding") != "" {
		t.Fatalf("identity came as %q", res.Header.Get("Content-Encoding"))
	}
	res, packed := s.do("GET", "/cost/hourly", "", "Accept-Encoding", "br, gzip;q=0.5")
	if res.Header.Get("Content-Encoding") != "gzip" || len(packed) > len(plain)/2 {
		t.Fatalf("gzip came as %q, %d bytes of %d", res.Header.Get("Content-Encoding"), len(packed), len(plain))
	}
	zr, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.NewDecoder(zr).Decode(&v); err != nil {
		t.Fatal(err)
	}
	if res, _ := s.do("GET", "/cost/hourly", "", "Accept-Encoding", "gzip;q=0"); res.Header.Get("Content-Encoding") != "" {
		t.Error("gzip;q=0 was answered with gzip")
	}
}
