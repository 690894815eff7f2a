package main

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/wattledger/wattledger/internal/cluster"
)

// A simulation is what exporter and send have in common: a cluster's size and
// what goes wrong in it.
type simulation struct {
	name                           string
	seed                           uint64
	nodes, containers, legacyEvery int
	registerJoules                 float64
	demo, processes                bool
	faults                         faultFlags
}

func (s *simulation) register(fs *flag.FlagSet) {
	fs.StringVar(&s.name, "cluster", "loadgen", "name of the cluster")
	fs.Uint64Var(&s.seed, "seed", 1, "same seed, same load")
	fs.IntVar(&s.nodes, "nodes", 2, "number of nodes")
	fs.IntVar(&s.containers, "containers", 10, "containers per node")
	fs.IntVar(&s.legacyEvery, "legacy-every", 0, "every how manyth node has a Kepler before 0.10; 0 for none")
	fs.Float64Var(&s.registerJoules, "register-joules", 0, "where the RAPL registers wrap; 0 for the usual 262143 J")
	fs.BoolVar(&s.demo, "demo", false, "the demo's cluster instead of one made of -nodes and -containers")
	fs.BoolVar(&s.processes, "processes", false, "also the per-process series")
	fs.Var(&s.faults, "fault", `what goes wrong, and when after the start; may be given several times:
exporter-restart@30s:node-1:10s     the exporter is down for 10 s
container-restart@60s:shop/web-1/nginx
zero-counters@45s:node-1:package
gpu-process-end@50s:namespace/workload
job@70s:node-1:40:8s                a job of 40 W that lasts 8 s`)
}

// build makes the cluster, its clock standing at start.
func (s *simulation) build(start time.Time) (*cluster.Cluster, error) {
	config := cluster.Sized(s.name, s.seed, start, s.nodes, s.containers, s.legacyEvery, s.registerJoules)
	if s.demo {
		config = cluster.Demo(s.seed, start)
		config.Name = s.name
	}
	config.ProcessSeries = s.processes
	c, err := cluster.New(config)
	if err != nil {
		return nil, err
	}
	for _, f := range s.faults {
		if err := f.schedule(c, start); err != nil {
			return nil, fmt.Errorf("fault %q: %w", f.text, err)
		}
	}
	return c, nil
}

type fault struct {
	text string
	kind string
	at   time.Duration
	args []string
}

// faultFlags is a flag that may be given several times.
type faultFlags []fault

func (f *faultFlags) String() string { return "" }

func (f *faultFlags) Set(text string) error {
	parsed, err := parseFault(text)
	if err != nil {
		return err
	}
	*f = append(*f, parsed)
	return nil
}

var faultArgs = map[string]int{
	"exporter-restart": 2, "container-restart": 1, "zero-counters": 2, "gpu-process-end": 1, "job": 3,
}

func parseFault(text string) (fault, error) {
	kind, rest, _ := strings.Cut(text, "@")
	args, ok := faultArgs[kind]
	if !ok {
		return fault{}, fmt.Errorf("unknown fault %q", kind)
	}
	parts := strings.Split(rest, ":")
	if len(parts) != args+1 {
		return fault{}, fmt.Errorf("%s wants a time and %d arguments", kind, args)
	}
	at, err := time.ParseDuration(parts[0])
	if err != nil || at < 0 {
		return fault{}, fmt.Errorf("%s: bad time %q", kind, parts[0])
	}
	return fault{text: text, kind: kind, at: at, args: parts[1:]}, nil
}

func (f fault) schedule(c *cluster.Cluster, start time.Time) error {
	at := start.Add(f.at)
	switch f.kind {
	case "exporter-restart":
		down, err := time.ParseDuration(f.args[1])
		if err != nil {
			return err
		}
		return c.RestartExporter(at, f.args[0], down)
	case "container-restart":
		parts := strings.Split(f.args[0], "/")
		if len(parts) != 3 {
			return fmt.Errorf("want namespace/workload/container")
		}
		return c.RestartContainer(at, parts[0], parts[1], parts[2])
	case "zero-counters":
		for z := range cluster.Other {
			if z.String() == f.args[1] {
				return c.ZeroCounters(at, f.args[0], z)
			}
		}
		return fmt.Errorf("unknown zone %q", f.args[1])
	case "gpu-process-end":
		namespace, workload, ok := strings.Cut(f.args[0], "/")
		if !ok {
			return fmt.Errorf("want namespace/workload")
		}
		return c.EndGPUProcess(at, namespace, workload)
	}
	var watts float64
	if _, err := fmt.Sscanf(f.args[1], "%g", &watts); err != nil {
		return fmt.Errorf("bad power %q", f.args[1])
	}
	lasts, err := time.ParseDuration(f.args[2])
	if err != nil {
		return err
	}
	return c.RunJob(at, f.args[0], "batch", fmt.Sprintf("job-%d", f.at.Milliseconds()), watts, lasts)
}
