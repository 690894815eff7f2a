package report

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Sharing says what is divided over all others, and how. What a cluster shares in a
// step is divided over what else ran in that cluster and step, before any filter,
// to the microjoule: an answer's sum stays the sum of the nodes.
type Sharing struct {
	// Names are those of what no workload used: "__idle__" and its like.
	Names []string
	// Match is what else is shared: what has one of the values of one of the dimensions.
	Match map[store.Dimension]string
	By    SharingKey
	// ByNode divides what a node shares over what else ran on it, not in its cluster.
	ByNode bool
	// Weights are by the name of a group, for ByWeights.
	Weights map[string]uint64
}

// A SharingKey says in what proportion shared energy is divided.
type SharingKey string

const (
	ShareByEnergy  SharingKey = "energy"  // as the others used energy themselves
	ShareEvenly    SharingKey = "even"    // every group that ran the same
	ShareByWeights SharingKey = "weights" // as configured
)

// Parts are an amount's own part and the one it was given.
type Parts struct{ Own, Shared Amount }

// A slice is what one set of values used in one step, and was given.
type slice struct {
	values   []string // of the dimensions asked for
	group    string
	selected bool // by the filter
	Parts
}

// dimensions returns all that rows have to tell to be shared and filtered.
func (q Question) dimensions() []store.Dimension {
	dims := slices.Clone(q.By)
	add := func(d store.Dimension) {
		if d != store.AnyCluster && !slices.Contains(dims, d) {
			dims = append(dims, d)
		}
	}
	add(store.Cluster)
	if q.Share.ByNode {
		add(store.Node)
	}
	for _, more := range []map[store.Dimension]string{q.Match, q.Share.Match} {
		for d := range more {
			add(d)
		}
	}
	if q.Where != nil {
		for _, d := range q.Where.Dims {
			add(d)
		}
	}
	slices.Sort(dims[len(q.By):])
	add(store.Namespace)
	return dims
}

// ofClusters returns the part of a filter that picks whole clusters.
func ofClusters(match map[store.Dimension]string) map[store.Dimension]string {
	kept := map[store.Dimension]string{}
	for _, d := range []store.Dimension{store.Cluster, store.AnyCluster} {
		if v, ok := match[d]; ok {
			kept[d] = v
		}
	}
	return kept
}

// divide divides what is shared in rows of one step and cluster. The rows' values
// are of dims, which begin with those asked for.
func (q Question) divide(rows []store.Row, ask store.Query) []*slice {
	s, by := q.Share, q.By
	var takers, givers, rest []*slice
	for _, row := range rows {
		namespace, all := groupOf(ask, ask.GroupBy, row)
		x := &slice{values: all[:len(by)], group: strings.Join(all[:len(by)], ":")}
		x.selected = selects(q.Match, ask.GroupBy, all, isPseudo(namespace)) && q.Where.picks(ask.GroupBy, all)
		x.Own = amountOf(namespace, row)
		switch {
		case slices.Contains(s.Names, namespace), !isPseudo(namespace) && s.shares(ask.GroupBy, all):
			givers = append(givers, x)
		case isPseudo(namespace):
			rest = append(rest, x)
		default:
			takers = append(takers, x)
		}
	}
	if s.By == ShareByWeights {
		takers = s.named(takers, by, q.Match)
	}
	var pool Amount
	for _, x := range givers {
		pool.Add(x.Own)
	}
	if !s.give(pool, takers) {
		rest = append(rest, givers...) // nobody is there to take it
	}
	return append(takers, rest...)
}

// shares says that a row's values are among what is shared.
func (s *Sharing) shares(dims []store.Dimension, values []string) bool {
	for d, asked := range s.Match {
		if i := slices.Index(dims, d); i >= 0 && store.Matches(asked, values[i]) {
			return true
		}
	}
	return false
}

// picks says that w picks a row; without one every row is.
func (w *Where) picks(dims []store.Dimension, values []string) bool {
	if w == nil {
		return true
	}
	asked := make([]string, len(w.Dims))
	for i, d := range w.Dims {
		asked[i] = values[slices.Index(dims, d)]
	}
	return w.Pick(asked)
}

// selects says that a filter picks a row.
func selects(match map[store.Dimension]string, dims []store.Dimension, values []string, pseudo bool) bool {
	for d, asked := range match {
		if d == store.AnyCluster {
			continue // was asked of the books
		}
		if d == store.WorkloadType && pseudo || !store.Matches(asked, values[slices.Index(dims, d)]) {
			return false
		}
	}
	return true
}

// named adds takers for the weights of groups that did not run.
func (s *Sharing) named(takers []*slice, by []store.Dimension, match map[store.Dimension]string) []*slice {
	for name := range s.Weights {
		if slices.ContainsFunc(takers, func(x *slice) bool { return x.group == name }) {
			continue
		}
		x := &slice{values: []string{name}, group: name, selected: true}
		for d, asked := range match {
			if d != store.Cluster && d != store.AnyCluster { // these were asked of the books
				x.selected = x.selected && d == by[0] && store.Matches(asked, name)
			}
		}
		takers = append(takers, x)
	}
	slices.SortStableFunc(takers, func(a, b *slice) int { return cmp.Compare(a.group, b.group) })
	return takers
}

// give divides a pool over takers; false where there is nobody to take it.
func (s *Sharing) give(pool Amount, takers []*slice) bool {
	if len(takers) == 0 {
		return false
	}
	if s.By == ShareByEnergy {
		pool.divide(takers, energies(takers))
		return true
	}
	byGroup := map[string][]*slice{}
	var groups []string
	for _, x := range takers {
		if byGroup[x.group] == nil {
			groups = append(groups, x.group)
		}
		byGroup[x.group] = append(byGroup[x.group], x)
	}
	heads, weights, some := make([]*slice, len(groups)), make([]uint64, len(groups)), false
	for i, g := range groups {
		heads[i], weights[i] = &slice{}, 1
		if s.By == ShareByWeights {
			weights[i] = s.Weights[g]
		}
		some = some || weights[i] > 0
	}
	if !some {
		return false
	}
	pool.divide(heads, weights)
	for i, g := range groups {
		heads[i].Shared.divide(byGroup[g], energies(byGroup[g]))
	}
	return true
}

// energies returns what takers used themselves; where that is nothing, one each.
func energies(takers []*slice) []uint64 {
	list, some := make([]uint64, len(takers)), false
	for i, x := range takers {
		list[i] = uint64(max(0, x.Own.Energy().Total()))
		some = some || list[i] > 0
	}
	if !some {
		for i := range list {
			list[i] = 1
		}
	}
	return list
}

// divide adds the amount to what takers are given, in proportion to weights of
// which one at least is above 0.
func (a Amount) divide(takers []*slice, weights []uint64) {
	idle := split(a.idle, weights)
	for i, x := range takers {
		x.Shared.idle += idle[i]
	}
	for _, p := range a.parts {
		var shares [power.NumComponents][]power.Microjoules
		for c, e := range p.energy {
			if e != 0 {
				shares[c] = split(e, weights)
			}
		}
		for i, x := range takers {
			var e power.Energy
			for c := range shares {
				if shares[c] != nil {
					e[c] = shares[c][i]
				}
			}
			if e != (power.Energy{}) {
				x.Shared.add(p.price, e, 0)
			}
		}
	}
}

// split cuts energy in proportion to weights. The parts sum to the whole: each is
// the difference of two running sums, rounded down.
func split(e power.Microjoules, weights []uint64) []power.Microjoules {
	weights = scaled(weights)
	whole := uint64(0)
	for _, w := range weights {
		whole += w
	}
	sign := power.Microjoules(1)
	if e < 0 {
		sign, e = -1, -e
	}
	parts := make([]power.Microjoules, len(weights))
	var run uint64
	var given power.Microjoules
	for i, w := range weights {
		run += w
		high, low := bits.Mul64(uint64(e), run)
		upTo, _ := bits.Div64(high, low, whole) // run ≤ whole, so it fits
		parts[i] = sign * (power.Microjoules(upTo) - given)
		given = power.Microjoules(upTo)
	}
	return parts
}

// scaled makes weights small enough to be added up.
func scaled(weights []uint64) []uint64 {
	most := math.MaxUint64 / uint64(len(weights))
	shift := 0
	for _, w := range weights {
		for w>>shift > most {
			shift++
		}
	}
	if shift == 0 {
		return weights
	}
	small := make([]uint64, len(weights))
	for i, w := range weights {
		small[i] = w >> shift
	}
	return small
}
