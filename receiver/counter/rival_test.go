package counter

import (
	"fmt"
	"math"
	"testing"

	"github.com/wattledger/wattledger/power"
)

// scraped is what an exporter shows of a node that draws 300 W, 200 of them active,
// and of two containers of 120 and 80 W, having started at a second of the story.
// The register is the node's, all other counters are the exporter's own.
func scraped(started, second float64) []string {
	up := second - started
	return []string{
		rawLine("package", 50_000+300*second), wattsLine("package", 300),
		activeLine("package", 200*up), idleLine("package", 50_000+300*started+100*up),
		containerLine("c1", "package", 120*up), containerLine("c2", "package", 80*up),
	}
}

// as makes the following samples come from an exporter.
func (b *bench) as(instance string) {
	b.extra = []power.Label{{Name: "instance", Value: instance}, {Name: "job", Value: "kepler"}}
}

// near checks what is booked to within an interval of a scrape.
func (b *bench) near(holder string, m power.Measure, joules, by float64) {
	b.t.Helper()
	got := b.books.totals[fmt.Sprintf("default/node-a/%s m%d %s", holder, m, power.CPU)].Joules()
	if math.Abs(got-joules) > by {
		b.t.Errorf("%s m%d: booked %.3f J, want %.3f J to within %.0f", holder, m, got, joules, by)
	}
}

// Two exporters on one node, whatever their intervals, their phases and how long
// they run together: every joule counts once, and powers that do not change are
// exact over the change.
func TestRivals(t *testing.T) {
	for _, every := range [][2]float64{{15, 15}, {60, 15}, {15, 60}, {60, 60}, {5, 30}, {30, 30}} {
		for _, phase := range []float64{0, 4, 14} {
			for _, overlap := range []float64{-20, 10, 65, 700, 2400} {
				t.Run(fmt.Sprint(every, phase, overlap), func(t *testing.T) {
					b := newBench(t)
					stop := 1200 + max(overlap, 0)
					start, end := stop-overlap, stop+1500
					if start < 0 {
						start = 30
					}
					last := 0.0
					for second := 0.0; second <= end; second++ {
						if second <= stop && math.Mod(second, every[0]) == 0 {
							b.as("old:28282")
							b.at(second, scraped(-3000, second)...)
							last = second
						}
						if at := second - start - phase; at >= 0 && math.Mod(at, every[1]) == 0 {
							b.as("new:28282")
							b.at(second, scraped(start, second)...)
							last = second
						}
					}
					by := 1.0
					if max(every[0], every[1]) > 30 { // more than failover takes
						by = max(every[0], every[1])
					}
					if overlap < every[0]+every[1]+phase { // one may not have been seen beside the other
						by = max(every[0], every[1]) + math.Abs(overlap)
					}
					b.near("node/", power.Used, 300*last, 1)
					b.near("node/", power.Active, 200*last, 200*by)
					b.near("container/c1", power.Used, 120*last, 120*by)
					b.near("container/c2", power.Used, 80*last, 80*by)
				})
			}
		}
	}
}

// One exporter that two jobs scrape shows one and the same counter.
func TestRivalsThatAreOne(t *testing.T) {
	b := newBench(t)
	for second := 0.0; second <= 900; second += 15 {
		for i, instance := range []string{"10.0.0.1:28282", "node-a"} {
			if i == 0 && second > 400 {
				continue
			}
			b.as(instance)
			b.at(second+4*float64(i), scraped(-3000, second+4*float64(i))...)
		}
	}
	b.booked("node/", power.Used, power.CPU, 300*904)
	b.booked("node/", power.Active, power.CPU, 200*904)
	b.booked("container/c1", power.Used, power.CPU, 120*904)
}

// A pair that nothing tells apart, one of whose clocks is ahead or behind: a
// register falls a little when it wraps, else the reading is older than its time says.
func TestPairWithoutALabel(t *testing.T) {
	for _, ahead := range []float64{-30, -12, -2, -0.2, 0.2, 2, 12, 30} {
		for _, restarted := range []float64{math.Inf(1), 450} {
			t.Run(fmt.Sprint(ahead, restarted), func(t *testing.T) {
				b := newBench(t)
				counters := func(second float64) []string {
					started := -3000.0
					if second > restarted {
						started = restarted
					}
					lines := scraped(started, second)
					// A zone of which only the register is told, and wraps.
					return append(lines, rawLine("dram", math.Mod(262_000+20*second, 262_143)))
				}
				for second := 0.0; second <= 900; second += 15 {
					b.at(second, counters(second)...)
					b.at(second+5+ahead, counters(second+5)...)
				}
				lost := 0.0
				if restarted < 900 {
					lost = 15 // between the last scrape and the exporter's end
				}
				by := math.Abs(ahead) + 6
				b.near("node/", power.Used, 300*905, 300*by)
				b.near("container/c1", power.Used, 120*905, 120*(by+lost))
				b.near("container/c2", power.Used, 80*905, 80*(by+lost))
			})
		}
	}
}

// Counters that do not fall when their exporter starts again start again with
// it, in whatever order the series of a scrape come.
func TestRestartThatDoesNotShow(t *testing.T) {
	for _, nodeFirst := range []bool{true, false} {
		b := newBench(t)
		scrape := func(second, active, young float64) {
			node := []string{rawLine("package", 1000+300*second), activeLine("package", active), idleLine("package", 9000+second)}
			young1 := containerLine("young", "package", young)
			if nodeFirst {
				b.at(second, append(node, young1)...)
			} else {
				b.at(second, append([]string{young1}, node...)...)
			}
		}
		b.at(-15, rawLine("package", 1000), activeLine("package", 49_000), idleLine("package", 8000))
		b.at(0, rawLine("package", 1000), activeLine("package", 50_000), idleLine("package", 9000))
		scrape(15, 53_000, 300)
		scrape(30, 2000, 700) // started again at 20
		scrape(45, 5000, 1500)
		b.booked("container/young", power.Used, power.CPU, 300+1500)
		b.booked("node/", power.Active, power.CPU, 1000+3000+5000)
	}
}

// The register of several sockets may jump by the range of one when the exporter
// starts again: the power gauge bounds what was used.
func TestRestartWithARegisterThatJumps(t *testing.T) {
	for _, jump := range []float64{-262_143, 0, 262_143} {
		b := newBench(t)
		for second := 0.0; second <= 300; second += 15 {
			b.at(second, rawLine("package", 300_000+300*second), activeLine("package", 50_000+200*second), idleLine("package", 9000+100*second), wattsLine("package", 300))
		}
		for second := 360.0; second <= 600; second += 15 {
			b.at(second, rawLine("package", 300_000+300*second+jump), activeLine("package", 200*(second-350)), idleLine("package", 9000+100*second), wattsLine("package", 300))
		}
		b.booked("node/", power.Used, power.CPU, 300*600)
	}
}

// A counter that has rested for long has no history, and may start again unseen, too.
func TestRestartOfACounterThatRested(t *testing.T) {
	for _, nodeFirst := range []bool{true, false} {
		b := newBench(t)
		scrape := func(second, active, resting float64) {
			lines := []string{rawLine("package", 1000+300*second), activeLine("package", active), idleLine("package", 9000+second), containerLine("c1", "package", resting)}
			if !nodeFirst {
				lines[0], lines[3] = lines[3], lines[0]
			}
			b.at(second, lines...)
		}
		second := 0.0
		for ; second < 1500; second += 15 {
			scrape(second, 50_000+200*second, 20)
		}
		scrape(second, 2000, 700)
		scrape(second+15, 5000, 900)
		b.booked("container/c1", power.Used, power.CPU, 900)
		b.booked("node/", power.Active, power.CPU, 200*1485+5000)
	}
}

// Idle falls a little where the ratio of use is a hair above 1: active rises by what
// is missing, so no exporter started again.
func TestIdleThatDips(t *testing.T) {
	b := newBench(t)
	idle := 9000.0
	for i := 0.0; i < 20; i++ {
		if idle += 100; i == 7 || i == 12 {
			idle -= 100.5
		}
		b.at(15*i, rawLine("package", 1000+300*15*i), activeLine("package", 1000+300*15*i+10_000-idle), idleLine("package", idle))
	}
	b.booked("node/", power.Used, power.CPU, 300*15*19)
	b.booked("node/", power.NodeIdle, power.CPU, idle-9100)
	b.booked("node/", power.Active, power.CPU, 300*15*19-(idle-9100))
}

// Without the register the parts tell whether a reading is older than its time says.
func TestPairWithoutALabelAndRegister(t *testing.T) {
	b := newBench(t)
	for second := 0.0; second <= 900; second += 15 {
		b.at(second, scraped(-3000, second)[2:]...)
		b.at(second+5-9, scraped(-3000, second+5)[2:]...)
	}
	b.near("node/", power.Active, 200*905, 200*15)
	b.near("container/c1", power.Used, 120*905, 120*15)
}
