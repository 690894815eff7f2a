package backfill

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/wattledger/wattledger/test/promtest"
)

const staleNaN = 0x7ff0000000000002

// text writes series down so that they can be compared.
func text(list []prompb.TimeSeries) string {
	var b strings.Builder
	for _, ts := range list {
		for _, l := range ts.Labels {
			fmt.Fprintf(&b, "%s=%q,", l.Name, l.Value)
		}
		for _, s := range ts.Samples {
			fmt.Fprintf(&b, " %d:%x", s.Timestamp, math.Float64bits(s.Value))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func series(name, node string, external bool) prompb.TimeSeries {
	ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}, {Name: "node_name", Value: node}}}
	if external {
		ts.Labels = append(ts.Labels, prompb.Label{Name: "cluster", Value: "east"})
		slices.SortFunc(ts.Labels, compareLabels)
	}
	return ts
}

// What a Prometheus was given comes back bit by bit, with its external labels,
// by each of its APIs.
func TestSource(t *testing.T) {
	server := promtest.Start(t, "{cluster: east}")
	begin := time.Now().Add(-5 * time.Hour).Truncate(time.Minute).UnixMilli()
	const count = 700 // several chunks a series
	at := func(i int) int64 { return begin + int64(i)*5003 }
	value := func(k, i int) float64 { return float64(i)*1234.567891 + float64(k)/3 }
	names := []string{"kepler_node_cpu_joules_total", "kepler_container_cpu_joules_total", "another_total"}
	for from := 0; from < count; from += 100 {
		var list []prompb.TimeSeries
		for k, name := range names {
			for _, node := range []string{"n1", `n"2\`} {
				ts := series(name, node, false)
				for i := from; i < from+100; i++ {
					ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: at(i), Value: value(k, i)})
				}
				list = append(list, ts)
			}
		}
		server.Write(list)
	}
	ended := series(names[0], "n3", false)
	ended.Samples = []prompb.Sample{{Timestamp: at(300), Value: 5}, {Timestamp: at(301), Value: math.Float64frombits(staleNaN)}}
	server.Write([]prompb.TimeSeries{ended})

	want := func(from, to int64, stale bool) string {
		var list []prompb.TimeSeries
		for k, name := range names[:2] {
			for _, node := range []string{"n1", `n"2\`} {
				ts := series(name, node, true)
				for i := range count {
					if at(i) >= from && at(i) < to {
						ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: at(i), Value: value(k, i)})
					}
				}
				if len(ts.Samples) > 0 {
					list = append(list, ts)
				}
			}
		}
		ts := series(names[0], "n3", true)
		for _, s := range ended.Samples {
			if s.Timestamp >= from && s.Timestamp < to && (stale || s.Value == s.Value) {
				ts.Samples = append(ts.Samples, s)
			}
		}
		if len(ts.Samples) > 0 {
			list = append(list, ts)
		}
		slices.SortFunc(list, func(a, b prompb.TimeSeries) int { return slices.CompareFunc(a.Labels, b.Labels, compareLabels) })
		return text(list)
	}
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var fail atomic.Int32
	without := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/v1/read":
			http.NotFound(w, r)
		case fail.Add(-1) >= 0:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	defer without.Close()
	plain := httptest.NewServer(http.HandlerFunc(samplesOnly(server.URL)))
	defer plain.Close()
	for _, api := range []struct {
		url, how string
		stale    bool
	}{{server.URL, "remote read", true}, {plain.URL, "remote read", true}, {without.URL, "query", false}} {
		s, err := NewSource(api.url, names[:2])
		if err != nil {
			t.Fatal(err)
		}
		s.pause = time.Millisecond
		fail.Store(2)
		for _, span := range [][2]int64{{begin, at(count)}, {at(10), at(20)}, {at(20), at(21)}, {at(299) + 1, at(310) - 1}, {0, begin}} {
			got, err := s.Series(t.Context(), span[0], span[1])
			if err != nil {
				t.Fatal(err)
			}
			if got, want := text(got), want(span[0], span[1], api.stale); got != want {
				t.Errorf("%s, %d to %d:\n%.600s\nwant\n%.600s", api.how, span[0]-begin, span[1]-begin, got, want)
			}
		}
		if s.How() != api.how {
			t.Errorf("read by %s, want %s", s.How(), api.how)
		}
	}
}

// samplesOnly passes remote reads on without the offer to take chunks.
func samplesOnly(server string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var packed strings.Builder
		_, err := io.Copy(&packed, r.Body)
		raw, err2 := snappy.Decode(nil, []byte(packed.String()))
		var req prompb.ReadRequest
		if err != nil || err2 != nil || req.Unmarshal(raw) != nil {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		req.AcceptedResponseTypes = nil
		raw, _ = req.Marshal()
		again, _ := http.NewRequest(http.MethodPost, server+r.URL.Path, strings.NewReader(string(snappy.Encode(nil, raw))))
		again.Header = r.Header
		resp, err := http.DefaultClient.Do(again)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		var body strings.Builder
		_, _ = io.Copy(&body, resp.Body)
		_, _ = w.Write([]byte(body.String()))
	}
}

// What goes wrong names the place and no password.
func TestSourceErrors(t *testing.T) {
	f := func(handler http.HandlerFunc, says string) {
		t.Helper()
		server := httptest.NewServer(handler)
		defer server.Close()
		s, err := NewSource(strings.Replace(server.URL, "http://", "http://me:secret@", 1), []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		s.pause = time.Microsecond
		_, err = s.Series(t.Context(), 0, 60_000)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %q", err, says)
		}
	}
	f(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "who are you?", http.StatusUnauthorized) }, "401 Unauthorized: who are you?")
	f(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "what?", http.StatusBadRequest) }, "400 Bad Request: what?")
	f(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) }, "503 Service Unavailable: busy")
	f(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
		_, _ = w.Write([]byte{3, 0, 0, 0, 0, 1, 2, 3})
	}, "damaged on its way")
	f(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
		_, _ = w.Write([]byte{9, 0, 0, 0})
	}, "EOF")
	f(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("{}")) }, "corrupt")
	f(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "EOF")
	if _, err := NewSource("me:secret@host", nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	s, err := NewSource("http://127.0.0.1:1", []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Series(ctx, 0, 60_000); err == nil {
		t.Error("a cancelled read has an answer")
	}
}

// Requests come in the order of time, however series lie.
func TestBodies(t *testing.T) {
	var list []prompb.TimeSeries
	for i := range 90 {
		ts := series("a", fmt.Sprint(i), false)
		for k := range 70 {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: int64(k*1000 + i%3), Value: float64(k)})
		}
		list = append(list, ts)
	}
	newest, samples, bodies := int64(-1), 0, 0
	err := Bodies(list, func(b Body) error {
		bodies++
		raw, err := snappy.Decode(nil, b.Content)
		if err != nil {
			return err
		}
		var req prompb.WriteRequest
		if err := req.Unmarshal(raw); err != nil {
			return err
		}
		for _, ts := range req.Timeseries {
			if len(ts.Samples) != 1 || ts.Samples[0].Timestamp < newest {
				t.Fatalf("%v after %d", ts, newest)
			}
			newest = ts.Samples[0].Timestamp
			samples++
		}
		if b.Samples != len(req.Timeseries) || b.NewestMs != newest {
			t.Errorf("a body of %d samples until %d, it has %d until %d", b.Samples, b.NewestMs, len(req.Timeseries), newest)
		}
		return nil
	})
	if err != nil || samples != 90*70 || bodies != 4 {
		t.Errorf("%d samples in %d bodies, %v", samples, bodies, err)
	}
}
