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
	legacyGPUs bool        // legacy Kepler counts the node's NVIDIA GPUs
	gpuShares  bool        // Kepler reports what containers use of the GPUs
	firsts     []firstSeen // of the node's own counters, by replica
	times      []int64     // recent times of such samples, rising, Unix milliseconds
	holders    uint32      // the first one plus one
	gone       map[accountName]goneAccount
	booked     map[localName]uint32 // see Cache.Booked: when it was told, minutes since the epoch
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

// A firstSeen is when a replica first showed the node's own counters. Each
// replica has a clock of its own, so each is compared with itself.
type firstSeen struct {
	replica uint16
	t       int64 // Unix milliseconds
}

// since returns the time of the first sample of the node's own counters from a
// replica, forever where none came.
func (n *node) since(replica uint16) int64 {
	for _, f := range n.firsts {
		if f.replica == replica {
			return f.t
		}
	}
	return forever
}

// maxReplicas bounds how many replicas' first samples are remembered: names of
// replicas may change with each of their pods.
const maxReplicas = 8

// seen notes a sample of the node's own counters. earlier says that it is older
// than any before of its replica.
func (n *node) seen(tMs int64, replica uint16, reorderMs int64) (earlier bool) {
	if k := len(n.times); k == 0 || tMs > n.times[k-1] {
		n.times = append(n.times, tMs)
		if old, _ := slices.BinarySearch(n.times, tMs-2*reorderMs); old > 64 {
			n.times = slices.Delete(n.times, 0, old)
		}
	} else if i, found := slices.BinarySearch(n.times, tMs); !found && tMs >= n.times[k-1]-2*reorderMs {
		n.times = slices.Insert(n.times, i, tMs)
	}
	for i := range n.firsts {
		f := &n.firsts[i]
		if f.replica != replica {
			continue
		}
		if tMs >= f.t || tMs < f.t-reorderMs {
			return false
		}
		f.t = tMs
		return true
	}
	if len(n.firsts) == maxReplicas {
		n.firsts = slices.Delete(n.firsts, 0, 1)
	}
	n.firsts = append(n.firsts, firstSeen{replica, tMs})
	return true
}

// A holder is one that holds accounts on a node.
type holder struct {
	node     uint32
	accounts uint32 // first account plus one
	next     uint32 // next holder of the same node, plus one; 0 ends the list
	kind     power.HolderKind
	inUse    bool
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
