package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/internal/demo"
	"github.com/wattledger/wattledger/ledger"
)

var usedFromMs = time.Date(2026, 11, 23, 9, 40, 0, 0, time.UTC).UnixMilli()

const usedMinutes = 80 // a request each

// usedStorage is a storage path after more than an hour of a cluster: sealed hours and
// an open one, two snapshots and a journal behind them, a follower that has not
// been there. It is as a kill leaves it, with a log in use, or as a stop does.
func usedStorage(t testing.TB, ended string) string {
	t.Helper()
	dir, err := makeUsed()
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(filepath.Join(dir, ended))); err != nil {
		t.Fatal(err)
	}
	return to
}

// useStorage is how usedStorage is served, by tests of repair as well.
func useStorage(cfg *configs.Config) {
	cfg.Redis.URL = "redis://127.0.0.1:1/0" // nobody is there
	cfg.Storage.InspectInterval = 0
}

var madeUsed string // removed by TestMain

var makeUsed = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "wattledger-used-")
	if err != nil {
		return "", err
	}
	madeUsed = dir
	cfg := configs.Default()
	useStorage(cfg)
	cfg.Web.ListenAddress, cfg.Storage.Path = "127.0.0.1:0", filepath.Join(dir, "stopped")
	cfg.Storage.FlushInterval, cfg.Storage.SnapshotInterval = 20*time.Millisecond, 400*time.Millisecond
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	listening, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, cfg, newLogger(configs.Log{}, &log), func(addr string) { listening <- addr })
	}()
	var url string
	select {
	case addr := <-listening:
		url = "http://" + addr
	case err := <-ended:
		return "", err
	}
	if err := untilReady(url); err != nil {
		return "", err
	}
	if err := feedCluster(ctx, url, time.UnixMilli(usedFromMs), 0, usedMinutes/2); err != nil {
		return "", err
	}
	if err := eventually("a snapshot", func() error {
		kept, err := filepath.Glob(filepath.Join(cfg.Storage.Path, "snapshots", "*"))
		if err == nil && len(kept) == 0 {
			err = errors.New("none yet")
		}
		return err
	}); err != nil {
		return "", err
	}
	if err := feedCluster(ctx, url, time.UnixMilli(usedFromMs), usedMinutes/2, usedMinutes); err != nil {
		return "", err
	}
	flushed := func() error {
		_, text, err := get(url + "/metrics")
		if err == nil && !strings.Contains(text, "wattledger_flush_behind_records 0") {
			err = errors.New("records are not in the books yet")
		}
		if err != nil {
			return err
		}
		kept, err := filepath.Glob(filepath.Join(cfg.Storage.Path, "snapshots", "*"))
		if err == nil && (len(kept) != 2 || filepath.Base(kept[1]) != fmt.Sprintf("snapshot-%020d", usedMinutes)) {
			err = fmt.Errorf("snapshots are on their way: %v", kept)
		}
		return err
	}
	if err := eventually("flushed", flushed); err != nil {
		return "", err
	}
	// Nothing comes any more: what lies there now is what a kill would leave.
	to := filepath.Join(dir, "killed")
	if err := os.CopyFS(to, os.DirFS(cfg.Storage.Path)); err != nil {
		return "", err
	}
	cancel()
	if err := <-ended; err != nil {
		return "", fmt.Errorf("%w\n%s", err, log.String())
	}
	return dir, nil
})

// feedCluster sends the demo's cluster, minute by minute, from the first on.
func feedCluster(ctx context.Context, url string, from time.Time, first, minutes int) error {
	sim, err := cluster.New(cluster.Demo(1, from))
	if err != nil {
		return err
	}
	client := remotewrite.Client{URL: url + "/api/v1/write", Format: remotewrite.Format{Version: 2, Encoding: "snappy"}, UserAgent: "test", HTTP: http.DefaultClient}
	for i := range minutes {
		sim.Advance(from.Add(time.Duration(i+1) * time.Minute))
		if i < first {
			continue
		}
		samples := demo.Samples(sim, nil, func(name string, labels []cluster.Label) bool {
			return demo.Needed(name, labels, i%10 == 0)
		})
		body, err := client.Format.Encode(samples)
		if err != nil {
			return err
		}
		if _, err := client.Post(ctx, body); err != nil {
			return err
		}
	}
	return nil
}

// content is every row of every table as SQL sees it.
func content(path string) (map[string][]string, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var names []string
	rows, err := db.Query("SELECT name FROM sqlite_schema WHERE type = 'table'")
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, name := range names {
		rows, err := db.Query("SELECT * FROM " + name)
		if err != nil {
			return nil, err
		}
		columns, err := rows.Columns()
		if err != nil {
			return nil, err
		}
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return nil, err
			}
			all[name] = append(all[name], fmt.Sprintf("%T %q", values, values))
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
		if name == "sqlite_schema" {
			delete(all, name)
		}
	}
	return all, nil
}

// flipBit flips a bit of a file and returns what takes it back.
func flipBit(t testing.TB, name string, bit int64) (undo func()) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], bit/8); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << (bit % 8)
	if _, err := f.WriteAt(b[:], bit/8); err != nil {
		t.Fatal(err)
	}
	return func() { flipBit(t, name, bit) }
}

// TestVerifyFindsFlippedBits flips bits of every file of a storage path. Each is
// found and named by its file, or it has no meaning: every table reads as before,
// and why is known.
func TestVerifyFindsFlippedBits(t *testing.T) {
	t.Run("killed", func(t *testing.T) {
		flipBits(t, usedStorage(t, "killed"), map[string]int{"books.db": 20, "books.db-wal": 40})
	})
	t.Run("stopped", func(t *testing.T) { flipBits(t, usedStorage(t, "stopped"), map[string]int{"books.db": 120}) })
}

// flipBits flips some bits of every file, in some files more.
func flipBits(t *testing.T, dir string, more map[string]int) {
	if v, err := ledger.Verify(t.Context(), dir, false); err != nil || len(v.Findings(dir)) > 0 || len(v.Unchecked) > 0 ||
		v.Journal.Records == 0 || v.Books.Frames == 0 && more["books.db-wal"] > 0 || v.Snapshots.Snapshots != 2 || v.Books.Rows < 500 {
		t.Fatalf("good storage: %+v, %v", v, err)
	}
	want, err := content(filepath.Join(dir, "books.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"minutes", "node_minutes", "sealed", "sealed_nodes", "hours", "space_hours", "outbox", "followers", "holders"} {
		if len(want[table]) == 0 {
			t.Errorf("the test has no %s", table)
		}
	}
	random := rand.New(rand.NewPCG(26, 11))
	reasons := map[string]int{}
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err != nil || st.Size() == 0 { // the locks
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		n := max(more[rel], 8)
		for range n {
			bit := random.Int64N(8 * st.Size())
			undo := flipBit(t, name, bit)
			v, err := ledger.Verify(t.Context(), dir, false)
			if err != nil {
				t.Errorf("%s bit %d: verify: %v", rel, bit, err)
			}
			findings := v.Findings(dir)
			switch {
			case len(findings) == 0:
				why := meaningless(t, dir, rel, bit/8)
				reasons[rel+": "+why]++
				if why == "" {
					t.Errorf("%s bit %d of byte %d, in %x: not found", rel, bit%8, bit/8, pageStart(t, name, bit/8))
				}
				if got, err := content(filepath.Join(dir, "books.db")); err != nil || !maps.EqualFunc(got, want, slices.Equal) {
					t.Errorf("%s bit %d of byte %d: not found, though it changes what is read (%v)", rel, bit%8, bit/8, err)
				}
			case !strings.HasPrefix(findings[0], rel+":"):
				t.Errorf("%s bit %d: found as %q", rel, bit, findings[0])
			default:
				reasons[rel+": found"]++
			}
			undo()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		t.Logf("%4d × %s", reasons[why], why)
	}
	if v, err := ledger.Verify(t.Context(), dir, false); err != nil || len(v.Findings(dir)) > 0 {
		t.Errorf("afterwards: %v, %v", v.Findings(dir), err)
	}
}

// meaningless says why a byte of a file means nothing, or nothing.
func meaningless(t testing.TB, dir, rel string, at int64) string {
	switch rel {
	case "lock":
		return "where the last server listened"
	case "books.db-shm":
		return "the index of the log is made anew from the log"
	case "books.db-wal":
		return walLeftover(t, filepath.Join(dir, rel), at)
	case "books.db":
		return unusedInPage(t, filepath.Join(dir, rel), at)
	}
	return ""
}

// TestServeSpeaksOfDamage flips bits that verify finds. A server on such books
// does not start, or says in its log, its metrics and /-/ready what it found.
func TestServeSpeaksOfDamage(t *testing.T) {
	flips := 2
	random := rand.New(rand.NewPCG(3, 14))
	refused, started := 0, 0
	for _, ended := range []string{"killed", "stopped"} {
		files, err := filepath.Glob(filepath.Join(usedStorage(t, ended), "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		rels := []string{"books.db"}
		if ended == "killed" {
			rels = []string{"books.db-wal"}
		}
		for _, f := range files {
			if name := filepath.Base(f); name != "lock" {
				rels = append(rels, filepath.Join(filepath.Base(filepath.Dir(f)), name))
			}
		}
		for _, rel := range rels {
			for range flips {
				dir := usedStorage(t, ended)
				bit := flipUntilFound(t, dir, rel, random)
				log, err := tryServe(t, dir)
				switch {
				case err != nil && (strings.Contains(err.Error()+log, filepath.Base(rel)) || strings.Contains(err.Error(), ": row ")):
					refused++
				case err != nil:
					t.Errorf("%s bit %d: refused without the file's name: %v", rel, bit, err)
				case strings.Contains(log, "storage is damaged"), strings.Contains(log, "cut off a torn record"), strings.Contains(log, "a commit that was not finished"):
					started++
				default:
					t.Errorf("%s bit %d: starts in silence:\n%s", rel, bit, log)
				}
			}
		}
	}
	t.Logf("%d refused, %d told of in the log", refused, started)
	if refused == 0 || started == 0 {
		t.Error("the flips were all of one kind")
	}
}

// flipUntilFound flips a bit of a file that verify finds, and returns it.
func flipUntilFound(t testing.TB, dir, rel string, random *rand.Rand) int64 {
	t.Helper()
	name := filepath.Join(dir, rel)
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	for {
		bit := random.Int64N(8 * st.Size())
		undo := flipBit(t, name, bit)
		v, err := ledger.Verify(t.Context(), dir, false)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Findings(dir)) > 0 {
			return bit
		}
		undo()
	}
}

// tryServe serves a storage path until its first inspection has ended.
func tryServe(t testing.TB, dir string) (log string, refused error) {
	t.Helper()
	cfg := configs.Default()
	useStorage(cfg)
	cfg.Web.ListenAddress, cfg.Storage.Path = "127.0.0.1:0", dir
	cfg.Storage.InspectInterval = time.Hour
	var mu sync.Mutex
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	listening, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, cfg, newLogger(configs.Log{}, lockedWriter{&mu, &out}), func(addr string) { listening <- addr })
	}()
	select {
	case addr := <-listening:
		err := eventually("inspected or refused", func() error {
			select {
			case err := <-ended:
				ended <- err
				return nil
			default:
			}
			_, text, err := get("http://" + addr + "/metrics")
			if err == nil && strings.Contains(text, "wattledger_storage_inspection_timestamp_seconds 0\n") {
				err = errors.New("not inspected yet")
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		cancel()
		refused = <-ended
	case refused = <-ended:
	}
	mu.Lock()
	defer mu.Unlock()
	return out.String(), refused
}
