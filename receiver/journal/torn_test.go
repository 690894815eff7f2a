package journal

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// written makes a journal of groups records each, one segment, and returns the
// bytes of the file and where each record ends.
func written(t *testing.T, sizes ...int) (data []byte, ends []int64) {
	t.Helper()
	dir := t.TempDir()
	j := mustOpen(t, dir, Config{})
	end := headerEnd
	for i, size := range sizes {
		mustAppend(t, j, record(i+1, size))
		end = endAfter(end, frameHeaderBytes+len("prometheus-0")+size)
		ends = append(ends, end)
	}
	data, err := os.ReadFile(wlog.SegmentName(dir, 0))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != end {
		t.Fatalf("file has %d bytes, want %d", len(data), end)
	}
	mustClose(t, j)
	return data, ends
}

// openDamaged opens a journal whose only file is data.
func openDamaged(t *testing.T, data []byte) (j *Local, logged string, err error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(wlog.SegmentName(dir, 0), data, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	j, err = Open(dir, Config{}, slog.New(slog.NewTextHandler(&out, nil)), nil)
	if err == nil {
		t.Cleanup(func() { _ = j.Close() })
	} else if after, err := os.ReadFile(wlog.SegmentName(dir, 0)); err != nil || !bytes.Equal(after, data) {
		t.Errorf("a refused journal was changed: %v", err)
	}
	return j, out.String(), err
}

func wantRecords(t *testing.T, j *Local, n int, sizes ...int) {
	t.Helper()
	want := map[uint64]Record{}
	for i := range n {
		want[uint64(i)+1] = *record(i+1, sizes[i])
	}
	sameRecords(t, readAll(t, j, 1), want)
}

func TestTruncatedTailIsCutOffAndLogged(t *testing.T) {
	sizes := []int{500, 40_000, 70_000}
	data, ends := written(t, sizes...)
	for cut := ends[1] + 1; cut < ends[2]; cut += 2999 {
		for _, padded := range []bool{false, true} { // a file system may have extended the file and not written it
			torn := bytes.Clone(data[:cut])
			if padded {
				torn = append(torn, make([]byte, len(data)-int(cut))...)
			}
			j, logged, err := openDamaged(t, torn)
			if err != nil {
				t.Fatalf("cut at %d, padded %v: %v", cut, padded, err)
			}
			wantRecords(t, j, 2, sizes...)
			if !strings.Contains(logged, "00000000") || !strings.Contains(logged, "offset=") {
				t.Fatalf("cut at %d, padded %v: log names no file and offset: %q", cut, padded, logged)
			}
			if got := mustAppend(t, j, record(3, 10)); got != 3 {
				t.Fatalf("position %d after the repair, want 3", got)
			}
			mustClose(t, j)
		}
	}
}

func TestFlippedBits(t *testing.T) {
	sizes := []int{500, 40_000, 70_000, 300, 200, 36_000}
	data, ends := written(t, sizes...)
	// Every bit of the fragment headers and frame headers, and some of the bodies.
	start, unused := int64(0), 0
	for i, end := range append([]int64{headerEnd}, ends...) {
		for off := start; off < end; off++ {
			if inBody := off-start > frameHeaderBytes+fragmentHeaderBytes && off%pageBytes > fragmentHeaderBytes; inBody && off%6007 != 0 {
				continue
			}
			damaged := bytes.Clone(data)
			damaged[off] ^= 1 << (off % 8)
			j, logged, err := openDamaged(t, damaged)
			if off%8 > 4 && err == nil && logged == "" {
				// The log does not use the upper three bits of a fragment's first
				// byte and does not look at them; nothing else may pass.
				if unused++; unused > 8 {
					t.Fatalf("flip at %d in record %d was not noticed", off, i)
				}
				wantRecords(t, j, len(sizes), sizes...)
				mustClose(t, j)
				continue
			}
			if i < len(ends) { // a durable record follows, or it is the header
				var c *CorruptError
				if !errors.As(err, &c) || !errors.Is(err, ErrCorrupt) {
					t.Fatalf("flip at %d in record %d: %v, want CorruptError", off, i, err)
				}
				if filepath.Base(c.File) != "00000000" || c.Offset > off || c.Offset < start-fragmentHeaderBytes {
					t.Fatalf("flip at %d in record %d, from %d: reported %v", off, i, start, c)
				}
				continue
			}
			if err != nil {
				t.Fatalf("flip at %d in the last record: %v", off, err)
			}
			wantRecords(t, j, len(sizes)-1, sizes...)
			if !strings.Contains(logged, "offset=") {
				t.Fatalf("flip at %d in the last record was not logged: %q", off, logged)
			}
			mustClose(t, j)
		}
		start = end
	}
}

// Pages of one group reach the disk in any order. As long as nothing says that
// the group was acknowledged, it is a torn tail even if good records of it follow.
func TestLostPageInTheLastGroupIsATornTail(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, dir, Config{})
	mustAppend(t, j, record(1, 700))
	entries := make([]*entry, 8)
	for i := range entries {
		frame, err := appendFrame(nil, record(i+2, 20_000))
		if err != nil {
			t.Fatal(err)
		}
		entries[i] = &entry{frame: frame}
	}
	j.commitMu.Lock()
	j.commit(entries)
	j.commitMu.Unlock()
	data, err := os.ReadFile(wlog.SegmentName(dir, 0))
	if err != nil {
		t.Fatal(err)
	}
	lost := func(data []byte) []byte {
		data = bytes.Clone(data)
		clear(data[2*pageBytes : 3*pageBytes])
		return data
	}
	got, logged, err := openDamaged(t, lost(data))
	if err != nil {
		t.Fatal(err)
	}
	if got.Last() >= 9 || got.Last() < 1 || !strings.Contains(logged, "cut off") {
		t.Errorf("last %d after losing the third page; log %q", got.Last(), logged)
	}

	mustAppend(t, j, record(10, 100)) // says that the group was durable
	if data, err = os.ReadFile(wlog.SegmentName(dir, 0)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openDamaged(t, lost(data)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the same with a later group: %v, want ErrCorrupt", err)
	}
}

func TestDamageAcrossSegments(t *testing.T) {
	build := func(t *testing.T) (dir string, last uint64) {
		dir = t.TempDir()
		j := mustOpen(t, dir, small)
		for i := range 30 {
			last = mustAppend(t, j, record(i, 20_000))
		}
		mustClose(t, j)
		return dir, last
	}
	f := func(name string, damage func(t *testing.T, dir string), wantFile string) {
		t.Run(name, func(t *testing.T) {
			dir, _ := build(t)
			damage(t, dir)
			_, err := Open(dir, small, quiet(), nil)
			var c *CorruptError
			if !errors.As(err, &c) {
				t.Fatalf("open: %v, want CorruptError", err)
			}
			if got := filepath.Base(c.File); got != wantFile {
				t.Errorf("damage reported in %s, want %s: %v", got, wantFile, err)
			}
		})
	}
	do := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f("segment missing", func(t *testing.T, dir string) { do(t, os.Remove(wlog.SegmentName(dir, 2))) }, "00000002")
	f("segment truncated", func(t *testing.T, dir string) { do(t, os.Truncate(wlog.SegmentName(dir, 1), 50_000)) }, "00000001")
	f("segment truncated between records", func(t *testing.T, dir string) {
		do(t, os.Truncate(wlog.SegmentName(dir, 1), headerEnd))
	}, "00000001")
	f("segment empty", func(t *testing.T, dir string) { do(t, os.Truncate(wlog.SegmentName(dir, 1), 0)) }, "00000001")
	f("segments exchanged", func(t *testing.T, dir string) {
		do(t, os.Rename(wlog.SegmentName(dir, 1), filepath.Join(dir, "x")))
		do(t, os.Rename(wlog.SegmentName(dir, 2), wlog.SegmentName(dir, 1)))
		do(t, os.Rename(filepath.Join(dir, "x"), wlog.SegmentName(dir, 2)))
	}, "00000000")
	f("bit flipped", func(t *testing.T, dir string) {
		b, err := os.ReadFile(wlog.SegmentName(dir, 1))
		do(t, err)
		b[70_000] ^= 4
		do(t, os.WriteFile(wlog.SegmentName(dir, 1), b, 0o600))
	}, "00000001")

	t.Run("last segment never finished", func(t *testing.T) {
		dir, last := build(t)
		_, n, err := wlog.Segments(dir)
		do(t, err)
		do(t, os.WriteFile(wlog.SegmentName(dir, n+1), segmentFrame(last + 1)[:9], 0o600))
		j := mustOpen(t, dir, small)
		if j.Last() != last {
			t.Errorf("last %d, want %d", j.Last(), last)
		}
	})
	t.Run("the only segment has lost its header", func(t *testing.T) {
		dir := t.TempDir()
		do(t, os.WriteFile(wlog.SegmentName(dir, 4), make([]byte, 100), 0o600))
		if _, err := Open(dir, small, quiet(), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("open: %v, want ErrCorrupt", err)
		}
	})
	t.Run("damage after opening", func(t *testing.T) {
		dir, _ := build(t)
		j := mustOpen(t, dir, small)
		b, err := os.ReadFile(wlog.SegmentName(dir, 1))
		do(t, err)
		b[70_000] ^= 4
		do(t, os.WriteFile(wlog.SegmentName(dir, 1), b, 0o600))
		err = j.Read(t.Context(), 1, func(uint64, *Record) error { return nil })
		var c *CorruptError
		if !errors.As(err, &c) || filepath.Base(c.File) != "00000001" {
			t.Errorf("read: %v, want CorruptError in 00000001", err)
		}
	})
}

// A file system may leave zeros behind the last record. A start cuts them off
// where they reach beyond its page, and what comes after finds nothing wrong.
func TestZerosBeyondThePage(t *testing.T) {
	sizes := []int{100, 9000, 21_000} // the last record ends near the end of a page
	data, ends := written(t, sizes...)
	end := ends[len(ends)-1]
	for _, zeros := range []int64{1, pageEnd(end) - end, pageEnd(end) - end + 1, 3 * pageBytes} {
		dir := t.TempDir()
		if err := os.WriteFile(wlog.SegmentName(dir, 0), append(bytes.Clone(data), make([]byte, zeros)...), 0o600); err != nil {
			t.Fatal(err)
		}
		j := mustOpen(t, dir, Config{})
		wantRecords(t, j, len(sizes), sizes...)
		if position, err := j.Append(t.Context(), record(4, 50)); err != nil || position != 4 {
			t.Errorf("%d zeros: position %d, %v", zeros, position, err)
		}
		mustClose(t, j)
		v, err := Verify(dir, false)
		if err != nil || len(v.Problems) > 0 || v.Records != 4 {
			t.Errorf("%d zeros: %+v, %v", zeros, v, err)
		}
	}
}
