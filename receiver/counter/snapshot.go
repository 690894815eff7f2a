package counter

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/wattledger/wattledger/index"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/state"
)

// snapshotVersion is raised whenever what is written changes.
const snapshotVersion = 3

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
		n := &s.nodes[s.node(&Mapping{Holder: key})]
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
func (c *Cache) Save(w io.Writer, head func(c *state.Codec), beside func(shard int, c *state.Codec)) error {
	out := state.NewWriter(w)
	version := uint64(snapshotVersion)
	state.Uint(out, &version)
	head(out)
	var part bytes.Buffer
	for i, s := range c.shards {
		part.Reset()
		in := state.NewWriter(&part)
		s.mu.Lock()
		s.walk(in, c.replicas)
		beside(i, in)
		s.mu.Unlock()
		if err := in.Close(); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		blob := part.String()
		state.Text(out, &blob)
	}
	return out.Close()
}

// Load fills an empty cache from what Save wrote, and calls head and beside as Save did.
func (c *Cache) Load(r io.Reader, head func(c *state.Codec), beside func(shard int, c *state.Codec)) error {
	in := state.NewReader(r)
	var version uint64
	if state.Uint(in, &version); version != snapshotVersion {
		in.Fail(fmt.Errorf("snapshot version %d: this program reads version %d", version, snapshotVersion))
	}
	head(in)
	for i, s := range c.shards {
		var blob string
		if state.Text(in, &blob); in.Err() != nil {
			break
		}
		part := state.NewReader(strings.NewReader(blob))
		s.walk(part, c.replicas)
		if part.Err() == nil {
			part.Fail(s.check())
		}
		if part.Err() == nil {
			beside(i, part)
		}
		if err := part.Err(); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		c.mu.Lock()
		c.mapped += len(s.accounts) - len(s.freeAccounts)
		c.mu.Unlock()
	}
	return in.Err()
}

// walk writes or fills everything of a shard that its future depends on.
func (s *shard) walk(c *state.Codec, replicas *numbering) {
	state.Uint(c, &s.turn)
	state.Int(c, &s.nextSweepMs)
	state.Slice(c, &s.nodes, func(n *node) { n.walk(c, replicas) })
	state.Slice(c, &s.holders, func(h *holder) {
		state.Uint(c, &h.node)
		state.Uint(c, &h.accounts)
		state.Uint(c, &h.kind)
		state.Bool(c, &h.inUse)
		state.String(c, &h.id)
	})
	state.Slice(c, &s.accounts, func(a *account) { a.walk(c, s.zones, replicas) })
	state.Slice(c, &s.histories, func(h **history) {
		kept := *h != nil
		if state.Bool(c, &kept); !kept {
			return
		}
		if c.Reading() {
			*h = &history{}
		}
		(*h).walk(c)
	})
	state.Slice(c, &s.meters, func(m *meter) { m.walk(c, s.zones, replicas) })
	state.Map(c, &s.suspects, func(i *uint32, p *point) { state.Uint(c, i); p.walk(c) })
	state.Slice(c, &s.quarantined, func(q *Quarantined) { q.walk(c) })
	free := func(list *[]uint32) { state.Slice(c, list, func(i *uint32) { state.Uint(c, i) }) }
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
	for i := range s.holders {
		if h := &s.holders[i]; h.inUse && int(h.node) < len(s.nodes) {
			s.enlist(uint32(i), index.Hash(h.name()))
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
		if a.role != RoleCounter {
			side = len(s.meters)
		}
		if int(a.holder) >= len(s.holders) || int(a.node) >= len(s.nodes) || int(a.next) > len(s.accounts) ||
			int(a.side) > side || (a.role != RoleCounter && a.side == 0) ||
			(a.role == RoleCounter && a.side != 0 && s.histories[a.side-1] == nil) || int(a.comp) >= power.NumComponents {
			return fmt.Errorf("%w: account %d refers to nothing", state.ErrMalformed, i)
		}
	}
	for i := range s.holders {
		h := &s.holders[i]
		if h.inUse && (int(h.node) >= len(s.nodes) || int(h.accounts) > len(s.accounts) || h.kind < power.Container || h.kind > power.Unattributed) {
			return fmt.Errorf("%w: holder %d refers to nothing", state.ErrMalformed, i)
		}
	}
	for i := range s.histories {
		if h := s.histories[i]; h != nil && (int(h.account) >= len(s.accounts) || h.track.n == 0) {
			return fmt.Errorf("%w: history %d refers to nothing", state.ErrMalformed, i)
		}
	}
	for i := range s.meters {
		if m := &s.meters[i]; m.inUse && (int(m.holder) >= len(s.holders) || int(m.node) >= len(s.nodes) || int(m.comp) >= power.NumComponents) {
			return fmt.Errorf("%w: meter %d refers to nothing", state.ErrMalformed, i)
		}
	}
	return nil
}

func (n *node) walk(c *state.Codec, replicas *numbering) {
	state.String(c, &n.cluster)
	state.String(c, &n.name)
	state.String(c, &n.generation)
	state.Bool(c, &n.inUse)
	state.Bool(c, &n.legacyGPUs)
	state.Bool(c, &n.gpuShares)
	state.Slice(c, &n.firsts, func(f *firstSeen) {
		walkName(c, replicas, &f.replica)
		state.Int(c, &f.t)
	})
	state.Slice(c, &n.times, func(t *int64) { state.Int(c, t) })
	byName := func(a, b accountName) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id), cmp.Compare(a.measure, b.measure),
			cmp.Compare(a.comp, b.comp), cmp.Compare(a.zone, b.zone))
	}
	state.MapFunc(c, &n.gone, byName, func(k *accountName, g *goneAccount) {
		state.Uint(c, &k.kind)
		state.String(c, &k.id)
		state.Uint(c, &k.measure)
		state.Uint(c, &k.comp)
		state.String(c, &k.zone)
		state.Int(c, &g.lastT)
		state.Int(c, &g.lastV)
		state.Uint(c, &g.seenMin)
	})
	byHolder := func(a, b localName) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id)) }
	state.MapFunc(c, &n.booked, byHolder, func(k *localName, toldMin *uint32) {
		state.Uint(c, &k.kind)
		state.String(c, &k.id)
		state.Uint(c, toldMin)
	})
}

// walkName writes or fills a number by its name: numbers do not outlive a process.
func walkName(c *state.Codec, names *numbering, id *uint16) {
	name := names.name(*id)
	state.String(c, &name)
	if c.Reading() {
		*id = names.id(name)
	}
}

func (a *account) walk(c *state.Codec, zones, replicas *numbering) {
	state.Int(c, &a.lastT)
	state.Int(c, &a.lastV)
	state.Int(c, &a.startT)
	state.Uint(c, &a.holder)
	state.Uint(c, &a.node)
	state.Uint(c, &a.next)
	state.Uint(c, &a.side)
	state.Uint(c, &a.seenMin)
	state.Float(c, &a.scale)
	walkName(c, replicas, &a.replica)
	walkName(c, zones, &a.zone)
	state.Uint(c, &a.role)
	state.Uint(c, &a.measure)
	state.Uint(c, &a.comp)
	state.Uint(c, &a.flags)
}

func (p *point) walk(c *state.Codec) {
	state.Int(c, &p.t)
	state.Int(c, &p.v)
	state.Int(c, &p.start)
	state.Bool(c, &p.tail)
}

func (h *history) walk(c *state.Codec) {
	state.Uint(c, &h.account)
	state.Bool(c, &h.first)
	state.Bool(c, &h.credited)
	state.Int(c, &h.creditT)
	state.Int(c, &h.breakT)
	points := h.track.points(nil)
	state.Slice(c, &points, func(p *point) { p.walk(c) })
	if c.Reading() {
		h.track.set(points)
	}
}

func (m *meter) walk(c *state.Codec, zones, replicas *numbering) {
	state.Uint(c, &m.kind)
	state.Bool(c, &m.inUse)
	state.Bool(c, &m.first)
	state.Bool(c, &m.shadow)
	state.Bool(c, &m.rawSeen)
	walkName(c, replicas, &m.replica)
	walkName(c, zones, &m.source)
	walkName(c, zones, &m.zone)
	state.Int(c, &m.rank)
	state.Uint(c, &m.holder)
	state.Uint(c, &m.node)
	state.Uint(c, &m.comp)
	for i := range m.base {
		b := &m.base[i]
		state.Int(c, &b.t)
		state.Int(c, &b.v)
		state.Bool(c, &b.ok)
	}
	state.Slice(c, &m.points, func(p *meterPoint) {
		state.Int(c, &p.t)
		for i := range p.v {
			state.Int(c, &p.v[i])
		}
		state.Uint(c, &p.has)
		p.users.walk(c)
		for i := range p.booked {
			b := &p.booked[i]
			state.Int(c, &b.start)
			state.Int(c, &b.e)
			b.users.walk(c)
		}
	})
}

func (u *users) walk(c *state.Codec) {
	for i := range u {
		state.Uint(c, &u[i])
	}
}

func (q *Quarantined) walk(c *state.Codec) {
	state.String(c, &q.Holder.Cluster)
	state.String(c, &q.Holder.Node)
	state.Uint(c, &q.Holder.Kind)
	state.String(c, &q.Holder.ID)
	state.Uint(c, &q.Component)
	state.String(c, &q.Zone)
	state.String(c, &q.Reason)
	state.Int(c, &q.TMs)
	state.Float(c, &q.Value)
	state.Int(c, &q.LastTMs)
	state.Float(c, &q.LastJoules)
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
