package counter

import (
	"fmt"
	"testing"

	"github.com/wattledger/wattledger/power"
)

func podLine(id string, v float64) string {
	return fmt.Sprintf(`kepler_pod_cpu_joules_total{node_name="node-a",pod_id=%q,pod_name="p",pod_namespace="ns",state="running",zone="package"} %v`, id, v)
}

// Where no container of a node is told its pods are the finest there is. They count
// until a container is told, and never beside one.
func TestPodsWithoutContainers(t *testing.T) {
	b := newBench(t)
	for second := 0.0; second <= 60; second += 15 {
		b.at(second, rawLine("package", 1000+300*second), activeLine("package", 200*second), podLine("u1", 7000+100*second), podLine("u2", 50*second))
		if second == 30 { // the line starts again in between: series are parsed anew, accounts are not
			state := save(t, b.cache)
			b.cache = New(DefaultConfig(), b.books)
			load(t, b.cache, state)
		}
	}
	b.booked("container/pod/u1", power.Used, power.CPU, 100*60)
	b.booked("container/pod/u2", power.Used, power.CPU, 50*60)
	if b.books.facts == 0 {
		t.Error("no pod was told")
	}
	// One that comes while its node is known began at 0.
	b.at(75, rawLine("package", 1000+300*75), activeLine("package", 200*75), podLine("u3", 40))
	b.booked("container/pod/u3", power.Used, power.CPU, 40)
	b.at(90, rawLine("package", 1000+300*90), activeLine("package", 200*90), podLine("u1", 20_000), containerLine("c1", "package", 30))
	b.at(105, rawLine("package", 1000+300*105), activeLine("package", 200*105), podLine("u1", 25_000), containerLine("c1", "package", 50))
	b.booked("container/pod/u1", power.Used, power.CPU, 100*60)
	b.booked("container/c1", power.Used, power.CPU, 50)
}
