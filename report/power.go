package report

import (
	"context"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Power is one page of what draws power.
type Power struct {
	Basis
	Rows []store.PowerRow
	Next string // the store's cursor of the page after; empty on the last
}

// Power answers with a page of mean powers.
func (r *Reports) Power(ctx context.Context, q store.PowerQuery) (Power, error) {
	rows, next, err := r.books.Power(ctx, q)
	if err != nil {
		return Power{}, fmt.Errorf("power: %w", err)
	}
	var ps prices
	for _, row := range rows {
		ps.add(row.Price)
	}
	return Power{r.basis(ps, time.UnixMilli(q.ToMs)), rows, next}, nil
}

// CostPerHour is what drawing watts for an hour costs.
func CostPerHour(p power.Price, watts float64) float64 {
	return p.Cost(power.MicrojoulesPerKWh).Total() * watts / 1000
}

// nodesFor is for how long a node that fell silent is told of with its last window.
const nodesFor = 15 * time.Minute

// A Node is a node's newest window.
type Node struct {
	power.NodeWindow
	Watts  [power.NumComponents]float64 // NaN where nothing was seen
	Total  float64                      // watts
	Closes bool                         // its parts add up, in whole microjoules, component by component
}

// Nodes answers with the newest window of each node.
func (r *Reports) Nodes(ctx context.Context, now time.Time, match map[store.Dimension]string) ([]Node, error) {
	windows, err := r.books.Nodes(ctx, now.Add(-nodesFor).UnixMilli(), now.UnixMilli(), match)
	if err != nil {
		return nil, fmt.Errorf("node power: %w", err)
	}
	nodes := make([]Node, len(windows))
	for i, w := range windows {
		seconds := float64(w.SeenMs) / 1000
		n := Node{NodeWindow: w, Total: w.Used.Total().Joules() / seconds}
		for c := range n.Watts {
			n.Watts[c] = w.Used[c].Joules() / seconds
		}
		sum := w.Containers
		for _, part := range []power.Energy{w.VMs, w.System, w.Idle, w.Unattributed} {
			sum.Add(part)
		}
		n.Closes = sum == w.Used
		nodes[i] = n
	}
	return nodes, nil
}
