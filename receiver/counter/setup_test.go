package counter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattledger/wattledger/power"
)

// A sent is one request of a story that is told by several senders.
type sent struct {
	arrival float64
	second  float64 // by the sender's clock
	label   string  // what the sender puts on
	lines   []string
}

// tell sends requests in the order of their arrival.
func (b *bench) tell(all []sent) {
	b.t.Helper()
	slices.SortStableFunc(all, func(x, y sent) int {
		switch {
		case x.arrival < y.arrival:
			return -1
		case x.arrival > y.arrival:
			return 1
		}
		return 0
	})
	for _, x := range all {
		b.extra = []power.Label{{Name: "instance", Value: "10.0.0.1:28282"}, {Name: "job", Value: "kepler"}}
		switch x.label {
		case "declared a", "declared b":
			b.extra = append(b.extra, power.Label{Name: "prometheus_replica", Value: x.label})
		case "other a", "other b":
			b.extra = append(b.extra, power.Label{Name: "dc", Value: x.label})
		}
		b.at(x.second, x.lines...)
	}
}

// A pair, however told apart and however far its clocks, cannot reach the receiver
// for five minutes in which the exporter restarts. B lost its queue; A sends its
// own after B's newest, in order. What only A saw is told by nobody else.
func TestPairThatLostAQueue(t *testing.T) {
	for _, kind := range []string{"declared", "other", "none"} {
		for _, ahead := range []float64{-25, -2, 0.2, 2, 12} {
			for _, every := range []float64{15, 30} {
				for _, restart := range []float64{math.Inf(1), 1395} {
					t.Run(fmt.Sprint(kind, " ", ahead, every, restart), func(t *testing.T) {
						b := newBench(t)
						counters := func(second float64) []string {
							if second > restart {
								return scraped(restart, second)
							}
							return scraped(-3000, second)
						}
						var all []sent
						for second := 0.0; second <= 2400; second += every {
							arrival := second
							if second > 1200 && second <= 1500 {
								arrival = 1520 + (second-1200)/100 // A's queue
							}
							all = append(all, sent{arrival, second, kind + " a", counters(second)})
							if second+5 <= 1200 || second+5 > 1500 {
								all = append(all, sent{second + 5, second + 5 + ahead, kind + " b", counters(second + 5)})
							}
						}
						b.tell(all)
						by := math.Abs(ahead) + 6
						lost := 0.0
						if restart < 2400 {
							lost = every
						}
						b.near("node/", power.Used, 300*2400, 300*by)
						b.near("container/c1", power.Used, 120*2400, 120*(by+lost))
						b.near("container/c2", power.Used, 80*2400, 80*(by+lost))
					})
				}
			}
		}
	}
}

// A pair of which one is away at times, with any scrape interval.
func TestPairThatTakesTurns(t *testing.T) {
	for _, kind := range []string{"declared", "other", "none"} {
		for _, ahead := range []float64{-30, -2, 0, 2, 30} {
			for _, every := range []float64{5, 15, 60} {
				t.Run(fmt.Sprint(kind, " ", ahead, every), func(t *testing.T) {
					b := newBench(t)
					var all []sent
					for second := 0.0; second <= 3600; second += every {
						if second < 900 || second > 1500 {
							all = append(all, sent{second, second, kind + " a", scraped(-3000, second)})
						}
						if second < 2000 || second > 2700 {
							all = append(all, sent{second + 3, second + 3 + ahead, kind + " b", scraped(-3000, second+3)})
						}
					}
					b.tell(all)
					by := math.Abs(ahead) + every + 4
					b.near("node/", power.Used, 300*3600, 300*by)
					b.near("container/c1", power.Used, 120*3600, 120*by)
				})
			}
		}
	}
}

// legacy is what Kepler 0.9 shows of the node and the containers of scraped.
func legacy(started, second float64) []string {
	up := second - started
	return []string{
		fmt.Sprintf(`kepler_node_package_joules_total{package="0",mode="dynamic"} %v`, 200*up),
		fmt.Sprintf(`kepler_node_package_joules_total{package="0",mode="idle"} %v`, 100*up),
		fmt.Sprintf(`kepler_container_package_joules_total{container_id="c1",pod_name="p1",container_name="main",container_namespace="ns",mode="dynamic"} %v`, 120*up),
		fmt.Sprintf(`kepler_container_package_joules_total{container_id="c2",pod_name="p2",container_name="main",container_namespace="ns",mode="dynamic"} %v`, 80*up),
	}
}

// An upgrade, forth and back, with both generations on the node for a while.
func TestGenerations(t *testing.T) {
	for _, back := range []bool{false, true} {
		for _, overlap := range []float64{65, 300, 1500} {
			for _, every := range []float64{15, 30} {
				for _, phase := range []float64{0, 4} {
					t.Run(fmt.Sprint(back, overlap, every, phase), func(t *testing.T) {
						b := newBench(t)
						old, young := legacy, scraped
						if back {
							old, young = scraped, legacy
						}
						stop := 1200 + overlap
						for second := 0.0; second <= stop+900; second += every {
							if second <= stop {
								b.extra = []power.Label{{Name: "instance", Value: "node-a"}, {Name: "job", Value: "old"}}
								b.at(second, old(-3000, second)...)
							}
							if second >= 1200 {
								b.extra = []power.Label{{Name: "instance", Value: "node-a"}, {Name: "job", Value: "new"}}
								b.at(second+phase, young(1190, second+phase)...)
							}
						}
						last := math.Floor((stop+900)/every)*every + phase
						by := every + phase
						b.near("node/", power.Used, 300*last, 300*by)
						b.near("node/", power.Active, 200*last, 200*by)
						b.near("container/c1", power.Used, 120*last, 120*by)
						b.near("container/c2", power.Used, 80*last, 80*by)
					})
				}
			}
		}
	}
}

// A clock that is set forward, and right again.
func TestClockSetForwardAndBack(t *testing.T) {
	for _, shift := range []float64{20, 240, 3600, 4 * 3600} {
		b := newBench(t)
		for second := 0.0; second <= 3600; second += 15 {
			at := second
			if second > 1200 && second < 2400 {
				at += shift
			}
			b.as("10.0.0.1:28282")
			b.at(at, scraped(-3000, second)...)
		}
		b.near("node/", power.Used, 300*3600, 1)
		b.near("node/", power.Active, 200*3600, 1)
		b.near("container/c1", power.Used, 120*3600, 1)
		if t.Failed() {
			t.Fatal("clock set by ", shift)
		}
	}
}

// Two exporters on a node whose samples come in any order within the reorder
// window, and twice: what is booked is what comes of them in order.
func TestRivalsShuffled(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 5))
		overlap := 20 + r.Float64()*150
		var requests []func(b *bench)
		add := func(instance string, started, second float64) {
			for _, line := range scraped(started, second) {
				requests = append(requests, func(b *bench) { b.as(instance); b.at(second, line) })
			}
		}
		for second := 0.0; second <= 140; second += 15 {
			add("old:28282", -3000, second)
		}
		for second := 142 - overlap; second <= 285; second += 15 {
			add("new:28282", 140-overlap, max(second, 1))
		}
		b := newBench(t)
		for _, send := range requests {
			send(b)
		}
		want := b.books.totals
		shuffled := slices.Concat(requests, requests[:len(requests)/3])
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		b = newBench(t)
		for _, send := range shuffled {
			send(b)
		}
		if d := difference(b.books.totals, want); len(d) != 0 {
			t.Fatalf("seed %d, overlap %v: %v", seed, overlap, d)
		}
	}
}

// A pair of legacy Kepler's samples that nothing tells apart. There is no register
// beside its counters.
func TestLegacyPairWithoutALabel(t *testing.T) {
	for _, ahead := range []float64{-30, -2, 0.2, 2, 30} {
		for _, restarted := range []float64{math.Inf(1), 1450} {
			t.Run(fmt.Sprint(ahead, restarted), func(t *testing.T) {
				b := newBench(t)
				b.extra = []power.Label{{Name: "instance", Value: "node-a"}, {Name: "job", Value: "kepler"}}
				counters := func(second float64) []string {
					if second > restarted {
						return legacy(restarted, second)
					}
					return legacy(-3000, second)
				}
				for second := 0.0; second <= 2400; second += 15 {
					b.at(second, counters(second)...)
					b.at(second+5+ahead, counters(second+5)...)
				}
				by, lost := math.Abs(ahead)+6, 0.0
				if restarted < 2400 {
					lost = 15
				}
				b.near("node/", power.Used, 300*2405, 300*(by+lost))
				b.near("container/c1", power.Used, 120*2405, 120*(by+lost))
			})
		}
	}
}

// A container that is young when legacy Kepler starts again.
func TestLegacyRestartThatDoesNotShow(t *testing.T) {
	b := newBench(t)
	scrape := func(second, active, young float64) {
		b.extra = []power.Label{{Name: "instance", Value: "node-a"}, {Name: "job", Value: "kepler"}}
		b.at(second, fmt.Sprintf(`kepler_node_package_joules_total{package="0",mode="dynamic"} %v`, active),
			fmt.Sprintf(`kepler_container_package_joules_total{container_id="c1",pod_name="p1",container_name="main",container_namespace="ns",mode="dynamic"} %v`, young))
	}
	b.extra = []power.Label{{Name: "instance", Value: "node-a"}, {Name: "job", Value: "kepler"}}
	b.at(0, `kepler_node_package_joules_total{package="0",mode="dynamic"} 50000`)
	scrape(15, 53_000, 300)
	scrape(30, 2000, 700)
	scrape(45, 5000, 1500)
	b.booked("container/c1", power.Used, power.CPU, 300+1500)
	b.booked("node/", power.Active, power.CPU, 3000+5000)
}

// A sender that could not reach the receiver sends the newest first and its backlog
// beside it, however long that is, and whether or not the exporter restarted meanwhile.
func TestBacklogBesideTheNewest(t *testing.T) {
	for _, outage := range []float64{120, 290, 600, 1800} {
		for _, restart := range []float64{math.Inf(1), 0.4, 0.9} {
			for _, speed := range []float64{4, 20} { // how much faster than time the backlog comes
				t.Run(fmt.Sprint(outage, restart, speed), func(t *testing.T) {
					b := newBench(t)
					began := 1200 + outage*restart
					var all []sent
					for second := 0.0; second <= 1200+2*outage; second += 15 {
						counters := scraped(-3000, second)
						if second > began {
							counters = scraped(began, second)
						}
						arrival := second
						if second > 1200 && second <= 1200+outage {
							arrival = 1201 + outage + (second-1200)/speed
						}
						all = append(all, sent{arrival, second, "", counters})
					}
					b.tell(all)
					last := math.Floor((1200+2*outage)/15) * 15
					b.near("node/", power.Used, 300*last, 1)
					lost := 0.0
					if restart < 2 {
						lost = 15
					}
					b.near("container/c1", power.Used, 120*last, 120*lost+1)
					b.near("container/c2", power.Used, 80*last, 80*lost+1)
				})
			}
		}
	}
}

// Containers whose series come minutes after their node's are older than what is
// known of it: what they counted before is not of this time.
func TestContainersThatComeLate(t *testing.T) {
	for name, show := range map[string]func(started, second float64) []string{"new": scraped, "legacy": legacy} {
		b := newBench(t)
		b.extra = []power.Label{{Name: "instance", Value: "node-a"}, {Name: "job", Value: "kepler"}}
		for second := 0.0; second <= 1200; second += 15 {
			lines := show(-3000, second)
			if second < 600 {
				lines = slices.DeleteFunc(lines, func(line string) bool { return line[:len("kepler_container")] == "kepler_container" })
			}
			if second == 900 {
				lines = append(lines, containerLine("young", "package", 700)) // and one that did begin now
			}
			b.at(second, lines...)
		}
		b.booked("container/c1", power.Used, power.CPU, 120*600)
		b.booked("container/young", power.Used, power.CPU, 700)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}
