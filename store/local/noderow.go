package local

import (
	"context"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store/local/format"
)

func windowRow(n *power.NodeWindow, node int32) format.NodeRow {
	return format.NodeRow{
		Start: n.StartMs / 1000, Node: node, Seconds: n.Seconds, Used: n.Used,
		Parts:  [5]power.Energy{n.Containers, n.VMs, n.System, n.Idle, n.Unattributed},
		SeenMs: n.SeenMs, LastOff: n.LastMs - n.StartMs, Generation: n.Generation, Revision: n.Revision,
	}
}

func windowOf(r *format.NodeRow, k nodeKey) power.NodeWindow {
	return power.NodeWindow{
		Cluster: k.cluster, Node: k.name, StartMs: r.Start * 1000, Seconds: r.Seconds, Used: r.Used,
		Containers: r.Parts[0], VMs: r.Parts[1], System: r.Parts[2], Idle: r.Parts[3], Unattributed: r.Parts[4],
		SeenMs: r.SeenMs, LastMs: r.Start*1000 + r.LastOff, Generation: r.Generation, Revision: r.Revision,
	}
}

// A nodeState is the newest window of a node.
type nodeState struct {
	start      int64
	generation string
}

// noteNode keeps the newest window's generation.
func noteNode(nodes []nodeState, r *format.NodeRow) {
	if r.Start >= nodes[r.Node].start {
		nodes[r.Node] = nodeState{r.Start, r.Generation}
	}
}

// upsertNodes writes windows of open hours.
func (s *Store) upsertNodes(ctx context.Context, rows []format.NodeRow) error {
	for i := range rows {
		r := &rows[i]
		key := format.Key(r.Start, r.Node)
		if _, err := s.w.ExecContext(ctx, insertNodeMinutes, key, int64(r.Revision), format.AppendNodeRows(nil, key, rows[i:i+1])); err != nil {
			return err
		}
	}
	return nil
}

// restateNodes merges windows into closed hours.
func (s *Store) restateNodes(ctx context.Context, rows []format.NodeRow) error {
	byHour := map[int64][]format.NodeRow{}
	for _, r := range rows {
		key := format.Key(format.HourOf(r.Start), r.Node)
		byHour[key] = append(byHour[key], r)
	}
	for key, add := range byHour {
		data, err := blob(ctx, s.w, "SELECT data FROM sealed_nodes WHERE key = ?", key)
		if err != nil {
			return err
		}
		var have []format.NodeRow
		if data != nil {
			if have, err = format.ReadNodeRows(key, data); err != nil {
				return fmt.Errorf("row %d of sealed_nodes: %w", key, err)
			}
		}
		changed := false
		for _, r := range add {
			i, found := slices.BinarySearchFunc(have, r.Start, func(h format.NodeRow, t int64) int { return int(h.Start - t) })
			switch {
			case !found:
				have = slices.Insert(have, i, r)
			case r.Revision < have[i].Revision || r == have[i]:
				continue
			default:
				have[i] = r
			}
			changed = true
		}
		if !changed {
			continue
		}
		if _, err := s.w.ExecContext(ctx, "INSERT OR REPLACE INTO sealed_nodes VALUES (?, ?)", key, format.AppendNodeRows(nil, key, have)); err != nil {
			return err
		}
	}
	return nil
}
