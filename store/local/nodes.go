package local

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// Nodes returns the newest window of each node that ended after fromMs and by toMs.
func (s *Store) Nodes(ctx context.Context, fromMs, toMs int64, match map[store.Dimension]string) ([]power.NodeWindow, error) {
	for d := range match {
		if d != store.Cluster && d != store.Node && d != store.AnyCluster {
			return nil, fmt.Errorf("nodes: nodes have no %s", d)
		}
	}
	newest := map[int32]format.NodeRow{}
	var windows []power.NodeWindow
	err := s.read(ctx, func(sn *snapshot) error {
		take := func(r *format.NodeRow) error {
			end := (r.Start + int64(r.Seconds)) * 1000
			if n, ok := newest[r.Node]; end > fromMs && end <= toMs && (!ok || r.Start > n.Start) {
				newest[r.Node] = *r
			}
			return nil
		}
		// A window that ends in the range starts at most an hour before it.
		from := max(ceilSeconds(fromMs)-format.HourSeconds, sn.minutesFrom, format.HourOf(min(sn.oldest, sn.newest)))
		to := min(max(ceilSeconds(toMs), from), sn.newest+1)
		// Newest hours first: mostly the first one has every node.
		for hour := format.HourOf(to); hour+format.HourSeconds > from && to > from; hour -= format.HourSeconds {
			var err error
			if hour >= sn.sealedBefore {
				err = scanNodes(ctx, sn, max(hour, from), min(hour+format.HourSeconds, to), take)
			} else {
				err = scanRange(ctx, sn, "sealed_nodes", format.Key(hour, 0), format.Key(hour+1, 0), func(key int64, data []byte) error {
					rows, err := format.ReadNodeRows(key, data)
					for i := range rows {
						_ = take(&rows[i])
					}
					return err
				})
			}
			if err != nil {
				return err
			}
			if len(newest) == len(sn.nodes)-1 { // ids begin at 1
				break
			}
		}
		for id, r := range newest {
			k := sn.nodes[id]
			if c, ok := match[store.Cluster]; ok && !store.Matches(c, k.cluster) {
				continue
			}
			if list, ok := match[store.AnyCluster]; ok && !store.Matches(list, k.cluster) {
				continue
			}
			if n, ok := match[store.Node]; ok && !store.Matches(n, k.name) {
				continue
			}
			windows = append(windows, windowOf(&r, k))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	slices.SortFunc(windows, func(a, b power.NodeWindow) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Node, b.Node))
	})
	return windows, nil
}
