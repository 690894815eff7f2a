package transform

import (
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
)

// factLabels are the labels of a fact. Where Prometheus scraped
// kube-state-metrics without honorLabels, namespace, pod and container name the
// exporter's own pod and exported_namespace and so on hold what the fact says;
// this is the one place that knows.
type factLabels []power.Label

func (l factLabels) get(names ...string) string {
	for _, name := range names {
		if v := l.exact("exported_" + name); v != "" {
			return v
		}
		if v := l.exact(name); v != "" {
			return v
		}
	}
	return ""
}

func (l factLabels) exact(name string) string {
	for i := range l {
		if l[i].Name == name {
			return l[i].Value
		}
	}
	return ""
}

// prefixed returns the labels that begin with prefix, without it.
func (l factLabels) prefixed(prefix string) []power.Label {
	var found []power.Label
	for _, label := range l {
		if name, ok := strings.CutPrefix(label.Name, prefix); ok {
			found = append(found, power.Label{Name: name, Value: label.Value})
		}
	}
	return found
}

// tagsOf returns what a fact tells tags of, and the tags it tells; nil for nothing
// that is known.
func (d *Directory) tagsOf(f power.Fact) (t *tagged, list []power.Label) {
	l := factLabels(f.Labels)
	placeTags := func(kind subjectKind, name string) *place { return d.places.get(subject{kind, f.Cluster, name, ""}) }
	switch f.Kind {
	case power.PodLabelsFact, power.PodAnnotationsFact:
		p := d.pods.get(subject{byUID, f.Cluster, d.uidOf(f), ""})
		if p == nil || p.told == nil {
			return nil, nil
		}
		if f.Kind == power.PodLabelsFact {
			return &p.told.labels, l.prefixed("label_")
		}
		return &p.told.annotations, l.prefixed("annotation_")
	case power.NamespaceLabelsFact:
		if p := placeTags(byNamespace, l.get("namespace")); p != nil {
			return &p.labels, l.prefixed("label_")
		}
	case power.NamespaceAnnotationsFact:
		if p := placeTags(byNamespace, l.get("namespace")); p != nil {
			return &p.annotations, l.prefixed("annotation_")
		}
	}
	return nil, nil
}

// replaces says that a fact puts tags in the place of others.
func (d *Directory) replaces(f power.Fact) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, list := d.tagsOf(f)
	return t != nil && t.known() && f.AtMs >= t.atMs && !slices.Equal(list, t.list)
}

// uidOf returns the UID of the pod that a fact is of.
func (d *Directory) uidOf(f power.Fact) string {
	l := factLabels(f.Labels)
	uid, namespace, name := l.get("pod_id", "uid"), l.get("pod_namespace", "namespace"), l.get("pod_name", "pod")
	if uid == "" && namespace != "" && name != "" {
		// Some versions of kube-state-metrics leave the UID out of some metrics.
		if known := d.named(subject{byName, f.Cluster, namespace, name}); len(known) > 0 {
			return known[0].uid
		}
		return namespace + "/" + name
	}
	return uid
}

// take returns the subjects that a fact told something new about.
func (d *Directory) take(f power.Fact, ms int64) []subject {
	l := factLabels(f.Labels)
	namespace := l.get("pod_namespace", "namespace")
	switch f.Kind {
	case power.NodeFact:
		return nil // it is about a node, which the counters' names say already
	case power.NamespaceLabelsFact, power.NamespaceAnnotationsFact:
		return d.learnPlace(subject{byNamespace, f.Cluster, l.get("namespace"), ""}, f, ms)
	case power.NodeLabelsFact:
		return d.learnPlace(subject{byNode, f.Cluster, l.get("node"), ""}, f, ms)
	case power.ReplicaSetOwnerFact:
		return d.learnOwner(subject{replicaSet, f.Cluster, namespace, l.get("replicaset", "replicationcontroller")}, l, ms)
	case power.JobOwnerFact:
		return d.learnOwner(subject{job, f.Cluster, namespace, l.get("job_name")}, l, ms)
	}

	uid, name := d.uidOf(f), l.get("pod_name", "pod")
	if uid == "" {
		return nil
	}
	p, changed := d.pod(subject{byUID, f.Cluster, uid, ""}, namespace, name, ms)
	if p == nil {
		return nil
	}
	switch f.Kind {
	case power.PodFact:
		kind := ownerKind(l.get("created_by_kind"))
		if kind != nobody && p.ownerKind == "" && l.get("created_by_name") != "" {
			p.ownerKind, p.ownerName = kind, l.get("created_by_name")
			changed = true
		}
	case power.PodOwnerFact:
		if l.get("owner_is_controller") == "false" {
			break
		}
		kind, owner := ownerKind(l.get("owner_kind")), l.get("owner_name")
		if kind == nobody {
			owner = ""
		}
		if p.ownerKind != kind || p.ownerName != owner {
			p.ownerKind, p.ownerName = kind, owner
			changed = true
		}
	case power.PodLabelsFact:
		changed = p.tell().labels.take(d, power.PodLabel, l.prefixed("label_"), f.AtMs) || changed
	case power.PodAnnotationsFact:
		changed = p.tell().annotations.take(d, power.PodAnnotation, l.prefixed("annotation_"), f.AtMs) || changed
	case power.PodContainerFact:
		changed = d.learnContainer(f.Cluster, p, l, ms) || changed
		if id := containerID(l.get("container_id")); changed && id != "" {
			return []subject{{byUID, f.Cluster, uid, ""}, p.nameSubject(), {byContainer, f.Cluster, id, ""}}
		}
	case power.PodRequestsFact:
		changed = p.tell().request(l.get("container"), l.get("resource"), f.Value) || changed
	}
	if !changed {
		return nil
	}
	return []subject{{byUID, f.Cluster, uid, ""}, p.nameSubject()}
}

// learnPlace takes in the labels or annotations of a namespace or a node.
func (d *Directory) learnPlace(s subject, f power.Fact, ms int64) []subject {
	if s.a == "" {
		return nil
	}
	p := d.places.get(s)
	if p == nil {
		if d.places.len() >= d.maxPods {
			d.forget(ms)
		}
		if d.places.len() >= d.maxPods {
			d.refused++
			return nil
		}
		p = &place{what: s}
		d.places.add(p)
	}
	p.seenMs = max(p.seenMs, ms)
	l, changed := factLabels(f.Labels), false
	switch f.Kind {
	case power.NamespaceLabelsFact:
		changed = p.labels.take(d, power.NamespaceLabel, l.prefixed("label_"), f.AtMs)
	case power.NamespaceAnnotationsFact:
		changed = p.annotations.take(d, power.NamespaceAnnotation, l.prefixed("annotation_"), f.AtMs)
	case power.NodeLabelsFact:
		changed = p.labels.take(d, power.NodeLabel, l.prefixed("label_"), f.AtMs)
	}
	if !changed {
		return nil
	}
	return []subject{s}
}

func (d *Directory) learnOwner(s subject, l factLabels, ms int64) []subject {
	if s.a == "" || s.b == "" || l.get("owner_is_controller") == "false" {
		return nil
	}
	kind, name := ownerKind(l.get("owner_kind")), l.get("owner_name")
	if kind == nobody {
		name = ""
	}
	known := d.owners.get(s)
	if known == nil {
		// As many owners as pods: there is at most one for each.
		if d.owners.len() >= d.maxPods {
			d.forget(ms)
		}
		if d.owners.len() >= d.maxPods {
			d.refused++
			return nil
		}
		known = &owned{what: s}
		d.owners.add(known)
	}
	known.seenMs = max(known.seenMs, ms)
	if known.kind == kind && known.name == name {
		return nil
	}
	known.kind, known.name = kind, name
	return []subject{s}
}

// ownerKind is a kind in lower case; kube-state-metrics writes "<none>" or
// nothing where there is no owner.
func ownerKind(kind string) string {
	if kind == "" || kind == "<none>" {
		return nobody
	}
	return strings.ToLower(kind)
}

// containerID takes the scheme off "containerd://…".
func containerID(id string) string {
	if _, bare, ok := strings.Cut(id, "://"); ok {
		return bare
	}
	return id
}

// pod returns the pod with a UID, made if need be, and whether its name is news.
// It returns nil when there are too many pods.
func (d *Directory) pod(s subject, namespace, name string, ms int64) (p *pod, changed bool) {
	p = d.pods.get(s)
	if p == nil {
		if d.pods.len() >= d.maxPods {
			d.forget(ms)
		}
		if d.pods.len() >= d.maxPods {
			d.refused++
			return nil, false
		}
		p = &pod{cluster: s.cluster, uid: s.a, namespace: namespace, name: name, firstMs: ms, seenMs: ms}
		d.addPod(p)
		return p, true
	}
	p.seenMs = max(p.seenMs, ms)
	if namespace != "" && namespace != p.namespace || name != "" && name != p.name {
		d.unname(p)
		if namespace != "" {
			p.namespace = namespace
		}
		if name != "" {
			p.name = name
		}
		d.name(p)
		changed = true
	}
	return p, changed
}

func (d *Directory) learnContainer(cluster string, p *pod, l factLabels, ms int64) (changed bool) {
	name, image := l.get("container"), l.get("image_spec")
	if v := l.get("image"); v != "" && !strings.HasPrefix(v, "sha256:") {
		image = v
	}
	if name != "" {
		p := p.tell()
		i, found := slices.BinarySearchFunc(p.containers, name, func(c podContainer, name string) int { return strings.Compare(c.name, name) })
		if !found {
			p.containers = slices.Insert(p.containers, i, podContainer{name: name})
		}
		if !found || image != "" && p.containers[i].image != image {
			p.containers[i].image = image
			changed = true
		}
	}
	id := containerID(l.get("container_id"))
	if id == "" {
		return changed
	}
	s := subject{byContainer, cluster, id, ""}
	known := d.images.get(s)
	if known == nil {
		// A pod has a few containers, and each may restart now and then.
		if d.images.len() >= 8*d.maxPods {
			d.forget(ms)
		}
		if d.images.len() >= 8*d.maxPods {
			d.refused++
			return changed
		}
		known = &running{cluster: cluster, id: id}
		d.images.add(known)
	}
	next := running{cluster: cluster, id: id, uid: p.uid, namespace: p.namespace, pod: p.name, container: name, image: image, seenMs: max(known.seenMs, ms)}
	known.seenMs = next.seenMs
	if *known != next {
		*known = next
		changed = true
	}
	return changed
}

// request notes what a container asks for. Processors and memory are asked for
// by all and tell nothing, so they are not kept.
func (p *told) request(container, resource string, amount float64) bool {
	switch resource {
	case "", "cpu", "memory", "ephemeral_storage":
		return false
	}
	i, found := slices.BinarySearchFunc(p.requests, request{container: container, resource: resource}, func(a, b request) int {
		if c := strings.Compare(a.container, b.container); c != 0 {
			return c
		}
		return strings.Compare(a.resource, b.resource)
	})
	if found && p.requests[i].amount == amount {
		return false
	}
	if !found {
		p.requests = slices.Insert(p.requests, i, request{container: container, resource: resource})
	}
	p.requests[i].amount = amount
	return true
}
