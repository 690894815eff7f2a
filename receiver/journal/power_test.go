package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

var errPower = errors.New("the power is gone")

// A volatile disk keeps what was synced and loses, when the power goes, any part
// of the rest: blocks of a file, its length, its name, that it was removed.
type volatile struct {
	inner disk
	dir   string
	chaos *rand.Rand

	mu      sync.Mutex
	left    int               // guarded by mu: steps until the power goes
	off     bool              // guarded by mu
	durable map[string]int64  // guarded by mu: bytes of each file that stay
	named   map[string]bool   // guarded by mu: files whose names stay
	removed map[string][]byte // guarded by mu: what comes back if the removal does not stay
}

// newVolatile returns a disk on which all that is in dir stays.
func newVolatile(dir string, chaos *rand.Rand) *volatile {
	v := &volatile{inner: localDisk(quiet()), dir: dir, chaos: chaos, left: 1 + chaos.IntN(120),
		durable: map[string]int64{}, named: map[string]bool{}, removed: map[string][]byte{}}
	for _, name := range v.files() {
		v.named[name], v.durable[name] = true, v.size(name)
	}
	return v
}

func (v *volatile) files() []string {
	names, err := filepath.Glob(filepath.Join(v.dir, "*"))
	if err != nil {
		panic(err)
	}
	return names
}

func (v *volatile) size(name string) int64 {
	stat, err := os.Stat(name)
	if err != nil {
		panic(err)
	}
	return stat.Size()
}

func (v *volatile) current() string {
	_, last, err := wlog.Segments(v.dir)
	if err != nil {
		panic(err)
	}
	return wlog.SegmentName(v.dir, last)
}

// step does something to the disk. When the power goes in it, its effect may be
// there and its promise is not.
func (v *volatile) step(effect func() error, promise func()) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.off {
		return errPower
	}
	if v.left--; v.left == 0 {
		v.off = true
		if v.chaos.IntN(2) == 0 {
			_ = effect()
		}
		return errPower
	}
	err := effect()
	if err == nil && promise != nil {
		promise()
	}
	return err
}

func (v *volatile) disk() disk {
	synced := func(name string) { v.durable[name] = v.size(name) }
	return disk{
		open: func(dir string, segmentBytes int) (log, error) {
			var l log
			err := v.step(func() (err error) { l, err = v.inner.open(dir, segmentBytes); return err }, nil)
			return &volatileLog{l, v}, err
		},
		truncate: func(name string, size int64) error {
			return v.step(func() error {
				v.durable[name] = min(v.durable[name], size)
				return v.inner.truncate(name, size)
			}, func() { synced(name) })
		},
		remove: func(name string) error {
			return v.step(func() error {
				data, err := os.ReadFile(name)
				if err == nil {
					v.removed[name] = data[:v.durable[name]]
					delete(v.durable, name) // another file may get the name
				}
				return v.inner.remove(name)
			}, nil)
		},
		syncDir: func(dir string) error {
			return v.step(func() error { return v.inner.syncDir(dir) }, func() {
				clear(v.removed)
				for _, name := range v.files() {
					v.named[name] = true
				}
			})
		},
	}
}

// A volatileLog is a log on a volatile disk.
type volatileLog struct {
	log
	v *volatile
}

func (l *volatileLog) Log(records ...[]byte) error {
	return l.v.step(func() error { return l.log.Log(records...) }, nil)
}

func (l *volatileLog) Sync() error {
	return l.v.step(l.log.Sync, func() { l.v.durable[l.v.current()] = l.v.size(l.v.current()) })
}

func (l *volatileLog) NextSegmentSync() (n int, err error) {
	left := l.v.current()
	err = l.v.step(func() error { n, err = l.log.NextSegmentSync(); return err }, func() { l.v.durable[left] = l.v.size(left) })
	return n, err
}

func (l *volatileLog) Close() error {
	return l.v.step(l.log.Close, func() { l.v.durable[l.v.current()] = l.v.size(l.v.current()) })
}

// after writes into dir what is there when the power comes back.
func (v *volatile) after(t *testing.T, dir string) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	left := maps.Clone(v.removed)
	maps.DeleteFunc(left, func(string, []byte) bool { return v.chaos.IntN(2) == 0 })
	for _, name := range v.files() {
		if !v.named[name] && v.chaos.IntN(2) == 0 {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		const block = 4096
		durable := v.durable[name]
		data = data[:durable+v.chaos.Int64N(int64(len(data))-durable+1)]
		for at := durable; at < int64(len(data)); at = (at/block + 1) * block {
			if v.chaos.IntN(3) == 0 {
				clear(data[at:min((at/block+1)*block, int64(len(data)))])
			}
		}
		left[name] = data
	}
	for name, data := range left {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), data, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

// The power goes at any step, over several lives, while four write and the
// oldest is released. What was acknowledged is there afterwards, equal and in
// order, nothing is there that was not sent, and no cut looks like damage.
func TestPowerCuts(t *testing.T) {
	const firstMs = 1_700_000_000_000
	ctx := context.Background()
	sent := func(n int) *Record { return record(n, 100+n*7919%20_000) }
	cuts, kept := 0, 0
	for seed := range uint64(16) {
		chaos := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		acknowledged := map[uint64]int{}
		n, released := 0, uint64(0)
		for life := range 6 {
			v := newVolatile(dir, chaos)
			j, err := open(dir, Config{MaxBytes: 64 << 20, SegmentBytes: 4 * pageBytes}, quiet(), nil, v.disk())
			if err != nil && !errors.Is(err, errPower) {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			if err == nil {
				if released, err = holds(j, sent, acknowledged, released, firstMs); err != nil {
					t.Fatalf("seed %d, life %d: %v", seed, life, err)
				}
				var mu sync.Mutex
				var writers sync.WaitGroup
				for range 4 {
					writers.Go(func() {
						for {
							mu.Lock()
							n++
							mine := n
							mu.Unlock()
							position, err := j.Append(ctx, sent(mine))
							if err != nil {
								return
							}
							mu.Lock()
							acknowledged[position] = mine
							if mine%40 == 0 && position > 30 {
								released = max(released, position-30)
								_ = j.Release(released) // the power may be gone
							}
							mu.Unlock()
						}
					})
				}
				writers.Wait()
				cuts++
			}
			next := t.TempDir()
			v.after(t, next)
			dir = next
		}
		j, err := Open(dir, Config{MaxBytes: 64 << 20, SegmentBytes: 4 * pageBytes}, quiet(), nil)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if _, err := holds(j, sent, acknowledged, released, firstMs); err != nil {
			t.Fatalf("seed %d, at the end: %v", seed, err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		kept += len(acknowledged)
	}
	if cuts < 50 || kept < 600 {
		t.Errorf("only %d cuts while writing and %d records acknowledged: the test tests little", cuts, kept)
	}
}

// holds checks what a journal has after a cut and returns how far it is released.
func holds(j Journal, sent func(int) *Record, acknowledged map[uint64]int, released uint64, firstMs int64) (uint64, error) {
	first := j.First()
	if first > released+1 {
		return 0, fmt.Errorf("it begins with %d, though only what is up to %d was released", first, released)
	}
	next := first
	err := j.Read(context.Background(), first, func(position uint64, r *Record) error {
		n := int(r.ArrivalMs - firstMs)
		if position != next {
			return fmt.Errorf("position %d, want %d", position, next)
		}
		next++
		if want := sent(n); r.Sender != want.Sender || string(r.Body) != string(want.Body) {
			return fmt.Errorf("position %d has another record than was sent", position)
		}
		if m, ok := acknowledged[position]; ok && m != n {
			return fmt.Errorf("position %d was acknowledged for record %d and has %d", position, m, n)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for position, n := range acknowledged {
		if position >= next {
			return 0, fmt.Errorf("record %d was acknowledged at %d; the journal ends before %d", n, position, next)
		}
	}
	return released, nil
}
