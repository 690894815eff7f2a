package local

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store/local/format"
)

// blobs copies the rows and sums. The sums of closed hours and their rows are
// two copies of the same energy: where one is damaged the other makes it again.
func (r *rescue) blobs(ctx context.Context) error {
	for _, table := range slices.Sorted(maps.Keys(blobTables)) {
		if err := r.plain(ctx, table); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	damaged := map[int64]bool{} // key of the rows of one holder and hour
	var sealed format.SealedReader
	err := r.scan(ctx, "sealed", "SELECT key, data FROM sealed", "key", 2, func(values []any) error {
		key, data := blobOf(values)
		list, err := sealed.Read(key, data)
		if err != nil {
			damaged[key] = true
			return nil
		}
		for i := range list {
			r.prices[list[i].Price] = true
		}
		r.holders[format.KeyID(key)] = true
		_, err = r.to.ExecContext(ctx, "INSERT INTO sealed VALUES (?, ?)", key, data)
		return err
	})
	if err != nil {
		return fmt.Errorf("table sealed: %w", err)
	}
	again := map[int64]bool{} // chunks whose sums are to be made from the rows
	var summed format.SumsReader
	err = r.scan(ctx, "hours", "SELECT key, data FROM hours", "key", 2, func(values []any) error {
		key, data := blobOf(values)
		list, err := summed.Read(key, data)
		if err != nil {
			again[key] = true
			return nil
		}
		for i := range list {
			r.prices[list[i].Price], r.holders[list[i].ID] = true, true
			rows := format.Key(format.KeyStart(key), list[i].ID)
			if i > 0 && list[i-1].ID == list[i].ID {
				continue
			}
			gone, err := r.gone(ctx, rows)
			if err != nil {
				return err
			}
			if !damaged[rows] && !gone {
				continue
			}
			n := i + 1
			for n < len(list) && list[n].ID == list[i].ID {
				n++
			}
			delete(damaged, rows)
			if err := r.flatten(ctx, rows, list[i:n]); err != nil {
				return err
			}
		}
		_, err = r.to.ExecContext(ctx, "INSERT INTO hours VALUES (?, ?)", key, data)
		return err
	})
	if err != nil {
		return fmt.Errorf("table hours: %w", err)
	}
	for key := range damaged {
		again[format.Key(format.KeyStart(key), chunkOf(format.KeyID(key)))] = true
		r.lose("sealed, %d: the windows of holder %d in the hour from %s, up to 60 minutes; their sum is damaged, too: how much energy they held cannot be known",
			key, format.KeyID(key), keyTime(key))
	}
	for _, key := range slices.Sorted(maps.Keys(again)) {
		if err := r.sumAgain(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// gone says whether the rows of a holder and hour, that ought to be there, could
// not be read.
func (r *rescue) gone(ctx context.Context, key int64) (bool, error) {
	if !r.missing || format.KeyStart(key) < r.minutesFrom {
		return false, nil
	}
	data, err := blob(ctx, r.to, "SELECT data FROM sealed WHERE key = ?", key)
	return data == nil, err
}

func blobOf(values []any) (key int64, data []byte) {
	key, _ = values[0].(int64)
	data, _ = values[1].([]byte)
	return key, data
}

// plain copies a table of blobs that nothing can make again.
func (r *rescue) plain(ctx context.Context, table string) error {
	columns := "key, data"
	if strings.HasSuffix(table, "minutes") {
		columns = "key, data, revision"
	}
	n := strings.Count(columns, ",") + 1
	insert := "INSERT INTO " + table + " (" + columns + ") VALUES (?, ?" + strings.Repeat(", ?", n-2) + ")"
	return r.scan(ctx, table, "SELECT "+columns+" FROM "+table, "key", n, func(values []any) error {
		key, data := blobOf(values)
		revision := int64(0)
		if n == 3 {
			revision, _ = values[2].(int64)
		}
		if blobTables[table](key, revision, data) != nil {
			switch table {
			case "minutes":
				r.lose("minutes, %d: 1 minute of holder %d, %s; how much energy it held cannot be known, and if the journal still has it, it is booked again", key, format.KeyID(key), keyTime(key))
			case "space_hours", "dimension_hours":
				r.stale = true // made again from the hourly sums
			default:
				r.lose("%s, %d: what node %d was measured to use from %s on; its energy stays booked with its holders", table, key, format.KeyID(key), keyTime(key))
			}
			return nil
		}
		if table == "minutes" {
			var x format.Row
			if err := format.DecodeRow(&x, key, uint64(revision), data); err != nil {
				return err
			}
			r.holders[x.Holder], r.prices[x.Price] = true, true
		}
		_, err := r.to.ExecContext(ctx, insert, values...)
		return err
	})
}

// flatten writes the hourly sums of a holder in the place of its windows: one
// row for each price, that together say what the sums say.
func (r *rescue) flatten(ctx context.Context, key int64, list []format.Sums) error {
	var total power.Energy
	rows := make([]format.Row, len(list))
	for i := range list {
		s := &list[i]
		start := format.KeyStart(key) + int64(i)
		rows[i] = format.Row{
			Start: start, Holder: s.ID, Seconds: int32(s.HeldMs / 1000), Energy: s.Energy, Idle: s.Idle,
			SeenMs: int32(s.SeenMs), LastOff: s.LastMs - start*1000, Price: s.Price, Revision: s.Revision,
		}
		for c := range total {
			total[c] += power.Microjoules(s.Energy[c])
		}
	}
	r.lose("sealed, %d: the single windows of holder %d in the hour from %s, up to 60 minutes; the hour keeps its %.6f J as one row: 0 J are lost",
		key, format.KeyID(key), keyTime(key), total.Total().Joules())
	_, err := r.to.ExecContext(ctx, "INSERT INTO sealed VALUES (?, ?)", key, format.AppendSealed(nil, key, rows))
	return err
}

// sumAgain makes the sums of 64 holders in an hour from their rows. Without rows
// any more the energy is lost.
func (r *rescue) sumAgain(ctx context.Context, key int64) error {
	lo := format.Key(format.KeyStart(key), format.KeyID(key)<<chunkBits)
	var list []format.Sums
	var sealed format.SealedReader
	err := scanRange(ctx, r.to, "sealed", lo, lo+1<<chunkBits, func(k int64, data []byte) error {
		rows, err := sealed.Read(k, data)
		list = appendRowSums(list, rows)
		return err
	})
	if err != nil {
		return err
	}
	r.stale = true
	if len(list) == 0 {
		r.lose("hours, %d: the sums of holders %d to %d in the hour from %s, 60 minutes; its windows have expired: how much energy they held cannot be known",
			key, format.KeyID(key)<<chunkBits, format.KeyID(key)<<chunkBits+1<<chunkBits-1, keyTime(key))
		return nil
	}
	_, err = r.to.ExecContext(ctx, "INSERT OR REPLACE INTO hours VALUES (?, ?)", key, format.AppendSums(nil, key, list))
	return err
}

// names gives back a name to everything that rows refer to and that has none.
func (r *rescue) names(ctx context.Context) error {
	for id := range r.prices {
		p := r.price
		if _, err := r.to.ExecContext(ctx, `INSERT OR IGNORE INTO prices (id, model, currency, electricity_per_kwh, overhead, carbon_factor, carbon_kg_per_kwh, carbon_per_kg)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, id, p.Model, p.Currency, p.ElectricityPerKWh, p.Overhead, p.CarbonFactor, p.CarbonKgPerKWh, p.CarbonPerKg); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.holders)) {
		var known int
		if err := r.to.QueryRowContext(ctx, "SELECT count(*) FROM holders WHERE id = ?", id).Scan(&known); err != nil || known > 0 {
			if err != nil {
				return err
			}
			continue
		}
		key := r.key(ctx, "holders", id)
		if key == nil {
			key = []any{int64(-1), int64(power.Container), fmt.Sprintf("damaged-%d", id), int64(0)}
		}
		if _, err := r.to.ExecContext(ctx, `INSERT INTO holders (id, node, kind, name, since, workload, inferred, type, rule, pod, pod_uid, container, image, tags, first, last)
			VALUES (?, ?, ?, ?, ?, -1, 1, ?, '', '', '', '', '', X'', 0, 0)`, append(append([]any{id}, key...), string(power.Unknown))...); err != nil {
			return err
		}
	}
	// Nodes and workloads of holders, where they are gone; and then the spaces.
	for _, statement := range []string{
		`INSERT INTO nodes (id, cluster, name) SELECT DISTINCT node, '', 'damaged-' || node FROM holders WHERE node > 0 AND node NOT IN (SELECT id FROM nodes)`,
		`INSERT INTO workloads (id, cluster, namespace, kind, name) SELECT DISTINCT h.workload, n.cluster, 'damaged', 'unknown', 'damaged-' || h.workload
			FROM holders h JOIN nodes n ON n.id = h.node WHERE h.workload > 0 AND h.workload NOT IN (SELECT id FROM workloads) GROUP BY h.workload`,
		`INSERT INTO nodes (cluster, name) SELECT '', 'damaged' WHERE EXISTS (SELECT 1 FROM holders WHERE node = -1)`,
		`INSERT INTO workloads (cluster, namespace, kind, name) SELECT '', 'damaged', 'unknown', 'damaged' WHERE EXISTS (SELECT 1 FROM holders WHERE workload = -1)`,
		`UPDATE holders SET node = (SELECT id FROM nodes WHERE cluster = '' AND name = 'damaged') WHERE node = -1`,
		`UPDATE holders SET workload = (SELECT id FROM workloads WHERE cluster = '' AND namespace = 'damaged' AND name = 'damaged'),
			first = coalesce((SELECT min(key >> 31) FROM sealed WHERE key & 2147483647 = holders.id), (SELECT min(key >> 31) FROM minutes WHERE key & 2147483647 = holders.id), 0),
			last = coalesce((SELECT max(key >> 31) FROM sealed WHERE key & 2147483647 = holders.id), (SELECT max(key >> 31) FROM minutes WHERE key & 2147483647 = holders.id), 0)
			WHERE workload = -1`,
	} {
		if _, err := r.to.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return r.spaces(ctx)
}

// spaces makes those that holders belong to and that are gone.
func (r *rescue) spaces(ctx context.Context) error {
	rows, err := r.to.QueryContext(ctx, `SELECT DISTINCT n.cluster, w.namespace, h.type, h.kind, h.tags FROM holders h JOIN nodes n ON n.id = h.node JOIN workloads w ON w.id = h.workload`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var need []space
	for rows.Next() {
		var h power.Holder
		var tags []byte
		if err := rows.Scan(&h.Cluster, &h.Workload.Namespace, &h.Type, &h.Kind, &tags); err != nil {
			return err
		}
		h.Tags = power.Tags(tags)
		need = append(need, spaceOf(&h).whole(), spaceOf(&h))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, sp := range need {
		res, err := r.to.ExecContext(ctx, "INSERT OR IGNORE INTO spaces (cluster, namespace, workload_type, pseudo, tags) VALUES (?, ?, ?, ?, ?)", sp.cluster, sp.namespace, string(sp.typ), sp.pseudo, []byte(sp.tags))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			r.stale = true // sums by space refer to the one that is gone
		}
	}
	return nil
}

// finish writes what says where rows are.
func (r *rescue) finish(ctx context.Context, at map[string]int64) error {
	number := func(query string) (n int64, err error) {
		err = r.to.QueryRowContext(ctx, "SELECT coalesce(("+query+"), 0)").Scan(&n)
		return n, err
	}
	for name, query := range map[string]string{
		"position":      fmt.Sprint(r.position),
		"sealed_before": "SELECT (max(key) >> 31) + 3600 FROM hours",
		"minutes_from":  "SELECT min(key) >> 31 FROM sealed",
		"hours_from":    "SELECT min(key) >> 31 FROM hours",
		"newest":        "SELECT max(key >> 31) FROM (SELECT max(key) AS key FROM minutes UNION ALL SELECT max(key) FROM node_minutes UNION ALL SELECT max(key) FROM sealed)",
		"holder_seq":    "SELECT max(id) FROM holders",
		"outbox_seq":    "SELECT max(seq) FROM outbox",
	} {
		n, err := number(query)
		if err != nil {
			return err
		}
		if have, ok := at[name]; ok && (have > n || !strings.HasSuffix(name, "_seq")) {
			n = have
		}
		at[name] = n
		if _, err := r.to.ExecContext(ctx, "INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)", name, n); err != nil {
			return err
		}
	}
	if r.stale {
		oldest, err := number("SELECT min(key) >> 31 FROM hours")
		if err != nil {
			return err
		}
		if _, err := r.to.ExecContext(ctx, "INSERT INTO stale_hours (from_s, to_s) VALUES (?, ?)", oldest, at["sealed_before"]); err != nil {
			return err
		}
	}
	for table, name := range map[string]string{"holders": "holder_seq", "outbox": "outbox_seq"} {
		if _, err := r.to.ExecContext(ctx, "DELETE FROM sqlite_sequence WHERE name = ?", table); err != nil {
			return err
		}
		if _, err := r.to.ExecContext(ctx, "INSERT INTO sqlite_sequence VALUES (?, ?)", table, at[name]); err != nil {
			return err
		}
	}
	return nil
}
