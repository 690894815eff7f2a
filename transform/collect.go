package transform

import (
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Collect adds to b what moved in one shard since it was last collected, as
// absolute values, and lets go of windows that are sealed. The caller must make
// it durable before it collects the shard again.
func (s *Stage) Collect(shard int, b *store.Batch) {
	l := s.shards[shard]
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.stale {
		x.stale = false
		if s.describe(l, x) {
			b.Holders = append(b.Holders, x.info)
		}
	}
	l.stale = nil
	for _, n := range l.nodes {
		s.collectNode(n, b)
	}
}

// CollectAll collects every shard.
func (s *Stage) CollectAll() (b store.Batch) {
	for shard := range s.shards {
		s.Collect(shard, &b)
	}
	return b
}

// describe asks who x is, and says whether that is news.
func (s *Stage) describe(l *ledger, x *holder) bool {
	return x.info.Kind != power.Node && s.directory.describe(x, l.arrivalMs)
}

func (s *Stage) collectNode(n *node, b *store.Batch) {
	for _, w := range n.windows {
		if w.dirty {
			s.collectWindow(w, b)
			w.dirty = false
		}
	}
	if len(n.windows) == 0 || n.windows[0].startMs >= n.sealedMs {
		return
	}
	n.windows = slices.DeleteFunc(n.windows, func(w *window) bool { return w.startMs < n.sealedMs })
}

func (s *Stage) collectWindow(w *window, b *store.Batch) {
	n, seconds, price := w.node, int32(s.windowMs/1000), s.tariff.At(w.startMs)
	id := w.close()
	idle := w.allot(&id, s.policy)
	for i := range w.rows {
		x := &w.rows[i]
		if !x.dirty && idle == nil {
			continue
		}
		x.dirty = false
		c := power.Charge{
			Holder: x.holder.info, StartMs: w.startMs, Seconds: seconds,
			SeenMs: x.seenMs, LastMs: w.startMs + int64(x.endMs), Integrated: x.integrated,
			Price: price, Revision: x.revision,
		}
		c.Energy, c.Counter, c.Idle = x.whole()
		if idle != nil {
			c.Energy.Add(idle[i])
			c.Idle += idle[i].Total()
			c.Revision = w.revision
		}
		b.Charges = append(b.Charges, c)
	}
	seenMs, lastMs := int32(w.span.seenMs), w.span.endMs
	for i := range w.rows {
		seenMs, lastMs = max(seenMs, w.rows[i].seenMs), max(lastMs, w.startMs+int64(w.rows[i].endMs))
	}
	for i, e := range []power.Energy{id.system, id.idle, id.unattributed} {
		b.Charges = append(b.Charges, power.Charge{
			Holder: n.remainders[i].info, StartMs: w.startMs, Seconds: seconds, Energy: e,
			SeenMs: seenMs, LastMs: lastMs, Price: price, Revision: w.revision,
		})
	}
	b.Nodes = append(b.Nodes, power.NodeWindow{
		Cluster: n.cluster, Node: n.name, StartMs: w.startMs, Seconds: seconds,
		Used: id.used, Containers: id.containers, VMs: id.vms, System: id.system,
		Idle: id.idle, Unattributed: id.unattributed,
		SeenMs: seenMs, LastMs: lastMs, Generation: n.generation, Revision: w.revision,
	})
}
