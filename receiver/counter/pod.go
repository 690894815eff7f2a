package counter

import (
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// countPods books what the series of pods count, of the nodes of s of which no
// container is told. These are facts in the first place: they have the numbers of
// facts, by which the accounts behind them are found. Of a request that s knows
// already only the numbers are noted.
func (c *Cache) countPods(s *shard, r *Request, pods []podSample, book bool) {
	for _, p := range pods {
		if int(p.shard) != s.number {
			continue
		}
		x := r.Samples[p.sample]
		fact := x.Ref.account()
		ref, known := s.pods[fact]
		if p.fresh {
			ref, known = c.admitPod(s, &r.New[x.New])
			if known && x.Ref != 0 {
				s.pods[fact] = ref
			} else {
				delete(s.pods, fact)
			}
		}
		if known && book && !s.nodes[s.accounts[ref.account()].node].hasContainers {
			var o Outcome // it is counted as a fact
			x.Ref = ref
			s.apply(&x, &o)
		}
	}
}

// admitPod makes the account of a pod known, unless containers of its node are told.
func (c *Cache) admitPod(s *shard, n *Series) (Ref, bool) {
	m := n.Mapping
	m.Role = metric.RoleCounter
	if ni, known := s.nodeOf[nodeName{m.Holder.Cluster, m.Holder.Node}]; known && s.nodes[ni].hasContainers {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mapped >= c.cfg.MaxSeries && !s.knows(&m) {
		return 0, false
	}
	return c.refer(s, &m), true
}

// refer returns the Ref of a series of s, and makes its account if there is none.
func (c *Cache) refer(s *shard, m *metric.Mapping) Ref {
	i, fresh := s.resolve(m)
	a := &s.accounts[i]
	from := s.nodes[a.node].origin(origin{m.Exporter, m.Path, m.Replica})
	if fresh {
		c.mapped++
		a.origin = from
	}
	ref := refAccount | Ref(s.number)<<refShardShift | Ref(i) | Ref(from)<<refOriginShift
	if m.Terminated {
		ref |= refTerminated
	}
	return ref
}

// countContainers notes whether containers of a node are told.
func (s *shard) countContainers(ni uint32) {
	n := &s.nodes[ni]
	n.hasContainers = false
	for next := n.holders; next != 0; next = s.holders[next-1].next {
		h := &s.holders[next-1]
		n.hasContainers = n.hasContainers || h.told && h.kind == power.Container
	}
}
