package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/wattledger/wattledger/internal/demo"
)

// TestDemoFeed posts the demo to a server that only decodes: a whole day must
// come, in order, small enough to be booked in seconds, and then live samples.
func TestDemoFeed(t *testing.T) {
	now := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var mu sync.Mutex // guards what follows
	var past, live, newest int64
	first := int64(1) << 62
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client went away
		}
		raw, err := snappy.Decode(nil, body)
		if err != nil {
			t.Errorf("decode: %v", err)
		}
		var req writev2.Request
		if err := proto.Unmarshal(raw, &req); err != nil {
			t.Errorf("unmarshal: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, ts := range req.Timeseries {
			at := ts.Samples[0].Timestamp
			if at < newest {
				t.Errorf("a sample of %d after one of %d", at, newest)
			}
			newest, first = at, min(first, at)
			if at <= now.UnixMilli() {
				past++
			} else {
				live++
			}
		}
		if live > 0 {
			cancel()
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	started := time.Now()
	if err := demo.Feed(ctx, server.URL, now); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if live == 0 {
		t.Fatalf("no live sample came; %d back-dated ones", past)
	}
	if past < 200_000 || past > 1_500_000 {
		t.Errorf("%d back-dated samples", past)
	}
	if age := now.Sub(time.UnixMilli(first)); age < 24*time.Hour-2*time.Minute {
		t.Errorf("the oldest sample is only %v old", age)
	}
	t.Logf("%d back-dated and %d live samples in %v", past, live, time.Since(started).Round(time.Millisecond))
}
