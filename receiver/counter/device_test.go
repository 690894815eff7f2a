package counter

import (
	"fmt"
	"testing"

	"github.com/wattledger/wattledger/power"
)

func dcgmLine(uuid, pod string, joules float64, extra string) string {
	return fmt.Sprintf(`DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID=%q,Hostname="node-a",exported_namespace="ml",exported_pod=%q,exported_container="main"%s} %v`, uuid, pod, extra, joules*1000)
}

func dcgmWattsLine(uuid, pod string, watts float64) string {
	return fmt.Sprintf(`DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID=%q,Hostname="node-a",exported_namespace="ml",exported_pod=%q,exported_container="main"} %v`, uuid, pod, watts)
}

func keplerGPULine(uuid string, joules float64) string {
	return fmt.Sprintf(`kepler_node_gpu_joules_total{gpu="0",gpu_uuid=%q,node_name="node-a"} %v`, uuid, joules)
}

// The gauge that explains a fall may come before or after the counter.
func TestDeviceShareFallWattsBeforeOrAfter(t *testing.T) {
	f := func(name string, requests ...[]string) {
		t.Helper()
		b := newBench(t)
		b.at(0, gpuLine("c1", 6851.7), gpuWattsLine("c1", 290))
		for _, r := range requests {
			b.at(10, r...)
		}
		b.at(20, gpuLine("c1", 4832.5))
		if t.Run(name, func(t *testing.T) { b.t = t; b.booked("container/c1", power.Used, power.GPU, 3119) }); t.Failed() {
			t.Log(name)
		}
	}
	f("together", []string{gpuLine("c1", 4732.5), gpuWattsLine("c1", 301.9)})
	f("watts before", []string{gpuWattsLine("c1", 301.9)}, []string{gpuLine("c1", 4732.5)})
	f("watts after", []string{gpuLine("c1", 4732.5)}, []string{gpuWattsLine("c1", 301.9)})
}

// What was estimated from a gauge is marked.
func TestDeviceEstimatesAreMarked(t *testing.T) {
	var integrated, counted power.Microjoules
	b := newBench(t)
	sink := &marks{books: b.books, integrated: &integrated, counted: &counted}
	b.feeder = newFeeder(t, sink)
	b.at(0, gpuLine("c1", 100), gpuWattsLine("c1", 10))
	b.at(10, gpuLine("c1", 200), gpuWattsLine("c1", 10))
	b.at(20, gpuLine("c1", 50), gpuWattsLine("c1", 10))
	if counted != 100e6 || integrated != 100e6 {
		t.Errorf("counted %v J, marked %v J, want 100 and 100", counted.Joules(), integrated.Joules())
	}
}

type marks struct {
	*books
	integrated, counted *power.Microjoules
}

func (m *marks) Append(shard int, at uint64, arrivalMs int64, readings []power.Reading) {
	for _, r := range readings {
		if r.Integrated {
			*m.integrated += r.Energy
		} else {
			*m.counted += r.Energy
		}
	}
	m.books.Append(shard, at, arrivalMs, readings)
}

// DCGM and Kepler see the same GPU: it is one GPU, and Kepler is booked.
func TestDeviceSeenTwice(t *testing.T) {
	for _, first := range []string{"kepler", "dcgm"} {
		b := newBench(t)
		for i := range 5 {
			x := float64(i)
			lines := []string{keplerGPULine("GPU-1A", 5000+x*300), dcgmLine("1a", "p", 9000+x*301, ""), dcgmWattsLine("GPU-1a", "p", 20)}
			if first == "dcgm" {
				lines[0], lines[1] = lines[1], lines[0]
			}
			b.at(x*15, lines...)
		}
		b.booked("node/", power.Used, power.GPU, 1200)
	}
}

// Under MIG every instance repeats the whole device. It is booked once, and the
// pods that are named share it.
func TestDeviceMIG(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		x := float64(i)
		b.at(x*15, dcgmLine("g", "pod-a", 100+x*60, `,GPU_I_ID="1"`), dcgmLine("g", "pod-b", 100+x*60, `,GPU_I_ID="2"`))
	}
	b.booked("node/", power.Used, power.GPU, 120)
}

// A device with one user is that user's.
func TestDeviceUser(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		x := float64(i)
		b.at(x*15, dcgmLine("g", "pod-a", 100+x*60, ""))
	}
	b.booked("node/", power.Used, power.GPU, 120)
	b.booked("container/ml/pod-a", power.Used, power.GPU, 120)
}

// A gauge is integrated where no counter exists, but not over a gap.
func TestDeviceGaugeWithGaps(t *testing.T) {
	b := newBench(t)
	b.at(0, dcgmWattsLine("g", "p", 100))
	b.at(15, dcgmWattsLine("g", "p", 200)) // 150 W × 15 s
	b.at(106, dcgmWattsLine("g", "p", 200))
	b.at(121, dcgmWattsLine("g", "p", 200)) // 200 W × 15 s
	b.booked("node/", power.Used, power.GPU, 150*15+200*15)
	// A late sample fills the gap: the same trapezoids as in order.
	b.at(60, dcgmWattsLine("g", "p", 200))
	b.booked("node/", power.Used, power.GPU, 150*15+200*106)
}

// Another exporter's samples do not make a node known to Kepler: containers
// that Kepler shows first afterwards have run for long.
func TestDeviceExporterIsNoWitness(t *testing.T) {
	b := newBench(t)
	b.at(0, `DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="g",Hostname="node-a"} 100`)
	b.at(10, rawLine("package", 1000), containerLine("c1", "package", 9000))
	b.booked("container/c1", power.Used, power.CPU, 0)
	b.at(25, rawLine("package", 1000), containerLine("c2", "package", 90))
	b.booked("container/c2", power.Used, power.CPU, 90)
}

// Within a long gap the register may wrap and rise above its old value.
func TestNodeWrapUnseenInAGap(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 100_000), activeLine("package", 1000), idleLine("package", 2000), wattsLine("package", 210))
	b.at(1800, rawLine("package", 115_856.67), activeLine("package", 201_000), idleLine("package", 80_000), wattsLine("package", 150))
	b.booked("node/", power.Used, power.CPU, 278_000)
}

// An exporter that started again within a gap, so long ago that its active
// counter has overtaken the old one, adds no phantom either.
func TestNodeRestartUnseenInAGap(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 100_000), activeLine("package", 10), idleLine("package", 90_000), wattsLine("package", 100))
	b.at(60, rawLine("package", 106_000), activeLine("package", 300), idleLine("package", 105_700), wattsLine("package", 100))
	b.booked("node/", power.Used, power.CPU, 6000)
}

// The three counters of a zone and the power may come in any order and request.
func TestNodeSeriesApart(t *testing.T) {
	lines := [][]string{
		{rawLine("package", 262_000), activeLine("package", 1000), idleLine("package", 2000), wattsLine("package", 60)},
		{rawLine("package", 756.67), activeLine("package", 1700), idleLine("package", 2200), wattsLine("package", 60)},
		{rawLine("package", 1200), activeLine("package", 0), idleLine("package", 1200), wattsLine("package", 60)},
		{rawLine("package", 2100), activeLine("package", 600), idleLine("package", 1500), wattsLine("package", 60)},
	}
	want := 900 + (1200 - 756.67) + 900
	for shift := range 4 {
		b := newBench(t)
		for series := range 4 {
			for i := range lines {
				b.at(float64(i)*15, lines[i][(series+shift)%4])
			}
		}
		b.booked("node/", power.Used, power.CPU, want)
		b.booked("node/", power.Active, power.CPU, 700+0+600)
		b.booked("node/", power.NodeIdle, power.CPU, 200+300)
	}
}
