package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// Repair moves a database into the folder aside and makes a new one of what is
// good in it. It returns a line for everything that is lost, or not as it was:
// what is not in one is there as before. Nobody may have the database open.
//
// Rows whose names are damaged are kept, under names that say so; an hour whose
// single windows are damaged is kept as its sum. price is given to rows whose
// price is damaged. position is how far the newest snapshot says the books are,
// for when they cannot say it themselves.
func Repair(ctx context.Context, path, aside string, price power.Price, position uint64) ([]string, error) {
	r := rescue{price: price, position: position, holders: map[int32]bool{}, prices: map[int32]bool{}}
	if err := r.run(ctx, path, aside); err != nil {
		return r.lost, fmt.Errorf("repair %s: %w", path, classify(err))
	}
	return r.lost, nil
}

// A rescue copies what is good.
type rescue struct {
	from     *sql.DB
	to       *sql.Tx
	price    power.Price
	position uint64
	lost     []string

	holders, prices map[int32]bool // that rows refer to
	stale           bool           // sums by space have to be made again
	minutesFrom     int64          // rows that start before have expired
	missing         bool           // sealed rows could not be read at all
}

func (r *rescue) lose(format string, args ...any) {
	r.lost = append(r.lost, fmt.Sprintf(format, args...))
}

func (r *rescue) run(ctx context.Context, path, aside string) (err error) {
	damaged := filepath.Join(aside, filepath.Base(path))
	if err := os.MkdirAll(aside, 0o750); err != nil {
		return err
	}
	_, d, err := checkWAL(path + "-wal")
	if err != nil {
		return err
	}
	if d != nil {
		r.lose("books: what was written last, from offset %d of their log on; the journal still has it as far as its records go back", d.off)
	}
	if err := rename(path, damaged); err != nil {
		return err
	}
	defer func() {
		if err != nil { // as it was
			err = errors.Join(err, rename(damaged, path))
		}
	}()
	source, err := mendHeader(damaged)
	if err != nil {
		return err
	}
	if r.from, err = sql.Open("sqlite", dsn(source, "ro", "query_only(1)", "cell_size_check(1)")); err != nil {
		return err
	}
	defer r.from.Close()
	r.from.SetMaxOpenConns(2)

	made := path + ".new"
	if err := os.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := sql.Open("sqlite", dsn(made, "rwc", "page_size(16384)", "synchronous(FULL)"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := migrate(ctx, conn, made, migrations); err != nil {
		return err
	}
	if r.to, err = conn.BeginTx(ctx, nil); err != nil {
		return err
	}
	defer r.to.Rollback()
	if err := r.copy(ctx); err != nil {
		return err
	}
	if err := r.to.Commit(); err != nil {
		return err
	}
	if err := errors.Join(conn.Close(), db.Close(), os.Rename(made, path)); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// rename moves a database and what belongs to it.
func rename(from, to string) error {
	for _, suffix := range []string{"-shm", "-wal", ""} {
		if err := os.Rename(from+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// mendHeader returns the name of a database with a header as it has to be: the
// file's own, or else a copy's beside it.
func mendHeader(path string) (string, error) {
	head, err := readHeader(path)
	if err != nil || head == nil {
		return path, err
	}
	mended := slices.Clone(head)
	for _, f := range headerFixed {
		copy(mended[f.at:], f.want)
	}
	copy(mended[18:20], []byte{2, 2})
	copy(mended[60:64], []byte{0, 0, 0, byte(migrations[len(migrations)-1].version)})
	copy(mended[92:96], mended[24:28])
	_, text := checkHeader(head)
	if text == "" && string(mended[60:64]) == string(head[60:64]) {
		return path, nil
	}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if suffix == "" {
			copy(data, mended)
		}
		if err := os.WriteFile(path+".mended"+suffix, data, 0o640); err != nil {
			return "", err
		}
	}
	return path + ".mended", nil
}

func (r *rescue) copy(ctx context.Context) error {
	at := map[string]int64{}
	for _, t := range checkedTables {
		if err := r.checked(ctx, t, at); err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
	}
	if err := r.blobs(ctx); err != nil {
		return err
	}
	if err := r.names(ctx); err != nil {
		return err
	}
	return r.finish(ctx, at)
}

// checked copies the good rows of a table with checksums.
func (r *rescue) checked(ctx context.Context, t checkedTable, at map[string]int64) error {
	columns := strings.Split(t.columns, ", ")
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ")
	insert := "INSERT OR REPLACE INTO " + t.name + " (" + t.columns + ") VALUES (" + marks + ")"
	query := "SELECT " + t.columns + ", sum IS " + t.sumOf("") + " FROM " + t.name
	bad := 0
	err := r.scan(ctx, t.name, query, t.key, len(columns)+1, func(values []any) error {
		if values[len(columns)] != int64(1) {
			bad++
			return r.badRow(ctx, t, values)
		}
		if t.name == "state" {
			at[values[0].(string)] = values[1].(int64)
			r.minutesFrom = at["minutes_from"]
		}
		_, err := r.to.ExecContext(ctx, insert, values[:len(columns)]...)
		return err
	})
	if err == nil && bad > 0 && (t.name == "stale_hours" || t.name == "spaces") {
		r.stale = true
	}
	return err
}

// badRow says what a row that does not fit its checksum means. Names that rows
// refer to come back as names that say what happened.
func (r *rescue) badRow(ctx context.Context, t checkedTable, values []any) error {
	switch t.name {
	case "outbox", "followers":
		// A follower that has lost its place takes the stored rows again.
		r.lose("%s, %v: followers take the stored rows again", t.name, values[0])
		if t.name == "outbox" {
			_, err := r.to.ExecContext(ctx, "DELETE FROM outbox")
			return err
		}
	case "dead_letters":
		r.lose("dead_letters, %v: a line that a follower had refused", values[0])
	case "state":
		r.lose("state, %v: made again from the rows", values[0])
	case "prices":
		r.lose("prices, %v: rows that had this price get the one of the configuration; their energy is as before", values[0])
	case "stale_hours", "spaces": // made again, nothing is lost
	default:
		return r.badNames(ctx, t, values)
	}
	return nil
}

// indexed are the columns that a table's index has a copy of.
var indexed = map[string]string{
	"nodes": "cluster, name", "workloads": "cluster, namespace, kind, name",
	"holders": "node, kind, name, since",
}

// key reads the copy that the index of a table has of what a row is called.
func (r *rescue) key(ctx context.Context, table string, id any) (values []any) {
	columns := strings.Split(indexed[table], ", ")
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	err := r.from.QueryRowContext(ctx, "SELECT "+indexed[table]+" FROM "+table+" INDEXED BY sqlite_autoindex_"+table+"_1 WHERE id = ?", id).Scan(into...)
	if err != nil {
		return nil
	}
	return values
}

// badNames mends a row of names from its index. If what is damaged is not in the
// index, a holder keeps what it is called there, so that what comes of it is
// still booked to it and brings the other names along.
func (r *rescue) badNames(ctx context.Context, t checkedTable, values []any) error {
	columns := strings.Split(t.columns, ", ")
	mended := slices.Clone(values[:len(columns)])
	key := r.key(ctx, t.name, values[0])
	for i, name := range strings.Split(indexed[t.name], ", ") {
		if key != nil {
			mended[slices.Index(columns, name)] = key[i]
		}
	}
	var whole bool
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ")
	err := r.from.QueryRowContext(ctx, "SELECT sum IS row_sum('"+t.name+"', "+marks+") FROM "+t.name+" WHERE id = ?", append(slices.Clone(mended), values[0])...).Scan(&whole)
	if err != nil {
		return err
	}
	if whole {
		_, err := r.to.ExecContext(ctx, "INSERT OR REPLACE INTO "+t.name+" ("+t.columns+") VALUES ("+marks+")", mended...)
		return err
	}
	r.lose("%s, %v: its names, until it is described again; its energy stays booked: 0 J are lost", t.name, values[0])
	return nil
}

// scan calls f with every row of a table that can be read. Where SQLite stops at
// a damaged page it goes on behind it.
func (r *rescue) scan(ctx context.Context, table, query, key string, columns int, f func(values []any) error) error {
	read := func(where string, k int) (last int64, n int, damaged, err error) {
		rows, err := r.from.QueryContext(ctx, query+where)
		if err != nil {
			return 0, 0, classify(err), nil
		}
		defer rows.Close()
		values, into := make([]any, columns), make([]any, columns)
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return last, n, nil, err
			}
			if k >= 0 {
				last, _ = values[k].(int64)
			}
			for i, v := range values {
				if b, blob := v.([]byte); blob && b == nil { // an empty blob is read so, and would be written as NULL
					values[i] = []byte{}
				}
			}
			n++
			if err := f(values); err != nil {
				return last, n, nil, err
			}
		}
		return last, n, classify(rows.Err()), nil
	}
	if key == "name" || key == "rowid" {
		_, _, damaged, err := read("", -1)
		if damaged != nil {
			r.lose("%s: what lies behind a damaged page (%v)", table, damaged)
		}
		return err
	}
	var gaps []span // of keys, exclusive
	defer func() {
		for _, g := range gaps {
			r.gap(table, g.from, g.to)
		}
	}()
	var between func(lo, hi int64, depth int) error
	between = func(lo, hi int64, depth int) error {
		last, n, damaged, err := read(fmt.Sprintf(" WHERE %s > %d AND %s < %d ORDER BY %s", key, lo, key, hi, key), 0)
		if err != nil || damaged == nil {
			return err
		}
		if !errors.Is(damaged, store.ErrCorrupt) {
			return damaged
		}
		if n > 0 {
			lo = last
		}
		first, n, damaged, err := read(fmt.Sprintf(" WHERE %s > %d AND %s < %d ORDER BY %s DESC", key, lo, key, hi, key), 0)
		if err != nil || damaged == nil {
			return err
		}
		if n > 0 {
			hi = first
		}
		if depth == 0 || hi-lo < 2 {
			if n := len(gaps); n > 0 && gaps[n-1].to >= lo {
				gaps[n-1].to = hi
			} else {
				gaps = append(gaps, span{lo, hi})
			}
			return nil
		}
		mid := lo + (hi-lo)/2
		if err := between(lo, mid+1, depth-1); err != nil {
			return err
		}
		return between(mid, hi, depth-1)
	}
	return between(-1, 1<<62, 8)
}

// gap tells of rows that could not be reached.
func (r *rescue) gap(table string, lo, hi int64) {
	if table == "sealed" {
		r.missing = true // what their sums say is kept
		return
	}
	if _, ok := blobTables[table]; ok || table == "hours" {
		r.lose("%s: rows between %s and %s that lie on a damaged page; how much energy they held cannot be known", table, keyTime(lo), keyTime(hi))
		return
	}
	r.lose("%s: rows between %d and %d that lie on a damaged page", table, lo, hi)
}

func keyTime(key int64) string {
	if key < 0 || key >= 1<<62 {
		return "the end"
	}
	return time.Unix(format.KeyStart(key), 0).UTC().Format(time.RFC3339)
}
