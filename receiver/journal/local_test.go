package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var small = Config{MaxBytes: 4 << 20, SegmentBytes: 4 * pageBytes}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func mustOpen(t testing.TB, dir string, cfg Config) *Local {
	t.Helper()
	j, err := Open(dir, cfg, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return j
}

func mustClose(t testing.TB, j *Local) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// record makes a record whose content follows from n.
func record(n, bodyBytes int) *Record {
	body := make([]byte, bodyBytes)
	rng := rand.NewPCG(uint64(n), 7)
	for i := range body {
		body[i] = byte(rng.Uint64())
	}
	return &Record{
		Protocol:  Protocol(1 + n%2),
		Encoding:  Encoding(1 + n/2%2),
		ArrivalMs: int64(1_700_000_000_000 + n),
		Sender:    fmt.Sprintf("prometheus-%d", n%3),
		Body:      body,
	}
}

func mustAppend(t testing.TB, j Journal, r *Record) uint64 {
	t.Helper()
	position, err := j.Append(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return position
}

func readAll(t testing.TB, j Journal, from uint64) map[uint64]Record {
	t.Helper()
	got := map[uint64]Record{}
	want := from
	err := j.Read(context.Background(), from, func(position uint64, r *Record) error {
		if position != want {
			t.Fatalf("read position %d, want %d", position, want)
		}
		want++
		c := *r
		c.Body = bytes.Clone(r.Body)
		got[position] = c
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func sameRecords(t testing.TB, got, want map[uint64]Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for position, r := range want {
		if g := got[position]; !reflect.DeepEqual(g, r) {
			t.Fatalf("record at %d: protocol %d encoding %d arrival %d sender %q, %d bytes; want %d %d %d %q, %d bytes",
				position, g.Protocol, g.Encoding, g.ArrivalMs, g.Sender, len(g.Body), r.Protocol, r.Encoding, r.ArrivalMs, r.Sender, len(r.Body))
		}
	}
}

func TestJournalKeepsRecordsAndPositions(t *testing.T) {
	dir := t.TempDir()
	want := map[uint64]Record{}
	j := mustOpen(t, dir, small)
	if j.First() != 1 || j.Last() != 0 {
		t.Fatalf("empty journal has first %d, last %d; want 1, 0", j.First(), j.Last())
	}
	sameRecords(t, readAll(t, j, 1), want)

	// Sizes around a page and beyond it, over several segments and restarts.
	n := 0
	for _, size := range []int{0, 1, pageBytes - frameHeaderBytes, 100, 3 * pageBytes, 20_000, pageBytes, 50_000} {
		for range 5 {
			n++
			r := record(n, size)
			position := mustAppend(t, j, r)
			if position != uint64(n) {
				t.Fatalf("position %d, want %d", position, n)
			}
			want[position] = *r
		}
		sameRecords(t, readAll(t, j, 1), want)
		mustClose(t, j)
		j = mustOpen(t, dir, small)
		if j.First() != 1 || j.Last() != uint64(n) {
			t.Fatalf("after reopening first %d, last %d; want 1, %d", j.First(), j.Last(), n)
		}
		sameRecords(t, readAll(t, j, 1), want)
	}

	// A read from the middle gives the rest.
	for p := range want {
		if p < 17 {
			delete(want, p)
		}
	}
	sameRecords(t, readAll(t, j, 17), want)

	// Its own error ends a read.
	stop := errors.New("enough")
	if err := j.Read(context.Background(), 1, func(uint64, *Record) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("read answers %v, want %v", err, stop)
	}
	// One beyond the end is the end, further is a loss.
	sameRecords(t, readAll(t, j, uint64(n)+1), nil)
	if err := j.Read(context.Background(), uint64(n)+2, nil); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("read beyond the end answers %v, want ErrCorrupt", err)
	}
}

func TestJournalSharesSyncsBetweenWriters(t *testing.T) {
	reg := prometheus.NewRegistry()
	dir := t.TempDir()
	j, err := Open(dir, Config{MaxBytes: 64 << 20, SegmentBytes: 8 * pageBytes}, quiet(), reg)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 16, 40
	var mu sync.Mutex
	want := map[uint64]Record{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			before := uint64(0)
			for i := range each {
				r := record(w*each+i, 1000+w*100)
				position, err := j.Append(context.Background(), r)
				if err != nil {
					t.Error(err)
					return
				}
				if position <= before {
					t.Errorf("position %d after %d", position, before)
				}
				before = position
				mu.Lock()
				if _, taken := want[position]; taken {
					t.Errorf("position %d handed out twice", position)
				}
				want[position] = *r
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	sameRecords(t, readAll(t, j, 1), want)
	if got := testutil.ToFloat64(j.metrics.records); got != writers*each {
		t.Errorf("records_total %v, want %d", got, writers*each)
	}
	var size int64
	for _, s := range j.segments {
		stat, err := os.Stat(j.name(s.index))
		if err != nil {
			t.Fatal(err)
		}
		if stat.Size() != s.bytes || stat.Size() > 8*pageBytes {
			t.Errorf("segment %d has %d bytes, the journal counts %d, limit %d", s.index, stat.Size(), s.bytes, 8*pageBytes)
		}
		size += stat.Size()
	}
	if size != j.bytes {
		t.Errorf("segments have %d bytes, the journal counts %d", size, j.bytes)
	}
	mustClose(t, j)
	if _, err := j.Append(context.Background(), record(1, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close answers %v, want ErrClosed", err)
	}
	j = mustOpen(t, dir, small)
	sameRecords(t, readAll(t, j, 1), want)
}

func TestJournalIsBounded(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{MaxBytes: 8 * pageBytes, SegmentBytes: 4 * pageBytes}
	j := mustOpen(t, dir, cfg)
	ctx := context.Background()

	if _, err := j.Append(ctx, record(1, 5*pageBytes)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("record larger than a segment answers %v, want ErrTooLarge", err)
	}
	largest := 4*pageBytes - 4*fragmentHeaderBytes - frameHeaderBytes - int(headerEnd) - len("prometheus-1")
	mustAppend(t, j, record(1, largest))
	if _, err := j.Append(ctx, record(1, largest+1)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("record one byte larger than a segment answers %v, want ErrTooLarge", err)
	}

	for round := range 5 {
		last := j.Last()
		var err error
		for err == nil {
			_, err = j.Append(ctx, record(2, 10_000))
		}
		if !errors.Is(err, ErrFull) {
			t.Fatalf("round %d: full journal answers %v, want ErrFull", round, err)
		}
		if j.Last() == last {
			t.Fatalf("round %d: nothing appended", round)
		}
		files, err := filepath.Glob(filepath.Join(dir, "0*"))
		if err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		for _, name := range files {
			stat, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			size += stat.Size()
		}
		if size > cfg.MaxBytes {
			t.Fatalf("round %d: %d bytes on disk, max_bytes %d", round, size, cfg.MaxBytes)
		}
		if err := j.Release(j.Last()); err != nil {
			t.Fatal(err)
		}
		if j.First() == 1 {
			t.Fatalf("round %d: nothing released", round)
		}
	}

	if err := j.Read(ctx, 1, nil); !errors.Is(err, ErrReleased) {
		t.Fatalf("read of what was released answers %v, want ErrReleased", err)
	}
	first, last := j.First(), j.Last()
	if err := j.Release(first - 1); err != nil || j.First() != first {
		t.Fatalf("releasing less than a segment: error %v, first %d; want %d", err, j.First(), first)
	}
	if got := readAll(t, j, first); len(got) != int(last-first+1) {
		t.Fatalf("%d records from %d, want %d", len(got), first, last-first+1)
	}
}

func TestPositionsGoOnAfterEverythingWasReleased(t *testing.T) {
	dir := t.TempDir()
	last := uint64(0)
	for range 6 {
		j := mustOpen(t, dir, small)
		if j.Last() != last {
			t.Fatalf("last %d, want %d", j.Last(), last)
		}
		for range 3 {
			last++
			if got := mustAppend(t, j, record(1, 100)); got != last {
				t.Fatalf("position %d, want %d", got, last)
			}
		}
		mustClose(t, j)
		for range 3 { // restarts without a record in between
			j = mustOpen(t, dir, small)
			if err := j.Release(last); err != nil {
				t.Fatal(err)
			}
			if j.First() != last+1 || j.Last() != last {
				t.Fatalf("first %d, last %d; want %d, %d", j.First(), j.Last(), last+1, last)
			}
			mustClose(t, j)
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "0*")); len(files) > 2 {
			t.Fatalf("restarts leave %q", files)
		}
	}
}

func TestOpenRefusesWhatItCannotKeep(t *testing.T) {
	f := func(cfg Config, want string) {
		t.Helper()
		_, err := Open(t.TempDir(), cfg, quiet(), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open with %+v: %v, want %q", cfg, err, want)
		}
	}
	f(Config{SegmentBytes: 1000}, "segment_bytes 1000")
	f(Config{SegmentBytes: pageBytes}, "segment_bytes 32768")
	f(Config{SegmentBytes: 1 << 20, MaxBytes: 1 << 20}, "max_bytes 1048576")

	dir := t.TempDir()
	mustOpen(t, dir, small)
	if _, err := Open(dir, small, quiet(), nil); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second open of a directory: %v", err)
	}

	j := mustOpen(t, t.TempDir(), small)
	for _, r := range []*Record{
		{Protocol: 3, Encoding: Snappy},
		{Protocol: V1, Encoding: 0},
		{Protocol: V1, Encoding: Snappy, Sender: strings.Repeat("x", maxSenderBytes+1)},
	} {
		if _, err := j.Append(context.Background(), r); err == nil {
			t.Errorf("append of protocol %d, encoding %d, sender of %d bytes succeeds", r.Protocol, r.Encoding, len(r.Sender))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := j.Append(ctx, record(1, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("append with an ended context: %v", err)
	}
	if j.Last() != 0 {
		t.Errorf("refused records left the journal at %d", j.Last())
	}
}

// A reader sees what was durable when it began, while writers go on and segments
// are released behind it.
func TestReadBesideWriters(t *testing.T) {
	j := mustOpen(t, t.TempDir(), Config{MaxBytes: 64 << 20, SegmentBytes: 4 * pageBytes})
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if _, err := j.Append(context.Background(), record(w, 3000+i%5000)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for j.Last() < 500 {
		last := j.Last()
		seen := j.First() - 1
		err := j.Read(context.Background(), seen+1, func(position uint64, _ *Record) error {
			if position != seen+1 {
				t.Errorf("position %d after %d", position, seen)
			}
			seen = position
			return nil
		})
		if err != nil {
			t.Error(err)
			break
		}
		if seen < last {
			t.Errorf("read ended at %d, %d was durable before", seen, last)
			break
		}
		if last > 50 {
			if err := j.Release(last - 50); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	wg.Wait()
}
