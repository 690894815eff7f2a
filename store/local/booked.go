package local

import (
	"context"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store/local/format"
)

// A BookedNode is a node the books have rows of.
type BookedNode struct {
	Cluster, Node   string
	FirstMs, LastMs int64 // starts of its first and last window
}

// BookedNodes returns every node the books have rows of.
func (s *Store) BookedNodes() []BookedNode {
	s.lives.RLock()
	defer s.lives.RUnlock()
	byNode := map[int32]BookedNode{}
	for id, h := range s.at().holders {
		if h == nil {
			continue
		}
		l := s.last[id]
		n, ok := byNode[h.node]
		if !ok {
			n = BookedNode{Cluster: h.Cluster, Node: h.Holder.Node, FirstMs: l.first * 1000, LastMs: l.last * 1000}
		}
		n.FirstMs, n.LastMs = min(n.FirstMs, l.first*1000), max(n.LastMs, l.last*1000)
		byNode[h.node] = n
	}
	list := make([]BookedNode, 0, len(byNode))
	for _, n := range byNode {
		list = append(list, n)
	}
	return list
}

// HoldersBefore returns the holders whose first window began before a time, but
// for what no holder used.
func (s *Store) HoldersBefore(ms int64) (list []power.HolderKey) {
	s.lives.RLock()
	defer s.lives.RUnlock()
	for id, h := range s.at().holders {
		if h != nil && h.Kind.PseudoName() == "" && s.last[id].first*1000 < ms {
			list = append(list, h.HolderKey)
		}
	}
	return list
}

// MinutesFromMs is the moment before which single windows have expired.
func (s *Store) MinutesFromMs() int64 {
	return s.at().minutesFrom * 1000
}

// Holder returns the newest description of what a holder was at a time, nil if it
// has no rows.
func (s *Store) Holder(key power.HolderKey, atMs int64) (found *power.Holder) {
	s.writing.Lock()
	defer s.writing.Unlock()
	for _, id := range s.interns.same(key) {
		h := s.interns.holders[id].Holder
		switch {
		case found == nil,
			h.SinceMs <= atMs && (found.SinceMs > atMs || h.SinceMs > found.SinceMs),
			h.SinceMs > atMs && h.SinceMs < found.SinceMs:
			found = h
		}
	}
	return found
}

// A BookedWindow is what the books hold of a node in one window.
type BookedWindow struct {
	Node    *power.NodeWindow
	Charges []power.Charge
}

// Booked returns the windows of a node that start in [fromMs, toMs), by start.
func (s *Store) Booked(ctx context.Context, cluster, node string, fromMs, toMs int64) (map[int64]BookedWindow, error) {
	found := map[int64]BookedWindow{}
	sp := span{ceilSeconds(fromMs), ceilSeconds(toMs)}
	err := s.read(ctx, func(sn *snapshot) error {
		id := int32(slices.Index(sn.nodes, nodeKey{cluster, node}))
		if id < 0 {
			return nil
		}
		var holders []int32
		for _, h := range sn.holders {
			if h != nil && h.node == id {
				holders = append(holders, h.id)
			}
		}
		err := s.holderRows(ctx, sn, holders, []span{sp}, func(r *format.Row) error {
			if r.Start >= sp.from && r.Start < sp.to && !void(r.Seconds) {
				w := found[r.Start*1000]
				w.Charges = append(w.Charges, chargeOf(r, &sn.dims))
				found[r.Start*1000] = w
			}
			return nil
		})
		if err != nil {
			return err
		}
		take := func(rows []format.NodeRow) {
			for i := range rows {
				if r := &rows[i]; r.Node == id && r.Start >= sp.from && r.Start < sp.to {
					w, whole := found[r.Start*1000], windowOf(r, sn.nodes[id])
					w.Node = &whole
					found[r.Start*1000] = w
				}
			}
		}
		for _, hour := range hoursBetween(max(sp.from, sn.minutesFrom), min(sp.to, sn.sealedBefore)) {
			key := format.Key(hour, id)
			data, err := blob(ctx, sn, "SELECT data FROM sealed_nodes WHERE key = ?", key)
			if err != nil || data == nil {
				if err != nil {
					return err
				}
				continue
			}
			rows, err := format.ReadNodeRows(key, data)
			if err != nil {
				return fmt.Errorf("row %d of sealed_nodes: %w", key, err)
			}
			take(rows)
		}
		return scanNodes(ctx, sn, max(sp.from, sn.sealedBefore), sp.to, func(r *format.NodeRow) error {
			take([]format.NodeRow{*r})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("booked windows of %s: %w", node, err)
	}
	return found, nil
}

// chargeOf returns the charge a row was made of.
func chargeOf(r *format.Row, d *dims) power.Charge {
	price := d.prices[r.Price]
	c := power.Charge{
		Holder: d.holders[r.Holder].Holder, StartMs: r.Start * 1000, Seconds: r.Seconds, Idle: power.Microjoules(r.Idle),
		SeenMs: r.SeenMs, LastMs: r.Start*1000 + r.LastOff, Integrated: r.Flags&format.Integrated != 0, Price: &price, Revision: r.Revision,
	}
	for i := range r.Energy {
		c.Energy[i], c.Counter[i] = power.Microjoules(r.Energy[i]), power.Microjoules(r.Counter[i])
	}
	return c
}
