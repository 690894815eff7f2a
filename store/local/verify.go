package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// A Problem is something Verify found.
type Problem struct {
	File   string // name of the file
	Offset int64  // in File; -1 where only the row is known
	Table  string // empty for the file itself
	Key    string // of the row
	// StartMs and Seconds are the stretch of time a row stands for.
	StartMs, Seconds int64
	Text             string
}

func (p Problem) String() string {
	place := p.File
	if p.Offset >= 0 {
		place += fmt.Sprintf(": offset %d", p.Offset)
	}
	if p.Table != "" {
		place += fmt.Sprintf(": table %s", p.Table)
		if p.Key != "" {
			place += ", key " + p.Key
		}
	}
	if p.Seconds > 0 {
		place += fmt.Sprintf(" (%s, %d s)", time.UnixMilli(p.StartMs).UTC().Format(time.RFC3339), p.Seconds)
	}
	return place + ": " + p.Text
}

// Verified is what Verify read, and what it found.
type Verified struct {
	Problems  []Problem
	Rows      int64  // rows whose checksums were checked
	Frames    int    // of the log
	Unchecked string // what could not be checked, and why
}

// Verify reads a whole database without changing it, and checks its structure,
// every checksum, and that the sums of closed hours are those of their rows. It
// may run beside a Store that is in use, and then leaves out the log, which has
// no rest. alone says that there is none, nor will be.
func Verify(ctx context.Context, path string, alone bool) (Verified, error) {
	v := verification{made: map[int64][]format.Sums{}, file: filepath.Base(path)}
	err := v.database(ctx, path, alone)
	if err != nil {
		err = fmt.Errorf("verify %s: %w", path, classify(err))
	}
	return v.Verified, err
}

type verification struct {
	Verified
	file   string
	tx     *sql.Tx
	at     horizons
	made   map[int64][]format.Sums // chunk key of one hour → what its sums have to be
	unsure map[int64]bool          // chunks with a damaged blob
}

func (v *verification) database(ctx context.Context, path string, alone bool) error {
	head, err := readHeader(path)
	if err != nil {
		return err
	}
	if head == nil {
		return nil // no books yet
	}
	if at, text := checkHeader(head); text != "" {
		v.whole(at, text)
	}
	if err := examine(path, migrations[len(migrations)-1].version); errors.Is(err, store.ErrNewerSchema) || err != nil && len(v.Problems) > 0 {
		v.whole(60, err.Error())
		return nil
	} else if err != nil {
		return err
	}
	pragmas, immutable := []string{"query_only(1)"}, false
	if alone {
		d := (*damage)(nil)
		if v.Frames, d, err = checkWAL(path + "-wal"); err != nil {
			return err
		}
		if d != nil {
			text := d.text
			if d.torn {
				text += "; an interrupted write looks like this, too, and then a start leaves it out"
			}
			v.Problems = append(v.Problems, Problem{File: v.file + "-wal", Offset: d.off, Text: text})
		}
		// Without a log nothing needs to be written beside the file to read it.
		st, err := os.Stat(path + "-wal")
		immutable = errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0
	} else {
		v.Unchecked = v.file + "-wal: it is being written"
	}
	source := dsn(path, "ro", pragmas...)
	if immutable {
		source += "&immutable=1"
	}
	db, err := sql.Open("sqlite", source)
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	v.tx = tx
	return v.run(ctx)
}

func readHeader(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, headerBytes)
	n, err := f.Read(head)
	if n == 0 {
		return nil, nil
	}
	return head, err
}

func (v *verification) whole(offset int64, text string) {
	v.Problems = append(v.Problems, Problem{File: v.file, Offset: offset, Text: text})
}

func (v *verification) row(table string, key, seconds int64, text string) {
	v.Problems = append(v.Problems, Problem{
		File: v.file, Offset: -1, Table: table, Key: strconv.FormatInt(key, 10), StartMs: format.KeyStart(key) * 1000, Seconds: seconds, Text: text})
}

// run goes on behind what SQLite cannot read.
func (v *verification) run(ctx context.Context) error {
	type step struct {
		table string
		check func(ctx context.Context) error
	}
	steps := []step{
		{"", v.integrity}, {"sqlite_schema", v.schema}, {"state", v.horizons}, {"sqlite_sequence", v.sequences},
	}
	for _, t := range checkedTables {
		steps = append(steps, step{t.name, func(ctx context.Context) error { return v.checked(ctx, t) }})
	}
	for table, read := range blobTables {
		steps = append(steps, step{table, func(ctx context.Context) error { return v.blobs(ctx, table, read) }})
	}
	steps = append(steps, step{"hours", v.closed})
	for _, step := range steps {
		err := classify(step.check(ctx))
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, store.ErrUnavailable), errors.Is(err, errOlderSchema):
			return err
		default: // SQLite says so, or a value is not what it has to be
			v.Problems = append(v.Problems, Problem{File: v.file, Offset: -1, Table: step.table, Text: err.Error()})
		}
	}
	return nil
}

var errOlderSchema = errors.New("the next start brings the database to a newer schema, and only then it can be verified")

var pageInText = regexp.MustCompile(`[Pp]age (\d+)`)

func (v *verification) integrity(ctx context.Context) error {
	rows, err := v.tx.QueryContext(ctx, "PRAGMA integrity_check")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		if text == "ok" {
			continue
		}
		offset := int64(-1)
		if m := pageInText.FindStringSubmatch(text); m != nil {
			if page, err := strconv.ParseInt(m[1], 10, 64); err == nil {
				offset = (page - 1) * pageBytes
			}
		}
		v.whole(offset, text)
	}
	return rows.Err()
}

// schema compares the definitions of tables with those of a new database.
func (v *verification) schema(ctx context.Context) error {
	have, err := definitions(ctx, v.tx)
	if err != nil {
		return err
	}
	version := 0
	if err := v.tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	want, err := freshDefinitions(ctx, version)
	if err != nil {
		return err
	}
	for name := range maps.Keys(want) {
		if have[name] != want[name] {
			v.Problems = append(v.Problems, Problem{File: v.file, Offset: -1, Table: "sqlite_schema", Key: name, Text: "the definition is not that of schema " + strconv.Itoa(version)})
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			v.Problems = append(v.Problems, Problem{File: v.file, Offset: -1, Table: "sqlite_schema", Key: name, Text: "no such thing belongs to schema " + strconv.Itoa(version)})
		}
	}
	if newest := migrations[len(migrations)-1].version; version != newest {
		return fmt.Errorf("schema %d, this version knows %d: %w", version, newest, errOlderSchema)
	}
	return nil
}

func definitions(ctx context.Context, w querier) (map[string]string, error) {
	rows, err := w.QueryContext(ctx, "SELECT name, type || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_schema")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		all[name] = text
	}
	return all, rows.Err()
}

func freshDefinitions(ctx context.Context, version int) (map[string]string, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, m := range migrations {
		if m.version > version {
			break
		}
		if _, err := db.ExecContext(ctx, m.sql); err != nil {
			return nil, err
		}
	}
	return definitions(ctx, db)
}

func (v *verification) horizons(ctx context.Context) (err error) {
	v.at, err = readHorizons(ctx, v.tx)
	return err
}

// sequences compares SQLite's own counters, which have no checksum, with ours.
func (v *verification) sequences(ctx context.Context) error {
	for table, want := range map[string]int64{"holders": v.at.holderSeq, "outbox": v.at.outboxSeq} {
		var n, have int64
		if err := v.tx.QueryRowContext(ctx, "SELECT count(*), coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", table).Scan(&n, &have); err != nil {
			return err
		}
		if have != want || n > 1 {
			v.Problems = append(v.Problems, Problem{File: v.file, Offset: -1, Table: "sqlite_sequence", Key: table, Text: fmt.Sprintf("the newest number is %d, want %d", have, want)})
		}
	}
	return nil
}

func (v *verification) checked(ctx context.Context, t checkedTable) error {
	var n int64
	if err := v.tx.QueryRowContext(ctx, "SELECT count(*) FROM "+t.name).Scan(&n); err != nil {
		return err
	}
	v.Rows += n
	return t.check(ctx, v.tx, func(key any) error {
		v.Problems = append(v.Problems, Problem{File: v.file, Offset: -1, Table: t.name, Key: fmt.Sprint(key), Text: "checksum is wrong"})
		return nil
	})
}

// blobTables say how the blobs of each are read.
var blobTables = map[string]func(key, revision int64, data []byte) error{
	"minutes": func(key, revision int64, data []byte) error {
		return format.DecodeRow(new(format.Row), key, uint64(revision), data)
	},
	"node_minutes": func(key, revision int64, data []byte) error {
		rows, err := format.ReadNodeRows(key, data)
		if err == nil && (len(rows) != 1 || int64(rows[0].Revision) != revision) {
			err = store.ErrCorrupt
		}
		return err
	},
	"sealed_nodes":    func(key, _ int64, data []byte) error { _, err := format.ReadNodeRows(key, data); return err },
	"space_hours":     readSums,
	"dimension_hours": readSums,
}

func readSums(key, _ int64, data []byte) error {
	_, err := new(format.SumsReader).Read(key, data)
	return err
}

func (v *verification) blobs(ctx context.Context, table string, read func(key, revision int64, data []byte) error) error {
	columns, seconds := "key, 0, data, typeof(data) = 'blob'", int64(format.HourSeconds)
	if table == "minutes" || table == "node_minutes" {
		columns, seconds = "key, CASE typeof(revision) WHEN 'integer' THEN revision ELSE 0 END, data, typeof(data) = 'blob' AND typeof(revision) = 'integer'", 60
	}
	rows, err := v.tx.QueryContext(ctx, "SELECT "+columns+" FROM "+table+" ORDER BY key")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key, revision int64
		var data sql.RawBytes
		var typed bool
		if err := rows.Scan(&key, &revision, &data, &typed); err != nil {
			return err
		}
		v.Rows++
		if !typed || read(key, revision, data) != nil {
			v.row(table, key, seconds, "checksum or form is wrong")
		}
	}
	return rows.Err()
}

// closed checks sealed rows and their sums, hour by hour, so that memory does
// not grow with the history.
func (v *verification) closed(ctx context.Context) error {
	var hours []int64
	err := scanBlobs(ctx, v.tx, "hours", "SELECT key >> 31, NULL FROM hours UNION SELECT key >> 31, NULL FROM sealed ORDER BY 1", func(hour int64, _ []byte) error {
		hours = append(hours, hour)
		return nil
	})
	if err != nil {
		return err
	}
	for _, hour := range hours {
		if err := v.hour(ctx, hour); err != nil {
			return err
		}
	}
	for _, table := range []string{"sealed", "hours"} {
		err := scanBlobs(ctx, v.tx, table, "SELECT key, NULL FROM "+table+" WHERE typeof(data) <> 'blob'", func(key int64, _ []byte) error {
			v.row(table, key, format.HourSeconds, "form is wrong")
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) hour(ctx context.Context, hour int64) error {
	var sealed format.SealedReader
	var summed format.SumsReader
	clear(v.made)
	v.unsure = map[int64]bool{}
	lo, hi := format.Key(hour, 0), format.Key(hour+1, 0)
	err := scanRange(ctx, v.tx, "sealed", lo, hi, func(key int64, data []byte) error {
		v.Rows++
		chunk := format.Key(hour, chunkOf(format.KeyID(key)))
		list, err := sealed.Read(key, data)
		if err != nil {
			v.unsure[chunk] = true
			v.row("sealed", key, format.HourSeconds, "checksum or form is wrong")
			return nil
		}
		v.made[chunk] = appendRowSums(v.made[chunk], list)
		return nil
	})
	if err != nil {
		return err
	}
	return scanRange(ctx, v.tx, "hours", lo, hi, func(key int64, data []byte) error {
		v.Rows++
		list, err := summed.Read(key, data)
		switch {
		case err != nil:
			v.row("hours", key, format.HourSeconds, "checksum or form is wrong")
		case hour >= v.at.minutesFrom && hour < v.at.sealedBefore && !v.unsure[key] && !slices.Equal(list, v.made[key]):
			v.row("hours", key, format.HourSeconds, "sums are not those of the rows")
		}
		return nil
	})
}
