package decode

import (
	"testing"

	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/wattledger/wattledger/receiver/counter"
)

// What plainV2 takes, it reads as seriesV2 does; what it must not judge, it leaves.
func TestPlainV2(t *testing.T) {
	symbols := []string{"", "__name__", "kepler_node_cpu_joules_total", "node_name", "n1", "joules", "Energy."}
	d := newTestDecoder(t, blank{}, containers{})
	f := func(what string, plain bool, metadata writev2.Metadata, more ...byte) {
		t.Helper()
		series := writev2.TimeSeries{
			LabelsRefs: []uint32{1, 2, 3, 4},
			Samples:    []writev2.Sample{{Value: 7, Timestamp: 1_790_000_000_000}},
			Metadata:   metadata,
		}
		m, err := series.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		m = append(m, more...)
		q := new(Request)
		raw, err := (&writev2.Request{Symbols: symbols}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		q.raw = raw
		if err := d.walkV2(q); err != nil {
			t.Fatal(err)
		}
		key, p, ok := d.plainV2(q.hashes, m)
		if ok != plain {
			t.Fatalf("%s: taken is %v, want %v", what, ok, plain)
		}
		if !ok {
			return
		}
		r := row{extra: -1}
		want, err := d.seriesV2(q, m, &r)
		if err != nil || r.extra >= 0 || r.n != 1 {
			t.Fatalf("%s: seriesV2 says %v, %+v", what, err, r)
		}
		if key != want || key == (counter.Key{}) || p != q.points[0] {
			t.Errorf("%s: %v, %v; seriesV2 reads %v, %v", what, key, p, want, q.points[0])
		}
	}
	f("no metadata", true, writev2.Metadata{})
	f("metadata as Prometheus sends it", true, writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: 6, UnitRef: 5})
	f("a help that is no symbol", false, writev2.Metadata{HelpRef: 7})
	f("a unit that is no symbol", false, writev2.Metadata{UnitRef: 200})
	f("metadata twice", false, writev2.Metadata{HelpRef: 6}, 0x2a, 0x00)
	f("a field behind", false, writev2.Metadata{HelpRef: 6}, 0x30, 0x01)
	f("cut off", false, writev2.Metadata{HelpRef: 6}, 0x2a)
}
