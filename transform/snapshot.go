package transform

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/internal/snapshot"
	"github.com/wattledger/wattledger/power"
)

// Walk writes or fills the open windows of one shard. The caller keeps the
// shard's cache from booking meanwhile. Everything that was filled counts as
// not yet collected: what had been durable is merely written again.
func (s *Stage) Walk(shard int, c *snapshot.Codec) {
	l := s.shards[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	snapshot.Uint(c, &l.position)
	snapshot.Int(c, &l.arrivalMs)

	// Holders by their number; forgotten ones keep their place.
	n := snapshot.Len(c, len(l.holders))
	if c.Reading() {
		l.holders = nil
	}
	for i := range n {
		var h *holder
		if !c.Reading() {
			h = l.holders[i]
		}
		h = s.walkHolder(c, l, h)
		if c.Err() != nil {
			return
		}
		if c.Reading() {
			l.holders = append(l.holders, h)
		}
	}
	numbers := make(map[*holder]uint32)
	for i, h := range l.holders {
		numbers[h] = uint32(i)
	}
	byName := func(a, b nodeName) int {
		return cmp.Or(cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.name, b.name))
	}
	nodes := l.nodes
	snapshot.MapFunc(c, &nodes, byName, func(k *nodeName, n **node) {
		snapshot.String(c, &k.cluster)
		snapshot.String(c, &k.name)
		if c.Reading() {
			*n = l.node(k.cluster, k.name)
		}
		s.walkNode(c, l, *n, numbers)
	})
}

func (s *Stage) walkHolder(c *snapshot.Codec, l *ledger, h *holder) *holder {
	known := h != nil
	snapshot.Bool(c, &known)
	if !known {
		return nil
	}
	var key power.HolderKey
	var attrs power.Attributes
	if !c.Reading() {
		key, attrs = h.info.HolderKey, h.attrs.unpack()
	}
	for _, f := range []*string{
		&key.Cluster, &key.Node, &key.ID, &attrs.Container, &attrs.Pod, &attrs.PodUID,
		&attrs.Namespace, &attrs.Image, &attrs.Command, &attrs.Runtime,
	} {
		snapshot.String(c, f)
	}
	snapshot.Uint(c, &key.Kind)
	if c.Reading() && c.Err() == nil {
		if key.Kind < power.Container || key.Kind > power.Unattributed {
			c.Fail(fmt.Errorf("%w: holder kind %d", snapshot.ErrMalformed, key.Kind))
			return nil
		}
		h = l.newHolder(key)
		h.attrs = pack(attrs, &l.rest)
		l.describeLater(h)
	}
	if c.Err() == nil {
		h.walkEras(c)
	}
	return h
}

// walkEras writes or fills what the holder was tagged with, and when.
func (x *holder) walkEras(c *snapshot.Codec) {
	if c.Version < tagsVersion {
		x.settledMs = 0
		return
	}
	walk := func(h **power.Holder, known *kinds) {
		var info power.Holder
		if *h != nil {
			info = **h
		}
		snapshot.Int(c, &info.SinceMs)
		walkSharedTags(c, &info.Tags)
		snapshot.Uint(c, known)
		if c.Reading() {
			info.HolderKey = x.info.HolderKey
			*h = &info
		}
	}
	snapshot.Int(c, &x.settledMs)
	walk(&x.info, &x.known)
	snapshot.Slice(c, &x.past, func(e *era) { walk(&e.info, &e.known) })
}

func (s *Stage) walkNode(c *snapshot.Codec, l *ledger, n *node, numbers map[*holder]uint32) {
	snapshot.String(c, &n.generation)
	snapshot.Int(c, &n.newestMs)
	snapshot.Int(c, &n.sealedMs)
	snapshot.Uint(c, &n.checked)
	snapshot.Slice(c, &n.windows, func(p **window) {
		if c.Reading() {
			*p = &window{node: n, dirty: true}
		}
		w := *p
		snapshot.Int(c, &w.startMs)
		snapshot.Int(c, &w.touchedMs)
		snapshot.Uint(c, &w.revision)
		for _, e := range []*power.Energy{&w.used, &w.active, &w.idle, &w.containers, &w.vms, &w.idleShares} {
			walkEnergy(c, e)
		}
		for i := range w.knows {
			snapshot.Uint(c, &w.knows[i])
		}
		w.span.walk(c)
		rows := w.rows
		if !c.Reading() {
			// The rows of a holder that was forgotten have long been collected.
			rows = slices.DeleteFunc(slices.Clone(rows), func(x row) bool { _, ok := numbers[x.holder]; return !ok })
		}
		snapshot.Slice(c, &rows, func(x *row) {
			number := numbers[x.holder]
			snapshot.Uint(c, &number)
			if c.Reading() {
				if int(number) >= len(l.holders) || l.holders[number] == nil || l.holders[number].node != n {
					c.Fail(fmt.Errorf("%w: a row of holder %d", snapshot.ErrMalformed, number))
					return
				}
				x = w.row(l.holders[number])
				x.dirty = true
			}
			x.walk(c, w)
		})
	})
}

func (x *row) walk(c *snapshot.Codec, w *window) {
	energy, counter, idle := x.whole()
	walkEnergy(c, &energy)
	snapshot.Int(c, &idle)
	walkEnergy(c, &counter)
	snapshot.Uint(c, &x.revision)
	covered := span{int64(x.seenMs), w.startMs + int64(x.endMs)}
	covered.walk(c)
	snapshot.Bool(c, &x.integrated)
	if !c.Reading() {
		return
	}
	for k := range energy {
		if e := energy[k]; e != 0 {
			x.add(power.Component(k), e)
		}
		if v := counter[k]; v != 0 {
			x.show(power.Component(k), v)
		}
	}
	if idle != 0 {
		x.more().idle = idle
	}
	x.seenMs, x.endMs = int32(covered.seenMs), int32(covered.endMs-w.startMs)
}

func walkEnergy(c *snapshot.Codec, e *power.Energy) {
	for i := range e {
		snapshot.Int(c, &e[i])
	}
}

func (s *span) walk(c *snapshot.Codec) {
	snapshot.Int(c, &s.seenMs)
	snapshot.Int(c, &s.endMs)
}
