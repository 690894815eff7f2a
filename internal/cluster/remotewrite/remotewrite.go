// Package remotewrite encodes samples of the simulated cluster and posts them
// the way Prometheus does: one sample a series, snappy or zstd, retried until
// the receiver has answered for good.
package remotewrite

import (
	"fmt"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/wattledger/wattledger/internal/cluster"
)

// A Sample is one value of one series. Labels are complete and sorted.
type Sample struct {
	Labels []cluster.Label
	TMs    int64 // Unix milliseconds
	Value  float64
}

// A Format is a remote-write protocol version and a compression.
type Format struct {
	Version  int    // 1 or 2
	Encoding string // snappy or zstd
}

// Check says what is wrong with the format.
func (f Format) Check() error {
	if f.Version != 1 && f.Version != 2 {
		return fmt.Errorf("unknown remote-write version %d: 1 or 2", f.Version)
	}
	if f.Encoding != "snappy" && f.Encoding != "zstd" {
		return fmt.Errorf("unknown encoding %q: snappy or zstd", f.Encoding)
	}
	return nil
}

// zstd at its fastest, as vmagent sends it; EncodeAll may be called concurrently.
var zstdEncoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))

// Encode returns the body of one request.
func (f Format) Encode(samples []Sample) ([]byte, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	var raw []byte
	var err error
	if f.Version == 2 {
		raw, err = encodeV2(samples)
	} else {
		raw, err = encodeV1(samples)
	}
	if err != nil {
		return nil, fmt.Errorf("encode %d samples: %w", len(samples), err)
	}
	if f.Encoding == "zstd" {
		return zstdEncoder.EncodeAll(raw, nil), nil
	}
	return snappy.Encode(nil, raw), nil
}

func encodeV1(samples []Sample) ([]byte, error) {
	req := prompb.WriteRequest{Timeseries: make([]prompb.TimeSeries, len(samples))}
	values := make([]prompb.Sample, len(samples))
	count := 0
	for _, s := range samples {
		count += len(s.Labels)
	}
	labels := make([]prompb.Label, 0, count)
	for i, s := range samples {
		from := len(labels)
		for _, l := range s.Labels {
			labels = append(labels, prompb.Label{Name: l.Name, Value: l.Value})
		}
		values[i] = prompb.Sample{Timestamp: s.TMs, Value: s.Value}
		req.Timeseries[i] = prompb.TimeSeries{Labels: labels[from:len(labels):len(labels)], Samples: values[i : i+1 : i+1]}
	}
	return proto.Marshal(&req)
}

func encodeV2(samples []Sample) ([]byte, error) {
	symbols := writev2.NewSymbolTable()
	req := writev2.Request{Timeseries: make([]writev2.TimeSeries, len(samples))}
	values := make([]writev2.Sample, len(samples))
	for i, s := range samples {
		refs := make([]uint32, 0, 2*len(s.Labels))
		for _, l := range s.Labels {
			refs = append(refs, symbols.Symbolize(l.Name), symbols.Symbolize(l.Value))
		}
		values[i] = writev2.Sample{Timestamp: s.TMs, Value: s.Value}
		req.Timeseries[i] = writev2.TimeSeries{LabelsRefs: refs, Samples: values[i : i+1 : i+1]}
	}
	req.Symbols = symbols.Symbols()
	return req.OptimizedMarshal(nil)
}
