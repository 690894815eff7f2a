package cluster

import (
	"errors"
	"fmt"
	"time"
)

// A Workload is something users deploy.
type Workload struct {
	Namespace  string
	Kind       string // Deployment, StatefulSet, DaemonSet, CronJob, Job, PyTorchJob
	Name       string
	Type       string // what a classifier should find
	Replicas   int    // pods; of a CronJob or Job, per run; 1 if zero. A DaemonSet has one per node
	Labels     []Label
	Containers []Container
	GPUs       int           // per pod, for its first container
	Nodes      []string      // where its pods may run; empty means anywhere
	Every      time.Duration // of a CronJob
	Lasts      time.Duration // of a run of a CronJob or Job
}

// A Container is one container of a workload's pods.
type Container struct {
	Name, Image string
	Shape       Shape
	BaseWatts   float64
	PeakWatts   float64
	GPUWatts    float64 // per device, above idle, at the peak
}

// A Shape is how a container's power moves over time.
type Shape uint8

const (
	Steady     Shape = iota
	Diurnal          // follows the working day
	Bursty           // requests come and go
	Training         // flat out, with a checkpoint every ten minutes
	Batch            // ramps up, then flat out
	Compacting       // busy for a few minutes every hour
)

var shapes = [...]shape{steady, diurnal, bursty, training, batch, compacting}

var memoryShares = [...]float64{Steady: 0.1, Diurnal: 0.1, Bursty: 0.15, Training: 0.12, Batch: 0.18, Compacting: 0.3}

var errNoRoom = errors.New("no node has room for it")

// A pod is a pod of a workload.
type pod struct {
	workload             *Workload
	namespace, name, uid string
	ownerKind, ownerName string
	node                 *Node
	containers           []*load
	ip                   string
	ended                bool
	facts                []fact // what kube-state-metrics says of it
}

// A jobOwner is a Job that belongs to a CronJob.
type jobOwner struct{ namespace, job, cronJob string }

func (c *Cluster) deploy(w *Workload) error {
	if w.Replicas == 0 {
		w.Replicas = 1
	}
	h := hash(c.config.Seed, w.Namespace+"/"+w.Name)
	switch w.Kind {
	case "Deployment":
		rs := w.Name + "-" + suffix(h, 9)
		for i := range w.Replicas {
			if err := c.place(w, rs+"-"+suffix(mix(h+uint64(i)), 5), "ReplicaSet", rs, nil); err != nil {
				return err
			}
		}
	case "StatefulSet", "PyTorchJob":
		ordinal := "%s-%d"
		if w.Kind == "PyTorchJob" {
			ordinal = "%s-worker-%d"
		}
		for i := range w.Replicas {
			if err := c.place(w, fmt.Sprintf(ordinal, w.Name, i), w.Kind, w.Name, nil); err != nil {
				return err
			}
		}
	case "DaemonSet":
		for i, n := range c.nodes {
			if err := c.place(w, w.Name+"-"+suffix(mix(h+uint64(i)), 5), w.Kind, w.Name, n); err != nil {
				return err
			}
		}
	case "Job":
		return c.run(w, w.Name)
	case "CronJob":
		if w.Every <= 0 || w.Lasts <= 0 {
			return fmt.Errorf("a CronJob needs how often it runs and how long")
		}
		every := w.Every.Milliseconds()
		var next func()
		next = func() {
			// A run that finds no room is missed, as in a real cluster.
			_ = c.run(w, fmt.Sprintf("%s-%d", w.Name, c.now/60_000))
			c.at((c.now/every+1)*every, next)
		}
		c.at((c.now/every+1)*every, next)
	default:
		return fmt.Errorf("unknown kind %q", w.Kind)
	}
	return nil
}

// run starts one Job of w and schedules its end.
func (c *Cluster) run(w *Workload, job string) error {
	h := hash(c.config.Seed, w.Namespace+"/"+job)
	for i := range w.Replicas {
		p := job + "-" + suffix(mix(h+uint64(i)), 5)
		if err := c.place(w, p, "Job", job, nil); err != nil {
			return err
		}
		placed := c.pods[len(c.pods)-1]
		if w.Lasts > 0 {
			jitter := int64(unit(h, uint64(i)) * float64(w.Lasts.Milliseconds()) / 4)
			c.at(c.now+w.Lasts.Milliseconds()-jitter, func() { c.endPod(placed) })
		}
	}
	if w.Kind == "CronJob" {
		c.jobs = append(c.jobs, jobOwner{w.Namespace, job, w.Name})
		c.forgetJobs(w)
	}
	return nil
}

// forgetJobs keeps the newest three Jobs of a CronJob, as Kubernetes does.
func (c *Cluster) forgetJobs(w *Workload) {
	const kept = 3
	var mine []int
	for i, j := range c.jobs {
		if j.namespace == w.Namespace && j.cronJob == w.Name {
			mine = append(mine, i)
		}
	}
	if len(mine) <= kept {
		return
	}
	old := c.jobs[mine[0]]
	c.jobs = append(c.jobs[:mine[0]:mine[0]], c.jobs[mine[0]+1:]...)
	var pods []*pod
	for _, p := range c.pods {
		if p.namespace != old.namespace || p.ownerName != old.job || !p.ended {
			pods = append(pods, p)
		}
	}
	c.pods = pods
}

// place starts a pod of w on node, or on the next node with room if node is nil.
func (c *Cluster) place(w *Workload, name, ownerKind, ownerName string, node *Node) error {
	if node == nil {
		if node = c.schedule(w); node == nil {
			return errNoRoom
		}
	}
	c.ordinal++
	p := &pod{
		workload: w, namespace: w.Namespace, name: name, uid: uuid(hash(c.config.Seed, w.Namespace+"/"+name)),
		ownerKind: ownerKind, ownerName: ownerName, node: node,
		ip: fmt.Sprintf("10.244.%d.%d", node.index, 10+c.ordinal%240),
	}
	for i, spec := range w.Containers {
		l := c.startContainer(p, spec)
		if i == 0 {
			for _, g := range node.gpus {
				if len(l.gpu) < w.GPUs && g.owner == nil {
					g.owner = l
					l.gpu = append(l.gpu, &gpuProcess{device: g, pid: l.pid + len(l.gpu), share: 100})
				}
			}
		}
		p.containers = append(p.containers, l)
	}
	c.pods = append(c.pods, p)
	p.describe()
	return nil
}

// schedule picks the node in turn, among those with room.
func (c *Cluster) schedule(w *Workload) *Node {
	for range c.nodes {
		c.next++
		n := c.nodes[c.next%len(c.nodes)]
		allowed := len(w.Nodes) == 0
		for _, name := range w.Nodes {
			allowed = allowed || name == n.Name
		}
		free := 0
		for _, g := range n.gpus {
			if g.owner == nil {
				free++
			}
		}
		if allowed && free >= w.GPUs {
			return n
		}
	}
	return nil
}

func (c *Cluster) startContainer(p *pod, spec Container) *load {
	c.ordinal++
	seed := mix(hash(c.config.Seed, p.namespace+"/"+p.name+"/"+spec.Name) + c.ordinal)
	l := &load{
		kind: containerLoad, node: p.node, id: hexID(seed, 32), name: spec.Name, image: spec.Image, pod: p,
		pid: 1000 + int(c.ordinal)*8, shape: shapes[spec.Shape], base: spec.BaseWatts, peak: spec.PeakWatts,
		dram: memoryShares[spec.Shape], gpuPeak: spec.GPUWatts, seed: seed, started: c.now,
	}
	if c.now > c.config.Start.UnixMilli() {
		l.knownAt = c.now + c.config.LabelDelay.Milliseconds()
	}
	p.node.loads = append(p.node.loads, l)
	return l
}

func (c *Cluster) endPod(p *pod) {
	p.ended = true
	for _, l := range p.containers {
		for _, g := range p.node.gpus {
			if g.owner == l {
				g.owner = nil
			}
		}
		p.node.end(l)
	}
}
