package transform

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wattledger/wattledger/power"
)

// A reading is split by time, and the parts sum to the whole exactly.
func TestWindowSplitsExactly(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 6))
		d := newDesk(t, IdleSeparate)
		x := power.Reading{
			Holder: theWeb, Energy: power.Microjoules(r.Int64N(9e15) + 1),
			StartMs: zero + r.Int64N(120_000), EndMs: zero + 120_000 + r.Int64N(1_000_000),
		}
		d.book(x)
		d.collect()
		var sum power.Microjoules
		for name, c := range d.charges {
			sum += c.Energy.Total()
			whole := float64(x.Energy) / float64(x.EndMs-x.StartMs)
			covered := min(x.EndMs, c.StartMs+60_000) - max(x.StartMs, c.StartMs)
			if got := float64(c.Energy.Total()); c.Holder.Kind == power.Container && (got < whole*float64(covered)*(1-1e-9)-1 || got > whole*float64(covered)*(1+1e-9)+1) {
				t.Errorf("seed %d: %s has %v µJ of %v ms", seed, name, got, covered)
			}
		}
		if sum != x.Energy {
			t.Fatalf("seed %d: the parts sum to %d, the whole is %d", seed, sum, x.Energy)
		}
	}
}

// A sample on the edge of a window ends the window before.
func TestWindowEdges(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	d.book(reading(theWeb, power.Used, 0, 60, 6), reading(theWeb, power.Used, 60, 120, 7))
	d.book(reading(theJob, power.Used, 60, 60, 5)) // of no length: where it ends
	d.collect()
	d.cpu("container/web@0", 6)
	d.cpu("container/web@1", 7)
	d.cpu("container/job@0", 5)
	if got := len(d.charges); got != 3+2*3 {
		t.Errorf("%d charges, want 9: %v", got, d.charges)
	}
}

// What a late sample takes back and books anew leaves nothing behind, however
// the windows cut it.
func TestWindowTakesBackExactly(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := newDesk(t, IdleSeparate)
		whole := power.Reading{Holder: theWeb, Energy: power.Microjoules(r.Int64N(1e12)), StartMs: zero + r.Int64N(100_000), EndMs: zero + 100_000 + r.Int64N(200_000)}
		back, a, b := whole, whole, whole
		back.Energy = -whole.Energy
		a.EndMs = whole.StartMs + 1 + r.Int64N(whole.EndMs-whole.StartMs)
		a.Energy = power.Microjoules(r.Int64N(int64(whole.Energy) + 1))
		b.StartMs, b.Energy = a.EndMs, whole.Energy-a.Energy
		d.book(whole)
		d.collect()
		d.book(back, a, b)
		d.collect()
		direct := newDesk(t, IdleSeparate)
		direct.book(a, b)
		direct.collect()
		for name, c := range d.charges {
			if c.Energy != direct.charges[name].Energy {
				t.Fatalf("seed %d: %s has %v, want %v", seed, name, c.Energy, direct.charges[name].Energy)
			}
		}
	}
}

// A window that nothing can reach any more is closed. Energy that comes for it
// all the same is booked late, in the oldest open window, and not lost.
func TestWindowSealed(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	d.book(reading(theWeb, power.Used, 0, 60, 10))
	d.book(reading(theWeb, power.Used, 60, 900, 14))
	d.collect()
	before := d.charges["container/web@0"]
	d.book(reading(theWeb, power.Used, 0, 60, 5))
	b := d.collect()
	if got := d.charges["container/web@0"]; got.Energy != before.Energy || got.Revision != before.Revision {
		t.Errorf("a sealed window moved: %+v", got)
	}
	if len(b.Nodes) != 1 || b.Nodes[0].StartMs <= zero {
		t.Fatalf("late energy moved %+v", b.Nodes)
	}
	var sum power.Microjoules
	for _, c := range d.charges {
		sum += c.Energy.Total()
	}
	if sum != 29e6 {
		t.Errorf("%v J are charged, want 29", sum.Joules())
	}
}

// A record that arrives late keeps the windows of its own time open: an outage
// that is filled afterwards is booked where it belongs.
func TestWindowBackfill(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	for minute := range int64(30) {
		d.position++
		r := reading(theWeb, power.Used, minute*60, minute*60+60, 6)
		d.Append(0, d.position, zero+7_200_000+minute, []power.Reading{r}) // all within 30 ms, two hours after
	}
	d.collect()
	for minute := range 30 {
		d.cpu(fmt.Sprintf("container/web@%d", minute), 6)
	}
	if len(d.nodes) != 30 {
		t.Errorf("%d windows, want 30", len(d.nodes))
	}
}

// The share of a window that samples covered, and the raw counter at its end.
func TestWindowCoverage(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	first, second := reading(theWeb, power.Used, 10, 25, 3), reading(theWeb, power.Used, 25, 40, 4)
	first.Counter, second.Counter = 103e6, 107e6
	d.book(first, second)
	d.collect()
	c := d.charges["container/web@0"]
	if c.SeenMs != 30_000 || c.LastMs != zero+40_000 || c.Counter[power.CPU] != 107e6 || c.Seconds != 60 {
		t.Errorf("charge %+v", c)
	}
	// Taking apart what is covered covers nothing more.
	d.book(reading(theWeb, power.Used, 10, 25, -3), reading(theWeb, power.Used, 10, 20, 1), reading(theWeb, power.Used, 20, 25, 2))
	d.collect()
	if c := d.charges["container/web@0"]; c.SeenMs != 30_000 || c.Energy[power.CPU] != 7e6 || c.Counter[power.CPU] != 107e6 {
		t.Errorf("charge %+v", c)
	}
}

func TestWindowIntegratedIsMarked(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	x := reading(theWeb, power.Used, 0, 60, 3)
	x.Integrated = true
	d.book(x, reading(theJob, power.Used, 0, 60, 3))
	d.collect()
	if !d.charges["container/web@0"].Integrated || d.charges["container/job@0"].Integrated {
		t.Error("marks are wrong")
	}
}

// A container that was forgotten while its node was silent may come back in a
// window that is still open. It must not have two rows there: the second would
// take the place of the first.
func TestWindowForgottenHolderReturns(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	d.book(reading(theWeb, power.Used, 0, 20, 10))
	d.collect()
	d.Forget(0, theWeb)
	d.Holder(0, theWeb, power.HolderKey{Cluster: "c1", Node: "node-a", Kind: power.Container, ID: "web"}, power.Attributes{Container: "web"}, "")
	d.book(reading(theWeb, power.Used, 20, 40, 7))
	d.collect()
	var sum power.Microjoules
	for _, c := range d.charges {
		sum += c.Energy.Total()
	}
	if sum != 17e6 {
		t.Errorf("%v J are charged, want 17", sum.Joules())
	}
}
