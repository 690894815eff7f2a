package local

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// Books of an earlier schema are files in testdata: schemaN.sql has the rows as
// the program of that time wrote them, schemaN.txt what it answered. To add one
// before a migration goes in, run
//
//	go test -run '^TestUpgrade$' ./store/local -fixture
//
// and commit what it writes.

var fixture = flag.Bool("fixture", false, "write books of today to testdata, for tests after the next migration")

// TestUpgrade opens books of every earlier schema: they answer as before.
func TestUpgrade(t *testing.T) {
	newest := migrations[len(migrations)-1].version
	if *fixture {
		writeFixture(t, fmt.Sprintf("testdata/schema%d", newest))
	}
	for v := 1; v < newest; v++ {
		t.Run(fmt.Sprintf("schema %d", v), func(t *testing.T) {
			path := booksOfSchema(t, v)
			want, err := os.ReadFile(fmt.Sprintf("testdata/schema%d.txt", v))
			if err != nil {
				t.Fatal(err)
			}
			s := openTest(t, path, fixtureConfig())
			if got := answers(t, s); got != string(want) {
				t.Errorf("after the upgrade:\n%s\nwant:\n%s", got, want)
			}
			if found, err := Verify(t.Context(), path, false); err != nil || len(found.Problems) > 0 {
				t.Errorf("verify: %v, %v", found.Problems, err)
			}
			if _, err := os.Stat(fmt.Sprintf("%s.schema%d.bak", path, v)); err != nil {
				t.Errorf("the copy from before: %v", err)
			}
			// And they are written to as ever.
			if err := s.Append(t.Context(), batchN(1_000)); err != nil {
				t.Error(err)
			}
			if err := s.Maintain(t.Context()); err != nil {
				t.Error(err)
			}
			if found, err := Verify(t.Context(), path, false); err != nil || len(found.Problems) > 0 {
				t.Errorf("verify after writing: %v, %v", found.Problems, err)
			}
		})
	}
}

// booksOfSchema makes books as the program with schema v left them.
func booksOfSchema(t *testing.T, v int) string {
	t.Helper()
	rows, err := os.ReadFile(fmt.Sprintf("testdata/schema%d.sql", v))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "books.db")
	db, err := sql.Open("sqlite", dsn(path, "rwc", "page_size(16384)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, m := range migrations[:v] {
		if _, err := db.Exec(m.sql); err != nil {
			t.Fatal(err)
		}
	}
	script := fmt.Sprintf("BEGIN; %s; PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT; PRAGMA journal_mode=WAL", rows, applicationID, v)
	if _, err := db.Exec(script); err != nil {
		t.Fatal(err)
	}
	return path
}

func fixtureConfig() Config {
	cfg := DefaultConfig()
	cfg.Followers = []string{"redis"}
	return cfg
}

// writeFixture writes books of today: closed hours, an open one, late rows and
// entries for a follower.
func writeFixture(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "books.db")
	s, err := Open(path, fixtureConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := newFleet(5, 1, 3)
	for m := int64(0); m < 150; m += 10 {
		charges := f.minute(day0 + m*60_000)
		b := store.Batch{Charges: charges, Position: uint64(m + 1), Nodes: []power.NodeWindow{{
			Cluster: charges[0].Holder.Cluster, Node: charges[0].Holder.Node, StartMs: day0 + m*60_000, Seconds: 60,
			Used: charges[0].Energy, Containers: charges[0].Energy, Generation: "kepler-0.10+", Revision: uint64(m + 1)}}}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), store.Batch{Charges: f.minute(day0 + 5*60_000), Position: 200}); err != nil {
		t.Fatal(err)
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".txt", []byte(answers(t, s)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".sql", []byte(dumpRows(t, path)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// answers is what books say, in all the ways rows are read.
func answers(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	for _, step := range []int64{0, format.HourMs, 60_000} {
		for _, group := range [][]store.Dimension{nil, {store.Namespace}, store.Dimensions} {
			rows, err := s.Sum(t.Context(), store.Query{FromMs: day0, ToMs: day0 + 5*format.HourMs, StepMs: step, GroupBy: group})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				fmt.Fprintf(&b, "%d %q %v idle %d seen %d of %d last %d holders %d\n", r.StartMs, r.Group, r.Energy, r.Idle, r.SeenMs, r.HeldMs, r.LastMs, r.Holders)
			}
		}
	}
	nodes, err := s.Nodes(t.Context(), day0, day0+5*format.HourMs, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		fmt.Fprintf(&b, "%s/%s %d %v %v %s\n", n.Cluster, n.Node, n.StartMs, n.Used, n.Containers, n.Generation)
	}
	followers, err := s.Followers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	position, err := s.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "position %d, %d followers, lag %d\n", position, len(followers), followers[0].Lag)
	return b.String()
}

// dumpRows returns the rows of a database as statements.
func dumpRows(t *testing.T, path string) string {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, "ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list := func(query string) (all []string) {
		t.Helper()
		rows, err := db.QueryContext(context.Background(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		return all
	}
	var b strings.Builder
	for _, table := range list("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'sqlite_sequence' ORDER BY name = 'state' DESC, rowid") {
		columns := list("SELECT name FROM pragma_table_info('" + table + "') WHERE name <> 'sum'")
		quoted := "quote(" + strings.Join(columns, ") || ',' || quote(") + ")"
		for _, row := range list("SELECT " + quoted + " FROM " + table) {
			fmt.Fprintf(&b, "INSERT OR REPLACE INTO %s (%s) VALUES (%s);\n", table, strings.Join(columns, ","), row)
		}
	}
	for _, row := range list("SELECT quote(name) || ',' || quote(seq) FROM sqlite_sequence") {
		name, _, _ := strings.Cut(row, ",")
		fmt.Fprintf(&b, "DELETE FROM sqlite_sequence WHERE name = %s; INSERT INTO sqlite_sequence VALUES (%s);\n", name, row)
	}
	return b.String()
}
