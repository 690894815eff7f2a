package receiver

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// Every label rule, over both protocols, and again when the good series of the
// request are known.
func TestLabelRules(t *testing.T) {
	long := strings.Repeat("x", 100)
	many := labels("__name__", "kepler_x")
	for i := range 8 {
		many = append(many, prompb.Label{Name: "l" + string(rune('a'+i)), Value: "v"})
	}
	f := func(name string, ls []prompb.Label, parts ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			s := newStation(t, func(c *Config) {
				c.MaxLabelsPerSeries, c.MaxLabelNameBytes, c.MaxLabelValueBytes, c.MaxLabelSetBytes = 8, 64, 80, 150
			})
			r := one(ls, at(0, 1))
			r.Timeseries = append(r.Timeseries, one(kepler, at(0, 2), at(0, 3)).Timeseries...)
			booked := 0
			for range 2 {
				a := s.postV1(r)
				s.want(a, 400, append(parts, "1 of 3 samples rejected, 2 stored", "see /debug/senders")...)
				booked += 2
				s.wantBooked(booked)
				a = s.postV2(asV2(r))
				s.want(a, 400, append(parts, "1 of 3 samples rejected, 2 stored")...)
				s.wantWritten(a, "2", "0", "0")
				booked += 2
				s.wantBooked(booked)
			}
		})
	}
	f("no name", labels("a", "b"), "series without __name__ (1)", `e.g. {a="b"}`)
	f("empty name", labels("__name__", "", "a", "b"), "series without __name__ (1)")
	f("no labels", nil, "series without __name__ (1)")
	f("duplicate", labels("__name__", "kepler_x", "pod", "a", "pod", "b"), `duplicate label "pod" (1)`, `kepler_x{pod="a",pod="b"}`)
	f("duplicate, equal", labels("__name__", "kepler_x", "pod", "a", "pod", "a"), `duplicate label "pod" (1)`)
	f("duplicate, apart", labels("pod", "a", "__name__", "kepler_x", "pod", "b"), `duplicate label "pod" (1)`)
	f("duplicate, one empty", labels("__name__", "kepler_x", "pod", "", "pod", "b"), `duplicate label "pod" (1)`)
	f("empty label name", labels("__name__", "kepler_x", "", "b"), "empty label name (1)")
	f("bad UTF-8 value", labels("__name__", "kepler_x", "a", "\xff"), "invalid UTF-8 in a label (1)")
	f("bad UTF-8 name", labels("__name__", "kepler_x", "a\xff", "b"), "invalid UTF-8 in a label (1)")
	f("too many", many, "max_labels_per_series (1)")
	f("long name", labels("__name__", "kepler_x", long[:65], "b"), "max_label_name_bytes (1)")
	f("long value", labels("__name__", "kepler_x", "a", long[:81]), "max_label_value_bytes (1)")
	f("large set", labels("__name__", "kepler_x", "a", long[:75], "b", long[:75]), "max_label_set_bytes (1)")
}

// What is not tidy but means something is taken, and means the same.
func TestLabelsAreMadeCanonical(t *testing.T) {
	const want = `"__name__"="kepler_x","a"="1","b"="2",`
	f := func(name string, ls []prompb.Label, want string) {
		t.Helper()
		for _, protocol := range []string{"v1", "v2"} {
			s := newStation(t, nil)
			r := one(ls, at(0, 1))
			for range 2 {
				if protocol == "v1" {
					s.want(s.postV1(r), 204)
				} else {
					s.want(s.postV2(asV2(r)), 204)
				}
			}
			s.wantBooked(2)
			for _, b := range s.book.Taken() {
				if b.Series != want {
					t.Errorf("%s, %s: series is %s, want %s", name, protocol, b.Series, want)
				}
			}
			if n := len(s.book.Series); n != 1 {
				t.Errorf("%s, %s: %d series made", name, protocol, n)
			}
		}
	}
	f("sorted", labels("__name__", "kepler_x", "a", "1", "b", "2"), want)
	f("unsorted", labels("b", "2", "a", "1", "__name__", "kepler_x"), want)
	f("empty value", labels("__name__", "kepler_x", "a", "1", "b", "2", "c", ""), want)
	f("type and unit", labels("__name__", "kepler_x", "__type__", "counter", "__unit__", "joules", "a", "1", "b", "2"), want)
	f("reserved", labels("__name__", "kepler_x", "__meta__", "1"), `"__meta__"="1","__name__"="kepler_x",`)
	f("UTF-8", labels("__name__", "kepler_x", "my.dotted name", "노드"), `"__name__"="kepler_x","my.dotted name"="노드",`)
	f("dotted metric", labels("__name__", "kepler_x.y z"), `"__name__"="kepler_x.y z",`)
}

// A fact carries its labels; an energy series does not.
func TestFactsCarryTheirLabels(t *testing.T) {
	s := newStation(t, nil)
	r := one(labels("__name__", "kube_pod_owner", "pod", "p", "owner_kind", "ReplicaSet"), at(0, 1))
	r.Timeseries = append(r.Timeseries, one(kepler, at(0, 1)).Timeseries...)
	s.want(s.postV1(r), 204)
	s.wantBooked(2)
	if len(s.book.Facts) != 1 || len(s.book.Facts[0]) != 2 || s.book.Facts[0][0].Name != "owner_kind" || s.book.Facts[0][1].Value != "p" {
		t.Errorf("facts are %v", s.book.Facts)
	}
}

// Prometheus sends one sample in each TimeSeries; after an outage many of one
// series come in one request.
func TestSeriesRepeatedInARequest(t *testing.T) {
	r := &prompb.WriteRequest{}
	for i := range 13 {
		for _, node := range []string{"a", "b", "c"} {
			r.Timeseries = append(r.Timeseries, prompb.TimeSeries{
				Labels:  labels("__name__", "kepler_x", "node", node),
				Samples: []prompb.Sample{{Timestamp: 1_700_000_000_000 + int64(i), Value: float64(i)}},
			})
		}
	}
	s := newStation(t, nil)
	s.want(s.postV1(r), 204)
	s.want(s.postV1(r), 204)
	s.want(s.postV2(asV2(r)), 204)
	s.wantBooked(3 * 39)
	if n := len(s.book.Series); n != 6 { // three for each protocol
		t.Errorf("%d series made, want 6", n)
	}
	for i, b := range s.book.Taken() {
		if want := int64(1_700_000_000_000 + i%39/3); b.TMs != want {
			t.Fatalf("sample %d is of %d, want %d: not in the order of the wire", i, b.TMs, want)
		}
	}
}

func TestSymbolReferences(t *testing.T) {
	symbols := []string{"", "__name__", "kepler_x", "a", "b"}
	f := func(name string, ts writev2.TimeSeries) {
		t.Helper()
		s := newStation(t, nil)
		sample := []writev2.Sample{{Value: 1, Timestamp: 1_700_000_000_000}}
		if ts.Samples == nil && ts.Exemplars == nil {
			ts.Samples = sample
		}
		r := &writev2.Request{Symbols: symbols, Timeseries: []writev2.TimeSeries{
			ts, {LabelsRefs: []uint32{1, 2}, Samples: sample},
		}}
		for range 2 {
			a := s.postV2(r)
			if !strings.Contains(a.text, "invalid symbol reference (1)") {
				t.Errorf("%s: %d %s", name, a.code, a.text)
			}
			s.want(a, 400, "1 of 2 samples rejected, 1 stored")
			s.wantWritten(a, "1", "0", "0")
		}
		s.wantBooked(2)
	}
	f("odd", writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3}})
	f("out of range value", writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 3, 5}})
	f("out of range name", writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 5, 3}})
	f("largest", writev2.TimeSeries{LabelsRefs: []uint32{1, 2, 4294967295, 4294967295}})
	f("help", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Metadata: writev2.Metadata{HelpRef: 77}})
	f("unit", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Metadata: writev2.Metadata{UnitRef: 77}})
	f("exemplar", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{1, 99}}}})
	f("odd exemplar", writev2.TimeSeries{LabelsRefs: []uint32{1, 2}, Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{1}}}})

	s := newStation(t, nil)
	r := asV2(one(kepler, at(0, 1)))
	r.Symbols[0] = "not empty"
	s.want(s.postV2(r), 204)
	if got := s.metric(`wattledger_malformed_total{what="symbol_zero"}`); got != "1" {
		t.Errorf("symbol_zero counted %q times", got)
	}
	r = asV2(one(kepler, at(0, 1)))
	r.Symbols = nil
	s.want(s.postV2(r), 400, "invalid symbol reference (1)")
}

// A wrong reference must not let a series pass for a known one whose labels it
// shares otherwise.
func TestWrongReferenceDoesNotPassForAKnownSeries(t *testing.T) {
	s := newStation(t, nil)
	good := asV2(one(kepler, at(0, 1)))
	s.want(s.postV2(good), 204)
	bad := asV2(one(kepler, at(0, 1)))
	bad.Timeseries[0].LabelsRefs = append(bad.Timeseries[0].LabelsRefs, 1000, 1000)
	s.want(s.postV2(bad), 400, "invalid symbol reference (1)")
	s.wantBooked(1)
}

func TestSymbolsMayFollowTheSeries(t *testing.T) {
	r := asV2(one(kepler, at(0, 1)))
	series, symbols := &writev2.Request{Timeseries: r.Timeseries}, &writev2.Request{Symbols: r.Symbols}
	a, err := series.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := symbols.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s := newStation(t, nil)
	for _, raw := range [][]byte{slices.Concat(a, b), slices.Concat(b, a), slices.Concat(a, b, a)} {
		s.want(s.post(snap(raw), "Content-Type", contentTypeV2), 204)
	}
	s.wantBooked(4)
	if n := len(s.book.Series); n != 1 {
		t.Errorf("%d series made", n)
	}
}

// proto3 allows repeated scalars packed, one by one, and both in turn.
func TestReferencesPackedOrNot(t *testing.T) {
	head := []byte{0x22, 0, 0x22, 8, '_', '_', 'n', 'a', 'm', 'e', '_', '_', 0x22, 8, 'k', 'e', 'p', 'l', 'e', 'r', '_', 'x', 0x22, 1, 'a'}
	sample := []byte{0x12, 7, 0x10, 0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31}
	s := newStation(t, nil)
	for _, refs := range [][]byte{
		{0x0a, 4, 1, 2, 3, 3},
		{0x08, 1, 0x08, 2, 0x08, 3, 0x08, 3},
		{0x0a, 3, 1, 2, 3, 0x08, 3},
		{0x08, 1, 0x0a, 0, 0x0a, 3, 2, 3, 3},
		{0x0a, 2, 3, 3, 0x0a, 2, 1, 2},
	} {
		ts := slices.Concat(refs, sample)
		raw := slices.Concat(head, []byte{0x2a, byte(len(ts))}, ts)
		s.want(s.post(snap(raw), "Content-Type", contentTypeV2), 204)
	}
	s.wantBooked(5)
	if !slices.Equal(s.book.Series, []string{`"__name__"="kepler_x","a"="a",`}) {
		t.Errorf("series are %q", s.book.Series)
	}
}
