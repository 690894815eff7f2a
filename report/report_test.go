package report

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

var (
	cheap = power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}
	dear  = power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.3, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}
	euro  = power.Price{Model: "seed", Currency: "EUR", ElectricityPerKWh: 0.3}
)

func amount(p power.Price, cpu, gpu, idle power.Microjoules) Amount {
	return amountOf("shop", store.Row{Price: p, Energy: power.Energy{power.CPU: cpu, power.GPU: gpu}, Idle: idle})
}

// However energy is cut and in which order it is added, the joules are the same
// and a kilowatt-hour costs what one costs.
func TestAmount(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var whole Amount
	left := power.Microjoules(power.MicrojoulesPerKWh)
	for left > 0 {
		part := min(left, 1+power.Microjoules(rng.Int64N(power.MicrojoulesPerKWh/100)))
		whole.Add(amount(cheap, part, 0, part/2))
		left -= part
	}
	if cost, currency, ok := whole.Money(); !ok || currency != "USD" || cost != cheap.Cost(power.MicrojoulesPerKWh) {
		t.Errorf("a kWh costs %v %s, %v", cost, currency, ok)
	}
	whole.Add(amount(dear, 5, 7, 1))
	if e := whole.Energy(); e[power.CPU] != power.MicrojoulesPerKWh+5 || e[power.GPU] != 7 {
		t.Errorf("energy %v", e)
	}
	if gpu := whole.Of(power.GPU); gpu.Energy().Total() != 7 {
		t.Errorf("gpu %v", gpu.Energy())
	}
	whole.Add(amount(euro, 1, 0, 0))
	if cost, currency, ok := whole.Money(); ok || currency != "" || cost != (power.Cost{}) {
		t.Errorf("money of two currencies: %v %s", cost, currency)
	}
}

func TestCut(t *testing.T) {
	at := func(hour int) time.Time { return time.UnixMilli(0).Add(time.Duration(hour) * time.Hour) }
	f := func(steps []Step, length time.Duration, want ...[2]int) {
		t.Helper()
		if len(steps) != len(want) {
			t.Fatalf("steps %v, want %v", steps, want)
		}
		for i, w := range want {
			if s := steps[i]; s.FromMs != at(w[0]).UnixMilli() || s.ToMs != at(w[1]).UnixMilli() {
				t.Errorf("step %d is %+v, want %v", i, s, w)
			}
		}
		if got := lengthOf(steps); got != length.Milliseconds() {
			t.Errorf("all of %v are %d ms long, want %v", steps, got, length)
		}
	}
	f(Even(at(1), at(5), 2*time.Hour), 2*time.Hour, [2]int{1, 2}, [2]int{2, 4}, [2]int{4, 5})
	f(Cut(at(1), at(5), []time.Time{at(0), at(2), at(4), at(6)}), 2*time.Hour, [2]int{1, 2}, [2]int{2, 4}, [2]int{4, 5})
	f(Cut(at(2), at(7), []time.Time{at(0), at(2), at(5), at(9)}), 0, [2]int{2, 5}, [2]int{5, 7})
	f(Cut(at(1), at(5), []time.Time{at(1), at(3), at(5)}), 0, [2]int{1, 3}, [2]int{3, 5}) // of one length, and aligned to none
}

// Each node has one holder of each remainder; rows are repeated for each price
// and containers tell nothing where a remainder does.
func TestSeen(t *testing.T) {
	step := Step{StartMs: 0, FromMs: 0, ToMs: 1000, EndMs: 1000}
	f := func(want float64, rows ...store.Row) {
		t.Helper()
		if got := seenIn(rows, []store.Dimension{store.Namespace}).share(step); got != want {
			t.Errorf("seen %v, want %v", got, want)
		}
	}
	row := func(namespace string, seenMs int64, holders int, p power.Price) store.Row {
		return store.Row{Group: []string{namespace}, SeenMs: seenMs, Holders: holders, Price: p}
	}
	f(0)
	f(0.75, row("__idle__", 1500, 2, cheap))
	f(0.75, row("__idle__", 700, 2, cheap), row("__idle__", 800, 2, dear))
	f(0.75, row("__idle__", 1500, 2, cheap), row("shop", 50_000, 50, cheap))
	f(0.9, row("shop", 900, 1, cheap), row("jobs", 100, 10, cheap))
	f(1, row("__system__", 1001, 1, cheap))
}

func TestKeep(t *testing.T) {
	group := func(name string, e power.Microjoules) Group {
		return Group{Values: strings.Split(name, ":"), Figure: Figure{Amount: amount(cheap, e, 0, 0)}}
	}
	f := func(l List, want string, others power.Microjoules, found int) {
		t.Helper()
		a := Answer{Groups: []Group{group("c1:a", 3), group("c1:b", 9), group("c2:a", 9)}}
		a.Keep(l)
		var names []string
		for _, g := range a.Groups {
			names = append(names, g.Name())
		}
		if got := strings.Join(names, " "); got != want || a.Others.Energy().Total() != others || a.Found != found {
			t.Errorf("%+v: %s and %d of %d, want %s and %d of %d", l, got, a.Others.Energy().Total(), a.Found, want, others, found)
		}
	}
	f(List{}, "c1:a c1:b c2:a", 0, 3)
	f(List{By: ByEnergy, Limit: 1}, "c1:a", 18, 3)
	f(List{By: ByEnergy, Descending: true, Limit: 2}, "c1:b c2:a", 3, 3)
	f(List{By: ByName, Descending: true, Limit: 2}, "c2:a c1:b", 3, 3)
	f(List{By: ByCost, Descending: true, Offset: 2, Limit: 2}, "c1:a", 18, 3)
	f(List{Search: "C1:"}, "c1:a c1:b", 9, 2)
	f(List{Offset: 9}, "", 21, 3)
}
