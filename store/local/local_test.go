package local

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
	"github.com/wattledger/wattledger/test/storetest"
)

type settled struct{ *Store }

func (s settled) Settle(ctx context.Context) error { return s.Maintain(ctx) }

func openTest(t testing.TB, path string, cfg Config) *Store {
	t.Helper()
	s, err := Open(path, cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// Blobs of 800 bytes leave a sixth of a page of 4 KiB empty.
func TestPragmas(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books ?#%.db"), DefaultConfig())
	for pragma, want := range map[string]string{"page_size": "16384", "journal_mode": "wal", "synchronous": "2"} {
		var got string
		if err := s.w.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
		}
	}
	if err := s.Append(t.Context(), batchN(1)); err != nil {
		t.Fatal(err)
	}
	if rows, err := s.Sum(t.Context(), store.Query{ToMs: day0 * 2}); err != nil || len(rows) != 1 {
		t.Errorf("sum: %v, %v", rows, err)
	}
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Engine {
		return settled{openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())}
	})
}

// TestAppendWhileSealing writes into an hour while it is being sealed.
func TestAppendWhileSealing(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	f := newFleet(3000, 1, 5)
	type place struct {
		hour   int64
		holder int
	}
	want := map[place]power.Microjoules{}
	put := func(charges []power.Charge) {
		t.Helper()
		if err := s.Append(t.Context(), store.Batch{Charges: charges}); err != nil {
			t.Fatal(err)
		}
	}
	const rounds = 4
	for hour := range int64(rounds) {
		for m := range int64(3) {
			put(f.minute(day0 + hour*format.HourMs + m*60_000))
		}
	}
	next := f.minute(day0 + (rounds+1)*format.HourMs)
	put(next)
	done := make(chan error, 1)
	go func() { done <- s.Seal(t.Context()) }()
	written := 0
	for sealing := true; sealing; written++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			sealing = false
		default:
		}
		// Another holder each time: what is lost is not written again.
		var late []power.Charge
		for hour := range int64(rounds) {
			i := (written*37 + int(hour)*900) % len(f.holders)
			c := next[i]
			c.StartMs, c.Revision = day0+hour*format.HourMs, 1_000_000
			want[place{hour, i}] = c.Energy[power.CPU]
			late = append(late, c)
		}
		put(late)
	}
	t.Logf("%d batches came while sealing", written-1)
	for hour := range int64(rounds) {
		rows, err := s.Sum(t.Context(), store.Query{FromMs: day0 + hour*format.HourMs, ToMs: day0 + hour*format.HourMs + 60_000, GroupBy: []store.Dimension{store.ContainerID}})
		if err != nil || len(rows) != len(f.holders) {
			t.Fatal(len(rows), err)
		}
		got := map[string]power.Microjoules{}
		for _, r := range rows {
			got[r.Group[0]] = r.Energy[power.CPU]
		}
		for p, e := range want {
			if p.hour == hour && got[f.holders[p.holder].ID] != e {
				t.Errorf("hour %d, holder %d: %d, want %d", hour, p.holder, got[f.holders[p.holder].ID], e)
			}
		}
	}
	if found, err := Verify(t.Context(), s.path, false); err != nil || len(found.Problems) > 0 {
		t.Errorf("verify: %v, %v", found.Problems, err)
	}
}

// A stop leaves one file, which can be copied alone.
func TestCloseLeavesOneFile(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(filepath.Join(dir, "books.db"), DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Append(t.Context(), batchN(1)), s.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "books.db" {
		t.Errorf("%v, %v", files, err)
	}
}
