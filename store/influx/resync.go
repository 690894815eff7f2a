package influx

import (
	"context"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// clearOthers adds rows of zeros for what a bucket has in the stretch of time
// that rows are all there is of: what moved to another workload while InfluxDB
// was not told.
func (f *Follower) clearOthers(ctx context.Context, bucket string, d store.Delivery, rows []store.WindowRow) error {
	type point struct {
		tagKey
		startMs int64
	}
	told := make(map[point]bool, len(rows))
	for i := range rows {
		r := &rows[i]
		told[point{tagKey{r.Node, r.Workload, r.Type}, r.StartMs}] = true
	}
	statement := `SELECT "containers", "seconds" FROM "` + energyMeasurement + `" WHERE ` + timeRange(d.FromMs, d.ToMs) + ` GROUP BY *`
	_, err := f.ask(ctx, bucket, statement, func(s series) error {
		tag := func(d store.Dimension) string { return tagName(s.Tags[string(d)]) }
		key := tagKey{
			node:     tag(store.Node),
			workload: power.Workload{Cluster: tag(store.Cluster), Namespace: tag(store.Namespace), Kind: tag(store.WorkloadKind), Name: tag(store.Workload)},
			typ:      power.Type(tag(store.WorkloadType)),
		}
		for _, v := range s.Values {
			var n [3]int64 // time, containers, seconds
			for i := range n {
				var err error
				if n[i], err = integer(v[i]); err != nil {
					return err
				}
			}
			if n[1] != 0 && !told[point{key, n[0]}] {
				f.batch.add(f.lines.row(f.batch.buf, &store.WindowRow{Node: key.node, Workload: key.workload, Type: key.typ, StartMs: n[0], Seconds: int32(n[2])}))
			}
		}
		return nil
	})
	return err
}
