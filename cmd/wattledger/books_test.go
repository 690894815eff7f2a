package main

import (
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local"
)

const minuteMs = 60_000

// books are what a store holds over a stretch of time, minute by minute.
type books struct {
	rows    map[string]string       // holder @ minute → everything the store says of it
	totals  map[string]power.Energy // by container or VM id, or name of what no workload used
	windows []power.NodeWindow
}

// readBooks reads the store of a line that has ended, from fromMs to toMs.
func readBooks(t testing.TB, dir string, fromMs, toMs int64) *books {
	t.Helper()
	s, err := local.Open(filepath.Join(dir, "books.db"), configs.Default().Store, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	b := &books{rows: map[string]string{}, totals: map[string]power.Energy{}}
	rows, err := s.Sum(t.Context(), store.Query{FromMs: fromMs, ToMs: toMs, StepMs: minuteMs, GroupBy: store.Dimensions})
	if err != nil {
		t.Fatal(err)
	}
	id := slices.Index(store.Dimensions, store.ContainerID)
	for _, r := range rows {
		at := time.UnixMilli(r.StartMs).UTC().Format("15:04")
		total := b.totals[r.Group[id]]
		total.Add(r.Energy)
		b.totals[r.Group[id]] = total
		b.rows[strings.Join(r.Group, "/")+" @"+at] = fmt.Sprintf("%v idle %d seen %d of %d last %d price %v", r.Energy, r.Idle, r.SeenMs, r.HeldMs, r.LastMs, r.Price)
	}
	for at := fromMs; at < toMs; at += minuteMs {
		nodes, err := s.Nodes(t.Context(), at, at+minuteMs, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			n.Revision = 0 // where in the journal the window was last touched: differs with what came twice
			b.windows = append(b.windows, n)
		}
	}
	return b
}

// differ lists where got is not want.
func differ(got, want *books) []string {
	var d []string
	for _, k := range slices.Sorted(maps.Keys(want.rows)) {
		if got.rows[k] != want.rows[k] {
			d = append(d, fmt.Sprintf("%s:\n\t got %s\n\twant %s", k, got.rows[k], want.rows[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got.rows)) {
		if _, ok := want.rows[k]; !ok {
			d = append(d, fmt.Sprintf("%s: too much: %s", k, got.rows[k]))
		}
	}
	if !slices.Equal(got.windows, want.windows) {
		d = append(d, fmt.Sprintf("nodes:\n\t got %+v\n\twant %+v", got.windows, want.windows))
	}
	return d
}

// same fails unless the books are equal to the microjoule, window by window.
func same(t testing.TB, got, want *books) {
	t.Helper()
	if len(want.rows) == 0 || len(want.windows) == 0 {
		t.Fatal("the books to compare with are empty")
	}
	if d := differ(got, want); len(d) > 0 {
		t.Errorf("the books differ in %d places:\n%s", len(d), strings.Join(d[:min(len(d), 5)], "\n"))
	}
}

// checkIdentity fails unless every window of the nodes closes, component by
// component, and its parts are what the rows of its minute add up to.
func checkIdentity(t testing.TB, b *books) {
	t.Helper()
	var parts, rows power.Energy
	for _, w := range b.windows {
		var sum power.Energy
		for _, part := range []power.Energy{w.Containers, w.VMs, w.System, w.Idle, w.Unattributed} {
			sum.Add(part)
		}
		if sum != w.Used {
			t.Errorf("%s at %d: used %v, but its parts add up to %v", w.Node, w.StartMs, w.Used, sum)
		}
		parts.Add(w.Used)
	}
	for _, e := range b.totals {
		rows.Add(e)
	}
	if rows != parts {
		t.Errorf("the rows add up to %v, the nodes to %v", rows, parts)
	}
}
