package remotewrite

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/wattledger/wattledger/internal/cluster"
)

var samples = []Sample{
	{Labels: []cluster.Label{{Name: "__name__", Value: "a"}, {Name: "x", Value: "1"}}, TMs: 1000, Value: 1.5},
	{Labels: []cluster.Label{{Name: "__name__", Value: "a"}, {Name: "x", Value: "2"}}, TMs: 2000, Value: -3},
}

func TestEncodeDecodes(t *testing.T) {
	f := func(format Format) {
		t.Helper()
		body, err := format.Encode(samples)
		if err != nil {
			t.Fatal(err)
		}
		var raw []byte
		if format.Encoding == "zstd" {
			d, err := zstd.NewReader(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			raw, err = d.DecodeAll(body, nil)
			if err != nil {
				t.Fatal(err)
			}
		} else if raw, err = snappy.Decode(nil, body); err != nil {
			t.Fatal(err)
		}
		var got []Sample
		if format.Version == 1 {
			var req prompb.WriteRequest
			if err := proto.Unmarshal(raw, &req); err != nil {
				t.Fatal(err)
			}
			for _, ts := range req.Timeseries {
				s := Sample{TMs: ts.Samples[0].Timestamp, Value: ts.Samples[0].Value}
				for _, l := range ts.Labels {
					s.Labels = append(s.Labels, cluster.Label{Name: l.Name, Value: l.Value})
				}
				got = append(got, s)
			}
		} else {
			var req writev2.Request
			if err := proto.Unmarshal(raw, &req); err != nil {
				t.Fatal(err)
			}
			for _, ts := range req.Timeseries {
				s := Sample{TMs: ts.Samples[0].Timestamp, Value: ts.Samples[0].Value}
				for i := 0; i < len(ts.LabelsRefs); i += 2 {
					s.Labels = append(s.Labels, cluster.Label{Name: req.Symbols[ts.LabelsRefs[i]], Value: req.Symbols[ts.LabelsRefs[i+1]]})
				}
				got = append(got, s)
			}
		}
		if !reflect.DeepEqual(got, samples) {
			t.Errorf("%+v: got %v", format, got)
		}
	}
	f(Format{1, "snappy"})
	f(Format{1, "zstd"})
	f(Format{2, "snappy"})
	f(Format{2, "zstd"})
}

func TestPostRetriesWhatMayPass(t *testing.T) {
	answers := []int{503, 500, 204, 400}
	var attempts []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != "body" {
			t.Errorf("got body %q", body)
		}
		attempts = append(attempts, r.Header.Get("Retry-Attempt"))
		http.Error(w, "because", answers[len(attempts)-1])
	}))
	defer server.Close()
	c := Client{URL: server.URL, Format: Format{1, "snappy"}, UserAgent: "test", HTTP: server.Client()}
	retries, err := c.Post(context.Background(), []byte("body"))
	if retries != 2 || err != nil {
		t.Errorf("%d retries, %v", retries, err)
	}
	if !reflect.DeepEqual(attempts, []string{"", "1", "2"}) {
		t.Errorf("Retry-Attempt: %q", attempts)
	}
	_, err = c.Post(context.Background(), []byte("body"))
	var rejected *Rejected
	if !errors.As(err, &rejected) || rejected.Status != 400 || rejected.Reason != "because" {
		t.Errorf("a refusal gives %v", err)
	}
}
