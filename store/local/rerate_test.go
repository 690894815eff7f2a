package local

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

type tariffFunc func(ms int64) *power.Price

func (f tariffFunc) At(ms int64) *power.Price { return f(ms) }

// Ten hours and a half: of the first only sums are left, the last are open.
func TestRerate(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MinutesRetention, cfg.HoursRetention, cfg.Followers = 4*time.Hour, 24*time.Hour, []string{"influx"}
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), cfg)
	f := newFleet(66, 1, 3) // more than one chunk
	fill := func(from, to int64) {
		t.Helper()
		for m := from; m < to; m += 30 {
			var b store.Batch
			for i := range int64(30) {
				b.Charges = append(b.Charges, f.minute(day0+(m+i)*60_000)...)
			}
			if err := s.Append(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(0, 10*60+30)
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := f.price
	flat, night := old, old
	flat.ElectricityPerKWh, night.ElectricityPerKWh = 0.3, 0.2
	// From the eighth hour on, every second quarter of an hour is cheaper.
	tariff := tariffFunc(func(ms int64) *power.Price {
		if minute := (ms - day0) / 60_000; minute >= 8*60 && minute/15%2 == 1 {
			return &night
		}
		return &flat
	})
	sum := func(step int64) map[string]power.Energy {
		t.Helper()
		rows, err := s.Sum(t.Context(), store.Query{FromMs: day0, ToMs: day0 + 24*format.HourMs, StepMs: step, GroupBy: []store.Dimension{store.Namespace}})
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]power.Energy{}
		for _, r := range rows {
			k := fmt.Sprint(r.StartMs, r.Group)
			e := m[k]
			e.Add(r.Energy)
			m[k] = e
		}
		return m
	}
	entries := func() uint64 {
		return uint64(s.at().outboxSeq)
	}
	rate := func(from, to int64, dry bool) Rerating {
		t.Helper()
		r, err := s.Rerate(t.Context(), day0+from*60_000, day0+to*60_000, tariff, dry, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	hours, minutes := sum(format.HourMs), sum(60_000)
	before := entries()

	// From the middle of an hour without minutes to the middle of the last sealed one.
	const from, to = 2*60 + 20, 9*60 + 40
	dry := rate(from, to, true)
	if entries() != before {
		t.Error("a dry run told followers something")
	}
	wet := rate(from, to, false)
	if dry.Rows == 0 || !reflect.DeepEqual(dry, wet) {
		t.Errorf("dry %+v\nwet %+v", dry, wet)
	}
	if want := []int64{day0 + 2*format.HourMs}; !reflect.DeepEqual(wet.Kept, want) {
		t.Errorf("kept %v, want %v", wet.Kept, want)
	}
	if len(wet.Spaces) != 3 || wet.Spaces[0].After.Total() <= wet.Spaces[0].Before.Total() {
		t.Errorf("spaces: %+v", wet.Spaces)
	}
	told := entries()
	if told == before {
		t.Error("followers were told nothing")
	}
	if again := rate(from, to, false); again.Rows != 0 || entries() != told {
		t.Errorf("the second run changed %d rows and told followers %d entries", again.Rows, entries()-told)
	}
	if !reflect.DeepEqual(hours, sum(format.HourMs)) || !reflect.DeepEqual(minutes, sum(60_000)) {
		t.Error("energy has changed")
	}
	priced := func(want func(minute int64) power.Price) {
		t.Helper()
		rows, err := s.Sum(t.Context(), store.Query{FromMs: day0, ToMs: day0 + 24*format.HourMs, StepMs: 60_000})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if minute := (r.StartMs - day0) / 60_000; r.Price != want(minute) {
				t.Fatalf("minute %d: %v, want %v", minute, r.Price.ElectricityPerKWh, want(minute).ElectricityPerKWh)
			}
		}
		// What followers are given agrees with the sums, hour by hour.
		windows, err := s.HoursBetween(t.Context(), day0, day0+24*format.HourMs)
		if err != nil {
			t.Fatal(err)
		}
		cost := map[int64]float64{}
		for _, w := range windows {
			cost[w.StartMs] += w.Cost.Total()
		}
		for _, group := range [][]store.Dimension{{store.Namespace}, {store.ContainerID}} {
			list, err := s.Sum(t.Context(), store.Query{FromMs: day0, ToMs: day0 + 10*format.HourMs, StepMs: format.HourMs, GroupBy: group})
			if err != nil {
				t.Fatal(err)
			}
			left := map[int64]float64{}
			for h, c := range cost {
				left[h] = c
			}
			for _, r := range list {
				left[r.StartMs] -= r.Price.Cost(r.Energy.Total()).Total()
			}
			for h, c := range left {
				if c > 1e-9 || c < -1e-9 {
					t.Errorf("by %v, hour %d: %v of %v is missing", group, (h-day0)/format.HourMs, c, cost[h])
				}
			}
		}
	}
	priced(func(minute int64) power.Price {
		if minute < 3*60 || minute >= to {
			return old
		}
		return *tariff(day0 + minute*60_000)
	})

	all := rate(0, 24*60, false)
	if len(all.Kept) > 0 || all.Rows == 0 {
		t.Errorf("all: %d rows, kept %v", all.Rows, all.Kept)
	}
	priced(func(minute int64) power.Price { return *tariff(day0 + minute*60_000) })
	if !reflect.DeepEqual(hours, sum(format.HourMs)) {
		t.Error("energy has changed")
	}
	if found, err := Verify(t.Context(), s.path, false); err != nil || len(found.Problems) > 0 {
		t.Errorf("verify: %v, %v", found.Problems, err)
	}

	// A band inside an hour of which only sums are left: nobody knows.
	fill(10*60+30, 15*60)
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	dearer, cheaper := old, old // a price is never changed, there is another
	dearer.ElectricityPerKWh, cheaper.ElectricityPerKWh = 0.4, 0.1
	tariff = func(ms int64) *power.Price {
		if ms/60_000/30%2 == 0 {
			return &dearer
		}
		return &cheaper
	}
	if kept := rate(0, 24*60, false).Kept; len(kept) == 0 || kept[0] != day0 {
		t.Errorf("kept %v, want all from the first hour on", kept)
	}
}
