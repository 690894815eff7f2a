package local

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A workload's window comes with all its nodes, though only one has changed, and
// stored rows are read from end to end.
func TestFeed(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Followers = []string{"redis"}
	books, err := Open(filepath.Join(t.TempDir(), "books.db"), cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	f := books.Feed(FeedConfig{Windows: 24 * time.Hour, Hours: 48 * time.Hour, Whole: true})
	ctx := t.Context()

	at := time.Now().Truncate(time.Minute).Add(-time.Minute)
	position := uint64(0)
	add := func(node, workload string, start time.Time, joules int64) {
		t.Helper()
		position++
		h := &power.Holder{
			HolderKey: power.HolderKey{Cluster: "c1", Node: node, Kind: power.Container, ID: node + workload},
			Workload:  power.Workload{Cluster: "c1", Namespace: "shop", Kind: "deployment", Name: workload}, Type: power.Web,
		}
		c := power.Charge{Holder: h, StartMs: start.UnixMilli(), Seconds: 60, Energy: power.Energy{power.Microjoules(joules * 1e6)}, SeenMs: 60_000, LastMs: start.UnixMilli(), Price: &power.Price{Model: "seed"}, Revision: position}
		if err := books.Append(ctx, store.Batch{Position: position, Charges: []power.Charge{c}}); err != nil {
			t.Fatal(err)
		}
	}
	deliver := func() store.Delivery {
		t.Helper()
		d, ok, err := f.Deliver(ctx, "redis", 64)
		if err != nil || !ok {
			t.Fatalf("deliver: %v, %v", ok, err)
		}
		return d
	}
	total := func(rows []store.WindowRow) (sum power.Microjoules) {
		for _, r := range rows {
			sum += r.Energy.Total()
		}
		return sum / 1e6
	}

	add("n1", "cart", at, 1)
	add("n2", "cart", at, 10)
	add("n1", "search", at, 100)
	d := deliver()
	if d.FromSeq != 1 || d.ToSeq != 3 || len(d.Windows) != 3 {
		t.Errorf("delivery %+v", d)
	}
	if err := f.Done(ctx, "redis", d); err != nil {
		t.Fatal(err)
	}
	add("n1", "cart", at, 2)
	if d = deliver(); len(d.Windows) != 2 || total(d.Windows) != 12 {
		t.Errorf("one node of two changed: %+v", d.Windows)
	}
	p, err := f.Place(ctx, "redis")
	if err != nil || p.Seq != 3 || p.Lag != 1 || p.OldestMs == 0 || p.Used <= 0 {
		t.Errorf("place %+v, %v", p, err)
	}

	// Too old to be told again.
	add("n1", "cart", at.Add(-25*time.Hour), 1000)
	if d = deliver(); len(d.Windows) != 2 || d.ToSeq != 5 {
		t.Errorf("a window of yesterday: %+v", d)
	}

	span, err := f.Span(ctx, "redis")
	if err != nil || span.Seq != 5 {
		t.Fatalf("span %+v, %v", span, err)
	}
	var windows []store.WindowRow
	steps := 0
	for next := span.FromMs; next < span.ToMs; steps++ {
		rows, to, err := f.Stored(ctx, "redis", next)
		if err != nil || to <= next {
			t.Fatalf("stored from %d to %d: %v", next, to, err)
		}
		windows, next = append(windows, rows.Windows...), to
	}
	if total(windows) != 112 {
		t.Errorf("stored rows of a day hold %d J: %+v", total(windows), windows)
	}

	if _, _, err := f.Deliver(ctx, "nobody", 64); err == nil || errors.Is(err, store.ErrLostPlace) {
		t.Errorf("a follower nobody knows: %v", err)
	}
}

// A follower whose entries are gone is told so.
func TestFeedLostPlace(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Followers = []string{"redis"}
	path := filepath.Join(t.TempDir(), "books.db")
	open := func(cfg Config) *Store {
		t.Helper()
		books, err := Open(path, cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		return books
	}
	books := open(cfg)
	h := &power.Holder{HolderKey: power.HolderKey{Cluster: "c1", Node: "n1", Kind: power.Container, ID: "a"}, Workload: power.Workload{Cluster: "c1", Namespace: "shop", Kind: "deployment", Name: "cart"}}
	c := power.Charge{Holder: h, StartMs: time.Now().Truncate(time.Minute).UnixMilli(), Seconds: 60, Price: &power.Price{Model: "seed"}, Revision: 1}
	if err := books.Append(t.Context(), store.Batch{Position: 1, Charges: []power.Charge{c}}); err != nil {
		t.Fatal(err)
	}
	// Without followers the outbox is emptied.
	books.Close()
	cfg.Followers = nil
	books = open(cfg)
	if err := books.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	books.Close()
	cfg.Followers = []string{"redis"}
	books = open(cfg)
	defer books.Close()
	f := books.Feed(FeedConfig{Windows: time.Hour, Hours: time.Hour})
	if _, _, err := f.Deliver(t.Context(), "redis", 64); !errors.Is(err, store.ErrLostPlace) {
		t.Errorf("deliver: %v, want %v", err, store.ErrLostPlace)
	}
}
