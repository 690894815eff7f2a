package cluster

import (
	"bytes"
	"math"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func build(t *testing.T, config Config) *Cluster {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// scrapes advances c by step until end and scrapes every target that is up.
func scrapes(c *Cluster, end time.Time, step time.Duration, each func(*Target, []Series)) {
	for c.Now().Before(end) {
		c.Advance(c.Now().Add(step))
		for _, t := range c.Targets() {
			if series, ok := t.Scrape(); ok && each != nil {
				each(t, series)
			}
		}
	}
}

// sums adds up used and reported energy by kind, of one node and zone.
func sums(truth Truth, node, zone string) (used, reported map[string]int64) {
	used, reported = make(map[string]int64), make(map[string]int64)
	for _, a := range truth.Accounts {
		if a.Node == node && a.Zone == zone {
			used[a.Kind] += a.UsedMicrojoules
			reported[a.Kind] += a.ReportedMicrojoules
		}
	}
	return used, reported
}

func find(series []Series, name string, want ...string) (float64, bool) {
next:
	for _, s := range series {
		if s.Name != name {
			continue
		}
		for i := 0; i < len(want); i += 2 {
			if value(s.Labels, want[i]) != want[i+1] {
				continue next
			}
		}
		return s.Value, true
	}
	return 0, false
}

func value(labels []Label, name string) string {
	for _, l := range labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

func TestEnergyOfANodeIsTheSumOfItsParts(t *testing.T) {
	c := build(t, Demo(1, start))
	scrapes(c, start.Add(3*time.Hour), 17*time.Second, nil)
	truth := c.Truth()
	for _, n := range c.nodes {
		for _, zone := range []string{"package", "core", "dram"} {
			used, _ := sums(truth, n.Name, zone)
			if parts := used["container"] + used["vm"] + used["system"] + used["idle"]; used["node"] != parts || parts == 0 {
				t.Errorf("%s %s: the node used %d µJ, its parts %d", n.Name, zone, used["node"], parts)
			}
		}
	}
}

func TestReportedEqualsUsedWithoutFaults(t *testing.T) {
	c := build(t, Sized("c", 7, start, 2, 9, 2, 0))
	scrapes(c, start.Add(10*time.Minute), 15*time.Second, nil)
	first := build(t, Sized("c", 7, start, 2, 9, 2, 0))
	scrapes(first, start.Add(15*time.Second), 15*time.Second, nil)
	before, after := first.Truth(), c.Truth()
	for i, a := range after.Accounts {
		if a.Zone == "other" || a.Kind == "system" {
			continue
		}
		used := a.UsedMicrojoules - before.Accounts[i].UsedMicrojoules
		if a.Node == "node-2" && a.Kind == "node" {
			used = used / 1000 * 1000
		}
		if diff := used - a.ReportedMicrojoules; diff < -1000 || diff > 1000 {
			t.Errorf("%s %s %s %s: used %d µJ after the first scrape, reported %d", a.Node, a.Kind, a.Name, a.Zone, used, a.ReportedMicrojoules)
		}
	}
}

func TestSameSeedGivesTheSameScrapes(t *testing.T) {
	text := func(seed uint64) string {
		c := build(t, Demo(seed, start))
		var b bytes.Buffer
		scrapes(c, start.Add(20*time.Minute), 30*time.Second, func(_ *Target, s []Series) {
			if err := WriteText(&b, s); err != nil {
				t.Fatal(err)
			}
		})
		return b.String()
	}
	a := text(3)
	if a != text(3) {
		t.Error("two runs of one seed differ")
	}
	if a == text(4) {
		t.Error("two seeds give the same cluster")
	}
}

func TestRegisterWrapsAndItsPartsDoNot(t *testing.T) {
	c := build(t, Sized("c", 1, start, 1, 5, 0, 1000))
	var newest, fell, partsFell float64
	var parts float64
	scrapes(c, start.Add(2*time.Minute), time.Second, func(tg *Target, s []Series) {
		if tg.Job != "kepler" {
			return
		}
		raw, _ := find(s, "kepler_node_cpu_joules_total", "zone", "package")
		active, _ := find(s, "kepler_node_cpu_active_joules_total", "zone", "package")
		idle, _ := find(s, "kepler_node_cpu_idle_joules_total", "zone", "package")
		if raw >= 1000 {
			t.Fatalf("register at %v J, beyond its range", raw)
		}
		if raw < newest {
			fell++
		}
		if active+idle < parts {
			partsFell++
		}
		newest, parts = raw, active+idle
	})
	_, reported := sums(c.Truth(), "node-1", "package")
	if fell < 3 || partsFell != 0 {
		t.Errorf("the register fell %v times, active+idle %v times", fell, partsFell)
	}
	if reported["node"] != reported["active"]+reported["idle"] {
		t.Errorf("node %d µJ, active+idle %d", reported["node"], reported["active"]+reported["idle"])
	}
}

func TestIdleCounterStartsAtTheRegister(t *testing.T) {
	c := build(t, Sized("c", 1, start, 1, 3, 0, 0))
	if err := c.RestartExporter(start.Add(60*time.Second), "node-1", 7*time.Second); err != nil {
		t.Fatal(err)
	}
	kepler := c.Targets()[0]
	c.Advance(start.Add(59 * time.Second))
	before, _ := kepler.Scrape()
	c.Advance(start.Add(63 * time.Second))
	if _, ok := kepler.Scrape(); ok || kepler.Up() {
		t.Error("a stopped exporter answered")
	}
	c.Advance(start.Add(67 * time.Second))
	after, _ := kepler.Scrape()
	raw, _ := find(after, "kepler_node_cpu_joules_total", "zone", "package")
	idle, _ := find(after, "kepler_node_cpu_idle_joules_total", "zone", "package")
	active, _ := find(after, "kepler_node_cpu_active_joules_total", "zone", "package")
	idleBefore, _ := find(before, "kepler_node_cpu_idle_joules_total", "zone", "package")
	activeBefore, _ := find(before, "kepler_node_cpu_active_joules_total", "zone", "package")
	if idle != raw || active != 0 {
		t.Errorf("after the start idle is %v, the register %v, active %v", idle, raw, active)
	}
	if phantom := idle - idleBefore; phantom < activeBefore {
		t.Errorf("idle rose by %v J over the restart, active had been at %v", phantom, activeBefore)
	}
	if c, _ := find(after, "kepler_container_cpu_joules_total", "zone", "package"); c != 0 {
		t.Errorf("a container starts at %v J", c)
	}
}

func TestLifeOfAContainer(t *testing.T) {
	config := Sized("c", 1, start, 1, 1, 0, 0)
	c := build(t, config)
	if err := c.RestartContainer(start.Add(30*time.Second), "shop", "web-1", "nginx"); err != nil {
		t.Fatal(err)
	}
	if err := c.RunJob(start.Add(41*time.Second), "node-1", "batch", "blink", 40, 8*time.Second); err != nil {
		t.Fatal(err)
	}
	states := make(map[string]int)
	podNames := make(map[string]bool)
	scrapes(c, start.Add(90*time.Second), 10*time.Second, func(tg *Target, s []Series) {
		for _, s := range s {
			if s.Name == "kepler_container_cpu_joules_total" && value(s.Labels, "zone") == "package" {
				states[value(s.Labels, "container_id")[:8]+value(s.Labels, "state")]++
				if value(s.Labels, "pod_id") == "" {
					podNames[value(s.Labels, "container_name")] = true
				}
			}
		}
	})
	var ended, replaced, job Account
	for _, a := range c.Truth().Accounts {
		switch {
		case a.Kind != "container" || a.Zone != "package":
		case a.Workload == "blink":
			job = a
		case a.Ended:
			ended = a
		default:
			replaced = a
		}
	}
	if n := states[ended.ID[:8]+"terminated"]; n != 1 {
		t.Errorf("the ended container was seen terminated %d times", n)
	}
	if states[job.ID[:8]+"running"] != 0 || states[job.ID[:8]+"terminated"] != 1 {
		t.Errorf("the short job: running %d, terminated %d times", states[job.ID[:8]+"running"], states[job.ID[:8]+"terminated"])
	}
	if job.ReportedMicrojoules == 0 || job.ReportedMicrojoules >= job.UsedMicrojoules {
		t.Errorf("the short job used %d µJ, reported %d: the last interval is lost in the exporter", job.UsedMicrojoules, job.ReportedMicrojoules)
	}
	if replaced.ID == ended.ID || replaced.Pod != ended.Pod || replaced.ReportedMicrojoules == 0 {
		t.Errorf("after the restart: %+v, before: %+v", replaced, ended)
	}
	if !podNames[replaced.Pod] && len(podNames) == 0 {
		t.Errorf("no container was reported under its pod's name: %v", podNames)
	}
}

func TestCountersFallToZero(t *testing.T) {
	c := build(t, Sized("c", 1, start, 1, 2, 0, 0))
	if err := c.ZeroCounters(start.Add(30*time.Second), "node-1", Package); err != nil {
		t.Fatal(err)
	}
	kepler := c.Targets()[0]
	var seen []float64
	for s := 28; s <= 40; s += 2 {
		c.Advance(start.Add(time.Duration(s) * time.Second))
		series, _ := kepler.Scrape()
		v, _ := find(series, "kepler_container_cpu_joules_total", "zone", "package", "container_name", "nginx")
		seen = append(seen, v)
	}
	if seen[0] == 0 || seen[1] != 0 || seen[2] == 0 || seen[2] >= seen[0] {
		t.Errorf("package counter around the fault: %v", seen)
	}
	used, reported := sums(c.Truth(), "node-1", "package")
	if diff := used["node"] - reported["node"]; diff < 0 || reported["active"]+reported["idle"] != reported["node"] {
		t.Errorf("used %v reported %v", used, reported)
	}
}

func TestGPUProcessEnds(t *testing.T) {
	config := Demo(1, start)
	c := build(t, config)
	if err := c.EndGPUProcess(start.Add(60*time.Second), "ml-platform", "llama-finetune"); err != nil {
		t.Fatal(err)
	}
	var newest float64
	fell := 0
	id := ""
	for _, a := range c.Truth().Accounts {
		if a.Zone == "gpu" && a.Workload == "llama-finetune" && a.Node == "gpu-1" {
			id = a.ID
		}
	}
	scrapes(c, start.Add(2*time.Minute), 5*time.Second, func(tg *Target, s []Series) {
		if v, ok := find(s, "kepler_container_gpu_joules_total", "container_id", id); ok {
			if v < newest {
				fell++
			}
			newest = v
		}
	})
	if fell != 1 {
		t.Errorf("the container's GPU counter fell %d times", fell)
	}
}

func TestLabelsAsPrometheusSendsThem(t *testing.T) {
	c := build(t, Demo(1, start))
	c.Advance(start.Add(30 * time.Second))
	full := make(map[string][]Label)
	for _, target := range c.Targets() {
		series, _ := target.Scrape()
		for _, s := range series {
			labels := target.Labels(s)
			for i, l := range labels {
				if l.Value == "" || i > 0 && labels[i-1].Name >= l.Name {
					t.Fatalf("labels of %s: %v", s.Name, labels)
				}
			}
			if got := value(labels, "__name__"); got != s.Name {
				t.Fatalf("%s is sent as %q", s.Name, got)
			}
			full[s.Name+"/"+target.Node] = labels
		}
	}
	f := func(series, label, want string) {
		t.Helper()
		if got := value(full[series], label); got != want {
			t.Errorf("%s: %s=%q, want %q", series, label, got, want)
		}
	}
	f("kepler_node_package_joules_total/legacy-1", "exported_instance", "legacy-1")
	f("kepler_node_package_joules_total/legacy-1", "instance", "legacy-1")
	f("kepler_container_cpu_joules_total/worker-1", "namespace", "kepler")
	f("kepler_container_cpu_joules_total/worker-1", "node_name", "worker-1")
	f("kube_replicaset_owner/", "owner_kind", "Deployment")
	f("kube_pod_owner/", "instance", "10.244.0.9:8080")
	if value(full["kube_pod_owner/"], "namespace") == "monitoring" && value(full["kube_pod_owner/"], "exported_namespace") != "" {
		t.Error("kube-state-metrics is scraped with honor_labels")
	}
	if value(full[dcgmEnergy+"/gpu-2"], "Hostname") != "gpu-2" {
		t.Errorf("%s: %v", dcgmEnergy, full[dcgmEnergy+"/gpu-2"])
	}
}

func TestWriteText(t *testing.T) {
	var b bytes.Buffer
	err := WriteText(&b, []Series{
		{"a_total", labelSet("x", `q"\`+"\n"), 1.5},
		{"b", nil, math.Inf(1)},
		{"a_total", labelSet("x", "2"), 2e20},
	})
	want := "# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n\"} 1.5\na_total{x=\"2\"} 2e+20\n# TYPE b gauge\nb +Inf\n"
	if err != nil || b.String() != want {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

func TestDemoIsOfUsefulSize(t *testing.T) {
	c := build(t, Demo(1, start))
	c.Advance(start.Add(time.Minute))
	containers := make(map[string]bool)
	types := make(map[string]bool)
	for _, a := range c.Truth().Accounts {
		if a.Kind == "container" {
			containers[a.ID] = true
			types[a.WorkloadType] = true
		}
	}
	if len(containers) < 70 || len(types) < 9 {
		t.Errorf("%d containers, types %v", len(containers), types)
	}
}
