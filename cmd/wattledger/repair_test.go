package main

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/power"
)

// TestRepair damages a storage path in every way a disk does. Each is found, and
// repaired; a server starts then, says what is lost, and has the rest.
func TestRepair(t *testing.T) {
	whole := usedBooks(t, usedStorage(t, "stopped"))
	everything := func(t *testing.T, got *books) {
		for at, want := range whole.rows {
			if got.rows[at] != want {
				t.Errorf("%s: %s, want %s", at, got.rows[at], want)
			}
		}
		if len(got.rows) != len(whole.rows) {
			t.Errorf("%d rows, want %d", len(got.rows), len(whole.rows))
		}
	}
	// Counters go on, so that a lost sample moves energy from minute to minute and loses none.
	joules := func(t *testing.T, got *books) {
		for id, want := range whole.totals {
			if have := got.totals[id]; have[power.CPU] != want[power.CPU] || have[power.DRAM] != want[power.DRAM] {
				t.Errorf("%.12s has %v, want %v", id, have, want)
			}
		}
	}
	f := func(name, ended string, damage func(t *testing.T, dir string), lost string, check func(t *testing.T, got *books)) {
		t.Run(name, func(t *testing.T) {
			dir := usedStorage(t, ended)
			damage(t, dir)
			cfg := configs.Default()
			useStorage(cfg)
			cfg.Storage.Path = dir
			lines, aside, err := ledger.Repair(t.Context(), ledgerConfig(t, cfg), newLogger(configs.Log{}, t.Output()))
			if err != nil {
				t.Fatal(err)
			}
			if aside == "" {
				t.Fatal("the damage was not found")
			}
			text := strings.Join(lines, "\n")
			t.Logf("lost: %s", text)
			if !regexp.MustCompile(lost).MatchString(text) || lost == "" && text != "" {
				t.Errorf("lost is %q, want %q", text, lost)
			}
			if v, err := ledger.Verify(t.Context(), dir, false); err != nil || len(v.Findings(dir)) > 0 {
				t.Fatalf("verify after the repair: %v, %v", v.Findings(dir), err)
			}
			log, err := tryServe(t, dir)
			if err != nil {
				t.Fatalf("serve after the repair: %v\n%s", err, log)
			}
			if said := strings.Contains(log, "the books have been repaired"); !said {
				t.Errorf("the server does not say so:\n%s", log)
			}
			check(t, usedBooks(t, dir))
		})
	}
	f("a journal record in the middle", "stopped", damageRecord(40), `journal: requests 40 to 40, .* minutes between`, everything)
	f("a journal record in the middle, that is replayed", "stopped", func(t *testing.T, dir string) {
		damageRecord(40)(t, dir)
		damageSnapshots(2)(t, dir)
	}, `journal: requests 40 to 40`, func(t *testing.T, got *books) {
		// Every window is still in memory here, since an hour came in a second. A
		// job that began in the lost request shows in what no workload used.
		got.totals["__system__"] = whole.totals["__system__"]
		joules(t, got)
	})
	f("the journal's tail", "killed", damageRecord(usedMinutes), `journal: requests 80 to 80, the newest`, everything)
	f("the newest snapshot", "killed", damageSnapshots(1), ``, everything)
	f("both snapshots", "killed", damageSnapshots(2), ``, everything)
	f("a sealed blob", "stopped", damageRow("sealed"), `sealed, \d+: the single windows of holder \d+ .* keeps its \d+\.\d+ J`, joules)
	f("sums of an hour", "stopped", damageRow("hours"), ``, everything)
	f("sums of a namespace", "stopped", damageRow("space_hours"), ``, everything)
	f("a window of an open hour", "stopped", damageRow("minutes"), `minutes, \d+: 1 minute of holder`, everything) // memory has it
	f("a node's hour", "stopped", damageRow("sealed_nodes"), `what node \d+ was measured`, joules)
	f("a name", "stopped", damageText("holders", "image"), `holders, \d+: its names`, func(t *testing.T, got *books) {
		if a, b := allEnergy(got), allEnergy(whole); a != b {
			t.Errorf("the books hold %v, want %v", a, b)
		}
	})
	f("a price", "stopped", damageText("prices", "currency"), `prices, 1: rows that had this price`, joules)
	f("where rows are", "stopped", damageText("state", "name"), `state, .*: made again`, everything)
	f("a page of rows", "stopped", damagePage("sealed"), `the single windows of holder`, joules)
	f("the header", "stopped", func(t *testing.T, dir string) { flipBit(t, filepath.Join(dir, "books.db"), 8*20+1) }, ``, everything)
	f("the log of the books", "killed", func(t *testing.T, dir string) { flipBit(t, filepath.Join(dir, "books.db-wal"), 8*300_000) }, `what was written last`, joules)
}

// TestRepairWithoutSnapshots has a journal whose beginning was let go and no
// snapshot that can be read: memory is made from the journal, and the books stay.
func TestRepairWithoutSnapshots(t *testing.T) {
	dir := usedStorage(t, "stopped")
	small := func(c *configs.Config) {
		useStorage(c)
		c.Storage.Path, c.Storage.SnapshotInterval = dir, 50*time.Millisecond
		c.Journal.SegmentBytes = 64 << 10
	}
	feed := func(first, minutes int) {
		t.Helper()
		l := startLine(t, dir, small)
		for i := first; i < minutes; i += 5 { // time for snapshots between
			if err := feedCluster(t.Context(), l.url, time.UnixMilli(usedFromMs), i, i+5); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		l.stop()
	}
	feed(usedMinutes, usedMinutes+30)
	if _, err := os.Stat(filepath.Join(dir, "journal", "00000000")); err == nil {
		t.Fatal("the journal still has its beginning")
	}
	read := func() *books { return readBooks(t, dir, usedFromMs, usedFromMs+(usedMinutes+60)*minuteMs) }
	want := read()
	undamaged := t.TempDir()
	if err := os.CopyFS(undamaged, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	damageSnapshots(2)(t, dir)
	cfg := configs.Default()
	small(cfg)
	lines, _, err := ledger.Repair(t.Context(), ledgerConfig(t, cfg), newLogger(configs.Log{}, t.Output()))
	if err != nil || !strings.Contains(strings.Join(lines, "\n"), "snapshots: none fits") {
		t.Fatalf("%q, %v", lines, err)
	}
	got := read()
	for at, row := range want.rows {
		if got.rows[at] != row {
			t.Fatalf("after the repair %s: %s, want %s", at, got.rows[at], row)
		}
	}
	// And what goes on is booked as if nothing had happened.
	feed(usedMinutes+30, usedMinutes+50)
	got = read()
	checkIdentity(t, got)
	dir = undamaged
	feed(usedMinutes+30, usedMinutes+50)
	goOn, ended := 0, 0
	for id, e := range read().totals {
		if strings.HasPrefix(id, "__") {
			continue // what is left of the others
		}
		if e == want.totals[id] {
			ended++
		} else {
			goOn++
		}
		if have := got.totals[id]; have[power.CPU] != e[power.CPU] {
			t.Errorf("after more samples %.12s has %v, want %v", id, have, e)
		}
	}
	if goOn < 20 || ended < 2 {
		t.Errorf("only %d containers went on, %d ended", goOn, ended)
	}
}

// TestRepairNeedsTheStorage: not while a server runs, and not where nothing is wrong.
func TestRepairNeedsTheStorage(t *testing.T) {
	dir := usedStorage(t, "stopped")
	var out strings.Builder
	run := func() error {
		out.Reset()
		return command(t.Context(), []string{"repair", "--storage.path=" + dir}, &out, &out)
	}
	if err := run(); err != nil || out.String() != "ok: nothing to repair\n" {
		t.Errorf("good storage: %v, %q", err, out.String())
	}
	l := startLine(t, dir, useStorage)
	if err := run(); err == nil || !strings.Contains(err.Error(), "in use by another process, process ") || !strings.HasSuffix(err.Error(), "; stop it first") {
		t.Errorf("beside a server: %v", err)
	}
	l.stop()
}

func usedBooks(t *testing.T, dir string) *books {
	t.Helper()
	return readBooks(t, dir, usedFromMs, usedFromMs+(usedMinutes+1)*minuteMs)
}

func allEnergy(b *books) (sum power.Energy) {
	for _, e := range b.totals {
		sum.Add(e)
	}
	return sum
}

// damageRecord flips a bit in the body of the n-th journal record.
func damageRecord(n int) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		name := filepath.Join(dir, "journal", "00000000")
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		place := binary.LittleEndian.AppendUint64([]byte{1, 2, 1, 0}, uint64(n)) // record, version 2, snappy
		at := strings.Index(string(data), string(place))
		if at < 0 {
			t.Fatalf("no record %d", n)
		}
		flipBit(t, name, 8*int64(at+60))
	}
}

// damageSnapshots flips a bit in the n newest.
func damageSnapshots(n int) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, "snapshots", "snapshot-*[0-9]"))
		if err != nil || len(names) != 2 {
			t.Fatal(names, err)
		}
		slices.Reverse(names)
		for _, name := range names[:n] {
			flipBit(t, name, 8*1000)
		}
	}
}

// change runs statements on the books behind the back of what protects them.
func change(t *testing.T, dir string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "books.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// damageRow flips a bit of a blob.
func damageRow(table string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		db, err := sql.Open("sqlite", filepath.Join(dir, "books.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var key int64
		var data []byte
		if err := db.QueryRow("SELECT key, data FROM "+table+" ORDER BY key DESC LIMIT 1 OFFSET 1").Scan(&key, &data); err != nil {
			if err := db.QueryRow("SELECT key, data FROM "+table+" LIMIT 1").Scan(&key, &data); err != nil {
				t.Fatal(err)
			}
		}
		data[len(data)/2] ^= 1
		if _, err := db.Exec("UPDATE "+table+" SET data = ? WHERE key = ?", data, key); err != nil {
			t.Fatal(err)
		}
	}
}

// damageText changes a text of one row of a table that has checksums.
func damageText(table, column string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		where := "rowid = (SELECT min(rowid) FROM " + table + ")"
		if table == "state" {
			where = "name = 'newest'"
		}
		change(t, dir, "DROP TRIGGER "+table+"_changed", "UPDATE "+table+" SET "+column+" = "+column+" || 'x' WHERE "+where)
		// The definition comes back, as a disk would have left it.
		db, err := sql.Open("sqlite", ":memory:")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		change(t, dir, triggerOf(t, table))
	}
}

// triggerOf returns the definition of the trigger that damageText removes.
func triggerOf(t *testing.T, table string) string {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(usedStorage(t, "stopped"), "books.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var text string
	if err := db.QueryRow("SELECT sql FROM sqlite_schema WHERE name = ?", table+"_changed").Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// damagePage fills a page of rows with what a disk may bring.
func damagePage(table string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		name := filepath.Join(dir, "books.db")
		db, err := sql.Open("sqlite", "file:"+name+"?mode=ro&immutable=1")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var page int64
		if err := db.QueryRow("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno LIMIT 1", table).Scan(&page); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte(fmt.Sprintf("%08d", page)), (page-1)*sqlitePage); err != nil {
			t.Fatal(err)
		}
	}
}
