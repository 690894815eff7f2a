package local

import (
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// value returns what a holder is called in a dimension. Energy that no
// workload used is called so in every dimension a workload has a name in.
func value(h *power.Holder, d store.Dimension) string {
	switch d {
	case store.Cluster:
		return h.Cluster
	case store.Node:
		return h.Node
	case store.WorkloadKind:
		return h.Workload.Kind
	case store.WorkloadType:
		return string(h.Type)
	}
	if name := h.Kind.PseudoName(); name != "" {
		return name
	}
	switch d {
	case store.Namespace:
		return h.Workload.Namespace
	case store.Workload:
		return h.Workload.Name
	case store.Pod:
		return h.Pod
	case store.Container:
		return h.Container
	case store.ContainerID:
		return h.ID
	}
	return d.Value(h.Tags)
}

func (sp *space) value(d store.Dimension) string {
	switch d {
	case store.Cluster:
		return sp.cluster
	case store.Namespace:
		return sp.namespace
	case store.WorkloadType:
		return string(sp.typ)
	}
	if sp.pseudo {
		return sp.namespace
	}
	return d.Value(sp.tags)
}

// ofSpaces reports whether spaces know all of the dimensions.
func ofSpaces(group []store.Dimension, match map[store.Dimension]string) bool {
	return knows(group, match, func(d store.Dimension) bool { return ofWholes(d) || d.Configured() })
}

// ofWholes reports whether spaces without tags know a dimension.
func ofWholes(d store.Dimension) bool {
	return d == store.Cluster || d == store.AnyCluster || d == store.Namespace || d == store.WorkloadType
}

func knows(group []store.Dimension, match map[store.Dimension]string, known func(store.Dimension) bool) bool {
	for d := range match {
		if !known(d) {
			return false
		}
	}
	return !slices.ContainsFunc(group, func(d store.Dimension) bool { return !known(d) })
}

func checkDimensions(group []store.Dimension, match map[store.Dimension]string) error {
	for _, d := range group {
		if !d.Known() {
			return fmt.Errorf("unknown dimension %q", d)
		}
	}
	for d := range match {
		if d != store.AnyCluster && !d.Known() {
			return fmt.Errorf("unknown dimension %q", d)
		}
	}
	return nil
}

func matches(h *power.Holder, match map[store.Dimension]string) bool {
	for d, v := range match {
		if d == store.AnyCluster {
			if !store.Matches(v, h.Cluster) {
				return false
			}
		} else if !store.Matches(v, value(h, d)) {
			return false
		}
	}
	return true
}

func (sp *space) matches(match map[store.Dimension]string) bool {
	for d, v := range match {
		if d == store.AnyCluster {
			if !store.Matches(v, sp.cluster) {
				return false
			}
		} else if !store.Matches(v, sp.value(d)) {
			return false
		}
	}
	return true
}

// A matcher matches many holders. What spaces can tell it asks of each space once.
type matcher struct {
	match   map[store.Dimension]string
	spaces  []space
	verdict []int8 // by space: 0 not looked at, 1 matches, -1 does not; nil if spaces cannot tell
}

func newMatcher(d *dims, match map[store.Dimension]string) *matcher {
	m := &matcher{match: match, spaces: d.spaces}
	if ofSpaces(nil, match) {
		m.verdict = make([]int8, len(d.spaces))
	}
	return m
}

func (m *matcher) holder(h *holder) bool {
	if len(m.match) == 0 {
		return true
	}
	if m.verdict == nil {
		return matches(h.Holder, m.match)
	}
	v := &m.verdict[h.space]
	if *v == 0 {
		*v = -1
		if m.spaces[h.space].matches(m.match) {
			*v = 1
		}
	}
	return *v > 0
}
