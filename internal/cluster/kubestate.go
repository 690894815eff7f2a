package cluster

import (
	"maps"
	"slices"
	"strings"
)

// A fact is one series of kube-state-metrics.
type fact struct {
	name   string
	labels []Label
	value  float64
}

// describe makes what kube-state-metrics says of the pod.
func (p *pod) describe() {
	id := []Label{{"namespace", p.namespace}, {"pod", p.name}, {"uid", p.uid}}
	add := func(name string, value float64, pairs ...string) {
		p.facts = append(p.facts, fact{name, With(id, pairs...), value})
	}
	p.facts = nil
	add("kube_pod_info", 1, "host_ip", "10.0.0."+string(rune('1'+p.node.index%9)), "pod_ip", p.ip, "node", p.node.Name,
		"created_by_kind", p.ownerKind, "created_by_name", p.ownerName, "priority_class", "", "host_network", "false")
	add("kube_pod_owner", 1, "owner_kind", p.ownerKind, "owner_name", p.ownerName, "owner_is_controller", "true")
	labels := make([]string, 0, 2*len(p.workload.Labels))
	for _, l := range p.workload.Labels {
		labels = append(labels, "label_"+metricName(l.Name), l.Value)
	}
	add("kube_pod_labels", 1, labels...)
	for i, l := range p.containers {
		add("kube_pod_container_info", 1, "container", l.name, "container_id", "containerd://"+l.id,
			"image", l.image, "image_spec", l.image, "image_id", l.image)
		add("kube_pod_container_resource_requests", max(0.1, l.peak/12), "container", l.name, "node", p.node.Name, "resource", "cpu", "unit", "core")
		if i == 0 && p.workload.GPUs > 0 {
			add("kube_pod_container_resource_requests", float64(p.workload.GPUs), "container", l.name, "node", p.node.Name,
				"resource", "nvidia_com_gpu", "unit", "integer")
		}
	}
}

// metricName maps a Kubernetes label name to the name kube-state-metrics gives it.
func metricName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

// scrapeKubeState returns what kube-state-metrics would say.
func (c *Cluster) scrapeKubeState() ([]Series, bool) {
	var out []Series
	done := make(map[string]bool)
	for _, p := range c.pods {
		for _, f := range p.facts {
			out = append(out, Series{f.name, f.labels, f.value})
		}
		key := p.namespace + "/" + p.ownerName
		if p.ownerKind == "ReplicaSet" && !done[key] {
			done[key] = true
			out = append(out, Series{"kube_replicaset_owner", c.ownerLabels(key, "replicaset", p.namespace, p.ownerName, "Deployment", p.workload.Name), 1})
		}
	}
	for _, namespace := range slices.Sorted(maps.Keys(c.config.Teams)) {
		out = append(out, Series{"kube_namespace_labels", labelSet("namespace", namespace, "label_team", c.config.Teams[namespace]), 1})
	}
	for _, j := range c.jobs {
		out = append(out, Series{"kube_job_owner", c.ownerLabels(j.namespace+"/"+j.job, "job_name", j.namespace, j.job, "CronJob", j.cronJob), 1})
	}
	return out, true
}

func (c *Cluster) ownerLabels(key, what, namespace, name, kind, owner string) []Label {
	labels, ok := c.owners[key]
	if !ok {
		labels = labelSet("namespace", namespace, what, name, "owner_kind", kind, "owner_name", owner, "owner_is_controller", "true")
		c.owners[key] = labels
	}
	return labels
}
