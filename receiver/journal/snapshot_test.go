package journal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func state(n, size int) []byte { return record(n, size).Body }

func writeState(t testing.TB, dir string, position uint64, b []byte) {
	t.Helper()
	err := WriteSnapshot(dir, position, func(w io.Writer) error {
		for part := range slices.Chunk(b, 10_007) {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readState(b *[]byte) func(uint64, io.Reader) error {
	return func(_ uint64, r io.Reader) (err error) {
		*b, err = io.ReadAll(r)
		return err
	}
}

func TestSnapshot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	var got []byte
	if position, err := ReadSnapshot(dir, readState(&got)); position != 0 || err != nil {
		t.Fatalf("without a snapshot: %d, %v; want 0 and no error", position, err)
	}
	for i, size := range []int{0, 1, snapshotChunkBytes, snapshotChunkBytes + 1, 300_000} {
		position := uint64(10 * (i + 1))
		want := state(i, size)
		writeState(t, dir, position, want)
		at, err := ReadSnapshot(dir, readState(&got))
		if err != nil || at != position || !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes at %d, %v; want %d at %d", len(got), at, err, size, position)
		}
	}
	positions, err := Snapshots(dir)
	if err != nil || !slices.Equal(positions, []uint64{50, 40}) {
		t.Fatalf("snapshots %d, %v; want the newest two, 50 and 40", positions, err)
	}

	// One that fails leaves nothing.
	broken := errors.New("books are broken")
	if err := WriteSnapshot(dir, 60, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("write answers %v, want %v", err, broken)
	}
	if err := WriteSnapshot(dir, 30, func(io.Writer) error { return nil }); err == nil || !strings.Contains(err.Error(), "newer one at 50") {
		t.Fatalf("an older position: %v", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files, %v; want 2", len(files), err)
	}
	// What a killed writer left does not count and goes with the next.
	if err := os.WriteFile(snapshotName(dir, 70)+".tmp", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if at, err := ReadSnapshot(dir, readState(&got)); at != 50 || err != nil {
		t.Fatalf("beside an unfinished one: %d, %v; want 50", at, err)
	}
	writeState(t, dir, 50, got) // the same again
	if files, _ = os.ReadDir(dir); len(files) != 2 {
		t.Fatalf("%d files after an unfinished one, want 2", len(files))
	}
	// The reader's own error comes through, also at the very end.
	for _, read := range []func(uint64, io.Reader) error{
		func(uint64, io.Reader) error { return broken },
		func(_ uint64, r io.Reader) error { _, _ = io.Copy(io.Discard, r); return broken },
	} {
		if _, err := ReadSnapshot(dir, read); !errors.Is(err, broken) {
			t.Errorf("read answers %v, want %v", err, broken)
		}
	}
}

func TestDamagedSnapshotIsNamedAndNotSkipped(t *testing.T) {
	dir := t.TempDir()
	old := state(1, 5000)
	writeState(t, dir, 4, old)
	writeState(t, dir, 9, state(2, 200_000))
	name := snapshotName(dir, 9)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f := func(damaged []byte, at int) {
		t.Helper()
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		var got []byte
		position, err := ReadSnapshot(dir, readState(&got))
		var c *CorruptError
		if !errors.As(err, &c) || !errors.Is(err, ErrCorrupt) || position != 9 {
			t.Fatalf("damage at %d: position %d, %v; want 9, CorruptError", at, position, err)
		}
		if c.File != name || c.Offset > int64(at) || c.Offset < int64(at-snapshotChunkBytes-8) {
			t.Fatalf("damage at %d is reported as %v", at, c)
		}
		// Not reading it to the end is no way around.
		if _, err := ReadSnapshot(dir, func(uint64, io.Reader) error { return nil }); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("damage at %d, not read: %v", at, err)
		}
		if err := ReadSnapshotAt(dir, 4, readState(&got)); err != nil || !bytes.Equal(got, old) {
			t.Fatalf("the older one, asked for by name: %d bytes, %v", len(got), err)
		}
	}
	for at := 0; at < len(good); at += 1 + at/12 {
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 8)
		f(b, at)
	}
	for at := 0; at < len(good); at += 1 + at/8 {
		f(good[:at], at)
	}
	f(append(bytes.Clone(good), 0), len(good))
	// A whole chunk taken out.
	first := 20 + 8 + snapshotChunkBytes
	f(append(bytes.Clone(good[:first]), good[first+8+snapshotChunkBytes:]...), len(good)-8-snapshotChunkBytes)
}

func FuzzSnapshot(f *testing.F) {
	dir := f.TempDir()
	writeState(f, dir, 1, []byte("the state of the books"))
	good, err := os.ReadFile(snapshotName(dir, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:30])
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(snapshotName(dir, 1), b, 0o600); err != nil {
			t.Fatal(err)
		}
		var got []byte
		err := ReadSnapshotAt(dir, 1, readState(&got))
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		if err == nil && len(got)+20+16 > len(b) {
			t.Fatalf("%d bytes of state out of %d", len(got), len(b))
		}
	})
}
