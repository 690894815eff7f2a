package counter

import "strings"

// An origin is where the samples of a node's series come from: who exported them,
// and the way they took.
//
// Samples of one exporter that come on several ways (a pair of Prometheus
// replicas) read one and the same counter. Those of two exporters on one node
// read two counters of the same energy.
type origin struct {
	exporter string // labels of the target, "" where it is not known
	path     string // all other labels that the exporter did not write itself
	replica  string // the value of a replica label
}

func (o origin) String() string {
	text := o.exporter + o.path
	if o.replica != "" {
		text += " replica " + o.replica
	}
	return strings.TrimSpace(text)
}

// maxOrigins bounds how many origins of a node are told apart: names of
// targets change with each of their pods.
const maxOrigins = 1 << 10

// origin returns the number of the origin of a series.
func (n *node) origin(o origin) uint16 {
	for i := range n.origins {
		if n.origins[i] == o {
			return uint16(i)
		}
	}
	if len(n.origins) == maxOrigins {
		return maxOrigins - 1
	}
	n.origins = append(n.origins, origin{strings.Clone(o.exporter), strings.Clone(o.path), strings.Clone(o.replica)})
	return uint16(len(n.origins) - 1)
}

// sameExporter says whether two origins are one exporter. One that is not known
// may be any.
func (n *node) sameExporter(a, b uint16) bool {
	if a == b {
		return true
	}
	x, y := n.exporterOf(a), n.exporterOf(b)
	return x == y || x == "" || y == ""
}

func (n *node) exporterOf(i uint16) string {
	if int(i) >= len(n.origins) {
		return ""
	}
	return n.origins[i].exporter
}

// samePath says whether samples of two origins came the same way.
func (n *node) samePath(a, b uint16) bool {
	if a == b {
		return true
	}
	if int(a) >= len(n.origins) || int(b) >= len(n.origins) {
		return true
	}
	x, y := &n.origins[a], &n.origins[b]
	return x.replica == y.replica && (x.path == y.path || x.exporter == "" || y.exporter == "")
}

// A speaker is one heard of a counter that several exporters may tell.
type speaker struct {
	t      int64
	origin uint16
}

// fewSamples of another exporter do not depose the one that speaks: it may only be
// scraped less often than failover takes.
const fewSamples = 3

// takesOver says whether the sample at k, of another exporter than the one that
// spoke last at cur, is the first of a new speaker. The first exporter speaks
// until it has been silent for silenceMs, during which the other told a few
// samples; one that was not heard beside it follows at once. overlapped says that
// both were heard at one time, so that they have counters of their own. heard are
// in the order of their times.
func (n *node) takesOver(heard []speaker, cur, k int, silenceMs int64) (takes, overlapped bool) {
	last, now := heard[cur], heard[k]
	overlapped = now.t <= last.t
	for _, x := range heard[:k] {
		if x.t <= last.t && x.origin != last.origin && n.sameExporter(x.origin, now.origin) {
			overlapped = true
			break
		}
	}
	others := 0
	for _, x := range heard[cur+1:] {
		switch {
		case n.sameExporter(x.origin, last.origin):
			return others >= fewSamples && x.t > last.t+silenceMs, true
		case n.sameExporter(x.origin, now.origin) && x.t > last.t:
			others++
		}
	}
	return !overlapped || (others >= fewSamples && heard[len(heard)-1].t > last.t+silenceMs), overlapped
}
