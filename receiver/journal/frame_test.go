package journal

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func TestFrame(t *testing.T) {
	f := func(r *Record) {
		t.Helper()
		b, err := appendFrame([]byte{}, r)
		if err != nil {
			t.Fatal(err)
		}
		place(b, 9e18, 7)
		var got frame
		if err := got.decode(b); err != nil {
			t.Fatal(err)
		}
		if !got.record() || got.position != 9e18 || got.durable != 7 || !reflect.DeepEqual(got.rec, *r) {
			t.Errorf("frame of %+v decodes to %+v", r, got)
		}
		for n := range b {
			if err := got.decode(b[:n]); !errors.Is(err, errShort) {
				t.Fatalf("%d of %d bytes: %v, want errShort", n, len(b), err)
			}
		}
	}
	f(&Record{Protocol: V1, Encoding: Snappy, ArrivalMs: -1, Body: []byte{}})
	f(&Record{Protocol: V2, Encoding: Zstd, ArrivalMs: 1 << 60, Sender: "10.0.0.1 프로메테우스", Body: []byte("body")})
	f(&Record{Protocol: V1, Encoding: Snappy, Sender: "s", Clusters: []string{"a", "b c", ""}, Body: []byte("body")})
	f(&Record{Protocol: V1, Encoding: Snappy, Clusters: []string{"a"}, Body: []byte{}})

	if _, err := appendFrame(nil, &Record{Protocol: V1, Encoding: Snappy, Clusters: []string{string(make([]byte, 1<<16))}}); err == nil {
		t.Error("clusters that do not fit were taken")
	}
	b, err := appendFrame(nil, &Record{Protocol: V1, Encoding: Snappy, Clusters: []string{"abc"}})
	if err != nil {
		t.Fatal(err)
	}
	place(b, 2, 1)
	b[frameHeaderBytes] = 4
	if err := new(frame).decode(b); err == nil {
		t.Error("clusters that end after their frame were taken")
	}
}

// The decoder takes any bytes without harm, and what it takes it writes the same.
func FuzzRecord(f *testing.F) {
	b, err := appendFrame(nil, record(3, 50))
	if err != nil {
		f.Fatal(err)
	}
	place(b, 12, 11)
	f.Add(b)
	f.Add(b[:40])
	confined := record(3, 50)
	confined.Clusters = []string{"a", "b"}
	if b, err = appendFrame(nil, confined); err != nil {
		f.Fatal(err)
	}
	place(b, 12, 11)
	f.Add(b)
	f.Add(segmentFrame(17))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var got frame
		if got.decode(b) != nil {
			return
		}
		if got.position == 0 || got.durable >= got.position {
			t.Fatalf("position %d with %d durable was accepted", got.position, got.durable)
		}
		if got.kind == kindSegment {
			return
		}
		again, err := appendFrame(nil, &got.rec)
		if err != nil {
			t.Fatal(err)
		}
		place(again, got.position, got.durable)
		b = bytes.Clone(b)
		b[3] = 0 // unused
		if !bytes.Equal(again, b) {
			t.Fatalf("%x is written again as %x", b, again)
		}
	})
}

// Salvaging looks for records in any bytes without harm, and finds a good one
// wherever it lies.
func FuzzSalvage(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 2}, uint16(3))
	f.Fuzz(func(t *testing.T, junk []byte, at uint16) {
		data := append(make([]byte, int(at)%100), junk...)
		salvage(data, 0, func(off int64, record []byte) bool {
			if off < 0 || off >= int64(len(data)) || len(record) > len(data) {
				t.Fatalf("record of %d bytes at %d in %d", len(record), off, len(data))
			}
			return true
		})
	})
}
