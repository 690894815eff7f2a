// Package cluster is a simulated Kubernetes cluster whose energy is known
// exactly: nodes, pods and GPUs that draw power, the exporters that report it,
// and the truth of every joule. It exists to test, measure and demonstrate the
// ledger; nothing that is shipped to users depends on it.
//
// The simulation is a function of its Config and of the moments at which it is
// advanced and scraped: there is no wall clock and no random state in it. Power
// is whole milliwatts that change only at ticks, and time is whole
// milliseconds, so energy is whole microjoules and every sum is exact.
//
// The exporters follow the behaviour of the real ones, traps included: raw RAPL
// registers wrap, idle counters start at the register's value, containers
// change their labels in mid life, terminated series appear once, counters of
// GPU processes leave the sum when the process ends.
package cluster

import (
	"fmt"
	"slices"
	"time"
)

// Config describes a cluster.
type Config struct {
	Name      string        // the cluster label
	Seed      uint64        // same seed, same cluster and same power
	Start     time.Time     // when the clock starts
	Tick      time.Duration // power changes at multiples of it; 1 s if zero
	Nodes     []NodeConfig
	Workloads []Workload
	Teams     map[string]string // the label team of namespaces
	// LabelDelay is how long a container that starts later than its exporter is
	// reported with its pod's name and without a pod UID.
	LabelDelay time.Duration
	// ProcessSeries adds the per-process series, the larger half of a real scrape.
	ProcessSeries bool
}

// A Cluster is the simulation. It is not safe for concurrent use.
type Cluster struct {
	config  Config
	nodes   []*Node
	pods    []*pod     // those kube-state-metrics knows
	jobs    []jobOwner // running, and the newest finished, of each CronJob
	next    int        // node tried last by the scheduler
	owners  map[string][]Label
	now     int64   // Unix milliseconds
	tick    int64   // milliseconds
	events  []event // sorted by time, then by the order they were scheduled in
	ordinal uint64  // of the next container, for ids
	targets []*Target
}

type event struct {
	at int64
	do func()
}

// New builds the cluster at its start time with all exporters running.
func New(config Config) (*Cluster, error) {
	if config.Tick == 0 {
		config.Tick = time.Second
	}
	c := &Cluster{config: config, now: config.Start.UnixMilli(), tick: config.Tick.Milliseconds(), owners: make(map[string][]Label)}
	if c.tick < 1 {
		return nil, fmt.Errorf("tick %v is shorter than a millisecond", config.Tick)
	}
	if len(config.Nodes) == 0 {
		return nil, fmt.Errorf("cluster %q has no nodes", config.Name)
	}
	for i, nc := range config.Nodes {
		if c.Node(nc.Name) != nil {
			return nil, fmt.Errorf("node %q twice", nc.Name)
		}
		c.nodes = append(c.nodes, newNode(c, i, nc))
	}
	for i := range config.Workloads {
		if err := c.deploy(&config.Workloads[i]); err != nil {
			return nil, fmt.Errorf("deploy %s/%s: %w", config.Workloads[i].Namespace, config.Workloads[i].Name, err)
		}
	}
	for _, n := range c.nodes {
		n.exporter.start()
	}
	c.targets = c.buildTargets()
	return c, nil
}

// Now returns the simulated time.
func (c *Cluster) Now() time.Time { return time.UnixMilli(c.now).UTC() }

// Node returns the node called name, nil if there is none.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Targets returns what a Prometheus would scrape, in a fixed order.
func (c *Cluster) Targets() []*Target { return c.targets }

// At schedules do for the moment at, which must not have passed.
func (c *Cluster) at(at int64, do func()) {
	i := len(c.events)
	for i > 0 && c.events[i-1].at > at {
		i--
	}
	c.events = slices.Insert(c.events, i, event{max(at, c.now), do})
}

// Advance runs the simulation up to to. A time in the past changes nothing.
func (c *Cluster) Advance(to time.Time) {
	end := to.UnixMilli()
	for c.now < end {
		for len(c.events) > 0 && c.events[0].at <= c.now {
			do := c.events[0].do
			c.events = c.events[1:]
			do()
		}
		next := min(end, (c.now/c.tick+1)*c.tick)
		if len(c.events) > 0 {
			next = min(next, c.events[0].at)
		}
		for _, n := range c.nodes {
			next = min(next, n.exporter.nextRefresh())
		}
		for _, n := range c.nodes {
			n.draw(next - c.now)
		}
		c.now = next
		for _, n := range c.nodes {
			if n.exporter.nextRefresh() <= c.now {
				n.exporter.refresh()
			}
		}
	}
	for len(c.events) > 0 && c.events[0].at <= c.now {
		do := c.events[0].do
		c.events = c.events[1:]
		do()
	}
}
