package cluster

import "fmt"

type loadKind uint8

const (
	containerLoad loadKind = iota
	vmLoad
	systemLoad
)

func (k loadKind) String() string { return [...]string{"container", "vm", "system"}[k] }

// A load is something on a node that draws power: a container, a virtual
// machine, or all host processes together.
type load struct {
	kind     loadKind
	node     *Node
	id, name string
	image    string
	pod      *pod // of a container
	pid      int

	shape      shape
	base, peak float64 // watts of package power
	dram       float64 // memory's share on top
	gpuPeak    float64 // watts per device above idle
	seed       uint64

	started, ended int64 // Unix milliseconds; ended is 0 while it runs
	knownAt        int64 // when the exporter learns the pod
	zones          [numZones]meter
	idleShare      [numZones]meter // legacy exporters allot idle energy to containers
	gpu            []*gpuProcess
	pastGPU        []*gpuProcess
	dcgmShown      int64 // energy of its devices while they carried its labels

	terminated bool // reported as such
	exported   bool // a scrape has seen it terminated
	labels     loadLabels
}

// A gpuProcess is a process of a load on one device. share is in percent of the
// load's power on the device.
type gpuProcess struct {
	device *gpu
	pid    int
	share  int64
	meter  meter
}

// draws returns the load's power during the tick that begins at t.
func (l *load) draws(t int64) draws {
	return drawsOf(l.watts(t), l.dram)
}

func (l *load) watts(t int64) float64 {
	return l.base + (l.peak-l.base)*l.shape(t, l.started, l.seed)
}

func (l *load) gpuMilliwatts(t int64, p *gpuProcess) int64 {
	whole := int64(l.gpuPeak * (0.08 + 0.92*l.shape(t, l.started, l.seed)) * 1e3)
	return whole * p.share / 100
}

// loadLabels caches a load's label sets until one of the attributes changes.
type loadLabels struct {
	state, name, podUID string
	plain               []Label // no zone
	zones               [numZones][]Label
	process             []Label
	processZones        [numZones][]Label
	pod                 []Label
	podZones            [numZones][]Label
	legacy              map[string][]Label
	gpu                 map[int][]Label // by pid
}

// shownName returns the container's name and pod UID as the exporter knows them at now.
func (l *load) shownName(now int64) (name, podUID string) {
	if l.pod == nil {
		return l.name, ""
	}
	if now < l.knownAt {
		return l.pod.name, ""
	}
	return l.name, l.pod.uid
}

func (l *load) state() string {
	if l.terminated {
		return "terminated"
	}
	return "running"
}

// currentLabels returns the label sets of the load for the current generation,
// made anew only when one of the attributes has changed.
func (l *load) currentLabels(now int64) *loadLabels {
	name, podUID := l.shownName(now)
	s := &l.labels
	if s.plain != nil && s.state == l.state() && s.name == name && s.podUID == podUID {
		return s
	}
	*s = loadLabels{state: l.state(), name: name, podUID: podUID}
	node := l.node.Name
	if l.kind == vmLoad {
		s.plain = labelSet("vm_id", l.id, "vm_name", l.name, "hypervisor", "kvm", "state", s.state, "node_name", node)
	} else {
		s.plain = labelSet("container_id", l.id, "container_name", name, "runtime", "containerd", "state", s.state, "pod_id", podUID, "node_name", node)
		s.pod = labelSet("pod_id", l.podUID(), "pod_name", l.pod.name, "pod_namespace", l.pod.namespace, "state", s.state, "node_name", node)
	}
	containerID, vmID, kind := l.id, "", "container"
	if l.kind == vmLoad {
		containerID, vmID, kind = "", l.id, "vm"
	}
	s.process = labelSet("pid", fmt.Sprint(l.pid), "comm", comm(l), "exe", "/usr/bin/"+comm(l), "type", kind,
		"state", s.state, "container_id", containerID, "vm_id", vmID, "node_name", node)
	for z := range numZones {
		s.zones[z] = With(s.plain, "zone", zoneNames[z])
		s.processZones[z] = With(s.process, "zone", zoneNames[z])
		if s.pod != nil {
			s.podZones[z] = With(s.pod, "zone", zoneNames[z])
		}
	}
	s.gpu = make(map[int][]Label)
	return s
}

func (l *load) podUID() string {
	if l.pod == nil {
		return ""
	}
	return l.pod.uid
}

func comm(l *load) string {
	if l.kind == vmLoad {
		return "qemu-system-x86"
	}
	return l.name
}
