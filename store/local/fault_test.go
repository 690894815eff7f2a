package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bufio"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

const killedEnv = "WATTLEDGER_TEST_APPEND_TO"

// batchN returns the n-th of batches whose content n alone decides.
func batchN(n uint64) store.Batch {
	price := &power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12}
	b := store.Batch{Position: n}
	for i := range 10 {
		h := &power.Holder{HolderKey: power.HolderKey{Cluster: "c", Node: "n", Kind: power.Container, ID: fmt.Sprint(i)},
			Workload: power.Workload{Cluster: "c", Namespace: "ns", Kind: "job", Name: fmt.Sprint(i % 3)}, Type: power.Batch}
		b.Charges = append(b.Charges, power.Charge{Holder: h, StartMs: day0 + int64(n)*60_000, Seconds: 60, Energy: power.Energy{power.Microjoules(n)}, Price: price, Revision: n})
	}
	return b
}

// appendUntilKilled is the child of TestKill: it writes batches and says so on
// standard output once each is durable, until it is killed.
func appendUntilKilled() {
	s, err := Open(os.Getenv(killedEnv), DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		panic(err)
	}
	p, err := s.Position(context.Background())
	if err != nil {
		panic(err)
	}
	for n := p + 1; ; n++ {
		if err := s.Append(context.Background(), batchN(n)); err != nil {
			panic(err)
		}
		fmt.Println(n)
		if n%20 == 0 {
			if err := s.Maintain(context.Background()); err != nil {
				panic(err)
			}
		}
	}
}

func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	acknowledged := uint64(0)
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 40 + 13*round {
			if !lines.Scan() {
				t.Fatalf("the child ended by itself: %v", cmd.Wait())
			}
			fmt.Sscan(lines.Text(), &acknowledged)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it still said before it died counts
			fmt.Sscan(lines.Text(), &acknowledged)
		}
		_ = cmd.Wait() // killed, as it should be
	}
	s := openTest(t, path, DefaultConfig())
	position, err := s.Position(t.Context())
	if err != nil || position < acknowledged {
		t.Fatalf("position %d, %v; %d was acknowledged", position, err, acknowledged)
	}
	for range 2 {
		rows, err := s.Sum(t.Context(), store.Query{ToMs: day0 * 2, StepMs: 60_000})
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != int(position) {
			t.Fatalf("%d minutes are there, %d were written", len(rows), position)
		}
		for i, r := range rows {
			if r.Energy[0] != power.Microjoules(10*(i+1)) || r.Holders != 10 {
				t.Fatalf("minute %d: %+v", i, r)
			}
		}
		if err := s.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Verify(t.Context(), path, false)
	if err != nil || len(found.Problems) > 0 {
		t.Errorf("verify: %v, %v", found.Problems, err)
	}
}

func TestFull(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	if _, err := s.w.ExecContext(t.Context(), "PRAGMA max_page_count=60"); err != nil {
		t.Fatal(err)
	}
	n := uint64(1)
	var err error
	for ; err == nil && n < 100_000; n++ {
		err = s.Append(t.Context(), batchN(n))
	}
	if !errors.Is(err, store.ErrFull) || !strings.HasPrefix(err.Error(), "append 10 charges: ") {
		t.Fatalf("append to a full disk: %v, want %v", err, store.ErrFull)
	}
	written := n - 2
	check := func(want uint64) {
		t.Helper()
		rows, err := s.Sum(t.Context(), store.Query{ToMs: day0 * 2, StepMs: 60_000})
		if p, _ := s.Position(t.Context()); err != nil || len(rows) != int(want) || p != want {
			t.Fatalf("%d minutes, position %d, %v; want %d", len(rows), p, err, want)
		}
	}
	check(written)
	// A new holder in a batch that failed must be written by the next one.
	b := batchN(written + 1)
	h := *b.Charges[0].Holder
	h.ID = "new"
	b.Charges[0].Holder = &h
	if err := s.Append(t.Context(), b); !errors.Is(err, store.ErrFull) {
		t.Fatalf("append again: %v, want %v", err, store.ErrFull)
	}
	if _, err := s.w.ExecContext(t.Context(), "PRAGMA max_page_count=1073741823"); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	check(written + 1)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	made := filepath.Join(dir, "made.db")
	s, err := Open(made, DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), batchN(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, content []byte, want error, words string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), path) {
			t.Errorf("open %s: %v, want %v, %q and the path", name, err, want, words)
		}
		if after, err := os.ReadFile(path); err != nil || !slices.Equal(after, content) {
			t.Errorf("open %s changed the file (%v)", name, err)
		}
		if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open %s left a log beside it", name)
		}
	}
	f("text", []byte("this is not a database"), nil, "not a Wattledger database")
	f("long text", []byte(strings.Repeat("this is not a database ", 1000)), nil, "not a Wattledger database")
	newer := slices.Clone(good)
	binary.BigEndian.PutUint32(newer[60:], 99)
	f("newer", newer, store.ErrNewerSchema, "schema 99")
	foreign := slices.Clone(good)
	binary.BigEndian.PutUint32(foreign[68:], 7)
	f("foreign", foreign, nil, "another application")

	if _, err := Open(filepath.Join(dir, "no", "such", "dir.db"), DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry()); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "dir.db") {
		t.Errorf("open where there is no folder: %v", err)
	}
}

func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	s, err := Open(path, DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), batchN(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newest := migrations[len(migrations)-1].version
	next := newest + 1
	broken := append(slices.Clone(migrations), migration{next, "CREATE TABLE added (x); CREATE TABLE added (x)"})
	if _, err := open(path, DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry(), broken); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("migrate to schema %d", next)) {
		t.Fatalf("a migration that fails: %v", err)
	}
	added := append(slices.Clone(migrations), migration{next, "CREATE TABLE added (x)"})
	s, err = open(path, DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry(), added)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), batchN(2)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry()); !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("the version before opened it: %v", err)
	}
	backup := openTest(t, fmt.Sprintf("%s.schema%d.bak", path, newest), DefaultConfig())
	if p, err := backup.Position(t.Context()); p != 1 || err != nil {
		t.Errorf("the backup is at %d, %v; want 1", p, err)
	}
}

func TestFlippedBits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	s := openTest(t, path, DefaultConfig())
	for n := uint64(1); n < 200; n++ {
		if err := s.Append(t.Context(), batchN(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"minutes", "sealed", "hours", "space_hours"} {
		var key int64
		var data []byte
		order := "DESC"
		if table == "minutes" { // the newest are answered from memory
			order = "ASC"
		}
		if err := s.w.QueryRowContext(t.Context(), "SELECT key, data FROM "+table+" ORDER BY key "+order+" LIMIT 1").Scan(&key, &data); err != nil {
			t.Fatal(err)
		}
		bad := slices.Clone(data)
		bad[len(bad)/2] ^= 4
		set := func(d []byte) {
			if _, err := s.w.ExecContext(t.Context(), "UPDATE "+table+" SET data = ? WHERE key = ?", d, key); err != nil {
				t.Fatal(err)
			}
		}
		set(bad)
		found, err := Verify(t.Context(), path, false)
		if err != nil || len(found.Problems) != 1 || found.Problems[0].Table != table || found.Problems[0].Key != fmt.Sprint(key) {
			t.Errorf("%s with a flipped bit: %v, %v", table, found.Problems, err)
		}
		step, group := int64(60_000), []store.Dimension{store.Workload}
		if table != "minutes" && table != "sealed" {
			step = format.HourMs
		}
		if table == "space_hours" {
			group = nil
		}
		if _, err := s.Sum(t.Context(), store.Query{ToMs: day0 * 2, StepMs: step, GroupBy: group}); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), table) {
			t.Errorf("sum over %s with a flipped bit: %v, want %v", table, err, store.ErrCorrupt)
		}
		set(data)
	}
	if found, err := Verify(t.Context(), path, false); err != nil || len(found.Problems) > 0 {
		t.Errorf("verify of good books: %v, %v", found.Problems, err)
	}
}
