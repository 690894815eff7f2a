package counter

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/test/exposition"
)

// Every trap of Kepler's series has one test, named after it, with the figures
// that were seen of the real program. docs/accounting.md has the same numbers.

// A bench books a story told in the text format.
type bench struct {
	*feeder
	t     testing.TB
	books *books
	extra []power.Label // put on every series
}

func newBench(t testing.TB) *bench {
	b := newBooks()
	return &bench{feeder: newFeeder(t, b), t: t, books: b}
}

// epoch is the second that stories begin at: a whole hour.
const epoch = 1_795_474_800

// at sends one request with the lines as a scrape at the given second would have them.
func (b *bench) at(seconds float64, lines ...string) Outcome {
	b.t.Helper()
	return b.send(b.samples(seconds, lines...))
}

func (b *bench) samples(seconds float64, lines ...string) []sample {
	b.t.Helper()
	var all []sample
	exposition.Each(b.t, []byte(strings.Join(lines, "\n")+"\n"), func(l []power.Label, v float64) {
		for _, extra := range append(slices.Clone(b.extra), exposition.Instance) {
			if exposition.Value(l, extra.Name) == "" {
				l = append(l, extra)
			}
		}
		slices.SortFunc(l, func(a, b power.Label) int { return strings.Compare(a.Name, b.Name) })
		all = append(all, sample{labels: l, tMs: epoch*1000 + int64(math.Round(seconds*1000)), value: v})
	})
	return all
}

// booked checks what a holder of node-a ("container/c1", "node/") has booked, in joules.
func (b *bench) booked(holder string, m power.Measure, c power.Component, joules float64) {
	b.t.Helper()
	name := fmt.Sprintf("default/node-a/%s m%d %s", holder, m, c)
	if got, want := b.books.totals[name], power.Microjoules(math.Round(joules*1e6)); got != want {
		b.t.Errorf("%s: booked %v J, want %v J", name, got.Joules(), want.Joules())
	}
}

// accounts checks that nothing but the named ones has anything booked.
func (b *bench) accounts(names ...string) {
	b.t.Helper()
	for name, e := range b.books.totals {
		if e != 0 && !slices.Contains(names, strings.TrimPrefix(name, "default/node-a/")) {
			b.t.Errorf("%s has %v J, nobody should have", name, e.Joules())
		}
	}
}

func (b *bench) quarantined() (all []Quarantined) {
	for _, s := range b.cache.shards {
		all = append(all, s.quarantined...)
	}
	return all
}

func rawLine(zone string, v float64) string {
	return fmt.Sprintf(`kepler_node_cpu_joules_total{node_name="node-a",zone=%q} %v`, zone, v)
}
func activeLine(zone string, v float64) string {
	return fmt.Sprintf(`kepler_node_cpu_active_joules_total{node_name="node-a",zone=%q} %v`, zone, v)
}
func idleLine(zone string, v float64) string {
	return fmt.Sprintf(`kepler_node_cpu_idle_joules_total{node_name="node-a",zone=%q} %v`, zone, v)
}
func wattsLine(zone string, v float64) string {
	return fmt.Sprintf(`kepler_node_cpu_watts{node_name="node-a",zone=%q} %v`, zone, v)
}
func containerLine(id, zone string, v float64) string {
	return fmt.Sprintf(`kepler_container_cpu_joules_total{container_id=%q,container_name="main",node_name="node-a",pod_id="u1",runtime="containerd",state="running",zone=%q} %v`, id, zone, v)
}
func terminatedLine(id, zone string, v float64) string {
	return strings.Replace(containerLine(id, zone, v), "running", "terminated", 1)
}
func gpuLine(id string, v float64) string {
	return fmt.Sprintf(`kepler_container_gpu_joules_total{container_id=%q,container_name="main",node_name="node-a",pod_id="u1",state="running"} %v`, id, v)
}
func gpuWattsLine(id string, v float64) string {
	return fmt.Sprintf(`kepler_container_gpu_watts{container_id=%q,container_name="main",node_name="node-a",pod_id="u1",state="running"} %v`, id, v)
}

// psys holds package and dram, package holds core and uncore: only one cut
// through them is energy.
func TestRule01ZonesOverlap(t *testing.T) {
	story := func(b *bench) {
		for _, second := range []float64{0, 60} {
			for zone, watts := range map[string]float64{"psys": 408, "package": 253, "core": 160, "uncore": 5, "dram": 27} {
				b.at(second, rawLine(zone, 1000+watts*second), containerLine("c1", zone, 10+watts/2*second))
			}
		}
	}
	b := newBench(t)
	story(b)
	b.booked("node/", power.Used, power.CPU, 253*60)
	b.booked("node/", power.Used, power.DRAM, 27*60)
	b.booked("container/c1", power.Used, power.CPU, 253*30)
	b.booked("container/c1", power.Used, power.DRAM, 27*30)
	b.accounts("node/ m0 cpu", "node/ m0 dram", "container/c1 m0 cpu", "container/c1 m0 dram")

	b = newBench(t)
	config := metric.DefaultConfig()
	config.Book = "psys"
	table, err := shippedTable(t).Configure(config)
	if err != nil {
		t.Fatal(err)
	}
	b.table = table
	story(b)
	b.booked("node/", power.Used, power.CPU, 408*60)
	b.accounts("node/ m0 cpu", "container/c1 m0 cpu")
}

// Processes, containers and pods tell the same energy: one level is booked.
func TestRule02LevelsOverlap(t *testing.T) {
	b := newBench(t)
	for i, second := range []float64{0, 60} {
		x := float64(i)
		b.at(second,
			rawLine("package", 100_000+x*7795.56), activeLine("package", 50_000+x*4248.58), idleLine("package", 80_000+x*3546.98),
			`kepler_process_cpu_joules_total{pid="1",node_name="node-a",container_id="c1",state="running",zone="package"} `+fmt.Sprint(7+x*4248.58),
			containerLine("c1", "package", 9+x*3849.00),
			`kepler_pod_cpu_joules_total{pod_id="u1",pod_name="p",pod_namespace="ns",node_name="node-a",state="running",zone="package"} `+fmt.Sprint(5+x*3849.00),
			`kepler_vm_cpu_joules_total{vm_id="v1",vm_name="vm",hypervisor="kvm",node_name="node-a",state="running",zone="package"} `+fmt.Sprint(2+x*243.62))
	}
	b.booked("node/", power.Used, power.CPU, 7795.56)
	b.booked("node/", power.Active, power.CPU, 4248.58)
	b.booked("node/", power.NodeIdle, power.CPU, 3546.98)
	b.booked("container/c1", power.Used, power.CPU, 3849.00)
	b.booked("vm/v1", power.Used, power.CPU, 243.62)
	b.accounts("node/ m0 cpu", "node/ m1 cpu", "node/ m2 cpu", "container/c1 m0 cpu", "vm/v1 m0 cpu")
	if b.books.facts != 1 {
		t.Errorf("the pod's series told %d facts, want 1", b.books.facts)
	}
}

// The node's counter is a register that wraps; its two parts do not.
func TestRule03NodeCounterWraps(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 523_624.13), activeLine("package", 1000), idleLine("package", 2000))
	b.at(15, rawLine("package", 636.80), activeLine("package", 1900), idleLine("package", 2399.33))
	b.booked("node/", power.Used, power.CPU, 1299.33)
	b.booked("node/", power.Active, power.CPU, 900)
	b.booked("node/", power.NodeIdle, power.CPU, 399.33)
}

// When the exporter starts again the idle counter begins at the register's value.
func TestRule04IdleJumpsAtExporterRestart(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 47_783), activeLine("package", 5000), idleLine("package", 28_965.9), wattsLine("package", 59))
	b.at(7, rawLine("package", 48_196), activeLine("package", 0), idleLine("package", 48_196), wattsLine("package", 59))
	b.at(12, rawLine("package", 48_491), activeLine("package", 100), idleLine("package", 48_391), wattsLine("package", 59))
	b.booked("node/", power.Used, power.CPU, 48_491-47_783) // the register never stopped
	b.booked("node/", power.Active, power.CPU, 100)
	b.booked("node/", power.NodeIdle, power.CPU, 195)

	// Several sockets merged anew may move the register by whole ranges, either way.
	for _, ranges := range []float64{1, -1} {
		b = newBench(t)
		b.at(0, rawLine("package", 300_000), activeLine("package", 5000), idleLine("package", 20_000), wattsLine("package", 59))
		b.at(7, rawLine("package", 300_413+ranges*262_143.33), activeLine("package", 0), idleLine("package", 300_413), wattsLine("package", 59))
		b.booked("node/", power.Used, power.CPU, 59*7)
		b.booked("node/", power.NodeIdle, power.CPU, 0)
	}
}

// The last energy of a container is only in its terminated series.
func TestRule05TerminatedIsTheSameCounter(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 1))
	b.at(10, containerLine("c1", "package", 4852.67))
	b.at(15, terminatedLine("c1", "package", 5040.81))
	b.booked("container/c1", power.Used, power.CPU, 5040.81)
}

// A terminated series stays for a scrape or more, and often only one of a pair
// of Prometheus replicas sees it.
func TestRule06TerminatedFromAnyReplica(t *testing.T) {
	b := newBench(t)
	replica := func(name string) { b.extra = []power.Label{{Name: "prometheus_replica", Value: name}} }
	replica("a")
	b.at(0, rawLine("package", 1))
	b.at(10, containerLine("c1", "package", 4852.67))
	replica("b")
	b.at(11, containerLine("c1", "package", 4870))
	b.at(14, terminatedLine("c1", "package", 5040.81))
	b.at(19, terminatedLine("c1", "package", 5040.81))
	replica("a")
	b.at(24, rawLine("package", 2))
	b.booked("container/c1", power.Used, power.CPU, 5040.81)
}

// A job that lives between two scrapes shows nothing but a terminated sample.
// It began at 0 if its node was known before.
func TestRule07ShortJobIsCredited(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 1000), containerLine("old", "package", 700))
	b.at(15, rawLine("package", 2000), containerLine("old", "package", 750), terminatedLine("job", "package", 229.9))
	b.booked("container/job", power.Used, power.CPU, 229.9)
	b.booked("container/old", power.Used, power.CPU, 50) // it may have run for weeks: a baseline
}

// Until the pod is known its containers have other labels. It is one account.
func TestRule08LabelsChangeInMidLife(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 1000))
	b.at(5, `kepler_container_cpu_joules_total{container_id="c1",container_name="late-pod-abc12",node_name="node-a",pod_id="",state="running",zone="package"} 52.07`)
	b.at(10, containerLine("c1", "package", 141.47))
	b.booked("container/c1", power.Used, power.CPU, 141.47)
}

// A pod's counter starts when the pod is known, later than its containers.
func TestRule09PodsAreADictionary(t *testing.T) {
	b := newBench(t)
	pod := `kepler_pod_cpu_joules_total{pod_id="u1",pod_name="p",pod_namespace="ns",node_name="node-a",state="running",zone="package"} `
	b.at(0, rawLine("package", 1000))
	b.at(5, containerLine("c1", "package", 92.39), pod+"0")
	b.at(10, containerLine("c1", "package", 141.47), pod+"49.08")
	b.booked("container/c1", power.Used, power.CPU, 141.47)
	b.accounts("container/c1 m0 cpu")
	if b.books.facts != 1 {
		t.Errorf("told %d facts, want 1", b.books.facts)
	}
}

// A refresh without work zeroes every counter of the zone.
func TestRule10CountersFallToZeroInMidLife(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 1000))
	b.at(5, containerLine("c1", "package", 146.16))
	b.at(10, containerLine("c1", "package", 0))
	b.at(15, containerLine("c1", "package", 134.02))
	b.booked("container/c1", power.Used, power.CPU, 146.16+134.02)
}

// A container's GPU counter is a sum over its processes: it falls when one ends.
func TestRule11GPUFallIsNoRestart(t *testing.T) {
	b := newBench(t)
	b.at(0, gpuLine("c1", 6851.7), gpuWattsLine("c1", 290))
	b.at(10, gpuLine("c1", 4732.5), gpuWattsLine("c1", 301.9))
	b.booked("container/c1", power.Used, power.GPU, 3019)
	b.at(20, gpuLine("c1", 7732.5), gpuWattsLine("c1", 298.1))
	b.booked("container/c1", power.Used, power.GPU, 6019)
	// A process ended, and others used more than it had: the sum rose all the same.
	b.at(30, gpuLine("c1", 8732.5), gpuWattsLine("c1", 301.9))
	b.booked("container/c1", power.Used, power.GPU, 9019)
}

// A device's counter began with its driver, long before us.
func TestRule12NoCreditForDevices(t *testing.T) {
	b := newBench(t)
	gpu := `kepler_node_gpu_joules_total{gpu="0",gpu_uuid="GPU-1",gpu_name="x",vendor="nvidia",node_name="node-a"} `
	b.at(0, rawLine("package", 5_000_000))
	b.at(15, gpu+"5e6")
	b.accounts()
	b.at(30, gpu+"5001000")
	b.booked("node/", power.Used, power.GPU, 1000)
}

// A new exporter pod makes every series a new one. The accounts go on; what was
// used meanwhile is only in the node's register.
func TestRule13ExporterRollout(t *testing.T) {
	b := newBench(t)
	pod := func(name, address string) {
		b.extra = []power.Label{{Name: "pod", Value: name}, {Name: "instance", Value: address}}
	}
	pod("kepler-1", "10.0.0.1:28282")
	b.at(0, rawLine("package", 10_000), activeLine("package", 3000), idleLine("package", 9000), containerLine("c1", "package", 500))
	b.at(15, rawLine("package", 11_000), activeLine("package", 3800), idleLine("package", 9200), containerLine("c1", "package", 900))
	pod("kepler-2", "10.0.0.2:28282")
	b.at(45, rawLine("package", 13_000), activeLine("package", 0), idleLine("package", 13_000), containerLine("c1", "package", 0))
	b.at(60, rawLine("package", 14_000), activeLine("package", 700), idleLine("package", 13_300), containerLine("c1", "package", 350))
	b.booked("node/", power.Used, power.CPU, 4000)
	b.booked("node/", power.Active, power.CPU, 800+700)
	b.booked("node/", power.NodeIdle, power.CPU, 200+300)
	b.booked("container/c1", power.Used, power.CPU, 400+350)
	// 4000 - 1500 - 500: the outage's 2000 J, for nobody to be invented.
	b.accounts("node/ m0 cpu", "node/ m1 cpu", "node/ m2 cpu", "container/c1 m0 cpu")
}

// Two Prometheus replicas send everything twice, and their clocks differ.
func TestRule14ReplicasAreOne(t *testing.T) {
	b := newBench(t)
	for second := 0.0; second < 300; second += 15 {
		for _, replica := range []struct {
			name        string
			after, skew float64
		}{{"a", 0, 0}, {"b", 1, -2}} {
			b.extra = []power.Label{{Name: "prometheus_replica", Value: replica.name}}
			real := second + replica.after
			b.at(real+replica.skew, rawLine("package", 1000+real*100), activeLine("package", 10+real*60), idleLine("package", 990+real*40), containerLine("c1", "package", 10+real*50))
		}
	}
	b.booked("node/", power.Used, power.CPU, 285*100)
	b.booked("container/c1", power.Used, power.CPU, 285*50)
	if b.outcome.Duplicate != 20*4 {
		t.Errorf("%d samples of the other replica were duplicates, want 80", b.outcome.Duplicate)
	}
}

// One unreadable process makes Kepler export no power at all. That is a gap,
// not zeros: the counters tell afterwards.
func TestRule15AbsenceIsNotZero(t *testing.T) {
	b := newBench(t)
	stale := math.Float64frombits(staleNaN)
	b.at(0, rawLine("package", 1000))
	b.at(15, rawLine("package", 1500), containerLine("c1", "package", 100))
	gone := b.samples(30, rawLine("package", 0), containerLine("c1", "package", 0))
	for i := range gone {
		gone[i].value = stale
	}
	if o := b.send(gone); o.Stale != 2 || o.Booked != 0 {
		t.Errorf("staleness markers: %+v", o)
	}
	b.at(90, rawLine("package", 4000), containerLine("c1", "package", 350))
	b.booked("node/", power.Used, power.CPU, 3000)
	b.booked("container/c1", power.Used, power.CPU, 350)
}

const legacyContainer = `kepler_container_package_joules_total{container_id="c1",pod_name="p",container_name="main",container_namespace="ns",mode="dynamic",instance="node-a"} `

// Overflows made legacy counters jump; dead containers stay, constant; the total
// of one version is in another unit.
func TestRule16LegacySpikes(t *testing.T) {
	b := newBench(t)
	b.at(0, legacyContainer+"100")
	b.at(30, legacyContainer+"9.22e14")
	b.at(60, legacyContainer+"700")
	b.booked("container/c1", power.Used, power.CPU, 600)
	b.at(90, legacyContainer+fmt.Sprint(700+300_000*30)) // 300 kW
	b.at(120, legacyContainer+"800")
	b.booked("container/c1", power.Used, power.CPU, 700)
	b.at(150, legacyContainer+"800")
	b.at(180, legacyContainer+"800", `kepler_container_joules_total{container_id="c1",mode="dynamic",instance="node-a"} 900000`)
	b.booked("container/c1", power.Used, power.CPU, 700)
	var values []float64
	for _, q := range b.quarantined() {
		values = append(values, q.Value)
	}
	if want := []float64{9.22e14, 700 + 300_000*30}; !slices.Equal(values, want) {
		t.Errorf("quarantined values %v, want %v", values, want)
	}
}

// A node's register is set aside like any counter when it claims the impossible;
// its parts, and then the power gauge, stand in.
func TestImpossibleRegisterIsQuarantined(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 1000), activeLine("package", 10), idleLine("package", 20))
	if o := b.at(15, rawLine("package", 1000+15*21_000), activeLine("package", 310), idleLine("package", 620)); o.Quarantined != 1 || o.Booked != 2 {
		t.Errorf("with parts: %+v", o)
	}
	b.booked("node/", power.Used, power.CPU, 900)
	b.at(0, rawLine("dram", 1000))
	b.at(15, rawLine("dram", 1000+15*21_000))
	b.at(30, rawLine("dram", 1000+15*21_000+60))
	b.booked("node/", power.Used, power.DRAM, 60)
	q := b.quarantined()
	if len(q) != 2 || q[1].Value != 316_000 || q[1].LastJoules != 1000 || q[1].Zone != "dram" {
		t.Errorf("quarantine: %+v", q)
	}
	b.at(0, gpuLine("c1", 100))
	b.at(15, gpuLine("c1", 160))
	if o := b.at(30, gpuLine("c1", 160+15*21_000)); o.Quarantined != 1 || o.Booked != 0 {
		t.Errorf("a share of the GPUs: %+v", o)
	}
	b.at(45, gpuLine("c1", 160+15*21_000+30))
	b.booked("container/c1", power.Used, power.GPU, 60+30)
}

// Legacy totals hold the others; dynamic and idle are two parts.
func TestRule17LegacySums(t *testing.T) {
	b := newBench(t)
	for i, second := range []float64{0, 30} {
		x := float64(i)
		var lines []string
		for _, mode := range []string{"dynamic", "idle"} {
			for metric, joules := range map[string]float64{
				"package": 200, "core": 150, "uncore": 20, "dram": 30, "other": 40, "gpu": 60, "platform": 900, "": 330,
			} {
				if mode == "idle" {
					joules /= 10
				}
				v := fmt.Sprint(5000 + x*joules)
				name := strings.Replace("_"+metric+"_joules_total", "__", "_", 1)
				lines = append(lines,
					fmt.Sprintf(`kepler_container%s{container_id="c1",pod_name="p",container_name="main",container_namespace="ns",mode=%q,instance="node-a"} %s`, name, mode, v))
				if metric != "" {
					lines = append(lines, fmt.Sprintf(`kepler_node%s{package="0",mode=%q,instance="node-a"} %s`, name, mode, v))
				}
			}
		}
		b.at(second, lines...)
	}
	for c, joules := range map[power.Component]float64{power.CPU: 200, power.DRAM: 30, power.GPU: 60} {
		b.booked("container/c1", power.Used, c, joules)
		b.booked("container/c1", power.IdleShare, c, joules/10)
		b.booked("node/", power.Active, c, joules)
		b.booked("node/", power.NodeIdle, c, joules/10)
		b.booked("node/", power.Used, c, joules*1.1)
	}
	if len(b.books.totals) != 3*5 {
		t.Errorf("%d accounts have energy, want 15: %v", len(b.books.totals), b.books.totals)
	}
}

// A power gauge is a mean over the last seconds: never energy while a counter runs.
func TestRule18WattsGaugesAreNotEnergy(t *testing.T) {
	b := newBench(t)
	for i, second := range []float64{0, 60} {
		x := float64(i)
		b.at(second, rawLine("package", 1000+x*600), wattsLine("package", 500), containerLine("c1", "package", 100+x*60),
			`kepler_container_cpu_watts{container_id="c1",node_name="node-a",state="running",zone="package"} 400`,
			gpuLine("c1", 100+x*18_000), gpuWattsLine("c1", 350))
	}
	b.booked("node/", power.Used, power.CPU, 600)
	b.booked("container/c1", power.Used, power.CPU, 60)
	b.booked("container/c1", power.Used, power.GPU, 18_000)
	b.accounts("node/ m0 cpu", "container/c1 m0 cpu", "container/c1 m0 gpu")
}
