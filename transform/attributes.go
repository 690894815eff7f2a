package transform

import "github.com/wattledger/wattledger/power"

// attributes are a holder's power.Attributes. Kepler tells of a container what it
// is called, its pod's UID and its runtime, so the rest is nearly always that of
// the holder before and is shared with it.
type attributes struct {
	container, podUID string
	rest              *power.Attributes // without these two; nil for none
}

func (a *attributes) unpack() (u power.Attributes) {
	if a.rest != nil {
		u = *a.rest
	}
	u.Container, u.PodUID = a.container, a.podUID
	return u
}

// pack packs u. last is the rest that was packed last.
func pack(u power.Attributes, last **power.Attributes) attributes {
	a := attributes{container: u.Container, podUID: u.PodUID}
	u.Container, u.PodUID = "", ""
	if u == (power.Attributes{}) {
		return a
	}
	if *last == nil || **last != u {
		*last = &u
	}
	a.rest = *last
	return a
}

// merge keeps the last non-empty value of each attribute.
func merge(old, new power.Attributes) power.Attributes {
	for _, f := range []struct{ old, new *string }{
		{&old.Container, &new.Container}, {&old.Pod, &new.Pod}, {&old.PodUID, &new.PodUID},
		{&old.Namespace, &new.Namespace}, {&old.Image, &new.Image}, {&old.Command, &new.Command},
		{&old.Runtime, &new.Runtime},
	} {
		if *f.new != "" {
			*f.old = *f.new
		}
	}
	return old
}
