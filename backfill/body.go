package backfill

import (
	"cmp"
	"slices"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// samplesPerBody is what Prometheus itself sends at once, by default.
const samplesPerBody = 2000

// A Body is one remote-write 1.0 request, compressed.
type Body struct {
	Content  []byte
	Samples  int
	NewestMs int64 // time of its newest sample: when it would have been sent
}

// Bodies makes requests of series as Prometheus would have sent them: one sample
// a series, in the order of time. f must not keep the content.
func Bodies(list []prompb.TimeSeries, f func(Body) error) error {
	type place struct {
		t      int64
		series int32
		sample int32
	}
	var order []place
	for i := range list {
		for k := range list[i].Samples {
			order = append(order, place{list[i].Samples[k].Timestamp, int32(i), int32(k)})
		}
	}
	slices.SortStableFunc(order, func(a, b place) int { return cmp.Compare(a.t, b.t) })
	var raw, packed []byte
	for len(order) > 0 {
		part := order[:min(len(order), samplesPerBody)]
		order = order[len(part):]
		req := prompb.WriteRequest{Timeseries: make([]prompb.TimeSeries, len(part))}
		for i, at := range part {
			ts := &list[at.series]
			req.Timeseries[i] = prompb.TimeSeries{Labels: ts.Labels, Samples: ts.Samples[at.sample : at.sample+1]}
		}
		size := req.Size()
		raw = slices.Grow(raw[:0], size)[:size]
		if _, err := req.MarshalToSizedBuffer(raw); err != nil {
			return err
		}
		packed = snappy.Encode(packed[:cap(packed)], raw)
		if err := f(Body{Content: packed, Samples: len(part), NewestMs: part[len(part)-1].t}); err != nil {
			return err
		}
	}
	return nil
}
