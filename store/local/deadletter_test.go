package local

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

func letter(n int, line string) DeadLetter {
	return DeadLetter{Follower: "influxdb", Bucket: "b", Key: fmt.Sprint("key ", n), Line: line, Reason: "field type conflict", FromSeq: 3, ToSeq: 9, AtMs: 1_760_054_400_000}
}

func TestDeadLetters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	cfg := DefaultConfig()
	cfg.MaxDeadLetters = 3
	s := openTest(t, path, cfg)
	keep := func(d DeadLetter) {
		t.Helper()
		if err := s.KeepDeadLetter(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 3 {
		keep(letter(n, "first"))
		keep(letter(n, "first")) // a delivery that comes again
	}
	err := s.KeepDeadLetter(t.Context(), letter(3, "one too many"))
	if err == nil || !strings.Contains(err.Error(), "store.max_dead_letters") {
		t.Errorf("beyond the limit: %v", err)
	}

	other, err := OpenDeadLetters(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	list, err := other.List(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatalf("listed are %v, %v; want 3", list, err)
	}
	want := letter(1, "first")
	want.ID = list[1].ID
	if list[1] != want {
		t.Errorf("listed is %+v, want %+v", list[1], want)
	}
	keep(letter(1, "second")) // restated, and refused again
	for _, d := range list {
		if err := other.Remove(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	list, err = other.List(t.Context(), want.ID)
	if err != nil || len(list) != 1 || list[0].Line != "second" || list[0].ID != want.ID {
		t.Errorf("after the others were removed there is %v, %v; want the newer letter", list, err)
	}
	if n, err := s.CountDeadLetters(t.Context(), "influxdb"); n != 1 || err != nil {
		t.Errorf("count %d, %v; want 1", n, err)
	}
}

// Another process removes letters while the store writes and seals.
func TestDeadLettersOfAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	s := openTest(t, path, DefaultConfig())
	other, err := OpenDeadLetters(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	const letters = 100
	for n := range letters {
		if err := s.KeepDeadLetter(t.Context(), letter(n, "x")); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		list, err := other.List(t.Context())
		if err != nil {
			t.Error(err)
		}
		for _, d := range list {
			if err := other.Remove(t.Context(), d); err != nil {
				t.Error(err)
			}
		}
	})
	f := newFleet(200, 1, 5)
	var want power.Microjoules
	for m := range int64(130) {
		charges := f.minute(day0 + m*60_000)
		if err := s.Append(t.Context(), store.Batch{Charges: charges}); err != nil {
			t.Fatal(err)
		}
		for i := range charges {
			want += charges[i].Energy.Total()
		}
		if m%40 == 0 {
			if err := s.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	if n, err := s.CountDeadLetters(t.Context(), "influxdb"); n != 0 || err != nil {
		t.Errorf("%d letters are left, %v", n, err)
	}
	rows, err := s.Sum(t.Context(), store.Query{ToMs: day0 * 2})
	if err != nil || len(rows) != 1 || rows[0].Energy.Total() != want {
		t.Errorf("the books hold %v, %v; want %d", rows, err, want)
	}
}

// Books of the schema before get the table; those nobody has brought up to date
// are refused with what to do.
func TestDeadLettersOfOlderBooks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	if _, err := OpenDeadLetters(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: %v", err)
	}
	path = booksOfSchema(t, 1)
	if _, err := OpenDeadLetters(t.Context(), path); err == nil || !strings.Contains(err.Error(), "start wattledger serve once") {
		t.Errorf("of schema 1: %v", err)
	}
	s := openTest(t, path, DefaultConfig())
	if err := s.KeepDeadLetter(t.Context(), letter(1, "x")); err != nil {
		t.Error(err)
	}
	if p, err := s.Position(t.Context()); p != 200 || err != nil {
		t.Errorf("the books are at %d, %v; want 200", p, err)
	}
}
