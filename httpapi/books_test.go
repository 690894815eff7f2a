package httpapi

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// books are a plain, slow store.Querier over charges in memory, for what the
// handlers do with answers; the engines have a suite of their own.
type books struct {
	charges []power.Charge
	nodes   []power.NodeWindow
	err     error         // what every question is answered with
	block   chan struct{} // when set, a question waits for it or for its context
}

func value(h *power.Holder, d store.Dimension) string {
	switch d {
	case store.Cluster:
		return h.Cluster
	case store.Node:
		return h.Node
	case store.Namespace:
		return h.Workload.Namespace
	case store.WorkloadKind:
		return h.Workload.Kind
	case store.Workload:
		return h.Workload.Name
	case store.WorkloadType:
		return string(h.Type)
	case store.Pod:
		return h.Pod
	case store.Container:
		return h.Container
	case store.ContainerID:
		return h.ID
	}
	if name := h.Kind.PseudoName(); name != "" {
		return name
	}
	return d.Value(h.Tags)
}

func matches(h *power.Holder, m map[store.Dimension]string) bool {
	for d, v := range m {
		if d == store.AnyCluster {
			if !store.Matches(v, h.Cluster) {
				return false
			}
			continue
		}
		if !store.Matches(v, value(h, d)) {
			return false
		}
	}
	return true
}

func (b *books) ask(ctx context.Context) error {
	if b.block != nil {
		select {
		case <-b.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return b.err
}

func (b *books) Sum(ctx context.Context, q store.Query) ([]store.Row, error) {
	if err := b.ask(ctx); err != nil {
		return nil, err
	}
	type key struct {
		start int64
		group string
		price power.Price
	}
	rows := map[key]*store.Row{}
	holders := map[key]map[power.HolderKey]bool{}
	for _, c := range b.charges {
		if c.StartMs < q.FromMs || c.StartMs >= q.ToMs || !matches(c.Holder, q.Match) || q.WorkloadsOnly && c.Holder.Kind.PseudoName() != "" {
			continue
		}
		start := q.FromMs
		if q.StepMs > 0 {
			start = c.StartMs - c.StartMs%q.StepMs
		}
		var group []string
		for _, d := range q.GroupBy {
			group = append(group, value(c.Holder, d))
		}
		k := key{start, strings.Join(group, "\x00"), *c.Price}
		if rows[k] == nil {
			rows[k], holders[k] = &store.Row{StartMs: start, Group: group, Price: *c.Price}, map[power.HolderKey]bool{}
		}
		r := rows[k]
		r.Energy.Add(c.Energy)
		r.Idle += c.Idle
		r.SeenMs += int64(c.SeenMs)
		r.HeldMs += int64(c.Seconds) * 1000
		r.LastMs = max(r.LastMs, c.LastMs)
		holders[k][c.Holder.HolderKey] = true
		r.Holders = len(holders[k])
	}
	var out []store.Row
	for _, r := range rows {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(a.StartMs, b.StartMs), slices.Compare(a.Group, b.Group), cmp.Compare(a.Price.ElectricityPerKWh, b.Price.ElectricityPerKWh))
	})
	return out, nil
}

func (b *books) Power(ctx context.Context, q store.PowerQuery) ([]store.PowerRow, string, error) {
	if err := b.ask(ctx); err != nil {
		return nil, "", err
	}
	offset := 0
	if q.Cursor != "" {
		var err error
		if offset, err = strconv.Atoi(q.Cursor); err != nil {
			return nil, "", store.ErrBadCursor
		}
	}
	rows := map[string]*store.PowerRow{}
	seen := map[string]map[power.HolderKey]int64{}
	for _, c := range b.charges {
		h := *c.Holder
		if c.StartMs < q.FromMs || c.StartMs >= q.ToMs || h.Kind.PseudoName() != "" || !matches(c.Holder, q.Match) {
			continue
		}
		k := h.Workload.ID()
		if q.ByContainer {
			k += "\x00" + h.ID
		}
		if rows[k] == nil {
			rows[k], seen[k] = &store.PowerRow{Holder: h, Price: *c.Price, Generation: "kepler-0.10+"}, map[power.HolderKey]int64{}
		}
		rows[k].Energy.Add(c.Energy)
		rows[k].LastMs = max(rows[k].LastMs, c.LastMs)
		seen[k][h.HolderKey] += int64(c.SeenMs)
		rows[k].Containers = len(seen[k])
	}
	var out []store.PowerRow
	for k, r := range rows {
		var longest int64
		for _, ms := range seen[k] {
			longest = max(longest, ms)
		}
		for c := range r.Watts {
			r.Watts[c] = r.Energy[c].Joules() / (float64(longest) / 1000)
		}
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b store.PowerRow) int {
		n := strings.Compare(a.Holder.Workload.ID()+a.Holder.ID, b.Holder.Workload.ID()+b.Holder.ID)
		if q.By == store.ByPower {
			n = cmp.Or(cmp.Compare(a.TotalWatts(), b.TotalWatts()), n)
		}
		if !q.Ascending {
			n = -n
		}
		return n
	})
	end := min(offset+q.Limit, len(out))
	next := ""
	if end < len(out) {
		next = strconv.Itoa(end)
	}
	return out[min(offset, end):end], next, nil
}

func (b *books) Nodes(ctx context.Context, fromMs, toMs int64, match map[store.Dimension]string) ([]power.NodeWindow, error) {
	var out []power.NodeWindow
	for _, n := range b.nodes {
		h := &power.Holder{HolderKey: power.HolderKey{Cluster: n.Cluster, Node: n.Node}}
		if end := n.StartMs + int64(n.Seconds)*1000; end > fromMs && end <= toMs && matches(h, match) {
			out = append(out, n)
		}
	}
	return out, b.ask(ctx)
}

func (b *books) Workloads(ctx context.Context, match map[store.Dimension]string, limit int) ([]store.WorkloadRow, error) {
	found := map[string]*store.WorkloadRow{}
	for _, c := range b.charges {
		if !matches(c.Holder, match) {
			continue
		}
		id := c.Holder.Workload.ID()
		if found[id] == nil {
			found[id] = &store.WorkloadRow{Workload: c.Holder.Workload, Type: c.Holder.Type, Rule: c.Holder.Rule, FirstMs: c.StartMs}
		}
		found[id].LastMs = max(found[id].LastMs, c.StartMs)
	}
	var out []store.WorkloadRow
	for _, f := range found {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b store.WorkloadRow) int { return strings.Compare(a.Workload.ID(), b.Workload.ID()) })
	return out[:min(len(out), limit)], b.ask(ctx)
}

func (b *books) Profiles(ctx context.Context, fromMs, toMs int64, match map[store.Dimension]string) ([]store.ProfileRow, error) {
	rows := map[power.Type]*store.ProfileRow{}
	for _, c := range b.charges {
		if c.StartMs < fromMs || c.StartMs >= toMs || c.Holder.Kind.PseudoName() != "" || !matches(c.Holder, match) {
			continue
		}
		r := rows[c.Holder.Type]
		if r == nil {
			r = &store.ProfileRow{Type: c.Holder.Type, Workloads: 1}
			rows[c.Holder.Type] = r
		}
		r.Energy += c.Energy.Total()
		r.Cost.Add(c.Price.Cost(c.Energy.Total()))
		r.PeakWatts = max(r.PeakWatts, c.Energy.Total().Joules()/60)
	}
	var out []store.ProfileRow
	for _, t := range power.Types {
		if rows[t] != nil {
			out = append(out, *rows[t])
		}
	}
	return out, b.ask(ctx)
}

func (b *books) Tags(ctx context.Context, match map[store.Dimension]string, limit int) ([]store.TagRow, error) {
	if err := b.ask(ctx); err != nil {
		return nil, err
	}
	values := map[store.Dimension][]string{}
	for _, c := range b.charges {
		for t := range c.Holder.Tags.All {
			d := store.Dimension(t.Name)
			if t.Kind == power.PodLabel {
				d = store.Label(t.Name)
			}
			if matches(c.Holder, match) && !slices.Contains(values[d], t.Value) {
				values[d] = append(values[d], t.Value)
			}
		}
	}
	var rows []store.TagRow
	for d, list := range values {
		slices.Sort(list)
		rows = append(rows, store.TagRow{Dimension: d, Values: list[:min(limit, len(list))], Found: len(list)})
	}
	return rows, nil
}
