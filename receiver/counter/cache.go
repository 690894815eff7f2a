// Package counter is the sharded counter cache: samples of counters go in,
// readings of energy come out. The Kepler accounting rules live here and only
// here; docs/accounting.md states them with their sources.
//
// One rule is behind them. A counter has lives: within one it only rises, so its
// value is its clock, whatever the times beside it say. A life ends where the counter
// starts again, and what shows that are its own samples, or the node's own
// counters, which tell when an exporter started and which scrape is older than its
// time says. Where several sources tell of one counter, one speaks at a time, until it
// has been silent for a while; the next one takes over at the place where it stopped.
//
// Read account.go first (one counter), then history.go and step.go (starts and
// resets), listen.go and origin.go (who is listened to), meter.go and mark.go
// (nodes and devices), witness.go (what a node's own counters say of its others),
// clock.go, turn.go, and shard.go (who owns what).
package counter

import (
	"math"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/wattledger/wattledger/power"
)

// A Sink takes what the accounts say. For one shard it is called by one
// goroutine at a time, in the order of the journal, while the shard is locked:
// it must not block and keeps nothing of what it is given but strings.
type Sink interface {
	// Holder announces the holder that readings of the shard refer to by the
	// number h, before the first of them and whenever its series say more.
	Holder(shard int, h uint32, key power.HolderKey, attrs power.Attributes, generation string)
	// Append takes readings of the record at position.
	Append(shard int, position uint64, arrivalMs int64, readings []power.Reading)
	// Learn takes a fact of the record at position, in order.
	Learn(position uint64, arrivalMs int64, fact power.Fact)
	// Forget says that the number h will be given to another holder.
	Forget(shard int, h uint32)
}

// NumShards is how many requests can be booked at the same time. A node belongs
// to one shard; results do not depend on the number.
const NumShards = 16

// A Cache holds the state of every account.
type Cache struct {
	cfg    Config
	sink   Sink
	shards [NumShards]*shard

	mu        sync.RWMutex       // held for one request's lookups, or for adding its new series
	series    lookup             // guarded by mu
	facts     []factSeries       // by the number in their Ref; guarded by mu
	free      []uint32           // numbers of facts that are no longer; guarded by mu
	sweepMs   int64              // when facts are next looked through, by arrival; guarded by mu
	addresses map[address]string // names of nodes; guarded by mu
	homes     homes              // guarded by mu
	mapped    int                // accounts and facts known; guarded by mu
	ignored   int                // series known to map nothing; guarded by mu
}

// New returns an empty cache that books into sink.
func New(cfg Config, sink Sink) *Cache {
	c := &Cache{cfg: cfg, sink: sink, addresses: map[address]string{}, homes: homes{node: map[home]string{}}}
	zones := newNumbering()
	for i := range c.shards {
		c.shards[i] = newShard(i, cfg, zones, sink)
	}
	return c
}

// Lookup writes the Ref of each key into refs, the zero Ref where the key is
// unknown. It is safe for concurrent use and allocates nothing.
func (c *Cache) Lookup(keys []Key, refs []Ref) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i, k := range keys {
		refs[i] = c.series.get(k)
	}
}

// Ignore remembers that the metric table maps nothing for keys. Beyond
// MaxSeries it forgets all of them first: they cost a parse, not a joule.
func (c *Cache) Ignore(keys []Key) {
	if len(keys) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ignored+len(keys) > c.cfg.MaxSeries {
		c.series.remove(Ref.Ignored)
		c.ignored = 0
	}
	for _, k := range keys {
		if c.series.get(k) == 0 {
			c.series.put(k, refIgnored)
			c.ignored++
		}
	}
}

// Series returns how many accounts and facts, and how many ignored series, are known.
func (c *Cache) Series() (mapped, ignored int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.mapped, c.ignored
}

// Apply books one request. Requests may be applied concurrently; each shard
// takes them in the order of their positions, which must have no gaps. A shard
// that already knows the position, from a snapshot, passes it over.
func (c *Cache) Apply(r *Request) Outcome {
	var o Outcome
	var order *order
	var addresses []address
	if len(r.New) == 0 {
		order = sortByShard(r)
	}
	for i, s := range c.shards {
		s.mu.Lock()
		for s.turn+1 < r.Position {
			s.wake.Wait()
		}
		if order == nil { // which shard new series belong to depends on the requests before
			addresses = c.name(r)
			order = sortByShard(r)
		}
		if s.turn >= r.Position {
			c.countPods(s, r, order.pods, false)
			s.mu.Unlock()
			continue
		}
		s.nowMin = uint32(max(r.ArrivalMs, 0) / 60_000)
		condemned, freed := s.sweep(r.ArrivalMs)
		if len(addresses) > 0 {
			condemned = s.retire(addresses) || condemned
		}
		if i == 0 {
			c.learn(r, order.facts, &o)
		}
		mine := order.of(i)
		c.applyTo(s, r, mine, &o)
		c.countPods(s, r, order.pods, true)
		if len(mine) > 0 || len(s.out) > 0 {
			c.emit(s, r)
		}
		s.turn = r.Position
		if condemned || freed > 0 {
			c.forgetSeries(s, freed)
		}
		s.mu.Unlock()
		s.wake.Broadcast()
	}
	order.release()
	return o
}

// applyTo books the samples of r that belong to s.
func (c *Cache) applyTo(s *shard, r *Request, mine []int32, o *Outcome) {
	for _, k := range mine {
		m := &r.Samples[k]
		if m.Ref == 0 {
			ref, ok := c.admit(s, &r.New[m.New])
			if !ok {
				o.OverLimit++
				o.OverLimitSeries = int(m.New)
				continue
			}
			m.Ref = ref
		}
		s.apply(m, o)
	}
}

// emit passes on what a request has booked.
func (c *Cache) emit(s *shard, r *Request) {
	c.sink.Append(s.number, r.Position, r.ArrivalMs, s.out)
	s.out = s.out[:0]
	if cap(s.out) > 1<<16 {
		s.out = nil
	}
}

// admit makes a new series known, unless that would be one account too many.
// Series of accounts that exist are always admitted.
func (c *Cache) admit(s *shard, n *Series) (Ref, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ref := c.series.get(n.Key); ref&refAccount != 0 {
		return ref, true
	}
	if c.mapped >= c.cfg.MaxSeries && !s.knows(&n.Mapping) {
		return 0, false
	}
	ref := c.refer(s, &n.Mapping)
	c.series.put(n.Key, ref)
	return ref, true
}

// A factSeries is a series that tells a fact.
type factSeries struct {
	key     Key
	seenMin uint32 // arrival of its last sample, minutes since the epoch
	toldMin uint32 // when the fact was told
}

// tellAgainMin is after how long a fact that still holds is told again, so that
// the directory knows from its own clock what may be forgotten.
const tellAgainMin = 6 * 60

// learn passes on the facts of a request. A fact is told when its series is
// first seen, and again after tellAgainMin; when the series ends it is
// forgotten, so that it is told again if the labels return.
func (c *Cache) learn(r *Request, facts []int32, o *Outcome) {
	if len(facts) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweepFacts(r.ArrivalMs)
	for _, k := range facts {
		m := &r.Samples[k]
		if m.Ref == 0 && !c.admitFact(r, m) {
			o.OverLimit++
			o.OverLimitSeries = int(m.New)
			continue
		}
		o.Facts++
		f := &c.facts[m.Ref.account()]
		f.seenMin = uint32(max(r.ArrivalMs, 0) / 60_000)
		if isStale(m.Value) && c.series.get(f.key) == m.Ref {
			c.forgetFact(m.Ref)
		}
	}
}

// admitFact makes a new series known and tells its fact.
func (c *Cache) admitFact(r *Request, m *Sample) bool {
	n := &r.New[m.New]
	ref := c.series.get(n.Key)
	if ref == 0 {
		if c.mapped >= c.cfg.MaxSeries {
			return false
		}
		i := len(c.facts)
		if k := len(c.free); k > 0 {
			i, c.free = int(c.free[k-1]), c.free[:k-1]
		} else {
			c.facts = append(c.facts, factSeries{})
		}
		c.facts[i] = factSeries{key: n.Key, toldMin: uint32(max(r.ArrivalMs, 0) / 60_000)}
		ref = refFact | Ref(i)
		if h := &n.Mapping.Holder; n.Mapping.Pod {
			ref |= refPod | Ref(shardOf(h.Cluster, h.Node))<<refShardShift
		}
		c.series.put(n.Key, ref)
		c.mapped++
	}
	m.Ref = ref
	if !isStale(m.Value) {
		c.sink.Learn(r.Position, r.ArrivalMs, power.Fact{
			Kind: n.Mapping.Fact, Cluster: n.Mapping.Holder.Cluster, Labels: n.Labels, Value: m.Value, AtMs: m.TMs,
		})
	}
	return true
}

func (c *Cache) forgetFact(ref Ref) {
	f := &c.facts[ref.account()]
	c.series.delete(f.key)
	*f = factSeries{}
	c.free = append(c.free, ref.account())
	c.mapped--
}

// sweepFacts forgets, once an hour, the series that ended without saying so and
// those that are to be told again.
func (c *Cache) sweepFacts(arrivalMs int64) {
	if arrivalMs < c.sweepMs {
		return
	}
	c.sweepMs = arrivalMs + 3_600_000
	now := uint32(max(arrivalMs, 0) / 60_000)
	silent := uint32(c.cfg.ForgetAfter.Minutes())
	for i := range c.facts {
		if f := &c.facts[i]; f.key != (Key{}) && (f.seenMin+silent < now || f.toldMin+tellAgainMin <= now) {
			c.forgetFact(refFact | Ref(i))
		}
	}
}

// forgetSeries forgets the series of s whose accounts are condemned. freed is
// how many accounts are gone for good.
func (c *Cache) forgetSeries(s *shard, freed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mapped -= freed
	c.series.remove(func(r Ref) bool {
		if r&refAccount == 0 || r.shard() != s.number {
			return false
		}
		return s.accounts[r.account()].flags&(flagCondemned|flagDead) != 0
	})
}

// shardOf returns the shard of a node.
func shardOf(cluster, node string) int {
	return int(xxhash.Sum64String(cluster+"\x00"+node) % NumShards)
}

// staleNaN is the bit pattern Prometheus ends a series with.
const (
	staleNaN  = 0x7ff0000000000002
	maxFinite = math.MaxFloat64
)

func isStale(v float64) bool { return math.Float64bits(v) == staleNaN }
