package cluster

import (
	"fmt"
	"time"
)

// RestartExporter stops the exporter of node at at and starts it again down later.
func (c *Cluster) RestartExporter(at time.Time, node string, down time.Duration) error {
	n := c.Node(node)
	if n == nil {
		return fmt.Errorf("restart exporter: no node %q", node)
	}
	c.at(at.UnixMilli(), func() { n.exporter.stop() })
	c.at(at.Add(down).UnixMilli(), func() { n.exporter.start() })
	return nil
}

// ZeroCounters makes the counters of every container and VM of node fall to 0
// in one zone, as happens when the exporter reads a usage ratio of 0.
func (c *Cluster) ZeroCounters(at time.Time, node string, z Zone) error {
	n := c.Node(node)
	if n == nil {
		return fmt.Errorf("zero counters: no node %q", node)
	}
	c.at(at.UnixMilli(), func() { n.exporter.zero(z) })
	return nil
}

// RestartContainer ends the named container of the workload's first running pod
// and starts a new one, with a new id, in the same pod.
func (c *Cluster) RestartContainer(at time.Time, namespace, workload, container string) error {
	if c.workload(namespace, workload) == nil {
		return fmt.Errorf("restart container: no workload %s/%s", namespace, workload)
	}
	c.at(at.UnixMilli(), func() {
		for _, p := range c.pods {
			if p.ended || p.namespace != namespace || p.workload.Name != workload {
				continue
			}
			for i, l := range p.containers {
				if l.name == container {
					c.replace(p, i)
					return
				}
			}
		}
	})
	return nil
}

func (c *Cluster) replace(p *pod, i int) {
	old := p.containers[i]
	p.node.end(old)
	l := c.startContainer(p, p.workload.Containers[i])
	for _, process := range old.gpu {
		process.device.owner = l
		l.gpu = append(l.gpu, &gpuProcess{device: process.device, pid: l.pid + len(l.gpu), share: process.share})
	}
	p.containers[i] = l
	p.describe()
}

// EndGPUProcess makes one of the GPU processes of the workload's first pod end
// and another take its place on the same device.
func (c *Cluster) EndGPUProcess(at time.Time, namespace, workload string) error {
	if c.workload(namespace, workload) == nil {
		return fmt.Errorf("end GPU process: no workload %s/%s", namespace, workload)
	}
	c.at(at.UnixMilli(), func() {
		for _, p := range c.pods {
			if p.ended || p.namespace != namespace || p.workload.Name != workload {
				continue
			}
			for _, l := range p.containers {
				if len(l.gpu) > 0 {
					old := l.gpu[0]
					l.pastGPU = append(l.pastGPU, old)
					l.gpu[0] = &gpuProcess{device: old.device, pid: old.pid + 1, share: old.share}
					return
				}
			}
		}
	})
	return nil
}

// RunJob runs a short job of one container once, on the given node.
func (c *Cluster) RunJob(at time.Time, node, namespace, name string, watts float64, lasts time.Duration) error {
	if c.Node(node) == nil {
		return fmt.Errorf("run job: no node %q", node)
	}
	w := &Workload{
		Namespace: namespace, Kind: "Job", Name: name, Type: "batch", Replicas: 1, Nodes: []string{node}, Lasts: lasts,
		Containers: []Container{{Name: "work", Image: "docker.io/library/busybox:1.37", Shape: Batch, BaseWatts: watts, PeakWatts: watts}},
	}
	c.at(at.UnixMilli(), func() { _ = c.run(w, w.Name) }) // a job needs no devices: there is room
	return nil
}

func (c *Cluster) workload(namespace, name string) *Workload {
	for i := range c.config.Workloads {
		w := &c.config.Workloads[i]
		if w.Namespace == namespace && w.Name == name {
			return w
		}
	}
	return nil
}
