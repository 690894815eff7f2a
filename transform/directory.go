package transform

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wattledger/wattledger/internal/index"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/transform/classify"
	"github.com/wattledger/wattledger/transform/dimension"
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
	windowMs int64
	types    *classify.Classifier
	now      func() time.Time

	mu      sync.Mutex
	rules   *dimension.Rules // guarded by mu, like all below
	rulesMs int64            // since when, Unix milliseconds; 0 for ever
	values  values           // of tags
	pods    roll[*pod]       // by UID
	names   index.Index      // pods by namespace and name
	images  roll[*running]   // by container id
	owners  roll[*owned]     // of ReplicaSets and Jobs
	places  roll[*place]     // namespaces and nodes
	holders []*holder        // those described; nil where one was released
	free    []uint32         // numbers of such
	ids     index.Index      // containers by their ids
	asked   audience         // who else must be described anew when a subject changes
	sweptMs int64
	refused uint64

	// Room that is used again; good until it is used next.
	same    []*pod
	numbers []uint32
	heard   []uint32
}

// A subject is something facts tell about: the kind says how it is named.
type subject struct {
	kind          subjectKind
	cluster, a, b string
}

// A subjectKind is part of snapshots: new ones go to the end.
type subjectKind uint8

const (
	byUID       subjectKind = iota + 1 // a: pod UID
	byName                             // a: namespace, b: pod name
	byContainer                        // a: container id
	replicaSet                         // a: namespace, b: name
	job                                // a: namespace, b: name
	byNamespace                        // a: namespace
	byNode                             // a: node
)

type pod struct {
	cluster, uid, namespace, name string
	ownerKind, ownerName          string // kind in lower case; "none" for a pod nobody owns
	told                          *told  // nil for nothing
	firstMs, seenMs               int64
	number                        uint32 // on the directory's roll
}

// told is what only kube-state-metrics tells of a pod.
type told struct {
	labels, annotations tagged
	containers          []podContainer // sorted by name
	requests            []request      // sorted by container and resource
}

type podContainer struct{ name, image string }

type request struct {
	container, resource string
	amount              float64
}

// running is a container that kube-state-metrics knows by its id.
type running struct {
	cluster, id                           string
	uid, namespace, pod, container, image string
	seenMs                                int64
}

// owned is who owns a ReplicaSet or a Job.
type owned struct {
	what       subject
	kind, name string // "none" for nobody
	seenMs     int64
}

// A place is a namespace or a node.
type place struct {
	what                subject
	labels, annotations tagged
	seenMs              int64
}

const nobody = "none"

func (p *pod) subject() subject     { return subject{byUID, p.cluster, p.uid, ""} }
func (p *pod) nameSubject() subject { return subject{byName, p.cluster, p.namespace, p.name} }
func (r *running) subject() subject { return subject{byContainer, r.cluster, r.id, ""} }
func (o *owned) subject() subject   { return o.what }
func (p *place) subject() subject   { return p.what }

// more returns what is told of p, to be read only.
func (p *pod) more() *told {
	if p.told == nil {
		return &told{}
	}
	return p.told
}

// tell returns what is told of p, to be added to.
func (p *pod) tell() *told {
	if p.told == nil {
		p.told = &told{}
	}
	return p.told
}

// NewDirectory returns an empty directory that gives types with classifier and
// tags by rules; without any it gives none.
func NewDirectory(c Config, classifier *classify.Classifier, rules *dimension.Rules) *Directory {
	if rules == nil {
		rules = &dimension.Rules{}
	}
	d := &Directory{
		maxPods: c.MaxPods, forgetMs: c.ForgetPodsAfter.Milliseconds(), windowMs: c.Window.Milliseconds(),
		types: classifier, rules: rules, now: time.Now,
	}
	d.clear()
	return d
}

func (d *Directory) clear() {
	d.pods, d.images, d.owners, d.places = roll[*pod]{}, roll[*running]{}, roll[*owned]{}, roll[*place]{}
	d.values, d.rulesMs = values{warn: d.values.warn}, 0
	d.names, d.ids = index.Index{}, index.Index{}
	d.holders, d.free, d.asked = nil, nil, audience{}
}

// learn takes in a fact that arrived at a time in Unix milliseconds and returns
// the holders whose description may have changed by it, sorted; describe them
// again. A fact already known returns none.
func (d *Directory) learn(f power.Fact, arrivalMs int64) []*holder {
	d.mu.Lock()
	defer d.mu.Unlock()
	if arrivalMs-d.sweptMs > d.forgetMs/16 {
		d.sweptMs = arrivalMs
		d.forget(arrivalMs)
	}
	numbers := d.numbers[:0]
	for _, s := range d.take(f, arrivalMs) {
		numbers = d.asked.of(s, numbers)
		switch s.kind {
		case byContainer:
			d.container(s, func(number uint32) { numbers = append(numbers, number) })
		case byNamespace:
			numbers = d.within(s, numbers)
		}
	}
	d.numbers = numbers
	if len(numbers) == 0 {
		return nil
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	list := make([]*holder, len(numbers))
	for i, number := range numbers {
		list[i] = d.holders[number]
	}
	slices.SortFunc(list, func(a, b *holder) int { return compareKeys(a.info.HolderKey, b.info.HolderKey) })
	return list
}

// container calls f with the number of each holder that is the container s.
func (d *Directory) container(s subject, f func(number uint32)) {
	d.ids.Find(index.Hash(s), func(number uint32) bool {
		if h := d.holders[number]; h.info.ID == s.a && h.info.Cluster == s.cluster {
			f(number)
		}
		return false
	})
}

// within appends to dst the holders in a namespace. They are looked through: a
// namespace changes rarely, and its holders come and go all the time.
func (d *Directory) within(s subject, dst []uint32) []uint32 {
	for i, x := range d.holders {
		if x != nil && x.info.Workload.Namespace == s.a && x.info.Cluster == s.cluster {
			dst = append(dst, uint32(i))
		}
	}
	return dst
}

// describe brings the descriptions of x up to what is known at arrivalMs, and
// returns those that are others than were told before.
func (d *Directory) describe(x *holder, arrivalMs int64) (news []*power.Holder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x.number == 0 {
		if k := len(d.free); k > 0 {
			x.number, d.free = d.free[k-1]+1, d.free[:k-1]
			d.holders[x.number-1] = x
		} else {
			d.holders = append(d.holders, x)
			x.number = uint32(len(d.holders))
		}
		if x.info.Kind == power.Container {
			d.ids.Add(index.Hash(containerSubject(&x.info.HolderKey)), x.number-1)
		}
	}
	v := view{directory: d, ms: arrivalMs, subjects: d.heard[:0]}
	h := v.describe(x.info.HolderKey, x.attrs.unpack())
	d.subscribe(x, v.subjects)
	d.heard = v.subjects
	return x.become(h, &v.tagging, d)
}

// remap gives all that x was the values of the rules in force, and returns what is
// news.
func (d *Directory) remap(x *holder) (news []*power.Holder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range x.past {
		if x.past[i].remap(d) {
			news = append(news, x.past[i].info)
		}
	}
	now := era{info: x.info}
	if now.remap(d) {
		x.info = now.info
		news = append(news, x.info)
	}
	return news
}

func containerSubject(key *power.HolderKey) subject {
	return subject{byContainer, key.Cluster, key.ID, ""}
}

// release forgets a holder that will not be asked about again.
func (d *Directory) release(x *holder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x.number == 0 {
		return
	}
	d.subscribe(x, nil)
	if x.info.Kind == power.Container {
		d.ids.Remove(index.Hash(containerSubject(&x.info.HolderKey)), x.number-1)
	}
	d.holders[x.number-1] = nil
	d.free = append(d.free, x.number-1)
	x.number = 0
}

// forget drops what no holder is described from and was learned long ago.
func (d *Directory) forget(ms int64) {
	before := ms - d.forgetMs
	for p := range d.pods.all() {
		if p.seenMs < before && !d.asked.any(p.subject()) && !d.asked.any(p.nameSubject()) {
			d.unname(p)
			d.pods.drop(p.subject())
		}
	}
	for r := range d.images.all() {
		if s := r.subject(); r.seenMs < before && !d.runs(s) {
			d.images.drop(s)
		}
	}
	for o := range d.owners.all() {
		if o.seenMs < before && !d.asked.any(o.subject()) {
			d.owners.drop(o.subject())
		}
	}
	used := map[subject]bool{}
	for _, x := range d.holders {
		if x != nil {
			used[subject{byNamespace, x.info.Cluster, x.info.Workload.Namespace, ""}] = true
			used[subject{byNode, x.info.Cluster, x.info.Node, ""}] = true
		}
	}
	for p := range d.places.all() {
		if p.seenMs < before && !used[p.what] {
			d.places.drop(p.what)
		}
	}
	d.values.forget(before)
}

// runs says whether there is a holder that is the container s.
func (d *Directory) runs(s subject) (yes bool) {
	d.container(s, func(uint32) { yes = true })
	return yes
}

// Len returns the pods and the holders known, and the facts refused because
// there were too many pods.
func (d *Directory) Len() (pods, holders int, refused uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pods.len(), len(d.holders) - len(d.free), d.refused
}

// addPod adds a pod whose UID is new.
func (d *Directory) addPod(p *pod) {
	p.number = d.pods.add(p)
	d.name(p)
}

// maxSame is how many pods of one name are found by it, the newest. A static pod is
// two, one of the kubelet's UID and one of the API server's; a StatefulSet's has its
// name again and again, and each time would cost as much as all before.
const maxSame = 4

// name lets a pod be found by its name, in the place of the oldest where there are
// enough.
func (d *Directory) name(p *pod) {
	d.names.Add(index.Hash(p.nameSubject()), p.number)
	if list := d.named(p.nameSubject()); len(list) > maxSame {
		d.unname(list[maxSame])
	}
}

func (d *Directory) unname(p *pod) { d.names.Remove(index.Hash(p.nameSubject()), p.number) }

// named returns the newest pods of a name, newest first. The list is good until
// named is called again.
func (d *Directory) named(name subject) []*pod {
	dst := d.same[:0]
	d.names.Find(index.Hash(name), func(i uint32) bool {
		if p := d.pods.list[i]; p.nameSubject() == name {
			dst = append(dst, p)
		}
		return false
	})
	slices.SortFunc(dst, func(a, b *pod) int {
		return cmp.Or(cmp.Compare(b.firstMs, a.firstMs), strings.Compare(b.uid, a.uid))
	})
	d.same = dst
	return dst
}

// subscribe notes what a holder is described from in place of what it was
// described from before.
func (d *Directory) subscribe(x *holder, subjects []uint32) {
	if slices.Equal(x.heard, subjects) {
		return
	}
	for _, s := range x.heard {
		d.asked.leave(s, x.number-1)
	}
	for _, s := range subjects {
		d.asked.join(s, x.number-1)
	}
	x.heard = slices.Clone(subjects)
}

func compareKeys(a, b power.HolderKey) int {
	return cmp.Or(strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.Node, b.Node), cmp.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
}
