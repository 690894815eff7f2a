package cluster

import "fmt"

const (
	keplerRefreshMs   = 5_000
	keplerStaleMs     = 500
	keplerThresholdUj = 10_000_000 // terminated loads below it are not reported
)

// kepler is an exporter of the current generation.
type kepler struct {
	node       *Node
	down       bool
	newest     int64   // time of the newest refresh
	last       []*load // ended, not yet reported as terminated
	terminated []*load
	scraped    bool // ever
	zeroNext   [numZones]bool
	usageRatio float64
	zones      []Zone
	labels     [numZones][]Label
	nodeLabels []Label
	cpuLabels  [][]Label
	build      []Label
}

func (k *kepler) start() {
	n := k.node
	k.down = false
	k.newest = n.cluster.now
	n.past = append(append(n.past, k.last...), k.terminated...)
	k.last, k.terminated = nil, nil
	for z := range n.zones {
		zone := &n.zones[z]
		zone.active.restart()
		zone.idle.restart()
		zone.idleStart = zone.register()
		zone.idlePending = 0
	}
	forget := func(l *load) {
		for z := range l.zones {
			l.zones[z].pending = 0
			l.zones[z].counter.restart()
		}
		for _, p := range l.gpu {
			p.meter.pending = 0
			p.meter.counter.restart()
		}
	}
	forget(n.system)
	for _, l := range n.loads {
		forget(l)
	}
	for _, g := range n.gpus {
		g.activePending, g.idlePending = 0, 0
		g.active.restart()
		g.idleCounter.restart()
	}
	if k.zones == nil {
		k.describe()
	}
}

func (k *kepler) describe() {
	n := k.node
	k.zones = []Zone{Package, Core, DRAM}
	if n.config.Psys {
		k.zones = append(k.zones, Psys)
	}
	paths := [numZones]string{"intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:1", ""}
	for _, z := range k.zones {
		k.labels[z] = labelSet("node_name", n.Name, "path", "/sys/class/powercap/"+paths[z], "zone", z.String())
	}
	k.nodeLabels = labelSet("node_name", n.Name)
	for i := range 2 {
		cpu := fmt.Sprint(i)
		k.cpuLabels = append(k.cpuLabels, labelSet("processor", cpu, "core_id", cpu, "physical_id", "0", "vendor_id", "AuthenticAMD", "model_name", "AMD EPYC"))
	}
	k.build = labelSet("arch", "amd64", "branch", "", "goversion", "go1.26.8", "revision", "cdef4739", "version", "v0.11.4")
	for _, g := range n.gpus {
		g.labels = labelSet("gpu", fmt.Sprint(g.index), "gpu_uuid", g.uuid, "gpu_name", g.name, "vendor", "nvidia", "node_name", n.Name)
	}
}

func (k *kepler) stop()       { k.down = true }
func (k *kepler) zero(z Zone) { k.zeroNext[z] = true }

func (k *kepler) nextRefresh() int64 {
	if k.down {
		return farFuture
	}
	return k.newest + keplerRefreshMs
}

func (k *kepler) ended(l *load) {
	if k.down {
		k.node.past = append(k.node.past, l)
		return
	}
	k.last = append(k.last, l)
}

// refresh reads the registers and shares out what they moved by.
func (k *kepler) refresh() {
	n := k.node
	ms := n.cluster.now - k.newest
	k.newest = n.cluster.now

	// What ended before keeps its last total. Its energy since then went to the
	// node, and nobody can say any more whose it was.
	var reported []*load
	for _, l := range k.terminated {
		if l.exported {
			n.past = append(n.past, l)
		} else {
			reported = append(reported, l)
		}
	}
	k.terminated = reported
	for _, l := range k.last {
		l.terminated = true
		if l.zones[Package].counter.value >= keplerThresholdUj {
			k.terminated = append(k.terminated, l)
		} else {
			n.past = append(n.past, l)
		}
	}

	running := append([]*load{n.system}, n.loads...)
	for z := range n.zones {
		zone := &n.zones[z]
		var active int64
		for _, l := range k.last {
			active += l.zones[z].pending
			l.zones[z].pending = 0
		}
		for _, l := range running {
			active += l.zones[z].pending
			if k.zeroNext[z] {
				l.zones[z].pending = 0
				l.zones[z].watts = 0
				l.zones[z].counter.restart()
				continue
			}
			l.zones[z].refresh(ms)
		}
		idle := zone.idlePending
		zone.idlePending = 0
		if k.zeroNext[z] { // the usage ratio was read as 0: all of it counts as idle
			idle, active = idle+active, 0
			k.zeroNext[z] = false
		}
		zone.active.value += active
		zone.idle.value += idle
		zone.activeWatts, zone.idleWatts = watts(active, ms), watts(idle, ms)
		zone.totalWatts = zone.activeWatts + zone.idleWatts
	}
	if total := n.zones[Package].totalWatts; total > 0 {
		k.usageRatio = n.zones[Package].activeWatts / total
	}
	for _, l := range n.loads {
		for _, p := range l.gpu {
			p.meter.refresh(ms)
		}
	}
	for _, g := range n.gpus {
		g.active.value += g.activePending
		g.idleCounter.value += g.idlePending
		g.activeWatts, g.idleWatts = watts(g.activePending, ms), watts(g.idlePending, ms)
		g.totalWatts = g.activeWatts + g.idleWatts
		g.activePending, g.idlePending = 0, 0
	}
	k.last = nil
}

func (k *kepler) scrape() ([]Series, bool) {
	n := k.node
	if k.down {
		return nil, false
	}
	if n.cluster.now-k.newest >= keplerStaleMs {
		k.refresh()
	}
	out := []Series{{"kepler_build_info", k.build, 1}}
	for _, labels := range k.cpuLabels {
		out = append(out, Series{"kepler_node_cpu_info", labels, 1})
	}
	out = append(out, Series{"kepler_node_cpu_usage_ratio", k.nodeLabels, k.usageRatio})
	for _, z := range k.zones {
		zone := &n.zones[z]
		// The registers are read at the refresh, and so are as old as the rest.
		pending := zone.idlePending
		for _, l := range n.loads {
			pending += l.zones[z].pending
		}
		for _, l := range k.last {
			pending += l.zones[z].pending
		}
		pending += n.system.zones[z].pending
		zone.raw.value = zone.used - pending
		zone.raw.show(k.scraped)
		zone.active.show(k.scraped)
		zone.idle.show(k.scraped)
		register := (zone.start + zone.raw.value) % zone.wrap
		out = append(out,
			Series{"kepler_node_cpu_joules_total", k.labels[z], joules(register)},
			Series{"kepler_node_cpu_active_joules_total", k.labels[z], joules(zone.active.value)},
			Series{"kepler_node_cpu_idle_joules_total", k.labels[z], joules(zone.idleStart + zone.idle.value)},
			Series{"kepler_node_cpu_watts", k.labels[z], zone.totalWatts},
			Series{"kepler_node_cpu_active_watts", k.labels[z], zone.activeWatts},
			Series{"kepler_node_cpu_idle_watts", k.labels[z], zone.idleWatts},
		)
	}
	n.system.show(k.zones, k.scraped)
	out = k.appendLoads(out, n.loads)
	out = k.appendLoads(out, k.terminated)
	for _, l := range k.terminated {
		l.exported = true
	}
	if !n.config.DCGM {
		out = k.appendGPUs(out)
	}
	k.scraped = true
	return out, true
}

func (l *load) show(zones []Zone, nodeKnown bool) {
	for _, z := range zones {
		l.zones[z].counter.show(nodeKnown)
	}
}

func (k *kepler) appendLoads(out []Series, loads []*load) []Series {
	n := k.node
	for _, l := range loads {
		labels := l.currentLabels(n.cluster.now)
		l.show(k.zones, k.scraped)
		name := "kepler_container"
		if l.kind == vmLoad {
			name = "kepler_vm"
		}
		seconds := joules(l.zones[Package].counter.value) / 8.7
		for _, z := range k.zones {
			m := &l.zones[z]
			out = append(out,
				Series{name + "_cpu_joules_total", labels.zones[z], joules(m.counter.value)},
				Series{name + "_cpu_watts", labels.zones[z], m.watts})
			// A pod is counted from when the informer knows it.
			if l.pod != nil && n.cluster.now >= l.knownAt && l == l.pod.containers[0] {
				energy, power := l.pod.sum(z)
				out = append(out,
					Series{"kepler_pod_cpu_joules_total", labels.podZones[z], energy},
					Series{"kepler_pod_cpu_watts", labels.podZones[z], power})
			}
			if n.cluster.config.ProcessSeries {
				out = append(out,
					Series{"kepler_process_cpu_joules_total", labels.processZones[z], joules(m.counter.value)},
					Series{"kepler_process_cpu_watts", labels.processZones[z], m.watts})
			}
		}
		if l.kind == containerLoad {
			out = append(out, Series{"kepler_container_cpu_seconds_total", labels.plain, seconds})
		}
		if n.cluster.config.ProcessSeries {
			out = append(out, Series{"kepler_process_cpu_seconds_total", labels.process, seconds})
		}
	}
	return out
}

// sum returns the joules and watts of the pod's containers.
func (p *pod) sum(z Zone) (energy, power float64) {
	var microjoules int64
	for _, l := range p.containers {
		microjoules += l.zones[z].counter.value
		power += l.zones[z].watts
	}
	return joules(microjoules), power
}

func (k *kepler) appendGPUs(out []Series) []Series {
	n := k.node
	for _, g := range n.gpus {
		g.total.value = g.used - g.activePending - g.idlePending
		g.total.show(k.scraped)
		g.active.show(k.scraped)
		g.idleCounter.show(k.scraped)
		out = append(out,
			Series{"kepler_node_gpu_joules_total", g.labels, joules(g.lifetime + g.total.value)},
			Series{"kepler_node_gpu_active_joules_total", g.labels, joules(g.active.value)},
			Series{"kepler_node_gpu_idle_joules_total", g.labels, joules(g.idleCounter.value)},
			Series{"kepler_node_gpu_watts", g.labels, g.totalWatts},
			Series{"kepler_node_gpu_active_watts", g.labels, g.activeWatts},
			Series{"kepler_node_gpu_idle_watts", g.labels, joules(g.idle * 1000)},
			Series{"kepler_node_gpu_info", g.labels, 1})
	}
	for _, l := range n.loads {
		labels := l.currentLabels(n.cluster.now)
		var energy int64
		var power float64
		for _, p := range l.gpu {
			p.meter.counter.show(k.scraped)
			energy += p.meter.counter.value
			power += p.meter.watts
			if n.cluster.config.ProcessSeries && p.meter.counter.value > 0 {
				process, ok := labels.gpu[p.pid]
				if !ok {
					process = labelSet("pid", fmt.Sprint(p.pid), "comm", "python3", "exe", "/usr/bin/python3", "type", "container",
						"state", "running", "container_id", l.id, "vm_id", "", "node_name", n.Name)
					labels.gpu[p.pid] = process
				}
				out = append(out,
					Series{"kepler_process_gpu_joules_total", process, joules(p.meter.counter.value)},
					Series{"kepler_process_gpu_watts", process, p.meter.watts})
			}
		}
		if energy == 0 {
			continue
		}
		out = append(out,
			Series{"kepler_container_gpu_joules_total", labels.plain, joules(energy)},
			Series{"kepler_container_gpu_watts", labels.plain, power},
			Series{"kepler_pod_gpu_joules_total", labels.pod, joules(energy)},
			Series{"kepler_pod_gpu_watts", labels.pod, power})
	}
	return out
}
