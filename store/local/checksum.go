package local

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"

	"modernc.org/sqlite"
)

// A checked table has a checksum of each row in its column sum. Triggers keep
// it, so that no statement can forget to, and refuse to change a row that does
// not fit its checksum: the damage would be signed. Tables of blobs are not
// among them; their checksums are part of the blobs. Holders are added with theirs:
// they are many, and a trigger doubles what one costs.
type checkedTable struct {
	name    string
	key     string // names a row
	columns string // what the checksum is of, key included where it says anything
}

var checkedTables = []checkedTable{
	{"state", "name", "name, value"},
	{"prices", "id", "id, model, currency, electricity_per_kwh, overhead, carbon_factor, carbon_kg_per_kwh, carbon_per_kg"},
	{"nodes", "id", "id, cluster, name"},
	{"workloads", "id", "id, cluster, namespace, kind, name"},
	{"spaces", "id", "id, cluster, namespace, workload_type, pseudo, tags"},
	{"holders", "id", "id, node, kind, name, since, workload, inferred, type, rule, pod, pod_uid, container, image, tags, first, last"},
	{"stale_hours", "rowid", "from_s, to_s"},
	{"outbox", "seq", "seq, commit_ms, kind, data"},
	{"followers", "name", "name, seq"},
	{"dead_letters", "id", "id, follower, bucket, key, line, reason, from_seq, to_seq, at_ms"},
}

// checkedBefore are the tables as schema 3 had them.
var checkedBefore = func() []checkedTable {
	list := slices.Clone(checkedTables)
	for i, t := range list {
		switch t.name {
		case "spaces":
			list[i].columns = "id, cluster, namespace, workload_type, pseudo"
		case "holders":
			list[i].columns = "id, node, kind, name, workload, inferred, type, rule, pod, pod_uid, container, image, first, last"
		}
	}
	return list
}()

var holdersTable = tableOf("holders")

func tableOf(name string) checkedTable { return find(checkedTables, name) }
func before(name string) checkedTable  { return find(checkedBefore, name) }

func find(list []checkedTable, name string) checkedTable {
	return list[slices.IndexFunc(list, func(t checkedTable) bool { return t.name == name })]
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func init() {
	sqlite.MustRegisterDeterministicScalarFunction("row_sum", -1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		return rowChecksum(args), nil
	})
}

// rowChecksum is the CRC-32C of values with their types and lengths: a text
// that became a blob is as wrong as another text.
func rowChecksum(values []driver.Value) int64 {
	sum := uint32(0)
	var head [9]byte
	add := func(kind byte, n uint64) {
		head[0] = kind
		binary.LittleEndian.PutUint64(head[1:], n)
		sum = crc32.Update(sum, castagnoli, head[:])
	}
	for _, v := range values {
		switch v := v.(type) {
		case int64:
			add('i', uint64(v))
		case float64:
			add('f', math.Float64bits(v))
		case string:
			add('t', uint64(len(v)))
			sum = crc32.Update(sum, castagnoli, []byte(v))
		case []byte:
			add('b', uint64(len(v)))
			sum = crc32.Update(sum, castagnoli, v)
		default:
			add('n', 0)
		}
	}
	return int64(sum)
}

// sum returns the checksum of a row from the values of its columns.
func (t checkedTable) sum(values ...any) int64 {
	all := make([]driver.Value, 0, 16)
	all = append(all, t.name)
	for _, v := range values {
		all = append(all, v)
	}
	return rowChecksum(all)
}

// sumOf is the SQL of the checksum a row should have. The columns are those of
// before, "new." or "old." in a trigger.
func (t checkedTable) sumOf(before string) string {
	return "row_sum('" + t.name + "', " + before + strings.ReplaceAll(t.columns, ", ", ", "+before) + ")"
}

// checksums is the SQL that gives tables their checksums.
func checksums(tables []checkedTable) string {
	var b strings.Builder
	for _, t := range tables {
		fmt.Fprintf(&b, "ALTER TABLE %[1]s ADD COLUMN sum INTEGER;\nUPDATE %[1]s SET sum = %[2]s;\n%[3]s", t.name, t.sumOf(""), t.triggers())
	}
	return b.String()
}

// triggers is the SQL of what keeps the checksums of a table.
func (t checkedTable) triggers() string {
	set := fmt.Sprintf("UPDATE %s SET sum = %s WHERE %s = new.%s", t.name, t.sumOf("new."), t.key, t.key)
	return fmt.Sprintf(`CREATE TRIGGER %[1]s_added AFTER INSERT ON %[1]s WHEN new.sum IS NULL BEGIN %[2]s; END;
CREATE TRIGGER %[1]s_changes BEFORE UPDATE OF %[4]s ON %[1]s WHEN old.sum IS NOT %[3]s BEGIN SELECT RAISE(ABORT, 'row of %[1]s is damaged'); END;
CREATE TRIGGER %[1]s_changed AFTER UPDATE OF %[4]s ON %[1]s BEGIN %[2]s; END;
`, t.name, set, t.sumOf("old."), t.columns)
}

// check calls f with the key of every row that does not fit its checksum.
func (t checkedTable) check(ctx context.Context, w querier, f func(key any) error) error {
	rows, err := w.QueryContext(ctx, "SELECT "+t.key+" FROM "+t.name+" WHERE sum IS NOT "+t.sumOf(""))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key any
		if err := rows.Scan(&key); err != nil {
			return err
		}
		if err := f(key); err != nil {
			return err
		}
	}
	return rows.Err()
}
