package transform

import (
	"cmp"
	"fmt"

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
	state.MapFunc(c, &d.pods, compareSubjects, func(s *subject, p **pod) {
		s.walk(c)
		if *p == nil {
			*p = &pod{cluster: s.cluster, uid: s.a}
		}
		(*p).walk(c)
	})
	state.MapFunc(c, &d.images, compareSubjects, func(s *subject, r **running) {
		s.walk(c)
		if *r == nil {
			*r = &running{}
		}
		(*r).walk(c)
	})
	state.MapFunc(c, &d.owners, compareSubjects, func(s *subject, o **owned) {
		s.walk(c)
		if *o == nil {
			*o = &owned{}
		}
		state.String(c, &(*o).kind)
		state.String(c, &(*o).name)
		state.Int(c, &(*o).seenMs)
	})
	if !c.Reading() {
		return
	}
	if len(d.pods) > d.maxPods || len(d.owners) > d.maxPods || len(d.images) > 8*d.maxPods {
		c.Fail(fmt.Errorf("%d pods, more than max_pods %d", len(d.pods), d.maxPods))
	}
	if c.Err() != nil {
		d.clear()
		return
	}
	for _, p := range d.pods {
		d.name(p)
	}
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
	for _, list := range []*[]power.Label{&p.labels, &p.annotations} {
		state.Slice(c, list, func(l *power.Label) {
			state.String(c, &l.Name)
			state.String(c, &l.Value)
		})
	}
	state.Slice(c, &p.containers, func(x *podContainer) {
		state.String(c, &x.name)
		state.String(c, &x.image)
	})
	state.Slice(c, &p.requests, func(r *request) {
		state.String(c, &r.container)
		state.String(c, &r.resource)
		state.Float(c, &r.amount)
	})
	state.Int(c, &p.firstMs)
	state.Int(c, &p.seenMs)
}

func (r *running) walk(c *state.Codec) {
	for _, s := range []*string{&r.uid, &r.namespace, &r.pod, &r.container, &r.image} {
		state.String(c, s)
	}
	state.Int(c, &r.seenMs)
}
