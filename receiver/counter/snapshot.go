package counter

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/wattledger/wattledger/internal/index"
	"github.com/wattledger/wattledger/internal/snapshot"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// snapshotVersion is raised whenever what is written changes. What the versions
// from oldestVersion on wrote is still read.
const (
	snapshotVersion = 5
	oldestVersion   = 3 // knows replicas, but no exporters; what holders are tagged with came with 5
)

// Position returns the position up to which every shard has applied the journal.
func (c *Cache) Position() uint64 {
	at := ^uint64(0)
	for _, s := range c.shards {
		s.mu.Lock()
		at = min(at, s.turn)
		s.mu.Unlock()
	}
	return at
}

// Start tells an empty cache that the next request has the given position.
func (c *Cache) Start(position uint64) {
	for _, s := range c.shards {
		s.mu.Lock()
		s.turn = position - 1
		s.mu.Unlock()
	}
}

// Booked tells a cache that has lost its memory which holders the books had
// before: what their counters show first is where they stand, and has been booked.
func (c *Cache) Booked(holders []power.HolderKey, nowMs int64) {
	for _, key := range holders {
		s := c.shards[shardOf(key.Cluster, key.Node)]
		s.mu.Lock()
		n := &s.nodes[s.node(&metric.Mapping{Holder: key})]
		if n.booked == nil {
			n.booked = map[localName]uint32{}
		}
		n.booked[localName{key.Kind, key.ID}] = uint32(max(nowMs, 0) / 60_000)
		s.mu.Unlock()
	}
}

// Save writes the state of every shard, one after the other, each as it stands
// at a position of its own: replaying from the lowest on, a shard skips what it
// knows. beside writes what the sink keeps for a shard while that shard stands
// still; head writes what belongs to the whole. Series are not state: they are parsed again when they are next seen.
func (c *Cache) Save(w io.Writer, head func(c *snapshot.Codec), beside func(shard int, c *snapshot.Codec)) error {
	out := snapshot.NewWriter(w)
	out.Version = snapshotVersion
	snapshot.Uint(out, &out.Version)
	c.mu.Lock()
	c.walkAddresses(out)
	c.mu.Unlock()
	head(out)
	var part bytes.Buffer
	for i, s := range c.shards {
		part.Reset()
		in := snapshot.NewWriter(&part)
		in.Version = out.Version
		s.mu.Lock()
		s.walk(in, snapshotVersion)
		beside(i, in)
		s.mu.Unlock()
		if err := in.Close(); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		blob := part.String()
		snapshot.Text(out, &blob)
	}
	return out.Close()
}

// Load fills an empty cache from what Save wrote, and calls head and beside as Save
// did. Who asks meanwhile is answered from the shards that are whole.
func (c *Cache) Load(r io.Reader, head func(c *snapshot.Codec), beside func(shard int, c *snapshot.Codec)) error {
	in := snapshot.NewReader(r)
	var version uint64
	if snapshot.Uint(in, &version); version < oldestVersion || version > snapshotVersion {
		in.Fail(fmt.Errorf("snapshot version %d: this program reads versions %d to %d", version, oldestVersion, snapshotVersion))
	}
	in.Version = version
	if version > oldestVersion {
		c.mu.Lock()
		c.walkAddresses(in)
		c.mu.Unlock()
	}
	head(in)
	for i, s := range c.shards {
		var blob string
		if snapshot.Text(in, &blob); in.Err() != nil {
			break
		}
		part := snapshot.NewReader(strings.NewReader(blob))
		part.Version = version
		s.mu.Lock()
		s.walk(part, version)
		if part.Err() == nil {
			part.Fail(s.check())
		}
		if part.Err() == nil {
			beside(i, part)
		}
		known := len(s.accounts) - len(s.freeAccounts)
		s.mu.Unlock()
		if err := part.Err(); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		c.mu.Lock()
		c.mapped += known
		c.mu.Unlock()
	}
	return in.Err()
}

// walkAddresses writes or fills the names of nodes by their addresses.
func (c *Cache) walkAddresses(to *snapshot.Codec) {
	byAddress := func(a, b address) int { return cmp.Or(cmp.Compare(a.cluster, b.cluster), a.ip.Compare(b.ip)) }
	snapshot.MapFunc(to, &c.addresses, byAddress, func(at *address, node *string) {
		ip := at.ip.String()
		snapshot.String(to, &at.cluster)
		snapshot.String(to, &ip)
		snapshot.String(to, node)
		if to.Reading() {
			at.ip = ipOf(ip)
		}
	})
	snapshot.Slice(to, &c.homes.newest, func(of *home) {
		node := c.homes.node[*of]
		snapshot.String(to, &of.cluster)
		snapshot.String(to, &of.id)
		snapshot.String(to, &node)
		if to.Reading() {
			c.homes.node[*of] = node
		}
	})
	snapshot.Int(to, &c.homes.next)
	snapshot.Bool(to, &c.homes.strays)
	c.homes.next = min(max(c.homes.next, 0), max(len(c.homes.newest)-1, 0))
}

// walk writes or fills everything of a shard that its future depends on.
func (s *shard) walk(c *snapshot.Codec, version uint64) {
	snapshot.Uint(c, &s.turn)
	snapshot.Int(c, &s.nextSweepMs)
	snapshot.Slice(c, &s.nodes, func(n *node) { n.walk(c, version) })
	snapshot.Slice(c, &s.holders, func(h *holder) {
		snapshot.Uint(c, &h.node)
		snapshot.Uint(c, &h.accounts)
		snapshot.Uint(c, &h.kind)
		snapshot.Bool(c, &h.inUse)
		if version > oldestVersion {
			snapshot.Bool(c, &h.told)
		} else {
			h.told = h.kind == power.Container
		}
		snapshot.String(c, &h.id)
	})
	snapshot.Slice(c, &s.accounts, func(a *account) { a.walk(c, s, version) })
	snapshot.Slice(c, &s.histories, func(h **history) {
		kept := *h != nil
		if snapshot.Bool(c, &kept); !kept {
			return
		}
		if c.Reading() {
			*h = &history{}
		}
		(*h).walk(c, version)
	})
	snapshot.Slice(c, &s.meters, func(m *meter) { m.walk(c, s, version) })
	snapshot.Map(c, &s.suspects, func(i *uint32, p *point) { snapshot.Uint(c, i); p.walk(c, version) })
	if version > oldestVersion {
		snapshot.Map(c, &s.waiting, func(i *uint32, p *point) { snapshot.Uint(c, i); p.walk(c, version) })
		snapshot.Map(c, &s.sevenths, func(i *uint32, n *uint8) { snapshot.Uint(c, i); snapshot.Uint(c, n) })
	}
	snapshot.Slice(c, &s.quarantined, func(q *Quarantined) { q.walk(c) })
	free := func(list *[]uint32) { snapshot.Slice(c, list, func(i *uint32) { snapshot.Uint(c, i) }) }
	free(&s.freeAccounts)
	free(&s.freeHolders)
	free(&s.freeHistories)
	free(&s.freeMeters)
	if !c.Reading() {
		return
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		s.nodeOf[nodeName{n.cluster, n.name}] = uint32(i)
	}
	for i := range s.meters {
		if m := &s.meters[i]; version == oldestVersion && s.bearsWitness(m) {
			s.nodes[m.node].witnesses[m.comp] = uint32(i) + 1
		}
	}
	for i := range s.holders {
		if h := &s.holders[i]; h.inUse && int(h.node) < len(s.nodes) {
			s.enlist(uint32(i), index.Hash(h.name()))
			s.nodes[h.node].hasContainers = s.nodes[h.node].hasContainers || h.told
		}
	}
}

// check says whether every number that refers to something does.
func (s *shard) check() error {
	for i := range s.accounts {
		a := &s.accounts[i]
		if a.flags&flagDead != 0 {
			continue
		}
		side := len(s.histories)
		if a.role != metric.RoleCounter {
			side = len(s.meters)
		}
		if int(a.holder) >= len(s.holders) || int(a.node) >= len(s.nodes) || int(a.next) > len(s.accounts) ||
			int(a.side) > side || (a.role != metric.RoleCounter && a.side == 0) ||
			(a.role == metric.RoleCounter && a.side != 0 && s.histories[a.side-1] == nil) || int(a.comp) >= power.NumComponents {
			return fmt.Errorf("%w: account %d refers to nothing", snapshot.ErrMalformed, i)
		}
	}
	for i := range s.holders {
		h := &s.holders[i]
		if h.inUse && (int(h.node) >= len(s.nodes) || int(h.accounts) > len(s.accounts) || h.kind < power.Container || h.kind > power.Unattributed) {
			return fmt.Errorf("%w: holder %d refers to nothing", snapshot.ErrMalformed, i)
		}
	}
	for i := range s.histories {
		if h := s.histories[i]; h != nil && (int(h.account) >= len(s.accounts) || h.track.n == 0) {
			return fmt.Errorf("%w: history %d refers to nothing", snapshot.ErrMalformed, i)
		}
	}
	for i := range s.nodes {
		for _, w := range s.nodes[i].witnesses {
			if int(w) > len(s.meters) {
				return fmt.Errorf("%w: node %d refers to nothing", snapshot.ErrMalformed, i)
			}
		}
	}
	for i := range s.meters {
		if m := &s.meters[i]; m.inUse && (int(m.holder) >= len(s.holders) || int(m.node) >= len(s.nodes) || int(m.comp) >= power.NumComponents) {
			return fmt.Errorf("%w: meter %d refers to nothing", snapshot.ErrMalformed, i)
		}
	}
	return nil
}

func (n *node) walk(c *snapshot.Codec, version uint64) {
	snapshot.String(c, &n.cluster)
	snapshot.String(c, &n.name)
	snapshot.String(c, &n.generation)
	snapshot.Bool(c, &n.inUse)
	snapshot.Bool(c, &n.legacyGPUs)
	snapshot.Bool(c, &n.gpuShares)
	if version > oldestVersion {
		n.walkOrigins(c)
	}
	snapshot.Slice(c, &n.firsts, func(f *firstSeen) {
		n.walkOrigin(c, &f.origin, version)
		snapshot.Int(c, &f.t)
	})
	snapshot.Slice(c, &n.times, func(t *int64) { snapshot.Int(c, t) })
	byName := func(a, b accountName) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id), cmp.Compare(a.measure, b.measure),
			cmp.Compare(a.comp, b.comp), cmp.Compare(a.zone, b.zone))
	}
	snapshot.MapFunc(c, &n.gone, byName, func(k *accountName, g *goneAccount) {
		snapshot.Uint(c, &k.kind)
		snapshot.String(c, &k.id)
		snapshot.Uint(c, &k.measure)
		snapshot.Uint(c, &k.comp)
		snapshot.String(c, &k.zone)
		snapshot.Int(c, &g.lastT)
		snapshot.Int(c, &g.lastV)
		snapshot.Uint(c, &g.seenMin)
	})
	byHolder := func(a, b localName) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id)) }
	snapshot.MapFunc(c, &n.booked, byHolder, func(k *localName, toldMin *uint32) {
		snapshot.Uint(c, &k.kind)
		snapshot.String(c, &k.id)
		snapshot.Uint(c, toldMin)
	})
}

// walkOrigins writes or fills what a node knows of its exporters.
func (n *node) walkOrigins(c *snapshot.Codec) {
	snapshot.Slice(c, &n.origins, func(o *origin) {
		snapshot.String(c, &o.exporter)
		snapshot.String(c, &o.path)
		snapshot.String(c, &o.replica)
	})
	for i := range n.witnesses {
		snapshot.Uint(c, &n.witnesses[i])
		snapshot.Int(c, &n.active[i])
		u := &n.turns[i]
		snapshot.Bool(c, &u.known)
		snapshot.Bool(c, &u.legacy)
		snapshot.Int(c, &u.t)
		snapshot.Int(c, &u.since)
	}
	snapshot.Slice(c, &n.restarts, func(r *restart) {
		snapshot.Int(c, &r.from)
		snapshot.Int(c, &r.to)
		snapshot.Int(c, &r.after)
		snapshot.Uint(c, &r.comp)
		snapshot.Uint(c, &r.origin)
	})
	snapshot.Int(c, &n.restartT)
	snapshot.Slice(c, &n.olderTimes, func(t *int64) { snapshot.Int(c, t) })
	snapshot.Int(c, &n.olderT)
}

// walkOrigin writes or fills the number of an origin. The oldest version has the
// name of its replica, and nothing of the exporter.
func (n *node) walkOrigin(c *snapshot.Codec, i *uint16, version uint64) {
	if version > oldestVersion {
		snapshot.Uint(c, i)
		return
	}
	var replica string
	snapshot.String(c, &replica)
	*i = n.origin(origin{replica: replica})
}

// walkName writes or fills a number by its name: numbers do not outlive a process.
func walkName(c *snapshot.Codec, names *numbering, id *uint16) {
	name := names.name(*id)
	snapshot.String(c, &name)
	if c.Reading() {
		*id = names.id(name)
	}
}

func (a *account) walk(c *snapshot.Codec, s *shard, version uint64) {
	snapshot.Int(c, &a.lastT)
	snapshot.Int(c, &a.lastV)
	if version > oldestVersion {
		snapshot.Int(c, &a.prevV)
	}
	snapshot.Int(c, &a.startT)
	snapshot.Uint(c, &a.holder)
	snapshot.Uint(c, &a.node)
	snapshot.Uint(c, &a.next)
	snapshot.Uint(c, &a.side)
	snapshot.Uint(c, &a.seenMin)
	snapshot.Float(c, &a.scale)
	s.nodeAt(a.node).walkOrigin(c, &a.origin, version)
	walkName(c, s.zones, &a.zone)
	snapshot.Uint(c, &a.role)
	snapshot.Uint(c, &a.measure)
	snapshot.Uint(c, &a.comp)
	snapshot.Uint(c, &a.flags)
}

// nodeAt returns a node, and one that is thrown away where there is none: check
// finds what refers to nothing.
func (s *shard) nodeAt(i uint32) *node {
	if int(i) >= len(s.nodes) {
		return &node{}
	}
	return &s.nodes[i]
}

func (p *point) walk(c *snapshot.Codec, version uint64) {
	snapshot.Int(c, &p.t)
	snapshot.Int(c, &p.v)
	snapshot.Int(c, &p.start)
	snapshot.Bool(c, &p.tail)
	if version > oldestVersion {
		snapshot.Uint(c, &p.origin)
	}
}

func (h *history) walk(c *snapshot.Codec, version uint64) {
	snapshot.Uint(c, &h.account)
	snapshot.Bool(c, &h.first)
	snapshot.Bool(c, &h.credited)
	snapshot.Int(c, &h.creditT)
	snapshot.Int(c, &h.breakT)
	if version > oldestVersion {
		snapshot.Bool(c, &h.rivals)
		snapshot.Bool(c, &h.older)
	}
	points := h.track.points(nil)
	snapshot.Slice(c, &points, func(p *point) { p.walk(c, version) })
	if c.Reading() {
		h.track.set(points)
	}
}

func (m *meter) walk(c *snapshot.Codec, s *shard, version uint64) {
	snapshot.Uint(c, &m.kind)
	snapshot.Bool(c, &m.inUse)
	snapshot.Bool(c, &m.first)
	snapshot.Bool(c, &m.shadow)
	snapshot.Bool(c, &m.rawSeen)
	var replica string
	if version == oldestVersion {
		snapshot.String(c, &replica)
	}
	walkName(c, s.zones, &m.source)
	walkName(c, s.zones, &m.zone)
	snapshot.Int(c, &m.rank)
	snapshot.Uint(c, &m.holder)
	snapshot.Uint(c, &m.node)
	snapshot.Uint(c, &m.comp)
	if version == oldestVersion {
		m.origin = s.nodeAt(m.node).origin(origin{replica: replica})
		m.last = m.origin
	} else {
		snapshot.Uint(c, &m.origin)
		snapshot.Uint(c, &m.last)
		snapshot.Bool(c, &m.rivals)
		snapshot.Int(c, &m.late.t)
		snapshot.Int(c, &m.late.v)
		snapshot.Bool(c, &m.late.ok)
		snapshot.Int(c, &m.quiet.from)
		snapshot.Int(c, &m.quiet.to)
	}
	for i := range m.base {
		b := &m.base[i]
		snapshot.Int(c, &b.t)
		snapshot.Int(c, &b.v)
		snapshot.Bool(c, &b.ok)
	}
	snapshot.Slice(c, &m.points, func(p *meterPoint) {
		snapshot.Int(c, &p.t)
		for i := range p.v {
			snapshot.Int(c, &p.v[i])
		}
		snapshot.Uint(c, &p.has)
		if version > oldestVersion {
			snapshot.Uint(c, &p.state)
			snapshot.Uint(c, &p.origin)
		} else {
			p.origin = m.origin
		}
		p.users.walk(c)
		for i := range p.booked {
			b := &p.booked[i]
			snapshot.Int(c, &b.start)
			snapshot.Int(c, &b.e)
			b.users.walk(c)
		}
	})
}

func (u *users) walk(c *snapshot.Codec) {
	for i := range u {
		snapshot.Uint(c, &u[i])
	}
}

func (q *Quarantined) walk(c *snapshot.Codec) {
	snapshot.String(c, &q.Holder.Cluster)
	snapshot.String(c, &q.Holder.Node)
	snapshot.Uint(c, &q.Holder.Kind)
	snapshot.String(c, &q.Holder.ID)
	snapshot.Uint(c, &q.Component)
	snapshot.String(c, &q.Zone)
	snapshot.String(c, &q.Reason)
	snapshot.Int(c, &q.TMs)
	snapshot.Float(c, &q.Value)
	snapshot.Int(c, &q.LastTMs)
	snapshot.Float(c, &q.LastJoules)
}

// Quarantine returns the newest samples that were set aside.
func (c *Cache) Quarantine() []Quarantined {
	var all []Quarantined
	for _, s := range c.shards {
		s.mu.Lock()
		all = append(all, s.quarantined...)
		s.mu.Unlock()
	}
	return all
}
