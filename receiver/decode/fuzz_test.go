package decode

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/test/wire"
)

const fuzzNowMs = 1_700_000_000_000

// A reading is what a request amounts to: what is booked, and how much is not.
type reading struct {
	booked     []wire.Booked
	samples    int
	rejected   int // samples
	histograms int
	exemplars  int
	badSeries  int // with nothing in them
}

// A referenceSeries is a TimeSeries as the reference decoder has it.
type referenceSeries struct {
	labels     []prompb.Label
	badRefs    bool
	samples    []writev2.Sample
	histograms int
	exemplars  int
}

// judge applies the rules of labels and samples the plain way.
func judge(series []referenceSeries, limits *Limits) (r reading) {
	for _, ts := range series {
		r.samples += len(ts.samples)
		r.histograms += ts.histograms
		r.exemplars += ts.exemplars
		name, ok := canonical(ts.labels, limits)
		if !ok || ts.badRefs {
			r.rejected += len(ts.samples)
			if len(ts.samples)+ts.histograms+ts.exemplars == 0 {
				r.badSeries++
			}
			continue
		}
		for _, p := range ts.samples {
			if p.Timestamp > fuzzNowMs+limits.MaxFuture.Milliseconds() {
				r.rejected++
				continue
			}
			r.booked = append(r.booked, wire.Booked{Series: name, TMs: p.Timestamp, StartMs: p.StartTimestamp, Bits: math.Float64bits(p.Value)})
		}
	}
	return r
}

func canonical(ls []prompb.Label, limits *Limits) (string, bool) {
	seen := map[string]bool{}
	var kept []string
	named := false
	size := 0
	for _, l := range ls {
		if l.Name == "" || seen[l.Name] || !utf8.ValidString(l.Name) || !utf8.ValidString(l.Value) ||
			len(l.Name) > limits.MaxLabelNameBytes || len(l.Value) > limits.MaxLabelValueBytes {
			return "", false
		}
		seen[l.Name] = true
		size += len(l.Name) + len(l.Value)
		if l.Value != "" && l.Name != "__type__" && l.Name != "__unit__" {
			kept = append(kept, l.Name)
		}
		named = named || l.Name == "__name__" && l.Value != ""
	}
	if !named || len(ls) > limits.MaxLabelsPerSeries || size > limits.MaxLabelSetBytes {
		return "", false
	}
	slices.Sort(kept)
	var all strings.Builder
	for _, name := range kept {
		for _, l := range ls {
			if l.Name == name {
				fmt.Fprintf(&all, "%q=%q,", l.Name, l.Value)
			}
		}
	}
	return all.String(), true
}

// differ decodes raw twice, when its series are new and when they are known,
// and compares each time with the reference.
func differ(t *testing.T, shared *Decoder, raw []byte, protocol journal.Protocol, want []referenceSeries, referenceErr error) {
	cache := wire.NewBook()
	d := Decoder{limits: shared.limits, mapper: shared.mapper, strings: shared.strings, zstd: shared.zstd, seedV1: shared.seedV1, seedV2: shared.seedV2}
	d.series = cache
	body := snappy.Encode(nil, raw)
	q := new(Request)
	for position := range uint64(2) {
		q.Reset()
		err := d.Decode(q, protocol, journal.Snappy, body, fuzzNowMs)
		switch {
		case referenceErr != nil:
			if err == nil {
				t.Fatalf("decoded what the reference does not: %v", referenceErr)
			}
			return
		// Stricter than the reference, all of them on purpose: groups, field
		// numbers beyond protobuf's range, packed fields that run over their end,
		// which gogo/protobuf reads into the next field; the other protocol's
		// body; and the limits of a request.
		case isStricter(err), errors.Is(err, ErrWrongSchema), errors.Is(err, ErrLimit):
			return
		case err != nil:
			t.Fatalf("refused what the reference decodes: %v", err)
		}
		cache.Samples = nil
		q.Out.Position = position + 1
		cache.Apply(&q.Out)
		compare(t, &q.Tally, cache.Samples, judge(want, &d.limits), raw)
	}
}

func compare(t *testing.T, got *Tally, samples []wire.Booked, want reading, raw []byte) {
	t.Helper()
	if got.Samples != want.samples || got.SamplesWritten != want.samples-want.rejected || got.rejectedSeries != want.badSeries {
		t.Fatalf("%d of %d samples written and %d empty series rejected, want %d of %d and %d",
			got.SamplesWritten, got.Samples, got.rejectedSeries, want.samples-want.rejected, want.samples, want.badSeries)
	}
	if got.Histograms != want.histograms || got.Exemplars != want.exemplars {
		t.Fatalf("%d histograms and %d exemplars, want %d and %d", got.Histograms, got.Exemplars, want.histograms, want.exemplars)
	}
	if got.Any() && got.Text(time.UnixMilli(fuzzNowMs)) == "" || !utf8.ValidString(got.Text(time.UnixMilli(fuzzNowMs))) {
		t.Fatalf("text is %q", got.Text(time.UnixMilli(fuzzNowMs)))
	}
	if len(samples) != len(want.booked) {
		t.Fatalf("booked %v, want %v", samples, want.booked)
	}
	for i, s := range samples {
		w := want.booked[i]
		// The reference does not know the former field 6 of a 2.0 TimeSeries.
		if w.StartMs == 0 && s.StartMs != 0 && bytes.ContainsAny(raw, "\x30\xb0") {
			s.StartMs = 0
		}
		if s != w {
			t.Fatalf("sample %d is %+v, want %+v", i, s, w)
		}
	}
}

func seriesOfV1(r *prompb.WriteRequest) (series []referenceSeries) {
	for _, ts := range r.Timeseries {
		to := referenceSeries{labels: ts.Labels, histograms: len(ts.Histograms), exemplars: len(ts.Exemplars)}
		for _, p := range ts.Samples {
			to.samples = append(to.samples, writev2.Sample{Value: p.Value, Timestamp: p.Timestamp})
		}
		series = append(series, to)
	}
	return series
}

func seriesOfV2(r *writev2.Request) (series []referenceSeries) {
	known := func(refs ...uint32) bool {
		for _, ref := range refs {
			if int(ref) >= len(r.Symbols) {
				return false
			}
		}
		return true
	}
	for _, ts := range r.Timeseries {
		to := referenceSeries{samples: ts.Samples, histograms: len(ts.Histograms), exemplars: len(ts.Exemplars)}
		m := ts.Metadata
		to.badRefs = len(ts.LabelsRefs)%2 != 0 || !known(ts.LabelsRefs...) ||
			m.HelpRef != 0 && !known(m.HelpRef) || m.UnitRef != 0 && !known(m.UnitRef)
		if !to.badRefs {
			for i := 0; i < len(ts.LabelsRefs); i += 2 {
				to.labels = append(to.labels, prompb.Label{Name: r.Symbols[ts.LabelsRefs[i]], Value: r.Symbols[ts.LabelsRefs[i+1]]})
			}
		}
		series = append(series, to)
	}
	return series
}

func FuzzV1(f *testing.F) {
	for _, raw := range captured(f, "v1-*.snappy") {
		var r prompb.WriteRequest
		if err := r.Unmarshal(raw); err != nil {
			f.Fatal(err)
		}
		r.Timeseries = r.Timeseries[:seedSeries]
		raw, err := r.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, r := range []*prompb.WriteRequest{
		one(labels("__name__", "kepler_x", "a", "1"), prompb.Sample{Timestamp: fuzzNowMs, Value: 1}),
		one(labels("a", "1", "__name__", "kepler_x", "a", ""), prompb.Sample{Timestamp: fuzzNowMs}),
		one(labels("__name__", "kepler_x", "__type__", "counter"), prompb.Sample{Timestamp: fuzzNowMs, Value: 1}, prompb.Sample{Timestamp: fuzzNowMs * 2, Value: 1}),
		{Timeseries: []prompb.TimeSeries{{Labels: labels("__name__", "h"), Histograms: []prompb.Histogram{{Timestamp: 1, PositiveSpans: []prompb.BucketSpan{{Length: 1}}, PositiveDeltas: []int64{1}}}, Exemplars: []prompb.Exemplar{{Labels: labels("t", "1"), Value: 1}}}}},
		{Metadata: []prompb.MetricMetadata{{MetricFamilyName: "kepler_x", Type: 1, Unit: "joules"}}},
	} {
		raw, err := r.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(append(raw, raw...))
	}
	d := newTestDecoder(f, nil, wire.Everything{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r prompb.WriteRequest
		err := r.Unmarshal(raw)
		differ(t, d, raw, journal.V1, seriesOfV1(&r), err)
	})
}

func FuzzV2(f *testing.F) {
	for _, raw := range captured(f, "v2-*.snappy") {
		var r writev2.Request
		if err := r.Unmarshal(raw); err != nil {
			f.Fatal(err)
		}
		highest := uint32(0)
		r.Timeseries = r.Timeseries[:seedSeries]
		for i := range r.Timeseries {
			ts := &r.Timeseries[i]
			ts.Metadata.HelpRef = 0
			highest = max(highest, ts.Metadata.UnitRef, slices.Max(ts.LabelsRefs))
		}
		r.Symbols = r.Symbols[:highest+1]
		raw, err := r.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, r := range []*writev2.Request{
		asV2(one(labels("__name__", "kepler_x", "a", "1"), prompb.Sample{Timestamp: fuzzNowMs, Value: 1})),
		{Symbols: []string{"", "__name__", "x"}, Timeseries: []writev2.TimeSeries{
			{LabelsRefs: []uint32{1, 2, 2}, Samples: []writev2.Sample{{Value: 1, Timestamp: 2, StartTimestamp: 1}}},
			{LabelsRefs: []uint32{1, 2}, Metadata: writev2.Metadata{Type: 1, HelpRef: 2, UnitRef: 9}, Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{1, 2}}}},
			{LabelsRefs: []uint32{1, 2}, Histograms: []writev2.Histogram{{Timestamp: 1, StartTimestamp: 1}}},
		}},
	} {
		raw, err := r.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(append(raw, raw...))
	}
	d := newTestDecoder(f, nil, wire.Everything{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r writev2.Request
		err := r.Unmarshal(raw)
		differ(t, d, raw, journal.V2, seriesOfV2(&r), err)
	})
}

// seedSeries is how many series of a captured body are taken: the fuzzer
// spends its time making large inputs small.
const seedSeries = 6

// captured returns decoded bodies that a real Prometheus sent.
func captured(t testing.TB, pattern string) (bodies [][]byte) {
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no bodies called %s: %v", pattern, err)
	}
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := snappy.Decode(nil, body)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, raw)
	}
	return bodies
}

// The captured bodies in full, as they are.
func TestCapturedBodiesAgreeWithTheReference(t *testing.T) {
	d := newTestDecoder(t, nil, wire.Everything{})
	for _, raw := range captured(t, "v1-*.snappy") {
		var r prompb.WriteRequest
		err := r.Unmarshal(raw)
		differ(t, d, raw, journal.V1, seriesOfV1(&r), err)
	}
	for _, raw := range captured(t, "v2-*.snappy") {
		var r writev2.Request
		err := r.Unmarshal(raw)
		differ(t, d, raw, journal.V2, seriesOfV2(&r), err)
	}
}
