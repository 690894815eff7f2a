package decode

import (
	"bytes"
	"testing"

	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/wattledger/wattledger/test/wire"
)

// A request that was large leaves no large buffers in the pool.
func TestLargeBuffersAreNotKept(t *testing.T) {
	q := new(Request)
	d := newTestDecoder(t, wire.NewBook(), wire.Everything{})
	raw := bytes.Repeat([]byte{0x0a, 0x00}, 100_000)
	body := snap(append(raw, append([]byte{0x3a}, append(wire.Uvarint(8<<20), make([]byte, 8<<20)...)...)...))
	if err := d.Decode(q, 1, 1, body, 0); err != nil {
		t.Fatal(err)
	}
	if cap(q.raw) < 8<<20 || cap(q.rows) < 100_000 {
		t.Fatal("the request was not large")
	}
	q.Reset()
	if cap(q.raw) > keepBytes || cap(q.rows) > keepRows || cap(q.keys) > keepRows || cap(q.refs) > keepRows || cap(q.extras) > keepRows {
		t.Error("large buffers are kept")
	}
}

// The order of labels does not change a 2.0 key, everything else does.
func TestPairKeysDoNotMix(t *testing.T) {
	d := newTestDecoder(t, wire.NewBook(), wire.Everything{})
	key := func(refs ...uint32) any {
		q := new(Request)
		raw, err := (&writev2.Request{
			Symbols:    []string{"", "a", "b", "1", "2"},
			Timeseries: []writev2.TimeSeries{{LabelsRefs: refs}},
		}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		q.raw = raw
		if err := d.walkV2(q); err != nil {
			t.Fatal(err)
		}
		return q.keys[0]
	}
	if key(1, 3, 2, 4) != key(2, 4, 1, 3) {
		t.Error("the order of labels changes the key")
	}
	sets := [][]uint32{{}, {1, 3}, {3, 1}, {1, 3, 2, 4}, {1, 4, 2, 3}, {3, 1, 4, 2}, {1, 3, 1, 3}, {1, 3, 1, 3, 1, 3}, {0, 0}, {1, 1}, {2, 2}, {1, 2}, {2, 1}}
	for i, a := range sets {
		for _, b := range sets[:i] {
			if key(a...) == key(b...) {
				t.Errorf("%v and %v have one key", a, b)
			}
		}
	}
}
