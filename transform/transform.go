// Package transform gives readings a workload and a price. It keeps the windows
// that are still open, node by node, closes each node's identity, and hands out
// what moved as charges with absolute values.
//
// Read transform.go for the way in, window.go for where a reading is booked,
// identity.go for how a window is closed and collect.go for the way out.
package transform

import (
	"sync"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/transform/tariff"
)

// A Stage takes readings from the counter cache and keeps open windows. It is
// the cache's sink; its methods may be called concurrently for different shards.
type Stage struct {
	windowMs  int64
	horizonMs int64
	policy    string // IdleSeparate, IdleProportional or IdleEven
	directory *Directory
	tariff    *tariff.Tariff

	shards []*ledger
}

// A ledger keeps the open windows of one shard's nodes.
type ledger struct {
	mu        sync.Mutex
	position  uint64 // of the newest record that had readings for this shard
	arrivalMs int64
	holders   []*holder // by the number the cache gave; nil where forgotten
	nodes     map[nodeName]*node
	stale     []*holder         // to be described anew
	news      []*power.Holder   // descriptions to be handed out
	rest      *power.Attributes // what the holder before had beside its container and pod
}

type nodeName struct{ cluster, name string }

// A node has the windows that are open, oldest first.
type node struct {
	nodeName
	ledger     *ledger
	generation string
	newestMs   int64  // end of the newest reading
	sealedMs   int64  // windows that begin before are closed for good
	checked    uint64 // position of the record that sealing was last looked at for
	windows    []*window
	remainders [3]*holder // System, Idle, Unattributed
	seats      uint32     // how many holders there were at the same time
	freeSeats  []uint32
}

// A holder is guarded by its ledger. The directory reads and writes what it needs
// of it under a lock of its own, while the ledger is locked or, in learn, only
// what describe writes.
type holder struct {
	info  *power.Holder // says whose it is from the start; what more once it is told
	node  *node
	attrs attributes
	heard []uint32 // hashes of the subjects it is described from; the directory's
	past  []era    // before its tags changed, oldest first

	settledMs int64 // up to when changes of its tags are told; -1 before it was described
	known     kinds // of tags

	number uint32 // in the directory, plus one; 0 when it is not there
	seat   uint32 // tells holders of a node apart, in its windows
	told   bool   // info was handed out
	stale  bool   // it is to be described anew
}

// New returns a stage for a cache with the given number of shards. reorderMs is
// how late a sample may be and still be booked in its own window.
func New(cfg Config, shards int, reorderMs int64, directory *Directory, prices *tariff.Tariff) *Stage {
	s := &Stage{
		windowMs: cfg.Window.Milliseconds(), policy: cfg.IdlePolicy,
		directory: directory, tariff: prices,
	}
	s.horizonMs = reorderMs + s.windowMs
	for range shards {
		s.shards = append(s.shards, &ledger{nodes: make(map[nodeName]*node)})
	}
	return s
}

// Holder announces the holder that readings of the shard call h.
func (s *Stage) Holder(shard int, h uint32, key power.HolderKey, attrs power.Attributes, generation string) {
	l := s.shards[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	for int(h) >= len(l.holders) {
		l.holders = append(l.holders, nil)
	}
	x := l.holders[h]
	fresh := x == nil
	if fresh {
		x = l.newHolder(key)
		l.holders[h] = x
	}
	if generation != "" {
		x.node.generation = generation
	}
	old := x.attrs.unpack()
	if merged := merge(old, attrs); fresh || merged != old {
		x.attrs = pack(merged, &l.rest)
		l.describeLater(x)
	}
}

func (l *ledger) newHolder(key power.HolderKey) *holder {
	n := l.node(key.Cluster, key.Node)
	x := &holder{info: &power.Holder{HolderKey: key}, node: n, settledMs: -1}
	if k := len(n.freeSeats); k > 0 {
		x.seat, n.freeSeats = n.freeSeats[k-1], n.freeSeats[:k-1]
	} else {
		x.seat = n.seats
		n.seats++
	}
	return x
}

// describeLater notes that x has to be described anew before it is next handed
// out. It waits for Collect because a container's first scrape brings half a
// dozen facts about it, and describing it once is enough. The ledger is locked.
func (l *ledger) describeLater(x *holder) {
	if !x.stale {
		x.stale = true
		l.stale = append(l.stale, x)
	}
}

// Learn takes a fact about pods. What it tells of holders with earlier windows
// holds for those windows too.
func (s *Stage) Learn(position uint64, arrivalMs int64, fact power.Fact) {
	if s.directory.replaces(fact) {
		// What holders were until now has to be known first.
		for _, l := range s.shards {
			l.mu.Lock()
			s.describeStale(l)
			l.mu.Unlock()
		}
	}
	for _, x := range s.directory.learn(fact, arrivalMs) {
		l := x.node.ledger
		l.mu.Lock()
		l.describeLater(x)
		l.mu.Unlock()
	}
}

// Remap gives what holders used under other rules the values of the rules now in
// force, as far as the stage knows of it.
func (s *Stage) Remap() {
	for _, l := range s.shards {
		l.mu.Lock()
		s.describeStale(l)
		for _, x := range l.holders {
			if x != nil && x.info.Kind != power.Node {
				l.news = append(l.news, s.directory.remap(x)...)
			}
		}
		l.mu.Unlock()
	}
}

// Forget says that the number h will be given to another holder.
func (s *Stage) Forget(shard int, h uint32) {
	l := s.shards[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.holders[h]
	n := x.node
	for _, w := range n.windows {
		// If it comes back it will be another holder: it must not have a second
		// row in a window, which would take the place of the first.
		if w.find(x) != nil {
			n.sealedMs = max(n.sealedMs, w.startMs+s.windowMs)
		}
	}
	s.directory.release(x)
	n.freeSeats = append(n.freeSeats, x.seat)
	l.holders[h] = nil
}

// Append books the readings of one record.
func (s *Stage) Append(shard int, position uint64, arrivalMs int64, readings []power.Reading) {
	l := s.shards[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.position, l.arrivalMs = position, max(l.arrivalMs, arrivalMs)
	for i := range readings {
		s.book(l, l.holders[readings[i].Holder], &readings[i])
	}
}

func (l *ledger) node(cluster, name string) *node {
	k := nodeName{cluster, name}
	n := l.nodes[k]
	if n == nil {
		n = &node{nodeName: k, ledger: l}
		for i, kind := range []power.HolderKind{power.System, power.Idle, power.Unattributed} {
			n.remainders[i] = newRemainder(n, kind)
		}
		l.nodes[k] = n
	}
	return n
}

// newRemainder returns the holder of what no container or VM of a node used.
func newRemainder(n *node, kind power.HolderKind) *holder {
	key := power.HolderKey{Cluster: n.cluster, Node: n.name, Kind: kind}
	name := kind.PseudoName()
	t := power.Unknown
	if kind == power.System {
		t = power.SystemType
	}
	return &holder{node: n, info: &power.Holder{
		HolderKey: key, Type: t,
		Workload: power.Workload{Cluster: n.cluster, Namespace: name, Kind: kind.String(), Name: name},
	}}
}
