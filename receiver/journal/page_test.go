package journal

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// The journal must know where the log's bytes end, and must never let the log
// start a segment of its own accord: compare with the log itself, at sizes around
// every boundary.
func TestEndAfterAgreesWithTheLog(t *testing.T) {
	dir := t.TempDir()
	const segmentBytes = 4 * pageBytes
	l, err := wlog.NewSize(quiet(), nil, dir, segmentBytes, compression.None)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	index, off := 0, int64(0)
	var records [][]byte
	for range 800 {
		size := rng.IntN(3 * pageBytes)
		if room := int(pageBytes - off%pageBytes - fragmentHeaderBytes); rng.IntN(3) > 0 { // about a page's end
			size = max(1, room+rng.IntN(30)-15)
		}
		if left := segmentBytes - off; rng.IntN(20) == 0 && left > 100 { // exactly to the segment's end
			size = int(left - (left+pageBytes-1)/pageBytes*fragmentHeaderBytes)
		}
		end := endAfter(off, size)
		if end > segmentBytes {
			if _, err := l.NextSegmentSync(); err != nil {
				t.Fatal(err)
			}
			index, off = index+1, 0
			records = nil
			continue
		}
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if err := l.Log(b); err != nil {
			t.Fatal(err)
		}
		records = append(records, b)
		_, last, err := wlog.Segments(dir)
		if err != nil {
			t.Fatal(err)
		}
		stat, err := os.Stat(wlog.SegmentName(dir, index))
		if err != nil {
			t.Fatal(err)
		}
		if last != index || stat.Size() != end {
			t.Fatalf("after %d bytes at %d the log is at segment %d, %d; want %d, %d", size, off, last, stat.Size(), index, end)
		}
		off = end
	}

	// salvage finds what the log has written.
	data, err := os.ReadFile(wlog.SegmentName(dir, index))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	salvage(data, 0, func(off int64, record []byte) bool {
		if n < len(records) && bytes.Equal(record, records[n]) {
			n++
		}
		return true
	})
	if n != len(records) {
		t.Errorf("salvaged %d records of %d in order", n, len(records))
	}
}
