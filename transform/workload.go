package transform

import (
	"regexp"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/internal/index"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/transform/classify"
)

// A view looks things up in a directory and remembers what it looked for, found
// or not: when one of these subjects changes, the answer may too.
type view struct {
	directory *Directory
	ms        int64
	subjects  []uint32 // hashes
	tagging   tagging
}

func (v *view) note(s subject) subject {
	if h := index.Hash(s); !slices.Contains(v.subjects, h) {
		v.subjects = append(v.subjects, h)
	}
	return s
}

// describe says who a holder is.
func (v *view) describe(key power.HolderKey, a power.Attributes) power.Holder {
	h := power.Holder{HolderKey: key, Type: power.Unknown}
	h.Workload = power.Workload{Cluster: key.Cluster, Kind: key.Kind.String()}
	switch key.Kind {
	case power.Container:
		v.container(&h, a)
	case power.VM:
		h.Container = a.Container
		h.Workload.Namespace, h.Workload.Name = a.Namespace, a.Container
		if h.Workload.Name == "" {
			h.Workload.Name = key.ID
		}
		h.Type, h.Rule = v.directory.types.Type(classify.Subject{Namespace: a.Namespace, Workload: h.Workload.Name, OwnerKinds: []string{"vm"}})
		h.Tags = v.tags(&told{}, h.Workload)
	case power.Node:
		h.Workload.Name = key.Node
	default:
		h.Workload.Namespace, h.Workload.Name = key.Kind.PseudoName(), key.Kind.PseudoName()
		if key.Kind == power.System {
			h.Type = power.SystemType
		}
	}
	return h
}

func (v *view) container(h *power.Holder, a power.Attributes) {
	h.PodUID, h.Pod, h.Container, h.Image = a.PodUID, a.Pod, a.Container, a.Image
	namespace := a.Namespace
	if r := v.directory.images.get(containerSubject(&h.HolderKey)); r != nil {
		r.seenMs = max(r.seenMs, v.ms)
		// kube-state-metrics knows the container by its id: nothing is surer.
		h.PodUID, h.Pod, namespace = r.uid, r.pod, r.namespace
		if r.container != "" {
			h.Container = r.container
		}
		if r.image != "" {
			h.Image = r.image
		}
	}
	p := v.pod(h.Cluster, h.PodUID, namespace, h.Pod)
	if p.name == "" {
		// Not of a pod, or of one that is not known yet.
		h.Workload.Namespace, h.Workload.Name = namespace, h.Container
		if h.Workload.Name == "" {
			h.Workload.Name = h.ID[:min(12, len(h.ID))]
		}
		h.Inferred = true
	} else {
		h.Pod = p.name
		if h.PodUID == "" && p.uid != p.namespace+"/"+p.name {
			h.PodUID = p.uid
		}
		if h.Image == "" {
			for _, c := range p.more().containers {
				if c.name == h.Container {
					h.Image = c.image
				}
			}
		}
	}
	s := classify.Subject{Namespace: h.Workload.Namespace, Images: []string{h.Image}}
	if a.Command != "" {
		s.Command = []string{a.Command}
	}
	if p.name != "" {
		h.Workload.Namespace = p.namespace
		h.Workload.Kind, h.Workload.Name, h.Inferred = v.workload(&p, h.Node, &s)
		s.Namespace = p.namespace
		describe(&s, &p)
	}
	s.Workload = h.Workload.Name
	s.OwnerKinds = append(s.OwnerKinds, h.Workload.Kind)
	h.Type, h.Rule = v.directory.types.Type(s)
	h.Tags = v.tags(p.more(), h.Workload)
}

// pod puts together what is known of a pod under its UID and under its name.
// A static pod has one UID for the kubelet and another for the API server, so
// its owner and labels may be under the same name with another UID; only what a
// pod's own facts leave open is looked for there.
func (v *view) pod(cluster, uid, namespace, name string) pod {
	var found pod
	if uid != "" {
		if p := v.directory.pods.get(v.note(subject{byUID, cluster, uid, ""})); p != nil {
			p.seenMs = max(p.seenMs, v.ms)
			found = *p
		}
	}
	if found.name == "" {
		found.cluster, found.uid, found.namespace, found.name = cluster, uid, namespace, name
	}
	if found.namespace == "" || found.name == "" {
		found.name = ""
		return found
	}
	if found.ownerKind != "" {
		return found // its own facts say who it is; others of its name are others
	}
	list := v.directory.named(v.note(found.nameSubject()))
	for _, p := range list {
		p.seenMs = max(p.seenMs, v.ms)
		if found.uid == "" {
			found.uid = p.uid
		}
		if found.ownerKind == "" {
			found.ownerKind, found.ownerName = p.ownerKind, p.ownerName
		}
	}
	switch {
	case len(list) > 1:
		found.told = together(found.more(), list)
	case len(list) == 1 && found.told == nil:
		found.told = list[0].told
	}
	return found
}

// together completes what is told of a pod by what is told of others of its name.
func together(t *told, others []*pod) *told {
	all := *t
	for _, p := range others {
		t := p.more()
		if !all.labels.known() {
			all.labels = t.labels
		}
		if !all.annotations.known() {
			all.annotations = t.annotations
		}
		if len(all.containers) == 0 {
			all.containers = t.containers
		}
		if len(all.requests) == 0 {
			all.requests = t.requests
		}
	}
	return &all
}

// describe adds what is known of a pod to the subject of a classification.
func describe(s *classify.Subject, p *pod) {
	t := p.more()
	s.Labels, s.Annotations = labelMap(t.labels.list), labelMap(t.annotations.list)
	for _, c := range t.containers {
		s.Images = append(s.Images, c.image)
	}
	if len(t.requests) > 0 {
		s.Resources = map[string]float64{}
		for _, r := range t.requests {
			s.Resources[r.resource] += r.amount
		}
	}
}

func labelMap(list []power.Label) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]string, len(list))
	for _, l := range list {
		m[l.Name] = l.Value
	}
	return m
}

// maxOwners bounds the walk from a pod to its workload. A Spark executor is
// owned by the driver's pod, which is owned by the application.
const maxOwners = 4

// workload walks from a pod to what users deploy. The kinds passed on the way
// are left in s. inferred says that the answer was read off a name.
func (v *view) workload(p *pod, node string, s *classify.Subject) (kind, name string, inferred bool) {
	kind, name = p.ownerKind, p.ownerName
	for range maxOwners {
		if kind == "" || kind == nobody || kind == "node" {
			break
		}
		s.OwnerKinds = append(s.OwnerKinds, kind)
		switch kind {
		case "replicaset", "replicationcontroller":
			o := v.owner(replicaSet, p, name)
			switch {
			case o != nil && o.kind != nobody:
				kind, name = o.kind, o.name
				continue
			case o == nil:
				if m := replicaSetName.FindStringSubmatch(name); m != nil && kind == "replicaset" {
					return "deployment", m[1], true
				}
				if m := ordinalSuffix.FindStringSubmatch(name); m != nil && kind == "replicationcontroller" {
					return "deploymentconfig", m[1], true
				}
			}
		case "job":
			o := v.owner(job, p, name)
			switch {
			case o != nil && o.kind != nobody:
				kind, name = o.kind, o.name
				continue
			case o == nil:
				if m := cronJobName.FindStringSubmatch(name); m != nil {
					return "cronjob", m[1], true
				}
			}
		case "workflow":
			if m := cronWorkflowName.FindStringSubmatch(name); m != nil {
				return "cronworkflow", m[1], true
			}
		case "pod":
			if name != p.name {
				owner := v.pod(p.cluster, "", p.namespace, name)
				if owner.ownerKind == "" {
					kind, name, inferred = inferWorkload(name)
					return kind, name, inferred
				}
				p, kind, name = &owner, owner.ownerKind, owner.ownerName
				if kind == nobody {
					return "pod", p.name, false
				}
				continue
			}
		}
		return kind, name, false
	}
	switch kind {
	case "":
		if name, ok := staticPod(p.name, node); ok {
			return "pod", name, true
		}
		return inferWorkload(p.name)
	case "node":
		name, _ = staticPod(p.name, p.ownerName)
		return "pod", name, false
	case nobody:
		return "pod", p.name, false
	}
	return kind, name, false
}

// staticPod takes the node off the name of a pod that the kubelet starts on its own:
// they are one workload on all nodes.
func staticPod(name, node string) (workload string, static bool) {
	workload, static = strings.CutSuffix(name, "-"+node)
	if workload == "" || node == "" {
		return name, false
	}
	return workload, static
}

func (v *view) owner(kind subjectKind, p *pod, name string) *owned {
	o := v.directory.owners.get(v.note(subject{kind, p.cluster, p.namespace, name}))
	if o != nil {
		o.seenMs = max(o.seenMs, v.ms)
	}
	return o
}

// Names that Kubernetes makes up. Its random suffixes are spelt without vowels
// and without the digits 0, 1 and 3, so that they make no words.
const random = "[bcdfghjklmnpqrstvwxz2456789]"

var (
	replicaSetName = regexp.MustCompile(`^(.+)-` + random + `{7,10}$`)
	cronJobName    = regexp.MustCompile(`^(.+)-[23]\d{7}$`) // minutes since 1970, from 2008 to 2046
	randomSuffix   = regexp.MustCompile(`^(.+)-` + random + `{5}$`)
	// The second at which Argo starts a run.
	cronWorkflowName = regexp.MustCompile(`^(.+)-1\d{9}$`)
	ordinalSuffix    = regexp.MustCompile(`^(.+)-\d{1,5}$`)
)

// inferWorkload reads a workload off the name of a pod whose owner is not known.
func inferWorkload(podName string) (kind, name string, inferred bool) {
	if m := randomSuffix.FindStringSubmatch(podName); m != nil {
		base := m[1]
		if m := cronJobName.FindStringSubmatch(base); m != nil {
			return "cronjob", m[1], true
		}
		if m := replicaSetName.FindStringSubmatch(base); m != nil {
			return "deployment", m[1], true
		}
		if m := ordinalSuffix.FindStringSubmatch(base); m != nil {
			return "job", m[1], true // an indexed Job: name, index, suffix
		}
		return "daemonset", base, true
	}
	if m := ordinalSuffix.FindStringSubmatch(podName); m != nil && !strings.HasSuffix(m[1], "-") {
		return "statefulset", m[1], true
	}
	return "pod", podName, true
}
