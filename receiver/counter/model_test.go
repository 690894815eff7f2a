package counter

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/wattledger/wattledger/power"
)

// This file is the accounting rules once more, plain and slow, written from
// docs/accounting.md and not from the code: it sorts everything there ever was
// of an account and adds up. Random worlds must come out alike to the microjoule.

// An observation is one sample of a world.
type observation struct {
	node, id   string // id is empty for the node's own
	what       string // raw, active, idle, watts, cpu, gpu, gpuwatts
	ms         int64  // since the epoch of stories
	v          int64  // microjoules or microwatts
	terminated bool
	named      bool   // the pod is known: the container's labels are final
	instance   string // changes with each exporter pod
	replica    string
}

var observedMetric = map[string]string{
	"raw": "kepler_node_cpu_joules_total", "active": "kepler_node_cpu_active_joules_total",
	"idle": "kepler_node_cpu_idle_joules_total", "watts": "kepler_node_cpu_watts",
	"cpu": "kepler_container_cpu_joules_total", "gpu": "kepler_container_gpu_joules_total", "gpuwatts": "kepler_container_gpu_watts",
}

func (x observation) sample() sample {
	l := []power.Label{{Name: "__name__", Value: observedMetric[x.what]}, {Name: "instance", Value: x.instance}, {Name: "node_name", Value: x.node}}
	add := func(name, v string) {
		if v != "" {
			l = append(l, power.Label{Name: name, Value: v})
		}
	}
	add("prometheus_replica", x.replica)
	if x.id != "" {
		state := "running"
		if x.terminated {
			state = "terminated"
		}
		add("container_id", x.id)
		add("state", state)
		if x.named {
			add("pod_id", "u-"+x.id)
			add("container_name", "main")
		} else {
			add("container_name", "pod-of-"+x.id)
		}
	}
	if x.what != "gpu" && x.what != "gpuwatts" {
		add("zone", "package")
	}
	return sample{labels: l, tMs: epoch*1000 + x.ms, value: float64(x.v) / 1e6}
}

// A world makes observations of nodes on which everything happens.
type world struct {
	*rand.Rand
	lastMs  int64 // of the story
	pair    bool  // two replicas send
	all     []observation
	ordinal int
}

type simContainer struct {
	id       string
	v, gpu   int64
	gpuWatts int64 // microwatts
	hasGPU   bool
	scrapes  int
	finished bool
}

const registerRange = 262_143_328_850 // microjoules, of common Intel parts

func (w *world) node(name string) {
	var (
		ms         = 1000 + w.Int64N(14_000)
		raw        = w.Int64N(registerRange)
		active     = w.Int64N(1e9)
		idle       = raw
		pod        = 0
		containers []*simContainer
		silent     = 0 // scrapes before the node's own counters are received
		aIsDown    = int64(-1)
	)
	if w.IntN(4) == 0 {
		silent = 1 + w.IntN(3)
	}
	newContainer := func() *simContainer {
		w.ordinal++
		c := &simContainer{id: fmt.Sprintf("c%03d", w.ordinal), hasGPU: w.IntN(3) == 0}
		containers = append(containers, c)
		return c
	}
	for range 2 + w.IntN(4) {
		c := newContainer()
		c.v, c.gpu, c.scrapes = w.Int64N(5e9), w.Int64N(5e9), 5
	}
	var watts int64
	for scrape := 0; ; scrape++ {
		step := 10_000 + w.Int64N(10_000)
		if w.IntN(12) == 0 {
			step += 40_000 + w.Int64N(60_000) // scrapes that never came
		}
		if ms+step > w.lastMs {
			return
		}
		if w.IntN(8) == 0 {
			newContainer()
		}
		restart, zeroed := w.IntN(15) == 0, w.IntN(20) == 0
		var busy int64
		for _, c := range containers {
			e := w.Int64N(80e6)
			busy += e
			switch {
			case restart || zeroed:
				c.v = 0
			default:
				c.v += e
			}
			e = w.Int64N(200e6)
			c.gpuWatts = e / step * 1000
			switch w.IntN(6) {
			case 0:
				c.gpu = w.Int64N(c.gpu + 1) // a process ended
			case 1:
				c.gpu += w.Int64N(e + 1) // one ended, and the others used more than it had
			default:
				c.gpu += e
			}
			c.scrapes++
			c.finished = c.scrapes > 1 && w.IntN(12) == 0
		}
		rest := w.Int64N(900e6)
		var job *simContainer // lives between two scrapes
		if w.IntN(10) == 0 && !restart {
			job = newContainer()
			job.v, job.finished, job.hasGPU = w.Int64N(300e6), true, false
			busy += job.v
		}
		raw += busy + rest
		if restart {
			pod++
			active, idle = 0, raw%registerRange
			containers = slices.DeleteFunc(containers, func(c *simContainer) bool { return c.finished })
		} else {
			active, idle = active+busy, idle+rest
		}
		ms += step
		watts = (busy + rest) / step / 1000 * 1e6 // whole watts, about right

		if aIsDown < ms-200_000 && w.IntN(20) == 0 {
			aIsDown = ms
		}
		senders := []string{""}
		if w.pair {
			senders = []string{"b"}
			if ms > aIsDown+70_000 || aIsDown < 0 {
				senders = []string{"a", "b"}
			}
		}
		onlyB := w.IntN(2) == 0
		for _, replica := range senders {
			at := ms
			if replica == "b" {
				at -= 1700 // its clock is 2 s behind, it scraped 0.3 s later
			}
			see := func(x observation) {
				x.node, x.ms, x.replica, x.instance = name, at, replica, fmt.Sprintf("%s-%d:28282", name, pod)
				w.all = append(w.all, x)
			}
			if scrape >= silent {
				see(observation{what: "raw", v: raw % registerRange})
				see(observation{what: "active", v: active})
				see(observation{what: "idle", v: idle})
				see(observation{what: "watts", v: watts})
			}
			for _, c := range containers {
				if c.finished && replica == "a" && onlyB {
					continue
				}
				x := observation{id: c.id, what: "cpu", v: c.v, terminated: c.finished, named: c.scrapes > 2}
				see(x)
				if c.hasGPU {
					x.what, x.v = "gpu", c.gpu
					see(x)
					x.what, x.v = "gpuwatts", c.gpuWatts
					see(x)
				}
			}
		}
		containers = slices.DeleteFunc(containers, func(c *simContainer) bool { return c.finished })
	}
}

func makeWorld(seed uint64, nodes int, length int64, pair bool) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 99)), lastMs: length, pair: pair}
	for n := range nodes {
		w.node(fmt.Sprintf("node-%c", 'a'+n))
	}
	// As they would arrive.
	slices.SortStableFunc(w.all, func(a, b observation) int { return cmp.Compare(a.ms, b.ms) })
	return w
}

// model books observations, given in the order of their arrival, by the rules.
func model(all []observation) map[string]power.Microjoules {
	const maxPerMs = 20_000_000 // 20 kW
	totals := map[string]power.Microjoules{}
	book := func(x observation, m power.Measure, c power.Component, e int64) {
		kind := "node/"
		if x.id != "" {
			kind = "container/" + x.id
		}
		totals[fmt.Sprintf("default/%s/%s m%d %s", x.node, kind, m, c)] += power.Microjoules(e)
	}

	// Who shows the node's own counters, and since when by its own clock.
	known := map[[2]string]int64{}
	for _, x := range all {
		if since, ok := known[[2]string{x.node, x.replica}]; x.id == "" && (!ok || x.ms < since) {
			known[[2]string{x.node, x.replica}] = x.ms
		}
	}

	// One replica of a pair is listened to, another when it is silent for 45 s;
	// ends are heard from both.
	type name struct{ node, id, what string }
	group := func(x observation) name {
		n := name{x.node, x.id, x.what}
		switch x.what {
		case "raw", "active", "idle", "watts":
			n.what = "zone"
		case "gpuwatts":
			n.what = "gpu"
		}
		return n
	}
	listened, newest := map[name]string{}, map[name]int64{}
	byGroup := map[name][]observation{}
	for _, x := range all {
		g := group(x)
		if at, ok := newest[g]; !ok || (x.replica != listened[g] && !x.terminated && x.ms > at+45_000) {
			listened[g] = x.replica
		}
		if x.replica != listened[g] && !x.terminated {
			continue
		}
		newest[g] = max(newest[g], x.ms)
		byGroup[g] = append(byGroup[g], x)
	}

	for g, heard := range byGroup {
		// Of one moment the first value counts.
		values := map[string]map[int64]observation{}
		var times []int64
		for _, x := range heard {
			if values[x.what] == nil {
				values[x.what] = map[int64]observation{}
			}
			if _, ok := values[x.what][x.ms]; !ok {
				values[x.what][x.ms] = x
			}
			times = append(times, x.ms)
		}
		slices.Sort(times)
		times = slices.Compact(times)
		owner := observation{node: g.node, id: g.id}
		credit := func(x observation) int64 {
			since, ok := known[[2]string{x.node, x.replica}]
			if ok && x.ms > since {
				return x.v
			}
			return 0
		}
		switch g.what {
		case "cpu":
			var before *observation
			for _, ms := range times {
				x := values["cpu"][ms]
				switch {
				case before == nil:
					book(owner, power.Used, power.CPU, credit(x))
				case x.v < before.v:
					book(owner, power.Used, power.CPU, x.v)
				default:
					book(owner, power.Used, power.CPU, x.v-before.v)
				}
				before = &x
			}
		case "gpu":
			under := func(from, to int64) int64 { // the power gauge
				if to-from > 90_000 {
					return 0
				}
				return int64((float64(values["gpuwatts"][from].v) + float64(values["gpuwatts"][to].v)) / 2 * float64(to-from) / 1000)
			}
			var before *observation
			for _, ms := range times {
				x, ok := values["gpu"][ms]
				switch {
				case !ok:
					continue
				case before == nil:
					book(owner, power.Used, power.GPU, credit(x))
				case x.v < before.v:
					book(owner, power.Used, power.GPU, int64(float64(values["gpuwatts"][ms].v)*float64(ms-before.ms)/1000))
				case x.v-before.v < under(before.ms, ms)/5*3:
					book(owner, power.Used, power.GPU, under(before.ms, ms))
				default:
					book(owner, power.Used, power.GPU, x.v-before.v)
				}
				before = &x
			}
		case "zone":
			for i := 1; i < len(times); i++ {
				t, p := times[i], times[i-1]
				d := func(what string) int64 { return values[what][t].v - values[what][p].v }
				watts := values["watts"][t].v / 1000 * (t - p)
				restarted := d("active") < 0 || d("idle") < 0
				active := d("active")
				if restarted {
					active = values["active"][t].v
				}
				used, parts := d("raw"), d("active")+d("idle")
				possible := func(e int64) bool { return e >= 0 && e <= maxPerMs*(t-p) }
				switch {
				case restarted && !possible(used):
					used = watts
				case restarted:
				case used < 0:
					used = parts
				case parts > used+1e6 && possible(parts) && distance(parts, watts) <= distance(used, watts):
					used = parts
				}
				book(owner, power.Used, power.CPU, used)
				book(owner, power.Active, power.CPU, active)
				if !restarted {
					book(owner, power.NodeIdle, power.CPU, min(d("idle"), max(0, used-active)))
				}
			}
		}
	}
	maps.DeleteFunc(totals, func(_ string, e power.Microjoules) bool { return e == 0 })
	return totals
}

func distance(a, b int64) int64 { return max(a-b, b-a) }

// seeds says how many worlds a property is tried on; MODEL_SEEDS overrides it.
func seeds(n uint64) uint64 {
	if v, err := strconv.ParseUint(os.Getenv("MODEL_SEEDS"), 10, 64); err == nil {
		return v
	}
	return n
}

// book gives observations to a cache in requests of random sizes up to most.
func bookWorld(t testing.TB, r *rand.Rand, all []observation, most int) *books {
	b := newBooks()
	f := newFeeder(t, b)
	for len(all) > 0 {
		n := min(1+r.IntN(most), len(all))
		var request []sample
		for _, x := range all[:n] {
			request = append(request, x.sample())
		}
		all = all[n:]
		f.send(request)
	}
	if f.outcome.Quarantined != 0 {
		t.Fatalf("%d samples of a possible world were quarantined", f.outcome.Quarantined)
	}
	maps.DeleteFunc(b.totals, func(_ string, e power.Microjoules) bool { return e == 0 })
	return b
}

func compare(t *testing.T, seed uint64, what string, got, want map[string]power.Microjoules) {
	t.Helper()
	if len(want) == 0 {
		t.Fatalf("seed %d: the model books nothing", seed)
	}
	if d := difference(got, want); len(d) != 0 {
		t.Fatalf("seed %d: %s: %d of %d accounts differ: %v", seed, what, len(d), len(want), d[:min(3, len(d))])
	}
}

// duplicated repeats some observations a little later.
func duplicated(r *rand.Rand, all []observation) []observation {
	out := slices.Clone(all)
	for range len(all) / 4 {
		i := r.IntN(len(out))
		out = slices.Insert(out, min(i+1+r.IntN(40), len(out)), out[i])
	}
	return out
}

// In order, with duplicates, over hours: the books are the model's.
func TestModelInOrder(t *testing.T) {
	for seed := range seeds(10) {
		w := makeWorld(seed, 2, 7_200_000, false)
		want := model(w.all)
		compare(t, seed, "in order", bookWorld(t, w.Rand, w.all, 200).totals, want)
		compare(t, seed, "with duplicates", bookWorld(t, w.Rand, duplicated(w.Rand, w.all), 200).totals, want)
	}
}

// In any order within the reorder window, single samples and all: the books are
// the model's, around starts and resets too.
func TestModelShuffled(t *testing.T) {
	for seed := range seeds(80) {
		w := makeWorld(1000+seed, 2, 280_000, false)
		want := model(w.all)
		shuffled := duplicated(w.Rand, w.all)
		w.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		compare(t, seed, "shuffled", bookWorld(t, w.Rand, shuffled, 100).totals, want)
	}
}

// The same while the window moves on: each sample is up to 250 s late.
func TestModelJittered(t *testing.T) {
	for seed := range seeds(60) {
		w := makeWorld(2000+seed, 2, 570_000, false)
		want := model(w.all)
		arrival := map[observation]int64{}
		for _, x := range w.all {
			arrival[x] = x.ms + w.Int64N(250_000)
		}
		slices.SortStableFunc(w.all, func(a, b observation) int { return cmp.Compare(arrival[a], arrival[b]) })
		compare(t, seed, "jittered", bookWorld(t, w.Rand, duplicated(w.Rand, w.all), 100).totals, want)
	}
}

// A pair of replicas with clocks 2 s apart, one of which is away at times.
func TestModelPair(t *testing.T) {
	for seed := range seeds(10) {
		w := makeWorld(3000+seed, 2, 3_600_000, true)
		compare(t, seed, "a pair", bookWorld(t, w.Rand, w.all, 100).totals, model(w.all))
	}
}

// How a stream is cut into requests changes nothing, window by window.
func TestModelSplitting(t *testing.T) {
	for seed := range seeds(10) {
		w := makeWorld(4000+seed, 2, 1_200_000, false)
		want := bookWorld(t, w.Rand, w.all, 1)
		for _, most := range []int{2, 30, 5000} {
			if d := difference(bookWorld(t, w.Rand, w.all, most).windows, want.windows); len(d) != 0 {
				t.Fatalf("seed %d: requests of up to %d samples: %v", seed, most, d[:min(3, len(d))])
			}
		}
	}
}

// The limit of the design, as docs/accounting.md states it: of an account whose
// start and resets are all older than two reorder windows, a reset that later
// samples had risen above before any sample next to it came cannot be told.
func TestModelLimit(t *testing.T) {
	b := newBench(t)
	b.at(-1500, rawLine("package", 1))
	for s := -1485.0; s <= 0; s += 15 {
		b.at(s, containerLine("c1", "package", 100+s/1485))
	}
	b.at(60, containerLine("c1", "package", 130)) // it fell to 5 at 30 s …
	b.booked("container/c1", power.Used, power.CPU, 130)
	if o := b.at(30, containerLine("c1", "package", 5)); o.Late != 1 { // … which comes too late to tell
		t.Errorf("%+v", o)
	}
	b.booked("container/c1", power.Used, power.CPU, 130) // 230 were used
}

// A clock that is set back: what comes later and shows more is newer, whatever its
// time says.
func TestClockSetBack(t *testing.T) {
	for _, back := range []float64{26, 180, 360, 7200} {
		b := newBench(t)
		second, shift := -1500.0, 0.0
		scrape := func() {
			x := second + 1500
			b.at(second-shift, rawLine("package", 100+3*x), activeLine("package", 5000+2*x), idleLine("package", 9000+x), containerLine("c1", "package", 5000+x))
			if x >= 600 {
				b.at(second-shift, containerLine("c2", "package", x-590)) // young
			}
			second += 15
		}
		for second < 0 {
			scrape()
		}
		shift = back
		for second < 1000 {
			scrape()
		}
		used := second - 15 + 1500
		b.booked("node/", power.Used, power.CPU, 3*used)
		b.booked("node/", power.Active, power.CPU, 2*used)
		b.booked("container/c1", power.Used, power.CPU, used)
		b.booked("container/c2", power.Used, power.CPU, used-590)
	}
}

// A clock that is ahead for a while and set back, again and again, on a node whose
// register wraps: whoever sends goes on sending, and now and then sends again what
// was not answered.
func TestClockStepsOverWraps(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 8))
		b := newBench(t)
		ahead, until, x := 0.0, 0.0, 0.0
		wrap := 60_000 + r.Float64()*20000
		var sent [][]sample
		for second := -3000.0; second < 3000; second += 15 {
			if second >= until {
				if ahead > 0 && r.IntN(3) == 0 {
					second += ahead + 6 // nothing is sent before the clock has passed what was
				}
				ahead = 0
				if second < 2500 && r.IntN(20) == 0 {
					ahead, until = math.Round(r.Float64()*200), second+math.Round(r.Float64()*100)
				}
			}
			x = second + 3000
			raw := math.Mod(100+90*x, wrap)
			sent = append(sent, b.samples(second+ahead, rawLine("package", raw), activeLine("package", 5000+60*x), idleLine("package", 9000+30*x),
				containerLine("c1", "package", 5000+10*x)))
			b.send(sent[len(sent)-1])
			if second < 2500 && r.IntN(10) == 0 {
				b.send(sent[max(0, len(sent)-1-r.IntN(24))])
			}
		}
		b.booked("node/", power.Used, power.CPU, 90*x)
		b.booked("container/c1", power.Used, power.CPU, 10*x)
		if t.Failed() {
			t.Fatalf("seed %d, wrap %v", seed, wrap)
		}
	}
}
