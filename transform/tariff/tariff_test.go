package tariff

import (
	"math"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
)

func seedCost() Config { return DefaultConfig() }

func physicalCost() Config {
	c := seedCost()
	c.Model, c.PUE, c.CarbonKgPerKWh, c.CoolingFactor = PhysicalModel, 1.3, 0.4, 0
	return c
}

func tariff(t testing.TB, c Config) *Tariff {
	t.Helper()
	tariff, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tariff
}

func TestTariffModels(t *testing.T) {
	f := func(c Config, want float64, wantPUE, wantKg float64) {
		t.Helper()
		p := tariff(t, c).At(0)
		cost := p.Cost(power.MicrojoulesPerKWh)
		if math.Abs(cost.Total()-want) > 1e-12 {
			t.Errorf("%s: 1 kWh costs %.15f, want %v", c.Model, cost.Total(), want)
		}
		if sum := cost.Electricity + cost.Cooling + cost.Carbon; math.Abs(sum-cost.Total()) > 1e-12 {
			t.Errorf("%s: parts add up to %v, total is %v", c.Model, sum, cost.Total())
		}
		if math.Abs(p.ImpliedPUE()-wantPUE) > 1e-12 || math.Abs(p.ImpliedCarbonKgPerKWh()-wantKg) > 1e-12 {
			t.Errorf("%s: implies PUE %v and %v kg/kWh, want %v and %v", c.Model, p.ImpliedPUE(), p.ImpliedCarbonKgPerKWh(), wantPUE, wantKg)
		}
	}
	f(seedCost(), 0.326, 2.3, 1)
	f(physicalCost(), 0.182, 1.3, 0.52)
}

func TestTariffBands(t *testing.T) {
	c := seedCost()
	c.TimeZone = "Asia/Seoul"
	night, weekend, peak := 0.06, 0.08, 0.30
	c.Bands = []Band{
		{Name: "summer peak", From: "13:00", To: "17:00", Days: []string{"mon", "tue", "wed", "thu", "fri"}, FromDate: "06-01", UntilDate: "08-31", ElectricityPerKWh: &peak},
		{Name: "friday night", From: "22:00", To: "06:00", Days: []string{"fri"}, ElectricityPerKWh: &night},
		{Name: "weekend", Days: []string{"sat", "sun"}, ElectricityPerKWh: &weekend},
		{Name: "winter", FromDate: "12-20", UntilDate: "01-10", ElectricityPerKWh: &night},
		{Name: "one week", FromDate: "2026-03-02", UntilDate: "2026-03-08", ElectricityPerKWh: &peak},
	}
	tr := tariff(t, c)
	zone, _ := time.LoadLocation("Asia/Seoul")
	f := func(at string, want float64) {
		t.Helper()
		local, err := time.ParseInLocation("2006-01-02 15:04:05", at, zone)
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.At(local.UnixMilli()).ElectricityPerKWh; got != want {
			t.Errorf("%s costs %v, want %v", at, got, want)
		}
	}
	f("2026-06-01 12:59:59", 0.12) // a Monday
	f("2026-06-01 13:00:00", peak)
	f("2026-06-01 16:59:59", peak)
	f("2026-06-01 17:00:00", 0.12)
	f("2026-05-29 14:00:00", 0.12) // a Friday before the season
	f("2026-05-29 21:59:00", 0.12)
	f("2026-05-29 22:00:00", night)
	f("2026-05-30 05:59:00", night) // Saturday morning belongs to Friday's night
	f("2026-05-30 06:00:00", weekend)
	f("2026-05-29 05:00:00", 0.12) // Friday morning does not
	f("2026-12-24 12:00:00", night)
	f("2027-01-05 12:00:00", night)
	f("2027-01-11 12:00:00", 0.12)
	f("2026-03-04 12:00:00", peak)
	f("2027-03-03 12:00:00", 0.12)

	at := time.Date(2026, 6, 1, 14, 0, 0, 0, zone).UnixMilli()
	if tr.At(at) != tr.At(at+dayMs) || tr.At(at) != tr.At(time.Date(2026, 3, 4, 12, 0, 0, 0, zone).UnixMilli()) {
		t.Error("equal prices are not one pointer")
	}
}

const dayMs = 24 * 60 * minuteMs

// On the day clocks go forward a night band from 01:00 to 04:00 lasts two
// hours, on the day they go back four, and its edges stay at local times.
func TestTariffDaylightSaving(t *testing.T) {
	c := seedCost()
	c.TimeZone = "Europe/Berlin"
	night := 0.05
	c.Bands = []Band{{From: "01:00", To: "04:00", ElectricityPerKWh: &night}}
	tr := tariff(t, c)
	f := func(day string, wantMinutes int) {
		t.Helper()
		start, err := time.ParseInLocation(time.DateOnly, day, tr.zone)
		if err != nil {
			t.Fatal(err)
		}
		minutes := 0
		for at := start; at.Before(start.AddDate(0, 0, 1)); at = at.Add(time.Minute) {
			cheap := tr.At(at.UnixMilli()).ElectricityPerKWh == night
			if cheap != (at.Hour() >= 1 && at.Hour() < 4) {
				t.Fatalf("%s: cheap is %v", at, cheap)
			}
			if cheap {
				minutes++
			}
			if tr.At(at.UnixMilli()) != tr.At(at.UnixMilli()+minuteMs-1) {
				t.Fatalf("%s: the price changes inside a minute", at)
			}
		}
		if minutes != wantMinutes {
			t.Errorf("%s has %d cheap minutes, want %d", day, minutes, wantMinutes)
		}
	}
	f("2026-03-28", 180)
	f("2026-03-29", 120)
	f("2026-10-25", 240)
	f("1969-12-31", 180)
}

func BenchmarkTariffAt(b *testing.B) {
	c := seedCost()
	night := 0.05
	c.Bands = []Band{{From: "22:00", To: "06:00", ElectricityPerKWh: &night}}
	tr := tariff(b, c)
	b.ReportAllocs()
	ms, n := int64(1_700_000_000_000), 0
	for b.Loop() {
		if tr.At(ms) == nil {
			b.Fatal("no price")
		}
		ms += 100
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "prices/s")
}
