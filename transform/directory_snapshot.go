package transform

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/internal/snapshot"
	"github.com/wattledger/wattledger/power"
)

// Walk writes or fills the directory as part of a larger snapshot. Filling takes
// the place of what is known and is safe on any bytes; after an error the
// directory is empty. Holders known before must be described again.
func (d *Directory) Walk(c *snapshot.Codec) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Reading() {
		d.clear()
	}
	snapshot.Int(c, &d.sweptMs)
	snapshot.Uint(c, &d.refused)
	walkRoll(c, &d.pods, func(p **pod) {
		s := subject{kind: byUID}
		if *p != nil {
			s = (*p).subject()
		}
		if s.walk(c); *p == nil {
			*p = &pod{cluster: s.cluster, uid: s.a}
		}
		(*p).walk(c)
	}, d.addPod)
	walkRoll(c, &d.images, func(r **running) {
		s := subject{kind: byContainer}
		if *r != nil {
			s = (*r).subject()
		}
		if s.walk(c); *r == nil {
			*r = &running{cluster: s.cluster, id: s.a}
		}
		(*r).walk(c)
	}, func(r *running) { d.images.add(r) })
	walkRoll(c, &d.owners, func(o **owned) {
		if *o == nil {
			*o = &owned{}
		}
		(*o).what.walk(c)
		snapshot.String(c, &(*o).kind)
		snapshot.String(c, &(*o).name)
		snapshot.Int(c, &(*o).seenMs)
	}, func(o *owned) { d.owners.add(o) })
	if c.Version >= tagsVersion {
		d.walkTags(c)
	}
	if !c.Reading() {
		return
	}
	if d.pods.len() > d.maxPods || d.owners.len() > d.maxPods || d.places.len() > d.maxPods || d.images.len() > 8*d.maxPods {
		c.Fail(fmt.Errorf("%d pods, more than max_pods %d", d.pods.len(), d.maxPods))
	}
	if c.Err() != nil {
		d.clear()
	}
}

// walkRoll writes what is on a roll in the order of the subjects, or fills it.
func walkRoll[T interface {
	comparable
	subject() subject
}](c *snapshot.Codec, r *roll[T], each func(*T), add func(T)) {
	var list []T
	if !c.Reading() {
		list = slices.SortedFunc(r.all(), func(a, b T) int { return compareSubjects(a.subject(), b.subject()) })
	}
	var none T
	snapshot.Slice(c, &list, func(x *T) {
		if each(x); !c.Reading() || c.Err() != nil {
			return
		}
		if s := (*x).subject(); r.get(s) != none {
			c.Fail(fmt.Errorf("%w: %v is there twice", snapshot.ErrMalformed, s))
			return
		}
		add(*x)
	})
}

func compareSubjects(a, b subject) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.a, b.a), cmp.Compare(a.b, b.b))
}

func (s *subject) walk(c *snapshot.Codec) {
	snapshot.Uint(c, &s.kind)
	snapshot.String(c, &s.cluster)
	snapshot.String(c, &s.a)
	snapshot.String(c, &s.b)
}

func (p *pod) walk(c *snapshot.Codec) {
	snapshot.String(c, &p.namespace)
	snapshot.String(c, &p.name)
	snapshot.String(c, &p.ownerKind)
	snapshot.String(c, &p.ownerName)
	t := *p.more()
	t.labels.walk(c)
	t.annotations.walk(c)
	snapshot.Slice(c, &t.containers, func(x *podContainer) {
		snapshot.String(c, &x.name)
		snapshot.String(c, &x.image)
	})
	snapshot.Slice(c, &t.requests, func(r *request) {
		snapshot.String(c, &r.container)
		snapshot.String(c, &r.resource)
		snapshot.Float(c, &r.amount)
	})
	if c.Reading() && (t.labels.known() || t.annotations.known() || len(t.containers)+len(t.requests) > 0) {
		p.told = &t
	}
	snapshot.Int(c, &p.firstMs)
	snapshot.Int(c, &p.seenMs)
}

// tagsVersion is the first version of a snapshot that has tags.
const tagsVersion = 5

func (t *tagged) walk(c *snapshot.Codec) {
	snapshot.Slice(c, &t.list, func(l *power.Label) {
		snapshot.String(c, &l.Name)
		snapshot.String(c, &l.Value)
	})
	if c.Version >= tagsVersion {
		walkSharedTags(c, &t.kept)
		snapshot.Int(c, &t.atMs)
		snapshot.Int(c, &t.changedMs)
	}
}

func walkSharedTags(c *snapshot.Codec, t *power.Tags) {
	if snapshot.String(c, t); c.Reading() && !t.Valid() {
		c.Fail(fmt.Errorf("%w: tags", snapshot.ErrMalformed))
	}
}

// walkTags writes or fills what else tags are made of. A snapshot by other rules
// than those of now says what tags were until now.
func (d *Directory) walkTags(c *snapshot.Codec) {
	hash := d.rules.Hash()
	snapshot.Uint(c, &hash)
	snapshot.Int(c, &d.rulesMs)
	if c.Reading() && hash != d.rules.Hash() {
		d.rulesMs = d.now().UnixMilli()
	}
	walkRoll(c, &d.places, func(p **place) {
		if *p == nil {
			*p = &place{}
		}
		(*p).what.walk(c)
		(*p).labels.walk(c)
		(*p).annotations.walk(c)
		snapshot.Int(c, &(*p).seenMs)
	}, func(p *place) { d.places.add(p) })
	byName := func(a, b power.Tag) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	}
	snapshot.MapFunc(c, &d.values.of, byName, func(t *power.Tag, known *map[string]int64) {
		snapshot.Uint(c, &t.Kind)
		snapshot.String(c, &t.Name)
		snapshot.Map(c, known, func(value *string, ms *int64) {
			snapshot.String(c, value)
			snapshot.Int(c, ms)
		})
	})
}

func (r *running) walk(c *snapshot.Codec) {
	for _, s := range []*string{&r.uid, &r.namespace, &r.pod, &r.container, &r.image} {
		snapshot.String(c, s)
	}
	snapshot.Int(c, &r.seenMs)
}
