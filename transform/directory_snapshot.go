package transform

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/state"
)

// Walk writes or fills the directory as part of a larger snapshot. Filling takes
// the place of what is known and is safe on any bytes; after an error the
// directory is empty. Holders known before must be described again.
func (d *Directory) Walk(c *state.Codec) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Reading() {
		d.clear()
	}
	state.Int(c, &d.sweptMs)
	state.Uint(c, &d.refused)
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
		state.String(c, &(*o).kind)
		state.String(c, &(*o).name)
		state.Int(c, &(*o).seenMs)
	}, func(o *owned) { d.owners.add(o) })
	if !c.Reading() {
		return
	}
	if d.pods.len() > d.maxPods || d.owners.len() > d.maxPods || d.images.len() > 8*d.maxPods {
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
}](c *state.Codec, r *roll[T], each func(*T), add func(T)) {
	var list []T
	if !c.Reading() {
		list = slices.SortedFunc(r.all(), func(a, b T) int { return compareSubjects(a.subject(), b.subject()) })
	}
	var none T
	state.Slice(c, &list, func(x *T) {
		if each(x); !c.Reading() || c.Err() != nil {
			return
		}
		if s := (*x).subject(); r.get(s) != none {
			c.Fail(fmt.Errorf("%w: %v is there twice", state.ErrMalformed, s))
			return
		}
		add(*x)
	})
}

func compareSubjects(a, b subject) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.a, b.a), cmp.Compare(a.b, b.b))
}

func (s *subject) walk(c *state.Codec) {
	state.Uint(c, &s.kind)
	state.String(c, &s.cluster)
	state.String(c, &s.a)
	state.String(c, &s.b)
}

func (p *pod) walk(c *state.Codec) {
	state.String(c, &p.namespace)
	state.String(c, &p.name)
	state.String(c, &p.ownerKind)
	state.String(c, &p.ownerName)
	t := *p.more()
	for _, list := range []*[]power.Label{&t.labels, &t.annotations} {
		state.Slice(c, list, func(l *power.Label) {
			state.String(c, &l.Name)
			state.String(c, &l.Value)
		})
	}
	state.Slice(c, &t.containers, func(x *podContainer) {
		state.String(c, &x.name)
		state.String(c, &x.image)
	})
	state.Slice(c, &t.requests, func(r *request) {
		state.String(c, &r.container)
		state.String(c, &r.resource)
		state.Float(c, &r.amount)
	})
	if c.Reading() && len(t.labels)+len(t.annotations)+len(t.containers)+len(t.requests) > 0 {
		p.told = &t
	}
	state.Int(c, &p.firstMs)
	state.Int(c, &p.seenMs)
}

func (r *running) walk(c *state.Codec) {
	for _, s := range []*string{&r.uid, &r.namespace, &r.pod, &r.container, &r.image} {
		state.String(c, s)
	}
	state.Int(c, &r.seenMs)
}
