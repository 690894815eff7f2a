package local

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Pages that connections keep are outside the Go heap, so no limit of it bounds them.
func TestPageCacheIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	s := openTest(t, path, DefaultConfig())
	if _, err := s.w.ExecContext(t.Context(), "CREATE TABLE filler (id INTEGER PRIMARY KEY, data BLOB)"); err != nil {
		t.Fatal(err)
	}
	const pages = 6000
	grown := func(what string, limit int, f func()) {
		t.Helper()
		before := residentBytes(t)
		f()
		// What a page takes above its 16 KiB, and as much for the rest of the process.
		if got, want := residentBytes(t)-before, 2*limit*pageBytes; got > want {
			t.Errorf("%s: %d MiB more than before, want at most %d MiB: it keeps at most %d of %d pages", what, got>>20, want>>20, limit, pages)
		}
	}
	grown("the writer", writerPages, func() {
		for range 60 {
			_, err := s.w.ExecContext(t.Context(), `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
				INSERT INTO filler (data) SELECT zeroblob(?) FROM n`, pages/60, pageBytes-500)
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	grown("a reader", readerPages, func() {
		var sum int
		if err := s.readers.QueryRowContext(t.Context(), "SELECT sum(length(data)) FROM filler").Scan(&sum); err != nil || sum < pages*(pageBytes-500) {
			t.Fatal(sum, err)
		}
	})
}

// residentBytes returns what is resident of the process and not a file's.
func residentBytes(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
