package counter

import (
	"slices"

	"github.com/wattledger/wattledger/power"
)

// A node is what the rules need to know of a node beside its counters.
type node struct {
	cluster       string
	name          string
	generation    string
	inUse         bool
	legacyGPUs    bool        // legacy Kepler counts the node's NVIDIA GPUs
	gpuShares     bool        // Kepler reports what containers use of the GPUs
	hasContainers bool        // Kepler tells of containers, so what it tells of pods is told already
	origins       []origin    // where its samples come from, by number
	firsts        []firstSeen // of the node's own counters, by the way they came
	times         []int64     // recent times of such samples, rising, Unix milliseconds
	holders       uint32      // the first one plus one
	gone          map[accountName]goneAccount
	booked        map[localName]uint32 // see Cache.Booked: when it was told, minutes since the epoch

	// What the node's own counters say of its exporters.
	witnesses  [power.NumComponents]uint32 // meters of the node's processors, plus one
	active     [power.NumComponents]int64  // active energy booked, microjoules
	restarts   []restart
	restartT   int64   // of the newest restart, Unix milliseconds
	olderTimes []int64 // of recent scrapes that show what was older than what had come before, rising
	olderT     int64   // the newest of them
	turns      [power.NumComponents]turn
	found      *[numFindings]found // nil for nothing
}

func (n *node) nodeName() nodeName { return nodeName{n.cluster, n.name} }

type localName struct {
	kind power.HolderKind
	id   string
}

// forever is later than every sample.
const forever = 1<<63 - 1

// before returns the time of the node's newest sample before tMs: a counter
// that began before tMs and was not seen then began after it.
func (n *node) before(tMs int64) int64 {
	i, _ := slices.BinarySearch(n.times, tMs)
	if i == 0 {
		return tMs
	}
	return n.times[i-1]
}

// A firstSeen is when the node's own counters first came by a way. What comes by
// one way has the times of one clock, so each is compared with itself.
type firstSeen struct {
	origin uint16 // any of that way
	t      int64  // Unix milliseconds
}

// maxSkewMs is how far the clocks of a pair may lie apart.
const maxSkewMs = 30_000

// since returns the time from which on the node is known to a sample of an
// origin: that of the first sample of the node's own counters that came the same
// way, or surely before. It is forever where none came.
func (n *node) since(origin uint16) int64 {
	known := int64(forever)
	for _, f := range n.firsts {
		if n.samePath(f.origin, origin) {
			known = min(known, f.t)
		} else {
			known = min(known, f.t+maxSkewMs)
		}
	}
	return known
}

// maxWays bounds of how many ways the first samples are remembered: names of
// replicas may change with each of their pods.
const maxWays = 8

// see notes a sample of the node's own counters. One that makes the node known
// earlier has consequences for its other counters.
func (s *shard) see(ni uint32, tMs int64, origin uint16) {
	n := &s.nodes[ni]
	n.note(tMs, s.reorderMs)
	for i := range n.firsts {
		f := &n.firsts[i]
		if !n.samePath(f.origin, origin) {
			continue
		}
		if tMs < f.t && tMs >= f.t-s.reorderMs {
			s.revise(ni, func() { n.firsts[i].t = tMs })
		}
		return
	}
	s.revise(ni, func() {
		if len(n.firsts) == maxWays {
			n.firsts = slices.Delete(n.firsts, 1, 2) // what came first of all stays
		}
		n.firsts = append(n.firsts, firstSeen{origin, tMs})
	})
}

// note keeps the time of a sample of the node's own counters.
func (n *node) note(tMs, reorderMs int64) {
	if k := len(n.times); k == 0 || tMs > n.times[k-1] {
		n.times = append(n.times, tMs)
		if old, _ := slices.BinarySearch(n.times, tMs-2*reorderMs); old > 64 {
			n.times = slices.Delete(n.times, 0, old)
		}
	} else if i, found := slices.BinarySearch(n.times, tMs); !found && tMs >= n.times[k-1]-2*reorderMs {
		n.times = slices.Insert(n.times, i, tMs)
	}
}

// A holder is one that holds accounts on a node.
type holder struct {
	node     uint32
	accounts uint32 // first account plus one
	next     uint32 // next holder of the same node, plus one; 0 ends the list
	kind     power.HolderKind
	inUse    bool
	told     bool // Kepler tells of it as a container
	id       string
}

// A holderName tells the holders of a shard apart.
type holderName struct {
	node uint32
	localName
}

func (h *holder) name() holderName { return holderName{h.node, localName{h.kind, h.id}} }

func (h *holder) key(s *shard) power.HolderKey {
	n := &s.nodes[h.node]
	return power.HolderKey{Cluster: n.cluster, Node: n.name, Kind: h.kind, ID: h.id}
}

// An accountName tells accounts of a node apart after their memory was given back.
type accountName struct {
	localName
	measure power.Measure
	comp    power.Component
	zone    string
}

// A goneAccount is what remains of an account that fell silent: enough to go on
// from if it comes back, so that nothing is credited twice.
type goneAccount struct {
	lastT, lastV int64
	seenMin      uint32
}

// leave keeps what remains of an account.
func (n *node) leave(name accountName, g goneAccount) {
	if n.gone == nil {
		n.gone = make(map[accountName]goneAccount)
	}
	n.gone[name] = g
}
