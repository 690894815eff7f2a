package counter

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/power"
)

// A node that an address names gets its name as soon as kube-state-metrics tells it.
// What was booked before stays where it is, what was used between the last sample
// by the address and the first by the name is nobody's; nothing is booked twice.
func TestNodeNamedByAddress(t *testing.T) {
	for _, fact := range []string{
		`kube_node_info{node="worker-1",internal_ip="10.0.0.7",namespace="monitoring",pod="ksm-1"} 1`,
		`kube_pod_info{node="worker-1",host_ip="10.0.0.7",pod_ip="10.1.0.3",namespace="ns",pod="p",uid="u1"} 1`,
	} {
		for _, known := range []float64{0, 120} {
			b := newBench(t)
			for second := 0.0; second <= 300; second += 15 {
				var lines []string
				for _, line := range scraped(-3000, second) {
					lines = append(lines, strings.Replace(line, `node_name="node-a"`, `node_name=""`, 1))
				}
				if second == known {
					lines = append(lines, fact)
				}
				b.at(second, lines...)
				if second == 150 { // the line starts again
					state := save(t, b.cache)
					b.cache = New(DefaultConfig(), b.books)
					load(t, b.cache, state)
				}
			}
			total := func(node string) float64 {
				return b.books.totals[fmt.Sprintf("default/%s/container/c1 m0 %s", node, power.CPU)].Joules()
			}
			before, after := 0.0, 300.0
			if known > 0 { // the first sample by the name is a baseline
				before, after = known-15, 300-known-15
			}
			if got := total("10.0.0.7:28282"); got != 120*before {
				t.Errorf("%s at %v s: %v J by the address, want %v", fact[:14], known, got, 120*before)
			}
			if got := total("worker-1"); got != 120*after {
				t.Errorf("%s at %v s: %v J by the name, want %v", fact[:14], known, got, 120*after)
			}
		}
	}
}

// What names a node and is no address stays.
func TestAddresses(t *testing.T) {
	for target, want := range map[string]string{
		"10.0.0.1:28282": "10.0.0.1", "10.0.0.1": "10.0.0.1", "[fd00::1]:28282": "fd00::1", "fd00::1": "fd00::1", "::ffff:10.0.0.1": "10.0.0.1",
		"worker-1": "invalid IP", "worker-1:28282": "invalid IP", "": "invalid IP", "10-0-0-1": "invalid IP", "1.worker": "invalid IP",
	} {
		if got := ipOf(target).String(); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

// One exporter that is scraped under its node's name and under an address is one, in
// whatever order its series come, and when the one job ends the other goes on.
func TestOneExporterUnderTwoNames(t *testing.T) {
	names := []string{"node-a", "10.1.2.3:9102"}
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		for _, ends := range order {
			b := newBench(t)
			for second := 0.0; second <= 900; second += 15 {
				for _, i := range order {
					if i == ends && second > 450 {
						continue
					}
					b.extra = []power.Label{{Name: "instance", Value: names[i]}, {Name: "job", Value: "job-" + names[i]}}
					b.at(second, legacy(-3000, second)...)
				}
			}
			sum := 0.0
			for name, e := range b.books.totals {
				if strings.Contains(name, "/container/c1 m0") {
					sum += e.Joules()
				}
			}
			if sum < 120*870 || sum > 120*900 {
				t.Errorf("order %v, %s ends: %v J, want %v", order, names[ends], sum, 120*900)
			}
			b.near("node/", power.Active, 200*900, 200*30)
		}
	}
}
