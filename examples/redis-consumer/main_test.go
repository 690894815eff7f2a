package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/test/redistest"
)

const stream = "wattledger:{0}:charges"

func post(t *testing.T, s *redistest.Server, workload string, startMs, uj int64, revision int) {
	t.Helper()
	s.Do("XADD", stream, "*", "version", "1", "start", startMs, "seconds", 60, "cluster", "c1", "namespace", "shop", "workload", workload,
		"workload_type", "web", "energy_uj", uj, "cost_nano", uj/10, "revision", revision, "workload_id", "c1:shop:deployment:"+workload)
}

func start(t *testing.T, s *redistest.Server, path, name string) (books *ledger, stop func()) {
	t.Helper()
	books, err := openLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	c := consumer{client: redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, ContextTimeoutEnabled: true}), stream: stream, group: "example", name: name, claimAfter: 50 * time.Millisecond, books: books}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.run(ctx) }()
	return books, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.client.Close()
		books.Close()
	}
}

// acknowledged waits until the group has nothing left to read or to acknowledge.
func acknowledged(t *testing.T, s *redistest.Server, entries int64) {
	t.Helper()
	redistest.Eventually(t, fmt.Sprintf("%d entries are acknowledged", entries), func() error {
		groups, err := s.Client().XInfoGroups(t.Context(), stream).Result()
		if err != nil || len(groups) != 1 {
			return fmt.Errorf("groups %v: %w", groups, err)
		}
		if g := groups[0]; g.Pending != 0 || g.Lag != 0 || g.EntriesRead != entries {
			return fmt.Errorf("%+v", g)
		}
		return nil
	})
}

// The consumer is killed between its write and its acknowledgement, another is
// gone for good, an entry comes twice, out of order or in a strange version, and
// Redis comes back empty. The ledger holds every row once, the newest.
func TestStory(t *testing.T) {
	s := redistest.Start(t)
	path := filepath.Join(t.TempDir(), "ledger.jsonl")

	_, stop := start(t, s, path, "one")
	post(t, s, "cart", 60_000, 10, 1)
	post(t, s, "cart", 60_000, 20, 2) // restated
	post(t, s, "cart", 60_000, 10, 1) // late
	post(t, s, "search", 60_000, 5, 2)
	s.Do("XADD", stream, "*", "version", "99", "energy_uj", "1")
	acknowledged(t, s, 5)
	stop()

	// Consumers that were given entries and are gone, one of them this one.
	ctx := t.Context()
	for _, name := range []string{"one", "gone"} {
		post(t, s, "cart", 120_000, 7, 3)
		post(t, s, name, 120_000, 1, 3)
		err := s.Client().XReadGroup(ctx, &redis.XReadGroupArgs{Group: "example", Consumer: name, Streams: []string{stream, ">"}}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	// A crash in the middle of a line.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"workload":"c1:shop:depl`); err != nil {
		t.Fatal(err)
	}
	f.Close()

	_, stop = start(t, s, path, "one")
	acknowledged(t, s, 9)

	s.Kill()
	s.Run()
	post(t, s, "cart", 60_000, 20, 2) // published again
	post(t, s, "cart", 180_000, 9, 4)
	acknowledged(t, s, 2)
	stop()

	books, err := openLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	var out bytes.Buffer
	books.print(&out)
	want := "c1:shop:deployment:cart\t3 windows\t0.000 kWh\t0.000000\n" +
		"c1:shop:deployment:gone\t1 windows\t0.000 kWh\t0.000000\n" +
		"c1:shop:deployment:one\t1 windows\t0.000 kWh\t0.000000\n" +
		"c1:shop:deployment:search\t1 windows\t0.000 kWh\t0.000000\n"
	if out.String() != want {
		t.Errorf("the ledger says\n%s, want\n%s", &out, want)
	}
	if r := books.rows[key{"c1:shop:deployment:cart", 60_000, 60}]; r.EnergyUJ != 20 || r.CostNano != 2 || r.Revision != 2 {
		t.Errorf("cart holds %+v", r)
	}
	content, err := os.ReadFile(path)
	if err != nil || bytes.Count(content, []byte("\n")) > 8 {
		t.Errorf("the ledger has lines that changed nothing: %v\n%s", err, content)
	}
}

// What cannot be made durable is not acknowledged.
func TestFullDisk(t *testing.T) {
	s := redistest.Start(t)
	books, err := openLedger(filepath.Join(t.TempDir(), "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	books.file.Close() // every write fails from here on
	c := consumer{client: s.Client(), stream: stream, group: "example", name: "one", claimAfter: time.Minute, books: books}
	post(t, s, "cart", 60_000, 10, 1)
	if err := c.run(t.Context()); !errors.Is(err, errLedger) {
		t.Fatalf("run: %v", err)
	}
	p, err := s.Client().XPending(t.Context(), stream, "example").Result()
	if err != nil || p.Count != 1 {
		t.Errorf("pending: %+v, %v", p, err)
	}
}
