package local

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// TestRemap changes a rule and its mind: energy moves between the values of a
// dimension as the preview says, in open hours and in closed ones, and none is
// lost or made.
func TestRemap(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	f := newFleet(8, 3, 4)
	for i, h := range f.holders {
		tags := []power.Tag{{Kind: power.PodLabel, Name: "squad", Value: fmt.Sprint("s", i%3)}}
		if i%2 == 0 {
			tags = append(tags, power.Tag{Kind: power.DimensionTag, Name: "team", Value: "a"})
		}
		next := *h
		next.Tags = power.TagsOf(tags)
		f.holders[i] = &next
	}
	for m := int64(0); m < 200; m++ {
		if err := s.Append(t.Context(), store.Batch{Position: uint64(m + 1), Charges: f.minute(day0 + m*60_000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	by := func(d store.Dimension) map[string]power.Microjoules {
		t.Helper()
		sums := map[string]power.Microjoules{}
		for _, step := range []int64{0, 3_600_000} {
			rows, err := s.Sum(t.Context(), store.Query{ToMs: math.MaxInt64 / 2, StepMs: step, GroupBy: []store.Dimension{d}})
			if err != nil {
				t.Fatal(err)
			}
			again := map[string]power.Microjoules{}
			for _, r := range rows {
				again[r.Group[0]] += r.Energy.Total()
			}
			if step > 0 && fmt.Sprint(again) != fmt.Sprint(sums) {
				t.Errorf("by %s and hour %v, at once %v", d, again, sums)
			}
			sums = again
		}
		return sums
	}
	squads := func(h *power.Holder) power.Tags {
		v, _ := h.Tags.Get(power.PodLabel, "squad")
		return power.TagsOf([]power.Tag{{Kind: power.PodLabel, Name: "squad", Value: v}, {Kind: power.DimensionTag, Name: "team", Value: v}})
	}
	namespaces, before := by(store.Namespace), by("team")
	preview, err := s.Remap(t.Context(), squads, true, func(float64) {})
	if err != nil || preview.Holders != len(f.holders) {
		t.Fatalf("preview: %+v, %v", preview, err)
	}
	if after := by("team"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Fatalf("a preview changed %v to %v", before, after)
	}
	done := 0.0
	if got, err := s.Remap(t.Context(), squads, false, func(share float64) { done = share }); err != nil || fmt.Sprint(got) != fmt.Sprint(preview) || done != 1 {
		t.Fatalf("remap: %+v, %v, done %v; the preview was %+v", got, err, done, preview)
	}
	want := map[string]power.Microjoules{}
	for team, e := range before {
		want[team] += e
	}
	for _, m := range preview.Moves {
		want[m.Before] -= m.Energy
		want[m.After] += m.Energy
	}
	for team, e := range want {
		if e == 0 {
			delete(want, team)
		}
	}
	check := func() {
		t.Helper()
		if after := by("team"); fmt.Sprint(after) != fmt.Sprint(want) {
			t.Errorf("after: %v, want %v", after, want)
		}
		if after := by(store.Namespace); fmt.Sprint(after) != fmt.Sprint(namespaces) {
			t.Errorf("by namespace: %v, want %v", after, namespaces)
		}
	}
	check()
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
	if got, err := s.Remap(t.Context(), squads, false, func(float64) {}); err != nil || got.Holders != 0 || len(got.Moves) != 0 {
		t.Errorf("again: %+v, %v", got, err)
	}
}
