package local

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// A Problem is something Verify found.
type Problem struct {
	Table string // empty for the file itself
	Key   int64
	StartMs,
	Seconds int64 // the stretch of time the row stands for
	Text string
}

func (p Problem) String() string {
	if p.Table == "" {
		return p.Text
	}
	return fmt.Sprintf("%s row %d (%s): %s", p.Table, p.Key, time.UnixMilli(p.StartMs).UTC().Format(time.RFC3339), p.Text)
}

// Verify reads a whole database file without changing it, and checks its
// structure, every checksum, and that the sums of closed hours are those of
// their rows. It may run beside a Store that is in use.
func Verify(ctx context.Context, path string) ([]Problem, error) {
	if err := examine(path, migrations[len(migrations)-1].version); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(path, "ro", "query_only(1)"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", path, classify(err))
	}
	defer tx.Rollback()
	v := verification{tx: tx, made: map[int64][]sums{}}
	if err := v.run(ctx); err != nil {
		return v.problems, fmt.Errorf("verify %s: %w", path, classify(err))
	}
	return v.problems, nil
}

type verification struct {
	tx       *sql.Tx
	problems []Problem
	made     map[int64][]sums // chunk key of one hour → what its sums have to be
	unsure   map[int64]bool   // chunks with a damaged blob
}

func (v *verification) add(table string, key, seconds int64, text string) {
	v.problems = append(v.problems, Problem{table, key, keyStart(key) * 1000, seconds, text})
}

func (v *verification) run(ctx context.Context) error {
	at, err := readHorizons(ctx, v.tx)
	if err != nil {
		return err
	}
	rows, err := v.tx.QueryContext(ctx, "PRAGMA integrity_check")
	if err != nil {
		return err
	}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			rows.Close()
			return err
		}
		if text != "ok" {
			v.problems = append(v.problems, Problem{Text: text})
		}
	}
	if err := rows.Close(); err != nil {
		return err
	}
	if err := v.open(ctx); err != nil {
		return err
	}
	var sealed sealedReader
	var summed sumsReader
	err = v.blobs(ctx, "sealed_nodes", func(key int64, data []byte) error { _, err := readNodeRows(key, data); return err })
	if err != nil {
		return err
	}
	err = v.blobs(ctx, "space_hours", func(key int64, data []byte) error { _, err := summed.read(key, data); return err })
	if err != nil {
		return err
	}
	// Hour by hour, so that memory does not grow with the history.
	var hours []int64
	err = scanBlobs(ctx, v.tx, "hours", "SELECT DISTINCT key >> 31, NULL FROM hours ORDER BY 1", func(hour int64, _ []byte) error {
		hours = append(hours, hour)
		return nil
	})
	if err != nil {
		return err
	}
	for _, hour := range hours {
		clear(v.made)
		v.unsure = map[int64]bool{}
		lo, hi := rowKey(hour, 0), rowKey(hour+1, 0)
		err := scanRange(ctx, v.tx, "sealed", lo, hi, func(key int64, data []byte) error {
			chunk := rowKey(hour, chunkOf(keyID(key)))
			list, err := sealed.read(key, data)
			if err != nil {
				v.unsure[chunk] = true
				v.add("sealed", key, hourSeconds, "checksum or form is wrong")
				return nil
			}
			v.made[chunk] = appendRowSums(v.made[chunk], list)
			return nil
		})
		if err != nil {
			return err
		}
		err = scanRange(ctx, v.tx, "hours", lo, hi, func(key int64, data []byte) error {
			list, err := summed.read(key, data)
			switch {
			case err != nil:
				v.add("hours", key, hourSeconds, "checksum or form is wrong")
			case hour >= at.minutesFrom && hour < at.sealedBefore && !v.unsure[key] && !slices.Equal(list, v.made[key]):
				v.add("hours", key, hourSeconds, "sums are not those of the rows")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// open checks the rows of open hours.
func (v *verification) open(ctx context.Context) error {
	rows, err := v.tx.QueryContext(ctx, "SELECT key, revision, data FROM minutes ORDER BY key")
	if err != nil {
		return err
	}
	defer rows.Close()
	var r row
	for rows.Next() {
		var key, revision int64
		var data sql.RawBytes
		if err := rows.Scan(&key, &revision, &data); err != nil {
			return err
		}
		if decodeRow(&r, key, uint64(revision), data) != nil {
			v.add("minutes", key, 60, "checksum or form is wrong")
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return v.blobs(ctx, "node_minutes", func(key int64, data []byte) error { _, err := readNodeRows(key, data); return err })
}

func (v *verification) blobs(ctx context.Context, table string, read func(key int64, data []byte) error) error {
	return scanBlobs(ctx, v.tx, table, "SELECT key, data FROM "+table+" ORDER BY key", func(key int64, data []byte) error {
		if read(key, data) != nil {
			v.add(table, key, hourSeconds, "checksum or form is wrong")
		}
		return nil
	})
}
