package cluster

import "fmt"

// A Generation is a generation of Kepler.
type Generation uint8

const (
	Current Generation = iota // 0.10 and later
	Legacy                    // up to 0.9
)

// NodeConfig describes a node.
type NodeConfig struct {
	Name       string
	Generation Generation
	IdleWatts  float64 // of the package; 35 if zero
	// RegisterJoules is where the RAPL registers wrap; 262143.328 if zero.
	RegisterJoules float64
	Psys           bool // the node has a psys zone (current generation only)
	GPUs           int
	GPUName        string
	// DCGM says that the GPUs are reported by a dcgm-exporter, not by Kepler.
	DCGM bool
	VMs  []string // names
}

// A Zone is a part of a machine with an energy register of its own.
type Zone uint8

const (
	Package  Zone = iota
	Core          // inside the package
	DRAM          // beside the package
	Psys          // the whole platform: package, dram and other
	Other         // fans, disks, losses
	numZones = int(Other) + 1
)

var zoneNames = [numZones]string{"package", "core", "dram", "psys", "other"}

func (z Zone) String() string { return zoneNames[z] }

// draws is power by zone in milliwatts.
type draws [numZones]int64

// drawsOf spreads a package's power over the zones; dram is the share of
// package power that memory draws on top of it.
func drawsOf(packageWatts, dram float64) draws {
	var d draws
	d[Package] = int64(packageWatts * 1e3)
	d[Core] = d[Package] * 63 / 100
	d[DRAM] = int64(packageWatts * dram * 1e3)
	d[Other] = d[Package] * 21 / 100
	d[Psys] = d[Package] + d[DRAM] + d[Other]
	return d
}

// A Node is a machine of the cluster.
type Node struct {
	Name     string
	config   NodeConfig
	cluster  *Cluster
	index    int
	zones    [numZones]nodeZone
	idle     draws
	loads    []*load // running
	system   *load   // host processes outside containers
	gpus     []*gpu
	exporter exporter
	past     []*load // ended and no longer reported
}

// A nodeZone is the register of one zone of a node and the counters made of it.
type nodeZone struct {
	start, wrap int64 // register: value at the beginning, and where it wraps
	used        int64
	idleUsed    int64
	idlePending int64
	raw         counter // what a scrape would learn if the register never wrapped
	active      counter
	idle        counter
	idleStart   int64 // the register when the exporter started: the idle counter's first value
	totalWatts  float64
	activeWatts float64
	idleWatts   float64
}

func (z *nodeZone) register() int64 { return (z.start + z.used) % z.wrap }

func newNode(c *Cluster, index int, config NodeConfig) *Node {
	if config.IdleWatts == 0 {
		config.IdleWatts = 35
	}
	if config.RegisterJoules == 0 {
		config.RegisterJoules = 262143.328
	}
	if config.GPUName == "" {
		config.GPUName = "NVIDIA H100 80GB HBM3"
	}
	n := &Node{Name: config.Name, config: config, cluster: c, index: index, idle: drawsOf(config.IdleWatts, 0.12)}
	h := hash(c.config.Seed, config.Name)
	for z := range n.zones {
		wrap := int64(config.RegisterJoules * 1e6)
		n.zones[z].wrap = wrap
		n.zones[z].start = int64(unit(h, uint64(z)) * float64(wrap))
	}
	n.system = &load{kind: systemLoad, node: n, shape: steady, base: 6, peak: 9, dram: 0.1, seed: hash(h, "system"), started: c.now}
	for i, name := range config.VMs {
		seed := hash(h, name)
		n.loads = append(n.loads, &load{
			kind: vmLoad, node: n, id: uuid(seed), name: name, pid: 900 + i,
			shape: diurnal, base: 6, peak: 24, dram: 0.15, seed: seed, started: c.now,
		})
	}
	for i := range config.GPUs {
		n.gpus = append(n.gpus, &gpu{
			index: i, uuid: "GPU-" + uuid(hash(h, fmt.Sprint("gpu", i))), name: config.GPUName,
			idle: 62_000, lifetime: int64(5_000_000+unit(h, uint64(i+99))*4e6) * 1e6,
		})
	}
	if config.Generation == Legacy {
		n.exporter = &legacy{node: n}
	} else {
		n.exporter = &kepler{node: n}
	}
	return n
}

// draw lets ms milliseconds pass. No tick, event or refresh lies within them.
func (n *Node) draw(ms int64) {
	t := n.cluster.now / n.cluster.tick * n.cluster.tick
	use := func(l *load) {
		d := l.draws(t)
		for z := range d {
			energy := d[z] * ms
			l.zones[z].add(energy)
			n.zones[z].used += energy
		}
		for _, p := range l.gpu {
			energy := l.gpuMilliwatts(t, p) * ms
			p.meter.add(energy)
			p.device.used += energy
			p.device.activePending += energy
		}
	}
	use(n.system)
	for _, l := range n.loads {
		use(l)
	}
	for z := range n.zones {
		energy := n.idle[z] * ms
		n.zones[z].used += energy
		n.zones[z].idleUsed += energy
		n.zones[z].idlePending += energy
	}
	for _, g := range n.gpus {
		g.used += g.idle * ms
		g.idleUsed += g.idle * ms
		g.idlePending += g.idle * ms
	}
}

// end stops l: its process is gone before the exporter looks again.
func (n *Node) end(l *load) {
	for i, other := range n.loads {
		if other == l {
			n.loads = append(n.loads[:i:i], n.loads[i+1:]...)
			l.ended = n.cluster.now
			n.exporter.ended(l)
			return
		}
	}
}

// A gpu is one device.
type gpu struct {
	index                      int
	uuid, name                 string
	idle                       int64 // milliwatts
	lifetime                   int64 // microjoules drawn before the simulation began
	used, idleUsed             int64
	activePending, idlePending int64
	total, active, idleCounter counter // as Kepler reports them; total without lifetime
	totalWatts, activeWatts    float64
	idleWatts                  float64
	labels                     []Label
	dcgmLabels                 []Label
	dcgmOwner                  *load // whose container dcgmLabels name
	owner                      *load // who has the device; nil for nobody
}
