package transform

import (
	"slices"
	"strings"
	"sync"

	"github.com/wattledger/wattledger/power"
)

// A Directory is what is known of pods: names, owners, labels, images. It says
// who a holder is, and which holders to describe anew when something is learned
// late. Its time is the arrival time of facts, so a replay gives the same
// directory.
//
// It is safe for concurrent use and bounded: pods beyond MaxPods are not
// learned, and what no holder is described from is forgotten ForgetPodsAfter
// after it was last told or asked. A holder is kept until it is released.
type Directory struct {
	maxPods  int
	forgetMs int64
	types    *Classifier

	mu      sync.Mutex
	pods    map[subject]*pod     // by UID; guarded by mu, like all below
	named   map[subject][]*pod   // by namespace and name, newest first
	images  map[subject]*running // by container id
	owners  map[subject]*owned   // of ReplicaSets and Jobs
	holders map[power.HolderKey]*described
	asked   map[subject][]*described // who must be described anew when a subject changes; few for nearly all
	sweptMs int64
	refused uint64
}

// A subject is something facts tell about: the kind says how it is named.
type subject struct {
	kind          subjectKind
	cluster, a, b string
}

type subjectKind uint8

const (
	byUID       subjectKind = iota + 1 // a: pod UID
	byName                             // a: namespace, b: pod name
	byContainer                        // a: container id
	replicaSet                         // a: namespace, b: name
	job                                // a: namespace, b: name
)

type pod struct {
	cluster, uid, namespace, name string
	ownerKind, ownerName          string // kind in lower case; "none" for a pod nobody owns
	labels, annotations           []power.Label
	containers                    []podContainer // sorted by name
	requests                      []request      // sorted by container and resource
	firstMs, seenMs               int64
}

type podContainer struct{ name, image string }

type request struct {
	container, resource string
	amount              float64
}

// running is a container that kube-state-metrics knows by its id.
type running struct {
	uid, namespace, pod, container, image string
	seenMs                                int64
}

// owned is who owns a ReplicaSet or a Job.
type owned struct {
	kind, name string // "none" for nobody
	seenMs     int64
}

const nobody = "none"

// described is how a holder was described last, and from what.
type described struct {
	key      power.HolderKey
	holder   *power.Holder
	subjects []subject
}

// NewDirectory returns an empty directory that gives types with classifier.
func NewDirectory(c Config, classifier *Classifier) *Directory {
	d := &Directory{maxPods: c.MaxPods, forgetMs: c.ForgetPodsAfter.Milliseconds(), types: classifier}
	d.clear()
	return d
}

func (d *Directory) clear() {
	d.pods = map[subject]*pod{}
	d.named = map[subject][]*pod{}
	d.images = map[subject]*running{}
	d.owners = map[subject]*owned{}
	d.holders = map[power.HolderKey]*described{}
	d.asked = map[subject][]*described{}
}

// Learn takes in a fact that arrived at a time in Unix milliseconds and returns
// the holders whose description may have changed by it, sorted; Describe them
// again. A fact already known returns none.
func (d *Directory) Learn(f power.Fact, arrivalMs int64) []power.HolderKey {
	d.mu.Lock()
	defer d.mu.Unlock()
	if arrivalMs-d.sweptMs > d.forgetMs/16 {
		d.sweptMs = arrivalMs
		d.forget(arrivalMs)
	}
	changed := d.learn(f, arrivalMs)
	if len(changed) == 0 {
		return nil
	}
	var keys []power.HolderKey
	for _, s := range changed {
		for _, known := range d.asked[s] {
			keys = append(keys, known.key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return slices.Compact(keys)
}

// Describe returns what is known of a holder at arrivalMs. The pointer is the
// same as long as the description is.
func (d *Directory) Describe(key power.HolderKey, attributes power.Attributes, arrivalMs int64) *power.Holder {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.holders[key]
	if known == nil {
		known = &described{key: key}
		d.holders[key] = known
	}
	v := view{directory: d, ms: arrivalMs}
	h := v.describe(key, attributes)
	d.subscribe(known, v.subjects)
	if known.holder == nil || *known.holder != h {
		known.holder = &h
	}
	return known.holder
}

// Release forgets a holder that will not be asked about again.
func (d *Directory) Release(key power.HolderKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.holders[key]; known != nil {
		d.subscribe(known, nil)
		delete(d.holders, key)
	}
}

// forget drops what no holder is described from and was learned long ago.
func (d *Directory) forget(ms int64) {
	before := ms - d.forgetMs
	for s, p := range d.pods {
		if p.seenMs < before && len(d.asked[s]) == 0 && len(d.asked[p.nameSubject()]) == 0 {
			d.drop(s, p)
		}
	}
	for s, r := range d.images {
		if r.seenMs < before && len(d.asked[s]) == 0 {
			delete(d.images, s)
		}
	}
	for s, o := range d.owners {
		if o.seenMs < before && len(d.asked[s]) == 0 {
			delete(d.owners, s)
		}
	}
}

// Len returns the pods and the holders known, and the facts refused because
// there were too many pods.
func (d *Directory) Len() (pods, holders int, refused uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pods), len(d.holders), d.refused
}

func (p *pod) nameSubject() subject { return subject{byName, p.cluster, p.namespace, p.name} }

func (d *Directory) drop(s subject, p *pod) {
	delete(d.pods, s)
	d.unname(p)
}

func (d *Directory) unname(p *pod) {
	name := p.nameSubject()
	list := slices.DeleteFunc(d.named[name], func(q *pod) bool { return q == p })
	if len(list) == 0 {
		delete(d.named, name)
		return
	}
	d.named[name] = list
}

func (d *Directory) name(p *pod) {
	list := append(d.named[p.nameSubject()], p)
	slices.SortFunc(list, func(a, b *pod) int {
		if a.firstMs != b.firstMs {
			if a.firstMs > b.firstMs {
				return -1
			}
			return 1
		}
		return strings.Compare(b.uid, a.uid)
	})
	d.named[p.nameSubject()] = list
}

// subscribe notes what a holder was described from, each subject once, in place
// of what it was described from before.
func (d *Directory) subscribe(known *described, subjects []subject) {
	if slices.Equal(known.subjects, subjects) {
		return
	}
	for _, s := range known.subjects {
		list := d.asked[s]
		if i := slices.Index(list, known); i >= 0 {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			d.asked[s] = list[:len(list)-1]
		}
		if len(d.asked[s]) == 0 {
			delete(d.asked, s)
		}
	}
	for _, s := range subjects {
		d.asked[s] = append(d.asked[s], known)
	}
	known.subjects = subjects
}

func compareKeys(a, b power.HolderKey) int {
	if c := strings.Compare(a.Cluster, b.Cluster); c != 0 {
		return c
	}
	if c := strings.Compare(a.Node, b.Node); c != 0 {
		return c
	}
	if a.Kind != b.Kind {
		return int(a.Kind) - int(b.Kind)
	}
	return strings.Compare(a.ID, b.ID)
}
