package influx

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/test/influxtest"
)

// shared is an InfluxDB that lets everybody in; tests keep to databases of their own.
var shared *influxtest.Server

func TestMain(m *testing.M) {
	code := 1
	defer func() { os.Exit(code) }()
	dir, err := os.MkdirTemp("", "influxd")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer os.RemoveAll(dir)
	shared, err = influxtest.Run(context.Background(), dir, false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer shared.Stop()
	code = m.Run()
}

var databases atomic.Int32

// testConfig is the configuration of a test's own buckets in a server.
func testConfig(url string) Config {
	cfg := DefaultConfig()
	cfg.URL, cfg.Bucket = url, fmt.Sprintf("power_metrics_%d", databases.Add(1))
	cfg.MinutesRetention = 0 // the tests' day is long past
	return cfg
}

// A refusal box keeps refused lines.
type box struct {
	mu   sync.Mutex
	list []Rejected // guarded by mu
}

func (b *box) take(_ context.Context, r Rejected) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, r)
	return nil
}

func open(t testing.TB, cfg Config) (*Follower, *box) {
	t.Helper()
	refused := &box{}
	f, err := New(cfg, refused.take, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, refused
}

func ask(t testing.TB, cfg Config, rest store.Querier) *Querier {
	t.Helper()
	q, err := NewQuerier(cfg, rest)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func write(t testing.TB, f *Follower, d store.Delivery) {
	t.Helper()
	if err := f.Write(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// values returns what a statement selects, a line for each row.
func values(t testing.TB, cfg Config, bucket, statement string) string {
	t.Helper()
	var b strings.Builder
	err := influxql{cfg, http.DefaultClient}.query(t.Context(), bucket, statement, nil, func(s series) error {
		for _, v := range s.Values {
			fmt.Fprintln(&b, v...)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return b.String()
}

// gate stands before a server; hook may answer itself or break the connection,
// and returns false if the server shall answer.
func gate(t testing.TB, target string, tls bool, hook func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool) *httptest.Server {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(u)
	pass.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/query") {
			// InfluxDB begins to answer before it has read to the end, which the proxy takes amiss.
			question, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(question))
		}
		if !hook(w, r, pass) {
			pass.ServeHTTP(w, r)
		}
	})
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// recorder forgets an answer after it was given.
func recorder() *httptest.ResponseRecorder { return &httptest.ResponseRecorder{Body: &bytes.Buffer{}} }
