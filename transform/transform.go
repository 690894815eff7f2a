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
)

// A Stage takes readings from the counter cache and keeps open windows. It is
// the cache's sink; its methods may be called concurrently for different shards.
type Stage struct {
	windowMs  int64
	horizonMs int64
	policy    string // IdleSeparate, IdleProportional or IdleEven
	directory *Directory
	tariff    *Tariff

	shards []*ledger

	mu      sync.Mutex // guards holders; taken after a ledger's lock, never before
	holders map[power.HolderKey]*holder
}

// A ledger keeps the open windows of one shard's nodes.
type ledger struct {
	mu        sync.Mutex
	position  uint64 // of the newest record that had readings for this shard
	arrivalMs int64
	holders   []*holder // by the number the cache gave; nil where forgotten
	nodes     map[nodeName]*node
	stale     []*holder // to be described anew
}

type nodeName struct{ cluster, name string }

// A node has the windows that are open, oldest first.
type node struct {
	nodeName
	generation string
	newestMs   int64  // end of the newest reading
	sealedMs   int64  // windows that begin before are closed for good
	checked    uint64 // position of the record that sealing was last looked at for
	windows    []*window
	remainders [3]*holder // System, Idle, Unattributed
}

type holder struct {
	key    power.HolderKey
	attrs  power.Attributes
	node   *node
	ledger *ledger
	info   *power.Holder // nil before the first Collect
	stale  bool

	// Where the last reading was booked: nearly always the next goes there too.
	last    *window
	lastRow int32
}

// New returns a stage for a cache with the given number of shards. reorderMs is
// how late a sample may be and still be booked in its own window.
func New(cfg Config, shards int, reorderMs int64, directory *Directory, tariff *Tariff) *Stage {
	s := &Stage{
		windowMs: cfg.Window.Milliseconds(), policy: cfg.IdlePolicy,
		directory: directory, tariff: tariff, holders: make(map[power.HolderKey]*holder),
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
		n := l.node(key.Cluster, key.Node)
		x = &holder{key: key, node: n, ledger: l}
		l.holders[h] = x
		s.mu.Lock()
		s.holders[key] = x
		s.mu.Unlock()
	}
	if generation != "" {
		x.node.generation = generation
	}
	if merged := merge(x.attrs, attrs); fresh || merged != x.attrs {
		x.attrs = merged
		l.describeLater(x)
	}
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
	for _, key := range s.directory.Learn(fact, arrivalMs) {
		s.mu.Lock()
		x := s.holders[key]
		s.mu.Unlock()
		if x == nil {
			continue
		}
		x.ledger.mu.Lock()
		x.ledger.describeLater(x)
		x.ledger.mu.Unlock()
	}
}

// Forget says that the number h will be given to another holder.
func (s *Stage) Forget(shard int, h uint32) {
	l := s.shards[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.holders[h]
	key := x.key
	for _, w := range x.node.windows {
		// If it comes back it will be another holder: it must not have a second
		// row in a window, which would take the place of the first.
		if _, ok := w.byHolder[x]; ok {
			x.node.sealedMs = max(x.node.sealedMs, w.startMs+s.windowMs)
		}
	}
	s.mu.Lock()
	delete(s.holders, key)
	s.mu.Unlock()
	s.directory.Release(key)
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
		n = &node{nodeName: k}
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
	return &holder{key: key, node: n, info: &power.Holder{
		HolderKey: key, Type: t,
		Workload: power.Workload{Cluster: n.cluster, Namespace: name, Kind: kind.String(), Name: name},
	}}
}
