package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A replica is what a follower holds: rows by key, the newest revision kept.
type replica map[string]WindowRow

func (r replica) take(t *testing.T, rows []WindowRow) {
	t.Helper()
	for _, w := range rows {
		k := fmt.Sprint(w.StartMs, w.Node, w.Workload, w.Type)
		if w.Revision < r[k].Revision {
			t.Fatalf("revision of %s falls from %d to %d", k, r[k].Revision, w.Revision)
		}
		r[k] = w
	}
}

// rows returns what is not zero, in the order the store has.
func (r replica) rows() map[string]WindowRow {
	m := map[string]WindowRow{}
	for k, w := range r {
		if w.Containers > 0 {
			w.Revision = 0 // a follower may have seen more of them
			m[k] = w
		}
	}
	return m
}

func TestFollower(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Followers = []string{"influx", "redis"}
	path := filepath.Join(t.TempDir(), "books.db")
	s := openTest(t, path, cfg)
	f := newFleet(6, 3, 2)
	windows, hours := replica{}, replica{}
	seq, commitMs := uint64(0), int64(0)
	follow := func() {
		t.Helper()
		for {
			entries, err := s.Next(t.Context(), seq, 7)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) == 0 {
				return
			}
			for _, e := range entries {
				if e.Seq != seq+1 || e.CommitMs < commitMs {
					t.Fatalf("entry %d of %d ms after entry %d of %d ms", e.Seq, e.CommitMs, seq, commitMs)
				}
				seq, commitMs = e.Seq, e.CommitMs
			}
			w, err := s.Windows(t.Context(), entries)
			if err != nil {
				t.Fatal(err)
			}
			windows.take(t, w)
			h, err := s.Hours(t.Context(), entries)
			if err != nil {
				t.Fatal(err)
			}
			hours.take(t, h)
			if err := s.Ack(t.Context(), "influx", seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	same := func() {
		t.Helper()
		follow()
		for name, c := range map[string]struct {
			have replica
			all  func() ([]WindowRow, error)
		}{
			"windows": {windows, func() ([]WindowRow, error) { return s.WindowsBetween(t.Context(), 0, day0*2) }},
			"hours":   {hours, func() ([]WindowRow, error) { return s.HoursBetween(t.Context(), 0, day0*2) }},
		} {
			rows, err := c.all()
			if err != nil {
				t.Fatal(err)
			}
			want := replica{}
			want.take(t, rows)
			w, h := want.rows(), c.have.rows()
			if len(w) != len(h) {
				t.Errorf("%s: the follower has %d rows, the store %d", name, len(h), len(w))
			}
			for k := range w {
				if w[k] != h[k] {
					t.Fatalf("%s %s:\nfollower %+v\nstore    %+v", name, k, h[k], w[k])
				}
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for m := range int64(200) {
		b := store.Batch{Position: uint64(m + 1), Charges: f.minute(day0 + m*60_000)}
		switch {
		case m%31 == 30: // late: another minute again, in an hour that may be closed
			again := f.minute(day0 + r.Int64N(m)*60_000)
			b.Charges = append(b.Charges, again...)
		case m%47 == 46:
			i := r.IntN(len(f.holders))
			h := *f.holders[i]
			h.Workload.Name, h.Type = fmt.Sprint("renamed-", m), power.Batch
			f.holders[i] = &h
			b.Holders = append(b.Holders, &h)
		}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if m%19 == 0 {
			if err := s.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if m%23 == 0 {
			same()
		}
	}
	same()
	if len(hours.rows()) == 0 {
		t.Error("no hour has closed")
	}
	list, err := s.Followers(t.Context())
	if err != nil || len(list) != 2 || list[0] != (Cursor{Name: "influx", Seq: seq}) || list[1] != (Cursor{Name: "redis", Lag: seq}) {
		t.Errorf("followers: %+v, %v", list, err)
	}
	if err := s.Ack(t.Context(), "influx", 1); err != nil { // an old acknowledgement, late
		t.Error(err)
	}
	if err := s.Ack(t.Context(), "nobody", 1); err == nil {
		t.Error("a follower that is not there acknowledged")
	}
	// The slower follower keeps the entries, until they are too old.
	if _, err := s.Next(t.Context(), 0, 1); err != nil {
		t.Errorf("the first entry, not yet taken by all: %v", err)
	}
	if err := s.expire(t.Context(), time.UnixMilli(commitMs).Add(cfg.OutboxMaxAge+time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(t.Context(), 0, 1); !errors.Is(err, errLostPlace) {
		t.Errorf("the first entry, too old: %v, want %v", err, errLostPlace)
	}
	if rest, err := s.Next(t.Context(), seq, 1); err != nil || len(rest) != 0 {
		t.Errorf("after the last: %v, %v", rest, err)
	}
}

// A follower that is added to books with rows in them, or comes back after it had
// been given up, is told to take the stored rows.
func TestFollowerAddedLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	n := uint64(0)
	at := func(names ...string) (list []Cursor) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.Followers = names
		s, err := Open(path, cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if list, err = s.Followers(t.Context()); err != nil {
			t.Fatal(err)
		}
		n++
		if err := s.Append(t.Context(), batchN(n)); err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if err := s.Ack(t.Context(), f.Name, f.Seq+f.Lag); err != nil {
				t.Fatal(err)
			}
		}
		return list
	}
	f := func(got []Cursor, want ...bool) {
		t.Helper()
		for i := range got {
			if got[i].New != want[i] {
				t.Errorf("%+v: want new %v", got[i], want[i])
			}
		}
	}
	f(at("redis"), false) // the books were empty
	f(at("influxdb", "redis"), true, false)
	f(at("influxdb", "redis"), false, false)
	f(at("redis"), false)
	f(at("influxdb", "redis"), true, false)
	f(at())
	f(at("redis"), true)
}

func TestNoFollowerNoOutbox(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	for n := uint64(1); n < 200; n++ {
		if err := s.Append(t.Context(), batchN(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, err := s.Next(t.Context(), 0, 10); err != nil || len(entries) != 0 {
		t.Errorf("%d entries, %v; want none", len(entries), err)
	}
}

func TestOutboxIsBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Followers = []string{"down"}
	cfg.OutboxMaxBytes = 1 << 20
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), cfg)
	big := make([]byte, 100_000)
	err := s.write(t.Context(), func(ctx context.Context) (func(), error) {
		for range 30 {
			if err := s.postEntry(ctx, RowsWritten, big); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var n, bytes int
	if err := s.w.QueryRowContext(t.Context(), "SELECT count(*), sum(length(data)) FROM outbox").Scan(&n, &bytes); err != nil {
		t.Fatal(err)
	}
	if n != 10 || bytes > 1<<20 {
		t.Errorf("%d entries of %d bytes are kept, want 10", n, bytes)
	}
}
