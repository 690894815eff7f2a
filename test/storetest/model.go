package storetest

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A model is what an engine has to answer, worked out the plain way: every
// row in a map, every question answered by looking at all of them.
type model struct {
	position uint64
	holders  map[holderID]*power.Holder
	rows     map[rowID]power.Charge
	nodes    map[nodeID]power.NodeWindow
}

type rowID struct {
	holder power.HolderKey
	start  int64
}

// A holderID says what a holder was at a time.
type holderID struct {
	power.HolderKey
	sinceMs int64
}

func idOf(h *power.Holder) holderID { return holderID{h.HolderKey, h.SinceMs} }

type nodeID struct {
	cluster, node string
	start         int64
}

func newModel() *model {
	return &model{holders: map[holderID]*power.Holder{}, rows: map[rowID]power.Charge{}, nodes: map[nodeID]power.NodeWindow{}}
}

func (m *model) append(b store.Batch) {
	m.position = max(m.position, b.Position)
	for _, c := range b.Charges {
		m.holders[idOf(c.Holder)] = c.Holder
		id := rowID{c.Holder.HolderKey, c.StartMs}
		if have, ok := m.rows[id]; !ok || c.Revision >= have.Revision {
			m.rows[id] = c
		}
	}
	for _, h := range b.Holders {
		m.holders[idOf(h)] = h
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
	switch d {
	case store.Cluster:
		return h.Cluster
	case store.Node:
		return h.Node
	case store.Namespace:
		return name(h.Workload.Namespace)
	case store.WorkloadKind:
		return h.Workload.Kind
	case store.Workload:
		return name(h.Workload.Name)
	case store.WorkloadType:
		return string(h.Type)
	case store.Pod:
		return name(h.Pod)
	case store.Container:
		return name(h.Container)
	case store.ContainerID:
		return name(h.ID)
	}
	return name(d.Value(h.Tags))
}

func matches(h *power.Holder, match map[store.Dimension]string) bool {
	for d, v := range match {
		if d == store.AnyCluster {
			if !store.Matches(v, h.Cluster) {
				return false
			}
			continue
		}
		if dimension(h, d) != v {
			return false
		}
	}
	return true
}

// A wide is a sum of 64-bit integers that cannot overflow.
type wide struct {
	high int64
	low  uint64
}

func (w *wide) add(v int64) {
	low, carry := bits.Add64(w.low, uint64(v), 0)
	w.low = low
	w.high += v>>63 + int64(carry)
}

func (w wide) fits() bool { return w.high == int64(w.low)>>63 }

// A line is a store.Row that can be compared, with the group as one string.
type line struct {
	start   int64
	group   string
	price   power.Price
	energy  power.Energy
	idle    power.Microjoules
	seen    int64
	held    int64
	last    int64
	holders int
}

func sortLines(lines []line) []line {
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.start, b.start), strings.Compare(a.group, b.group),
			cmp.Compare(a.price.ElectricityPerKWh, b.price.ElectricityPerKWh), slices.Compare(a.energy[:], b.energy[:]),
			cmp.Compare(a.last, b.last), cmp.Compare(a.seen, b.seen))
	})
	return lines
}

func groupName(names []string) string {
	var b []byte
	for _, n := range names {
		b = strconv.AppendQuote(b, n)
	}
	return string(b)
}

// sum answers q; fits reports whether every sum fits into 64 bits.
func (m *model) sum(q store.Query) (lines []line, fits bool) {
	type place struct {
		start      int64
		group, own string
	}
	type priced struct {
		place
		price power.Price
	}
	type total struct {
		line
		energy [power.NumComponents]wide
		idle   wide
	}
	type named struct {
		out        bool
		group, own string
	}
	sums := map[priced]*total{}
	distinct := map[place]map[*power.Holder]bool{}
	groups := map[*power.Holder]named{}
	for _, c := range m.rows {
		if c.StartMs < q.FromMs || c.StartMs >= q.ToMs {
			continue
		}
		h := m.holders[idOf(c.Holder)]
		g, ok := groups[h]
		if !ok {
			names := make([]string, len(q.GroupBy))
			for i, d := range q.GroupBy {
				names[i] = dimension(h, d)
				if d == store.ContainerID {
					g.own = fmt.Sprint(h.HolderKey)
				}
			}
			g.group = groupName(names)
			g.out = !matches(h, q.Match) || q.WorkloadsOnly && h.Kind.PseudoName() != ""
			groups[h] = g
		}
		if g.out {
			continue
		}
		start := q.FromMs
		if q.StepMs > 0 {
			start = c.StartMs / q.StepMs * q.StepMs
		}
		at := place{start, g.group, g.own}
		if distinct[at] == nil {
			distinct[at] = map[*power.Holder]bool{}
		}
		distinct[at][h] = true
		key := priced{at, *c.Price}
		s := sums[key]
		if s == nil {
			s = &total{line: line{group: g.group, start: start, price: *c.Price, last: c.LastMs}}
			sums[key] = s
		}
		for i := range c.Energy {
			s.energy[i].add(int64(c.Energy[i]))
		}
		s.idle.add(int64(c.Idle))
		s.seen += int64(c.SeenMs)
		s.held += int64(c.Seconds) * 1000
		s.last = max(s.last, c.LastMs)
	}
	fits = true
	for key, s := range sums {
		s.holders = len(distinct[key.place])
		for i, e := range s.energy {
			fits = fits && e.fits()
			s.line.energy[i] = power.Microjoules(e.low)
		}
		fits = fits && s.idle.fits()
		s.line.idle = power.Microjoules(s.idle.low)
		lines = append(lines, s.line)
	}
	return sortLines(lines), fits
}

// linesOf puts an engine's rows into the model's form.
func linesOf(rows []store.Row) []line {
	var lines []line
	for _, r := range rows {
		lines = append(lines, line{
			start: r.StartMs, group: groupName(r.Group), price: r.Price, energy: r.Energy, idle: r.Idle,
			seen: r.SeenMs, held: r.HeldMs, last: r.LastMs, holders: r.Holders,
		})
	}
	return sortLines(lines)
}

func (m *model) windows(fromMs, toMs int64, match map[store.Dimension]string) []power.NodeWindow {
	newest := map[[2]string]power.NodeWindow{}
	for _, n := range m.nodes {
		end := n.StartMs + int64(n.Seconds)*1000
		k := [2]string{n.Cluster, n.Node}
		if v, ok := match[store.Cluster]; ok && v != n.Cluster {
			continue
		}
		if v, ok := match[store.AnyCluster]; ok && !store.Matches(v, n.Cluster) {
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
