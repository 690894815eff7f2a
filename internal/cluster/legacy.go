package cluster

import "fmt"

const (
	legacyRefreshMs = 3_000
	legacyInactive  = 10 // dead containers stay in the exposition until there are more
)

var legacyZones = []Zone{Package, Core, DRAM, Other}

// legacy is an exporter of the generation before 0.10. It samples every three
// seconds whether it is scraped or not, counts whole millijoules, and shares
// idle energy out evenly. Its node series carry a label "instance" of their own.
type legacy struct {
	node    *Node
	down    bool
	newest  int64
	dead    []*load
	scraped bool
	zeroed  [numZones]bool
	labels  map[string][]Label
}

func (e *legacy) start() {
	n := e.node
	e.down = false
	e.newest = n.cluster.now
	n.past = append(n.past, e.dead...)
	e.dead = nil
	for z := range n.zones {
		n.zones[z].active.restart()
		n.zones[z].idle.restart()
		n.zones[z].idlePending = 0
	}
	for _, l := range e.all() {
		for z := range l.zones {
			l.zones[z].pending = 0
			l.zones[z].counter.restart()
			l.idleShare[z].pending = 0
			l.idleShare[z].counter.restart()
		}
		for _, p := range l.gpu {
			p.meter.pending = 0
			p.meter.counter.restart()
		}
	}
	for _, g := range n.gpus {
		g.activePending, g.idlePending = 0, 0
		g.active.restart()
		g.idleCounter.restart()
	}
	if e.labels == nil {
		e.labels = make(map[string][]Label)
	}
}

func (e *legacy) all() []*load { return append([]*load{e.node.system}, e.node.loads...) }

func (e *legacy) stop()       { e.down = true }
func (e *legacy) zero(z Zone) { e.zeroed[z] = true }

func (e *legacy) nextRefresh() int64 {
	if e.down {
		return farFuture
	}
	return e.newest + legacyRefreshMs
}

func (e *legacy) ended(l *load) {
	if e.down {
		e.node.past = append(e.node.past, l)
		return
	}
	e.dead = append(e.dead, l)
	if len(e.dead) > legacyInactive {
		e.node.past = append(e.node.past, e.dead...)
		e.dead = nil
	}
}

// millis moves the whole millijoules of pending into the counter.
func (m *meter) millis() {
	whole := m.pending / 1000 * 1000
	m.counter.value += whole
	m.pending -= whole
}

func (e *legacy) refresh() {
	n := e.node
	e.newest = n.cluster.now
	all := e.all()
	for z := range n.zones {
		zone := &n.zones[z]
		share := zone.idlePending / int64(len(all)) / 1000 * 1000
		var active, idle int64
		move := func(m *meter, sum *int64) {
			before := m.counter.value
			m.millis()
			*sum += m.counter.value - before
			if e.zeroed[z] {
				m.counter.restart()
			}
		}
		for i, l := range all {
			if i > 0 {
				l.idleShare[z].add(share)
			} else {
				l.idleShare[z].add(zone.idlePending - share*int64(len(all)-1))
			}
			move(&l.zones[z], &active)
			move(&l.idleShare[z], &idle)
		}
		for _, l := range e.dead { // what it used after the newest sample went to the node alone
			active += l.zones[z].pending / 1000 * 1000
			l.zones[z].pending = 0
		}
		zone.idlePending = 0
		zone.active.value += active
		zone.idle.value += idle
		e.zeroed[z] = false
	}
	for _, l := range n.loads {
		for _, p := range l.gpu {
			p.meter.millis()
		}
	}
	for _, g := range n.gpus {
		g.active.value += g.activePending / 1000 * 1000
		g.activePending %= 1000
		g.idleCounter.value += g.idlePending / 1000 * 1000
		g.idlePending %= 1000
	}
}

// cached returns the label set called key, made by f the first time.
func (e *legacy) cached(key string, f func() []Label) []Label {
	labels, ok := e.labels[key]
	if !ok {
		labels = f()
		e.labels[key] = labels
	}
	return labels
}

var legacySources = [numZones]string{"rapl-sysfs", "rapl-sysfs", "rapl-sysfs", "", "rapl-sysfs"}

func (e *legacy) scrape() ([]Series, bool) {
	if e.down {
		return nil, false
	}
	n := e.node
	out := []Series{
		{"kepler_exporter_build_info", e.cached("build", func() []Label {
			return labelSet("version", "v0.9.0", "revision", "9c21c99b", "branch", "main", "os", "linux", "arch", "amd64")
		}), 1},
		{"kepler_node_info", e.cached("info", func() []Label {
			return labelSet("components_power_source", "rapl-sysfs", "cpu_architecture", "Sapphire Rapids", "platform_power_source", "acpi", "source", "os")
		}), 1},
	}
	for i, mode := range []string{"dynamic", "idle"} {
		var platform int64
		for _, z := range legacyZones {
			counter := [2]*counter{&n.zones[z].active, &n.zones[z].idle}[i]
			counter.show(e.scraped)
			socket := "0"
			if z == Other {
				socket = "socket0"
			}
			out = append(out, Series{"kepler_node_" + z.String() + "_joules_total", e.cached("node"+z.String()+mode, func() []Label {
				return labelSet("package", socket, "instance", n.Name, "mode", mode, "source", legacySources[z])
			}), joules(counter.value)})
			if z != Core {
				platform += counter.value
			}
		}
		for _, g := range n.gpus {
			counter := [2]*counter{&g.active, &g.idleCounter}[i]
			counter.show(e.scraped)
			platform += counter.value
			out = append(out, Series{"kepler_node_gpu_joules_total", e.cached(g.uuid+mode, func() []Label {
				return labelSet("package", fmt.Sprint(g.index), "instance", n.Name, "mode", mode, "source", "nvml")
			}), joules(counter.value)})
		}
		out = append(out, Series{"kepler_node_platform_joules_total", e.cached("platform"+mode, func() []Label {
			return labelSet("package", "energy0", "instance", n.Name, "mode", mode, "source", "acpi")
		}), joules(platform)})
	}
	for _, l := range append(e.all(), e.dead...) {
		out = e.appendLoad(out, l)
	}
	e.scraped = true
	return out, true
}

func (e *legacy) appendLoad(out []Series, l *load) []Series {
	if l.labels.legacy == nil {
		l.labels.legacy = make(map[string][]Label)
	}
	prefix := "kepler_container_"
	if l.kind == vmLoad {
		prefix = "kepler_vm_"
	}
	emit := func(what, mode, source string, value float64) {
		key := what + mode
		labels, ok := l.labels.legacy[key]
		if !ok {
			labels = legacyLabels(l, mode, source)
			l.labels.legacy[key] = labels
		}
		out = append(out, Series{prefix + what + "joules_total", labels, value})
	}
	for i, mode := range []string{"dynamic", "idle"} {
		var total int64
		for _, z := range legacyZones {
			m := [2]*meter{&l.zones[z], &l.idleShare[z]}[i]
			m.counter.show(e.scraped)
			emit(z.String()+"_", mode, legacySources[z], joules(m.counter.value))
			if z != Core {
				total += m.counter.value
			}
		}
		emit("uncore_", mode, "rapl-sysfs", 0)
		var energy int64
		for _, p := range l.gpu {
			if mode == "dynamic" {
				p.meter.counter.show(e.scraped)
				energy += p.meter.counter.value
			}
		}
		if len(l.node.gpus) > 0 {
			emit("gpu_", mode, "nvml", joules(energy))
			total += energy
		}
		emit("platform_", mode, "acpi", joules(total))
		if l.kind != vmLoad { // there is no total of a virtual machine
			emit("", mode, "", joules(total))
		}
	}
	return out
}

func legacyLabels(l *load, mode, source string) []Label {
	switch l.kind {
	case vmLoad:
		return labelSet("vm_id", l.id, "mode", mode, "source", source)
	case systemLoad:
		return labelSet("container_id", "system_processes", "container_name", "system_processes", "pod_name", "system_processes",
			"container_namespace", "system", "mode", mode, "source", source)
	}
	return labelSet("container_id", l.id, "container_name", l.name, "pod_name", l.pod.name,
		"container_namespace", l.pod.namespace, "mode", mode, "source", source)
}
