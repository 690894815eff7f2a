package receiver

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/wattledger/wattledger/receiver/counter"
)

func TestTimestamps(t *testing.T) {
	s := newStation(t, nil)
	good := []prompb.Sample{
		{Timestamp: 0, Value: 1}, {Timestamp: -1, Value: 1}, {Timestamp: math.MinInt64, Value: 1},
		{Timestamp: 1, Value: 0}, at(0, 1), at(365*24*time.Hour, 1), at(-9*time.Minute, 1),
	}
	// Three orders of magnitude of varint, alone and together, new and known.
	for range 2 {
		for _, p := range good {
			s.want(s.postV1(one(kepler, p)), 204)
			s.want(s.postV2(asV2(one(kepler, p))), 204)
		}
		s.want(s.postV1(one(kepler, good...)), 204)
		s.want(s.postV2(asV2(one(kepler, good...))), 204)
	}
	s.wantBooked(8 * len(good))
	for i, b := range s.book.Taken()[:2*len(good)] {
		if b.TMs != good[i/2].Timestamp || b.Bits != math.Float64bits(good[i/2].Value) {
			t.Errorf("sample %d is %v, want %v", i, b, good[i/2])
		}
	}
}

func TestFutureSamplesAreRejectedAlone(t *testing.T) {
	s := newStation(t, nil)
	r := one(kepler, at(0, 1), at(-11*time.Minute, 2), at(time.Second, 3))
	r.Timeseries = append(r.Timeseries,
		one(labels("__name__", "kepler_y"), prompb.Sample{Timestamp: math.MaxInt64, Value: 1}).Timeseries[0],
		one(labels("__name__", "not_mapped"), at(-time.Hour, 1)).Timeseries[0],
		one(labels("__name__", "kepler_y"), at(0, 1)).Timeseries[0])
	for i := range 2 { // new, then known
		s.want(s.postV1(r), 400, "3 of 6 samples rejected, 3 stored", "out-of-range future timestamp (3)",
			`e.g. kepler_container_cpu_joules_total{container_id="abc",node="a",zone="package"} t=`, " server=")
		a := s.postV2(asV2(r))
		s.want(a, 400, "3 of 6 samples rejected, 3 stored")
		s.wantWritten(a, "3", "0", "0")
		s.wantBooked((i + 1) * 6)
	}
	if got := s.metric(`wattledger_rejected_total{reason="future"}`); got != "12" {
		t.Errorf("future samples counted: %q", got)
	}
	// A series whose only sample is rejected is not made.
	s.want(s.postV1(one(labels("__name__", "kepler_z"), at(-time.Hour, 1))), 400, "1 of 1 samples rejected, 0 stored")
	if slices.Contains(s.book.Series, `"__name__"="kepler_z",`) {
		t.Error("a series without samples was made")
	}
}

// The cache sees every value bit by bit: staleness markers among them.
func TestValuesPassBitByBit(t *testing.T) {
	const staleNaN, goNaN = 0x7ff0000000000002, 0x7ff8000000000001
	var samples []prompb.Sample
	var want []uint64
	for _, bits := range []uint64{
		staleNaN, goNaN, math.Float64bits(math.Inf(1)), math.Float64bits(math.Inf(-1)),
		0, 1, math.Float64bits(math.MaxFloat64), math.Float64bits(123456.789),
	} {
		samples = append(samples, prompb.Sample{Timestamp: 1_700_000_000_000, Value: math.Float64frombits(bits)})
		want = append(want, bits)
	}
	s := newStation(t, nil)
	s.want(s.postV1(one(kepler, samples...)), 204)
	s.want(s.postV1(one(kepler, samples...)), 204)
	for _, p := range samples {
		s.want(s.postV1(one(kepler, p)), 204)
	}
	a := s.postV2(asV2(one(kepler, samples...)))
	s.want(a, 204)
	s.wantWritten(a, "8", "0", "0")
	var got []uint64
	for _, b := range s.book.Taken() {
		got = append(got, b.Bits)
	}
	if !slices.Equal(got, slices.Concat(want, want, want, want)) {
		t.Errorf("values are %x, want %x four times", got, want)
	}
}

// Order is kept as it came; what it means is not for the receiver to judge.
func TestDisorderAndDuplicatesAreTaken(t *testing.T) {
	s := newStation(t, nil)
	a := s.postV2(asV2(one(kepler, at(0, 3), at(time.Hour, 1), at(time.Minute, 2), at(time.Hour, 1))))
	s.want(a, 204)
	s.wantWritten(a, "4", "0", "0")
	s.wantBooked(4)
}

func TestOutcomesAreCounted(t *testing.T) {
	s := newStation(t, nil)
	s.book.Outcome = func(r *counter.Request, o counter.Outcome) counter.Outcome {
		return counter.Outcome{Booked: 1, Duplicate: 2, Late: 3, Conflict: 4, Resets: 5, Stale: 6, NotNumbers: 7, Quarantined: 8}
	}
	a := s.postV2(asV2(one(kepler, at(0, 1), at(0, 2))))
	s.want(a, 204) // conflicts are Written unless strict
	s.wantWritten(a, "2", "0", "0")
	for name, want := range map[string]string{
		"duplicates": "2", "late": "3", "conflicts": "4", "counter_resets": "5",
		"stale_markers": "6", "not_numbers": "7", "quarantined_samples": "8",
	} {
		if got := s.metric("wattledger_" + name + "_total"); got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
}

// Every sample received is counted once more, as what became of it.
func TestEverySampleIsAccountedFor(t *testing.T) {
	s := newStation(t, nil)
	s.book.Outcome = func(r *counter.Request, o counter.Outcome) counter.Outcome {
		return counter.Outcome{Booked: o.Booked - 1, Facts: 1, OverLimit: o.OverLimit}
	}
	r := one(kepler, at(0, 1), at(-11*time.Minute, 2), at(time.Second, 3))
	r.Timeseries = append(r.Timeseries,
		one(labels("__name__", "not_mapped"), at(-time.Hour, 1)).Timeseries[0],
		one(labels("__name__", "not_mapped"), at(0, 1), at(-time.Hour, 1)).Timeseries[0])
	for range 2 { // new, then known
		s.postV1(r)
		s.postV2(asV2(r))
	}
	f := func(metric, want string) {
		t.Helper()
		if got := s.metric(metric); got != want {
			t.Errorf("%s is %q, want %s", metric, got, want)
		}
	}
	f(`wattledger_samples_total{proto="v1"}`, "12")
	f(`wattledger_samples_total{proto="v2"}`, "12")
	f("wattledger_booked_samples_total", "4")
	f("wattledger_facts_total", "4")
	f("wattledger_filtered_samples_total", "4")
	f(`wattledger_rejected_total{reason="future"}`, "12")
}

func TestStrictAnswersConflicts(t *testing.T) {
	s := newStation(t, func(c *Config) { c.Strict = true })
	s.book.Outcome = func(r *counter.Request, o counter.Outcome) counter.Outcome {
		return counter.Outcome{Booked: 1, Conflict: 1}
	}
	a := s.postV2(asV2(one(kepler, at(0, 1), at(0, 2))))
	s.want(a, 400, "1 of 2 samples rejected, 1 stored", "another value at a time already booked (1)")
	s.wantWritten(a, "1", "0", "0")
}

func TestStartTimestamps(t *testing.T) {
	const now, start, created = 1_700_000_000_000, 1_600_000_000_000, 1_500_000_000_000
	r := asV2(one(kepler))
	r.Timeseries[0].Samples = []writev2.Sample{{Value: 1, Timestamp: now, StartTimestamp: start}, {Value: 2, Timestamp: now + 1}}
	s := newStation(t, nil)
	s.want(s.postV2(r), 204)
	f := func(n int, want ...int64) {
		t.Helper()
		var got []int64
		for _, b := range s.book.Taken()[n:] {
			got = append(got, b.StartMs)
		}
		if !slices.Equal(got, want) {
			t.Errorf("start timestamps are %v, want %v", got, want)
		}
	}
	f(0, start, 0)

	// Older senders put it into field 6 of the TimeSeries, before or after the samples.
	field6 := append([]byte{6 << 3}, uvarintBytes(created)...)
	symbols, _ := (&writev2.Request{Symbols: r.Symbols}).Marshal()
	series, _ := r.Timeseries[0].Marshal()
	for _, ts := range [][]byte{slices.Concat(series, field6), slices.Concat(field6, series)} {
		raw := slices.Concat(symbols, []byte{0x2a}, uvarintBytes(uint64(len(ts))), ts)
		s.want(s.post(snap(raw), "Content-Type", contentTypeV2), 204)
	}
	f(2, start, created, start, created)

	// 1.0 has none.
	s.want(s.postV1(one(kepler, prompb.Sample{Timestamp: now, Value: 1})), 204)
	f(6, 0)
}

func TestHistograms(t *testing.T) {
	now := time.Now().UnixMilli()
	good := writev2.Histogram{
		Count: &writev2.Histogram_CountInt{CountInt: 12}, Sum: 20, Schema: 1, ZeroThreshold: .001,
		ZeroCount:      &writev2.Histogram_ZeroCountInt{ZeroCountInt: 2},
		PositiveSpans:  []writev2.BucketSpan{{Offset: -2, Length: 2}, {Offset: 1, Length: 1}},
		PositiveDeltas: []int64{1, 1, 2}, // 1, 2, 4
		NegativeSpans:  []writev2.BucketSpan{{Offset: 0, Length: 2}},
		NegativeDeltas: []int64{1, 1}, // 1, 2
		Timestamp:      now, StartTimestamp: now - 1000,
	}
	f := func(name string, valid bool, change func(h *writev2.Histogram)) {
		t.Helper()
		h := good
		h.PositiveDeltas = slices.Clone(good.PositiveDeltas)
		change(&h)
		r := asV2(one(kepler))
		r.Timeseries[0].Histograms = []writev2.Histogram{h}
		s := newStation(t, nil)
		a := s.postV2(r)
		if valid {
			if s.want(a, 204); a.code != 204 {
				t.Error(name)
			}
			s.wantWritten(a, "0", "1", "0")
		} else {
			if s.want(a, 400, "1 of 1 samples rejected, 0 stored", "invalid native histogram (1)"); a.code != 400 {
				t.Error(name)
			}
			s.wantWritten(a, "0", "0", "0")
		}
		if s.tape.len() != 0 {
			t.Errorf("%s: a histogram was journalled", name)
		}
		// The same over 1.0, whose message has the same fields.
		raw, err := h.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var h1 prompb.Histogram
		if err := h1.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		a = s.postV1(&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: kepler, Histograms: []prompb.Histogram{h1}}}})
		if valid != (a.code == 204) {
			t.Errorf("%s over 1.0: %d %s", name, a.code, a.text)
		}
	}
	type H = writev2.Histogram
	f("good", true, func(h *H) {})
	f("count too small", false, func(h *H) { h.Count = &writev2.Histogram_CountInt{CountInt: 11} })
	f("count too large", false, func(h *H) { h.Count = &writev2.Histogram_CountInt{CountInt: 13} })
	f("count with NaNs", true, func(h *H) { h.Count, h.Sum = &writev2.Histogram_CountInt{CountInt: 13}, math.NaN() })
	f("count too small with NaNs", false, func(h *H) { h.Count, h.Sum = &writev2.Histogram_CountInt{CountInt: 11}, math.NaN() })
	f("negative bucket", false, func(h *H) { h.PositiveDeltas = []int64{-1, 4, 1} })
	f("buckets missing", false, func(h *H) { h.PositiveDeltas = []int64{1, 1} })
	f("spans missing", false, func(h *H) { h.PositiveSpans = h.PositiveSpans[:1] })
	f("spans overlap", false, func(h *H) {
		h.PositiveSpans = []writev2.BucketSpan{{Offset: 0, Length: 2}, {Offset: -1, Length: 1}}
	})
	f("schema 9", false, func(h *H) { h.Schema = 9 })
	f("schema -5", false, func(h *H) { h.Schema = -5 })
	f("stale", true, func(h *H) {
		*h = H{Sum: math.Float64frombits(0x7ff0000000000002), Timestamp: now}
	})
	f("empty", true, func(h *H) { *h = H{Timestamp: now} })
	float := func(h *H) {
		h.PositiveDeltas, h.NegativeDeltas = nil, nil
		h.PositiveCounts, h.NegativeCounts = []float64{1.5, 2, 4}, []float64{1, 1.5}
		h.Count, h.ZeroCount = &writev2.Histogram_CountFloat{CountFloat: 12}, &writev2.Histogram_ZeroCountFloat{ZeroCountFloat: 2}
	}
	f("float", true, float)
	f("float count too small", false, func(h *H) { float(h); h.Count = &writev2.Histogram_CountFloat{CountFloat: 11} })
	f("float negative", false, func(h *H) { float(h); h.PositiveCounts[0] = -1 })
	f("float zero negative", false, func(h *H) {
		float(h)
		h.ZeroCount = &writev2.Histogram_ZeroCountFloat{ZeroCountFloat: -1}
	})
	f("float counts in an int histogram", false, func(h *H) { h.PositiveDeltas, h.PositiveCounts = nil, []float64{1, 2, 4} })
	custom := func(h *H) {
		*h = H{
			Schema: -53, Count: &writev2.Histogram_CountInt{CountInt: 6}, Sum: 1, Timestamp: now,
			PositiveSpans: []writev2.BucketSpan{{Length: 3}}, PositiveDeltas: []int64{1, 1, 1}, CustomValues: []float64{1, 2},
		}
	}
	f("custom", true, custom)
	f("custom, too few bounds", false, func(h *H) { custom(h); h.CustomValues = []float64{1} })
	f("custom, bounds fall", false, func(h *H) { custom(h); h.CustomValues = []float64{2, 1} })
	f("custom, zero bucket", false, func(h *H) { custom(h); h.ZeroCount = &writev2.Histogram_ZeroCountInt{ZeroCountInt: 1} })
}

// One bad histogram does not cost the rest of its series.
func TestMixedSeries(t *testing.T) {
	r := asV2(one(kepler, at(0, 1), at(0, 2)))
	r.Timeseries[0].Histograms = []writev2.Histogram{
		{Timestamp: 1}, {Timestamp: 1, Count: &writev2.Histogram_CountInt{CountInt: 7}},
	}
	r.Timeseries[0].Exemplars = []writev2.Exemplar{{Value: 1}, {LabelsRefs: []uint32{1, 2}, Timestamp: 3}}
	s := newStation(t, nil)
	for i := range 2 {
		a := s.postV2(r)
		s.want(a, 400, "1 of 4 samples rejected, 3 stored", "invalid native histogram (1)")
		s.wantWritten(a, "2", "1", "2")
		s.wantBooked(2 * (i + 1))
	}
	if got := s.metric(`wattledger_malformed_total{what="mixed"}`); got != "2" {
		t.Errorf("mixed series counted %q", got)
	}
}

func TestSeriesWithoutSamples(t *testing.T) {
	s := newStation(t, nil)
	r := asV2(one(kepler))
	r.Timeseries[0].Exemplars = []writev2.Exemplar{{LabelsRefs: []uint32{1, 2}, Value: 1, Timestamp: time.Now().UnixMilli()}}
	a := s.postV2(r)
	s.want(a, 204)
	s.wantWritten(a, "0", "0", "1")

	r = asV2(one(kepler))
	r.Timeseries[0].Metadata = writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER}
	a = s.postV2(r)
	s.want(a, 204)
	s.wantWritten(a, "0", "0", "0")
	s.want(s.postV1(&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels: kepler, Exemplars: []prompb.Exemplar{{Labels: labels("trace_id", "x"), Value: 1, Timestamp: 2}},
	}}}), 204)
	s.want(s.postV1(one(nil)), 400, "0 of 0 samples rejected, 0 stored, 1 series without samples rejected", "series without __name__ (1)")
	if s.tape.len() != 0 || s.book.Position != 0 {
		t.Error("something was journalled")
	}
}

// A guess about the shape of a message that turns out wrong costs time, not samples.
func TestShapesThatLookLikeOneSample(t *testing.T) {
	now := time.Now().UnixMilli()
	two := one(kepler, prompb.Sample{Timestamp: now, Value: 1}, prompb.Sample{Timestamp: now + 1, Value: 2})
	zeroFirst := one(kepler, prompb.Sample{Timestamp: now}, prompb.Sample{Timestamp: now + 1, Value: 2})
	zeroLast := one(kepler, prompb.Sample{Timestamp: now, Value: 1}, prompb.Sample{Timestamp: now + 1})
	zeros := one(kepler, prompb.Sample{Timestamp: now}, prompb.Sample{Timestamp: now + 1})
	s := newStation(t, nil)
	n := 0
	for range 2 {
		for _, r := range []*prompb.WriteRequest{two, zeroFirst, zeroLast, zeros} {
			s.want(s.postV1(r), 204)
			n += 2
			s.wantBooked(n)
			last := s.book.Taken()[n-2:]
			if last[0].TMs != now || last[1].TMs != now+1 {
				t.Errorf("samples are %v", last)
			}
		}
	}
	if len(s.book.Series) != 1 {
		t.Errorf("%d series made, want 1", len(s.book.Series))
	}

	// Labels behind the sample, between samples, and with a value that looks like a sample.
	sample := append([]byte{0x12, 0x10, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10}, uvarintBytes(uint64(now))...)
	var fields [][]byte
	for _, l := range kepler {
		raw, _ := l.Marshal()
		fields = append(fields, append([]byte{0x0a, byte(len(raw))}, raw...))
	}
	for _, ts := range [][]byte{
		slices.Concat(sample, fields[0], fields[1], fields[2], fields[3]),
		slices.Concat(fields[0], sample, fields[1], fields[2], fields[3], sample),
		slices.Concat(fields[0], fields[1], fields[2], fields[3], []byte{0x38, 1}, sample),
	} {
		s.want(s.post(snap(slices.Concat([]byte{0x0a}, uvarintBytes(uint64(len(ts))), ts))), 204)
	}
	n += 4
	s.wantBooked(n)
	if len(s.book.Series) != 1 {
		t.Errorf("%d series made, want 1: %q", len(s.book.Series), s.book.Series)
	}
	disguised := one(append(slices.Clone(kepler), prompb.Label{Name: "zz", Value: string(sample)}))
	s.want(s.postV1(disguised), 400, "invalid UTF-8")
	s.wantBooked(n)
}
