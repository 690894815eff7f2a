package counter

import (
	"slices"

	"github.com/wattledger/wattledger/power"
)

// A node is what the rules need to know of a node beside its counters.
type node struct {
	cluster    string
	name       string
	generation string
	inUse      bool
	gpuShares  bool    // Kepler reports what containers use of the GPUs
	firstT     int64   // time of the first sample of the node's own counters; forever before one came
	times      []int64 // recent times of such samples, rising, Unix milliseconds
	holders    map[localName]uint32
	gone       map[accountName]goneAccount
}

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

// seen notes a sample of the node's own counters. first says that it is older
// than any before.
func (n *node) seen(tMs, reorderMs int64) (first bool) {
	if k := len(n.times); k == 0 || tMs > n.times[k-1] {
		n.times = append(n.times, tMs)
		if old, _ := slices.BinarySearch(n.times, tMs-2*reorderMs); old > 64 {
			n.times = slices.Delete(n.times, 0, old)
		}
	} else if i, found := slices.BinarySearch(n.times, tMs); !found && (i > 0 || n.firstT >= n.times[0]) {
		n.times = slices.Insert(n.times, i, tMs)
	}
	if tMs < n.firstT {
		n.firstT = tMs
		return true
	}
	return false
}

// A holder is one that holds accounts on a node.
type holder struct {
	node     uint32
	accounts uint32 // first account plus one
	kind     power.HolderKind
	inUse    bool
	id       string
}

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
