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
	s.describeStale(l)
	b.Holders = append(b.Holders, l.news...)
	l.news = nil
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

// describeStale describes anew those of whom something was learned.
func (s *Stage) describeStale(l *ledger) {
	for _, x := range l.stale {
		x.stale = false
		l.news = append(l.news, s.describe(l, x)...)
	}
	l.stale = nil
}

// describe asks who x is, and returns what is news. What x used since its tags
// changed is handed out again, as what it is now.
func (s *Stage) describe(l *ledger, x *holder) []*power.Holder {
	if x.info.Kind == power.Node {
		return nil
	}
	eras := len(x.past)
	news := s.directory.describe(x, l.arrivalMs)
	if len(x.past) != eras {
		for _, w := range x.node.windows {
			if r := w.find(x); r != nil && w.startMs >= x.info.SinceMs {
				r.dirty, w.dirty = true, true
			}
		}
	}
	return news
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
			Holder: x.holder.at(w.startMs), StartMs: w.startMs, Seconds: seconds,
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
