package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

func TestRepair(t *testing.T) {
	sizes := []int{100, 40_000, 300, 33_000, 500}
	data, ends := written(t, sizes...)
	// name, what is done to the bytes, up to which position, what is lost, which records are left
	f := func(what string, position uint64, change func(b []byte) []byte, losses []Loss, left ...int) {
		t.Helper()
		dir, aside := t.TempDir(), filepath.Join(t.TempDir(), "damaged")
		name := wlog.SegmentName(dir, 0)
		bad := change(bytes.Clone(data))
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Repair(dir, aside, position)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(got) != len(losses) {
			t.Fatalf("%s: lost %+v, want %+v", what, got, losses)
		}
		for i := range got {
			if got[i].From != losses[i].From || got[i].To != losses[i].To || got[i].Beyond != losses[i].Beyond {
				t.Errorf("%s: lost %+v, want %+v", what, got[i], losses[i])
			}
		}
		if kept, err := os.ReadFile(filepath.Join(aside, "journal", "00000000")); err != nil || !bytes.Equal(kept, bad) {
			t.Errorf("%s: what was there is not kept: %v", what, err)
		}
		if v, err := Verify(dir, false); err != nil || len(v.Problems) > 0 {
			t.Fatalf("%s: verify: %v, %v", what, v.Problems, err)
		}
		j := mustOpen(t, dir, Config{})
		defer mustClose(t, j)
		want := map[uint64]Record{}
		for _, n := range left {
			want[uint64(n)] = *record(n, sizes[n-1])
		}
		all := readAll(t, j, 1)
		for p, r := range all {
			if r.Sender == standIn.Sender {
				delete(all, p)
			}
		}
		sameRecords(t, all, want)
		if want := max(position, uint64(left[len(left)-1])); j.Last() != want {
			t.Errorf("%s: it ends with %d, want %d", what, j.Last(), want)
		}
	}
	flip := func(i int64) func([]byte) []byte { return func(b []byte) []byte { b[i] ^= 1; return b } }
	f("the second", 5, flip(ends[0]+100), []Loss{{From: 2, To: 2}}, 1, 3, 4, 5)
	f("the first and the third", 5, func(b []byte) []byte { b[ends[0]-1] ^= 1; b[ends[2]-1] ^= 1; return b },
		[]Loss{{From: 1, To: 1}, {From: 3, To: 3}}, 2, 4, 5)
	f("the last, and nobody knows of it", 0, flip(ends[4]-1), nil, 1, 2, 3, 4)
	f("the last, and the books know of it", 5, flip(ends[4]-1), []Loss{{From: 5, To: 5, Beyond: true}}, 1, 2, 3, 4)
	f("cut after the second", 7, func(b []byte) []byte { return b[:ends[1]] }, []Loss{{From: 3, To: 7, Beyond: true}}, 1, 2)
	f("the header", 5, flip(10), nil, 1, 2, 3, 4, 5)
}

// What is written here is what the log itself would have written.
func TestEncodeLog(t *testing.T) {
	data, _ := written(t, 100, 40_000, pageBytes, 33_000, 0, 500)
	frames := [][]byte{segmentFrame(1)}
	readSegment("", data, func(f *frame) {
		b, err := appendFrame(nil, &f.rec)
		if err != nil {
			t.Fatal(err)
		}
		place(b, f.position, f.durable)
		frames = append(frames, b)
	})
	if !bytes.Equal(encodeLog(frames), data) {
		t.Error("another layout")
	}
}
