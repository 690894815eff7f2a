package cluster

import "fmt"

// A Target is something a Prometheus scrapes.
type Target struct {
	Job         string // kepler, kube-state-metrics or dcgm-exporter
	Node        string // empty for kube-state-metrics
	Path        string // where an HTTP server may offer it
	HonorLabels bool

	cluster *Cluster
	scrape  func() ([]Series, bool)
	merged  map[seriesKey][]Label
	labels  []Label
}

func (c *Cluster) buildTargets() []*Target {
	var targets []*Target
	for _, n := range c.nodes {
		t := &Target{Job: "kepler", Node: n.Name, Path: "/metrics/" + n.Name, scrape: n.exporter.scrape}
		instance := fmt.Sprintf("10.244.%d.7:28282", n.index)
		if n.config.Generation == Legacy { // its manifest relabels the instance to the node's name
			instance = n.Name
		}
		t.labels = labelSet("job", "kepler", "instance", instance, "namespace", "kepler", "service", "kepler",
			"endpoint", "http", "container", "kepler", "pod", "kepler-"+suffix(hash(c.config.Seed, "kepler"+n.Name), 5))
		targets = append(targets, t)
		if n.config.DCGM {
			known := false
			targets = append(targets, &Target{
				Job: "dcgm-exporter", Node: n.Name, Path: "/metrics/" + n.Name + "/dcgm",
				scrape: func() ([]Series, bool) { return n.scrapeDCGM(&known) },
				labels: labelSet("job", "dcgm-exporter", "instance", fmt.Sprintf("10.244.%d.8:9400", n.index), "namespace", "gpu-operator",
					"service", "dcgm-exporter", "endpoint", "gpu-metrics", "container", "exporter", "pod", "dcgm-exporter-"+suffix(hash(c.config.Seed, "dcgm"+n.Name), 5)),
			})
		}
	}
	targets = append(targets, &Target{
		Job: "kube-state-metrics", Path: "/metrics/kube-state-metrics", HonorLabels: true, scrape: c.scrapeKubeState,
		labels: labelSet("job", "kube-state-metrics", "instance", "10.244.0.9:8080", "namespace", "monitoring",
			"service", "kube-state-metrics", "endpoint", "http", "container", "kube-state-metrics", "pod", "kube-state-metrics-0"),
	})
	for _, t := range targets {
		t.cluster = c
		t.labels = mergeLabels(t.labels, labelSet("cluster", c.config.Name, "prometheus", "monitoring/k8s"))
		t.merged = make(map[seriesKey][]Label)
	}
	return targets
}

// A seriesKey is a series of a target: series of several names share labels.
type seriesKey struct {
	name   string
	labels *Label
}

// Scrape returns the target's series at the cluster's time; ok is false while
// its exporter is down. Every scrape counts towards what the counters have
// shown, so only scrapes whose samples are delivered should be made.
func (t *Target) Scrape() (series []Series, ok bool) { return t.scrape() }

// Up reports whether a scrape would be answered.
func (t *Target) Up() bool {
	if t.Job != "kepler" {
		return true
	}
	return t.cluster.Node(t.Node).exporter.nextRefresh() != farFuture
}

// Labels returns the series' full label set as Prometheus would remote-write
// it: __name__, the target's labels, clashes resolved, empty values left out,
// sorted. The slice is the same one each time while the labels are.
func (t *Target) Labels(s Series) []Label {
	key := seriesKey{name: s.Name}
	if len(s.Labels) > 0 {
		key.labels = &s.Labels[0]
	}
	if full, ok := t.merged[key]; ok {
		return full
	}
	full := []Label{{"__name__", s.Name}}
	own := make(map[string]bool, len(s.Labels))
	ofTarget := make(map[string]bool, len(t.labels))
	for _, l := range t.labels {
		ofTarget[l.Name] = true
	}
	for _, l := range s.Labels {
		if l.Value == "" {
			continue
		}
		if ofTarget[l.Name] && !t.HonorLabels {
			l.Name = "exported_" + l.Name
		} else {
			own[l.Name] = true
		}
		full = append(full, l)
	}
	for _, l := range t.labels {
		if !own[l.Name] {
			full = append(full, l)
		}
	}
	sortLabels(full)
	t.merged[key] = full
	return full
}
