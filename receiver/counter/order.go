package counter

import (
	"sync"

	"github.com/wattledger/wattledger/receiver/metric"
)

// An order is a request's samples, as indexes, sorted by shard.
type order struct {
	start   [NumShards + 1]int32
	samples []int32
	facts   []int32
	pods    []podSample
	shards  []uint16 // scratch: shard of each sample
}

// A podSample is a fact's sample that counts a pod's energy, too.
type podSample struct {
	sample int32
	shard  uint16
	fresh  bool // the request has its series
}

var orders = sync.Pool{New: func() any { return new(order) }}

const factShard = NumShards

// sortByShard sorts by counting. Samples of one shard keep the order of the wire.
func sortByShard(r *Request) *order {
	o := orders.Get().(*order)
	n := len(r.Samples)
	if cap(o.samples) < n {
		o.samples, o.shards = make([]int32, n), make([]uint16, n)
	}
	o.samples, o.shards, o.facts, o.pods = o.samples[:n], o.shards[:n], o.facts[:0], o.pods[:0]
	var count [NumShards + 1]int32
	var near nodeName // of the new series before: most often this one's too
	nearShard := -1
	for i := range r.Samples {
		m := &r.Samples[i]
		s := factShard
		switch {
		case m.Ref&refAccount != 0:
			s = m.Ref.shard()
		case m.Ref&refFact != 0:
			if m.Ref&refPod != 0 {
				o.pods = append(o.pods, podSample{int32(i), uint16(m.Ref.shard()), false})
			}
		case r.New[m.New].Mapping.Role == metric.RoleFact:
			if h := &r.New[m.New].Mapping; h.Pod {
				o.pods = append(o.pods, podSample{int32(i), uint16(shardOf(h.Holder.Cluster, h.Holder.Node)), true})
			}
		default:
			h := &r.New[m.New].Mapping.Holder
			if name := (nodeName{h.Cluster, h.Node}); name != near || nearShard < 0 {
				near, nearShard = name, shardOf(name.cluster, name.name)
			}
			s = nearShard
		}
		o.shards[i] = uint16(s)
		count[s]++
	}
	at := int32(0)
	for s := range NumShards {
		o.start[s] = at
		at += count[s]
	}
	o.start[NumShards] = at
	next := o.start
	for i, s := range o.shards {
		if s == factShard {
			o.facts = append(o.facts, int32(i))
			continue
		}
		o.samples[next[s]] = int32(i)
		next[s]++
	}
	return o
}

func (o *order) of(shard int) []int32 { return o.samples[o.start[shard]:o.start[shard+1]] }

// release gives o back unless a huge request made it large.
func (o *order) release() {
	if cap(o.samples) <= 1<<16 {
		orders.Put(o)
	}
}
