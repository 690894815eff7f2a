package storetest

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A model is what an engine has to answer, worked out the plain way: every
// row in a map, every question answered by looking at all of them.
type model struct {
	position uint64
	holders  map[power.HolderKey]*power.Holder
	rows     map[rowID]power.Charge
	nodes    map[nodeID]power.NodeWindow
}

type rowID struct {
	holder power.HolderKey
	start  int64
}

type nodeID struct {
	cluster, node string
	start         int64
}

func newModel() *model {
	return &model{holders: map[power.HolderKey]*power.Holder{}, rows: map[rowID]power.Charge{}, nodes: map[nodeID]power.NodeWindow{}}
}

func (m *model) append(b store.Batch) {
	m.position = max(m.position, b.Position)
	for _, c := range b.Charges {
		m.holders[c.Holder.HolderKey] = c.Holder
		id := rowID{c.Holder.HolderKey, c.StartMs}
		if have, ok := m.rows[id]; !ok || c.Revision >= have.Revision {
			m.rows[id] = c
		}
	}
	for _, h := range b.Holders {
		m.holders[h.HolderKey] = h
	}
	for _, n := range b.Nodes {
		id := nodeID{n.Cluster, n.Node, n.StartMs}
		if have, ok := m.nodes[id]; !ok || n.Revision >= have.Revision {
			m.nodes[id] = n
		}
	}
}

// dimension returns what a holder is called in a dimension.
func dimension(h *power.Holder, d store.Dimension) string {
	pseudo := h.Kind.PseudoName()
	name := func(s string) string {
		if pseudo != "" {
			return pseudo
		}
		return s
	}
	return map[store.Dimension]string{
		store.Cluster: h.Cluster, store.Node: h.Node, store.WorkloadKind: h.Workload.Kind, store.WorkloadType: string(h.Type),
		store.Namespace: name(h.Workload.Namespace), store.Workload: name(h.Workload.Name),
		store.Pod: name(h.Pod), store.Container: name(h.Container), store.ContainerID: name(h.ID),
	}[d]
}

func matches(h *power.Holder, match map[store.Dimension]string) bool {
	for d, v := range match {
		if dimension(h, d) != v {
			return false
		}
	}
	return true
}

// A sum is a store.Row with integers of any size, so that the model cannot
// overflow where an engine does.
type sum struct {
	group   string
	start   int64
	price   power.Price
	energy  [power.NumComponents]big.Int
	idle    big.Int
	seen    int64
	held    int64
	last    int64
	holders int
}

func (s sum) String() string {
	return fmt.Sprintf("start=%d group=%s price=%v energy=%s/%s/%s/%s idle=%s seen=%d held=%d last=%d holders=%d", s.start, s.group, s.price,
		s.energy[0].String(), s.energy[1].String(), s.energy[2].String(), s.energy[3].String(), s.idle.String(), s.seen, s.held, s.last, s.holders)
}

// sum answers q; fits reports whether every sum fits into 64 bits.
func (m *model) sum(q store.Query) (lines []string, fits bool) {
	type place struct {
		start      int64
		group, own string
	}
	type priced struct {
		place
		price power.Price
	}
	sums := map[priced]*sum{}
	distinct := map[place]map[power.HolderKey]bool{}
	type named struct{ group, own string }
	groups := map[*power.Holder]named{}
	for _, c := range m.rows {
		h := m.holders[c.Holder.HolderKey]
		if c.StartMs < q.FromMs || c.StartMs >= q.ToMs || !matches(h, q.Match) || q.WorkloadsOnly && h.Kind.PseudoName() != "" {
			continue
		}
		start := q.FromMs
		if q.StepMs > 0 {
			start = c.StartMs / q.StepMs * q.StepMs
		}
		g, ok := groups[h]
		if !ok {
			names := make([]string, len(q.GroupBy))
			for i, d := range q.GroupBy {
				names[i] = dimension(h, d)
				if d == store.ContainerID {
					g.own = fmt.Sprint(h.HolderKey)
				}
			}
			g.group = fmt.Sprintf("%q", names)
			groups[h] = g
		}
		at := place{start, g.group, g.own}
		if distinct[at] == nil {
			distinct[at] = map[power.HolderKey]bool{}
		}
		distinct[at][h.HolderKey] = true
		key := priced{at, *c.Price}
		s := sums[key]
		if s == nil {
			s = &sum{group: g.group, start: start, price: *c.Price, last: c.LastMs}
			sums[key] = s
		}
		for i := range c.Energy {
			s.energy[i].Add(&s.energy[i], big.NewInt(int64(c.Energy[i])))
		}
		s.idle.Add(&s.idle, big.NewInt(int64(c.Idle)))
		s.seen += int64(c.SeenMs)
		s.held += int64(c.Seconds) * 1000
		s.last = max(s.last, c.LastMs)
	}
	fits = true
	for key, s := range sums {
		s.holders = len(distinct[key.place])
		for i := range s.energy {
			fits = fits && s.energy[i].IsInt64()
		}
		fits = fits && s.idle.IsInt64()
		lines = append(lines, s.String())
	}
	slices.Sort(lines)
	return lines, fits
}

// linesOf puts an engine's rows into the model's form.
func linesOf(q store.Query, rows []store.Row) []string {
	var lines []string
	for _, r := range rows {
		s := sum{group: fmt.Sprintf("%q", r.Group), start: r.StartMs, price: r.Price, seen: r.SeenMs, held: r.HeldMs, last: r.LastMs, holders: r.Holders}
		if len(q.GroupBy) == 0 {
			s.group = fmt.Sprintf("%q", []string(nil))
		}
		for i := range r.Energy {
			s.energy[i].SetInt64(int64(r.Energy[i]))
		}
		s.idle.SetInt64(int64(r.Idle))
		lines = append(lines, s.String())
	}
	slices.Sort(lines)
	return lines
}

func (m *model) windows(fromMs, toMs int64, match map[store.Dimension]string) []power.NodeWindow {
	newest := map[[2]string]power.NodeWindow{}
	for _, n := range m.nodes {
		end := n.StartMs + int64(n.Seconds)*1000
		k := [2]string{n.Cluster, n.Node}
		if v, ok := match[store.Cluster]; ok && v != n.Cluster {
			continue
		}
		if v, ok := match[store.Node]; ok && v != n.Node {
			continue
		}
		if have, ok := newest[k]; end > fromMs && end <= toMs && (!ok || n.StartMs > have.StartMs) {
			newest[k] = n
		}
	}
	list := make([]power.NodeWindow, 0, len(newest))
	for _, n := range newest {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b power.NodeWindow) int {
		return strings.Compare(a.Cluster+"\x00"+a.Node, b.Cluster+"\x00"+b.Node)
	})
	return list
}
