package local

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/store/local/format"
)

// keysPerStatement bounds the IN lists of point reads.
const keysPerStatement = 2000

// blob returns one blob, nil if there is none.
func blob(ctx context.Context, w querier, query string, key int64) ([]byte, error) {
	rows, err := w.QueryContext(ctx, query, key)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var data []byte
	if rows.Next() {
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
	}
	return data, rows.Err()
}

// scanRows calls f for the rows of open hours that start in [from, to) and
// whose holders are in [lo, hi], in the order of start and holder. The row is
// good until f returns.
func scanRows(ctx context.Context, w querier, from, to int64, lo, hi int32, f func(*format.Row) error) error {
	if from >= to {
		return nil
	}
	query := "SELECT key, revision, data FROM minutes WHERE key >= ? AND key < ? ORDER BY key"
	if lo > 0 || hi < format.IDMask {
		// One range for each start there is: holders of one start lie together.
		query = `WITH RECURSIVE starts(s) AS (
				SELECT (SELECT key >> 31 FROM minutes WHERE key >= ? ORDER BY key LIMIT 1)
				UNION ALL
				SELECT (SELECT key >> 31 FROM minutes WHERE key >= (s + 1) << 31 ORDER BY key LIMIT 1) FROM starts WHERE s < ? >> 31
			)
			SELECT m.key, m.revision, m.data FROM starts CROSS JOIN minutes m
			WHERE m.key BETWEEN (s << 31) + ` + fmt.Sprint(lo) + ` AND (s << 31) + ` + fmt.Sprint(hi) + ` AND s < ` + fmt.Sprint(to)
	}
	rows, err := w.QueryContext(ctx, query, format.Key(from, 0), format.Key(to, 0))
	if err != nil {
		return err
	}
	defer rows.Close()
	var r format.Row
	var key, revision int64
	var data sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&key, &revision, &data); err != nil {
			return err
		}
		if err := format.DecodeRow(&r, key, uint64(revision), data); err != nil {
			return fmt.Errorf("row %d of minutes: %w", key, err)
		}
		if err := f(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// scanKeys calls f for the rows of table with the given keys.
func scanKeys(ctx context.Context, w querier, table string, keys []int64, f func(key int64, data []byte) error) error {
	for len(keys) > 0 {
		n := min(len(keys), keysPerStatement)
		var q strings.Builder
		q.WriteString("SELECT key, data FROM " + table + " WHERE key IN (")
		for i, k := range keys[:n] {
			if i > 0 {
				q.WriteByte(',')
			}
			fmt.Fprint(&q, k)
		}
		q.WriteString(") ORDER BY key")
		if err := scanBlobs(ctx, w, table, q.String(), f); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// scanRange calls f for the rows of table with keys in [from, to).
func scanRange(ctx context.Context, w querier, table string, from, to int64, f func(key int64, data []byte) error) error {
	return scanBlobs(ctx, w, table, fmt.Sprintf("SELECT key, data FROM %s WHERE key >= %d AND key < %d ORDER BY key", table, from, to), f)
}

func scanBlobs(ctx context.Context, w querier, table, query string, f func(key int64, data []byte) error) error {
	rows, err := w.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	var key int64
	var data sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&key, &data); err != nil {
			return err
		}
		if err := f(key, data); err != nil {
			return fmt.Errorf("row %d of %s: %w", key, table, err)
		}
	}
	return rows.Err()
}

// scanNodes calls f for the node windows of open hours that start in [from, to).
func scanNodes(ctx context.Context, w querier, from, to int64, f func(*format.NodeRow) error) error {
	if from >= to {
		return nil
	}
	return scanRange(ctx, w, "node_minutes", format.Key(max(from, 0), 0), format.Key(to, 0), func(key int64, data []byte) error {
		rows, err := format.ReadNodeRows(key, data)
		if err != nil {
			return err
		}
		for i := range rows {
			if err := f(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
}
