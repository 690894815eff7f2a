package local

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

func TestRetention(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MinutesRetention, cfg.HoursRetention = 3*time.Hour, 6*time.Hour
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), cfg)
	f := newFleet(2, 1, 1)
	gone := *f.holders[0]
	gone.ID = "gone"
	total := map[int64]power.Microjoules{}
	put := func(m int64, charges []power.Charge) {
		t.Helper()
		for _, c := range charges {
			total[m/60] += c.Energy[power.CPU]
		}
		if err := s.Append(t.Context(), store.Batch{Position: uint64(m + 1), Charges: charges}); err != nil {
			t.Fatal(err)
		}
	}
	for m := range int64(10*60 + 30) {
		charges := f.minute(day0 + m*60_000)
		if m == 5 {
			charges[0].Holder = &gone
		}
		put(m, charges)
		if m%60 == 30 {
			if err := s.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func(step int64) map[int64][]store.Row {
		t.Helper()
		rows, err := s.Sum(t.Context(), store.Query{FromMs: day0, ToMs: day0 + 24*format.HourMs, StepMs: step})
		if err != nil {
			t.Fatal(err)
		}
		byHour := map[int64][]store.Row{}
		for _, r := range rows {
			h := (r.StartMs - day0) / format.HourMs
			byHour[h] = append(byHour[h], r)
		}
		return byHour
	}
	hours, minutes := ask(format.HourMs), ask(60_000)
	for h := range int64(11) {
		wantHours, wantMinutes := 1, 60
		switch {
		case h < 4:
			wantHours, wantMinutes = 0, 0
		case h < 7:
			wantMinutes = 1 // only the hour is left, as one window
		case h == 10:
			wantMinutes = 30
		}
		if len(hours[h]) != wantHours || len(minutes[h]) != wantMinutes {
			t.Errorf("hour %d: %d hours and %d minutes, want %d and %d", h, len(hours[h]), len(minutes[h]), wantHours, wantMinutes)
		}
		for _, list := range [][]store.Row{hours[h], minutes[h]} {
			var sum power.Microjoules
			for _, r := range list {
				sum += r.Energy[power.CPU]
			}
			if len(list) > 0 && sum != total[h] {
				t.Errorf("hour %d: %d µJ in %d rows, want %d", h, sum, len(list), total[h])
			}
		}
	}
	if list, err := s.Workloads(t.Context(), nil, 0); err != nil || len(list) != 2 {
		t.Errorf("workloads: %v, %v", list, err)
	}
	if id, ok := s.interns.find(idOf(f.holders[1])); !ok || s.at().holder(id) == nil || slices.ContainsFunc(s.at().holders, func(h *holder) bool { return h != nil && h.ID == "gone" }) {
		t.Error("a holder is kept without rows, or gone with them")
	}
	// What is older than any minute is refused, not half booked.
	before := fmt.Sprint(ask(format.HourMs))
	if err := s.Append(t.Context(), store.Batch{Position: 9999, Charges: f.minute(day0 + 3*format.HourMs)}); err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprint(ask(format.HourMs)); after != before {
		t.Error("an expired row changed an answer")
	}
	// A holder that is forgotten may come back.
	charges := f.minute(day0 + 631*60_000)
	charges[0].Holder = &gone
	put(631, charges)
	if got := ask(format.HourMs)[10]; len(got) != 1 || got[0].Energy[power.CPU] != total[10] {
		t.Errorf("after a holder came back: %+v, want %d µJ", got, total[10])
	}
	if found, err := Verify(t.Context(), s.path, false); err != nil || len(found.Problems) > 0 {
		t.Errorf("verify: %v, %v", found.Problems, err)
	}
}
