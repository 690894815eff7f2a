package wire

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// BodyV1 writes a request of remote write 1.0.
func BodyV1(t testing.TB, r *prompb.WriteRequest) []byte {
	t.Helper()
	raw, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, raw)
}

// BodyV2 writes a request of remote write 2.0.
func BodyV2(t testing.TB, r *writev2.Request) []byte {
	t.Helper()
	raw, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, raw)
}

// Labels makes labels of name, value, name, value.
func Labels(pairs ...string) (ls []prompb.Label) {
	for i := 0; i < len(pairs); i += 2 {
		ls = append(ls, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return ls
}

// One is a 1.0 request of one series with samples at the given times before now.
func One(ls []prompb.Label, samples ...prompb.Sample) *prompb.WriteRequest {
	return &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: ls, Samples: samples}}}
}

// At is a sample of a time before now.
func At(before time.Duration, value float64) prompb.Sample {
	return prompb.Sample{Timestamp: time.Now().Add(-before).UnixMilli(), Value: value}
}

// Kepler is the label set of one of Kepler's series.
var Kepler = Labels("__name__", "kepler_container_cpu_joules_total", "container_id", "abc", "node", "a", "zone", "package")

// AsV2 writes a 1.0 request as 2.0.
func AsV2(r *prompb.WriteRequest) *writev2.Request {
	refs := map[string]uint32{"": 0}
	v2 := &writev2.Request{Symbols: []string{""}}
	ref := func(s string) uint32 {
		if _, ok := refs[s]; !ok {
			refs[s] = uint32(len(v2.Symbols))
			v2.Symbols = append(v2.Symbols, s)
		}
		return refs[s]
	}
	for _, ts := range r.Timeseries {
		var to writev2.TimeSeries
		for _, l := range ts.Labels {
			to.LabelsRefs = append(to.LabelsRefs, ref(l.Name), ref(l.Value))
		}
		for _, p := range ts.Samples {
			to.Samples = append(to.Samples, writev2.Sample{Value: p.Value, Timestamp: p.Timestamp})
		}
		v2.Timeseries = append(v2.Timeseries, to)
	}
	return v2
}

// Snap compresses a body.
func Snap(raw []byte) []byte { return snappy.Encode(nil, raw) }

// Uvarint is a varint of protobuf.
func Uvarint(v uint64) []byte { return binary.AppendUvarint(nil, v) }
