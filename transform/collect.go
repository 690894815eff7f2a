package transform

import (
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Collect returns what moved since the last Collect, as absolute values, and
// lets go of windows that are sealed. It locks one shard at a time. The caller
// must make the batch durable before it collects again.
func (s *Stage) Collect() store.Batch {
	var b store.Batch
	for _, l := range s.shards {
		l.mu.Lock()
		for _, x := range l.stale {
			x.stale = false
			if s.describe(l, x) {
				b.Holders = append(b.Holders, x.info)
			}
		}
		l.stale = nil
		for _, n := range l.nodes {
			s.collectNode(n, &b)
		}
		l.mu.Unlock()
	}
	return b
}

// describe asks who x is, and says whether that is news.
func (s *Stage) describe(l *ledger, x *holder) bool {
	if x.key.Kind == power.Node {
		x.info = &power.Holder{HolderKey: x.key}
		return false
	}
	info := s.directory.Describe(x.key, x.attrs, l.arrivalMs)
	if x.info != nil && *x.info == *info {
		return false
	}
	x.info = info
	return true
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
	for _, w := range n.windows {
		if w.startMs < n.sealedMs {
			w.letGo()
		}
	}
	n.windows = slices.DeleteFunc(n.windows, func(w *window) bool { return w.startMs < n.sealedMs })
}

func (w *window) letGo() {
	for i := range w.rows {
		if h := w.rows[i].holder; h.last == w {
			h.last = nil
		}
	}
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
			Energy: x.energy, Idle: x.idle, Counter: x.counter,
			SeenMs: int32(x.span.seenMs), LastMs: x.span.endMs, Integrated: x.integrated,
			Price: price, Revision: x.revision,
		}
		if idle != nil {
			c.Energy.Add(idle[i])
			c.Idle += idle[i].Total()
			c.Revision = w.revision
		}
		b.Charges = append(b.Charges, c)
	}
	seenMs, lastMs := int32(w.span.seenMs), w.span.endMs
	for i := range w.rows {
		seenMs, lastMs = max(seenMs, int32(w.rows[i].span.seenMs)), max(lastMs, w.rows[i].span.endMs)
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
