package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// faults makes a step of the disk fail: before it took effect, after it, or
// halfway. A fault is used up after times failures.
type faults struct {
	mu    sync.Mutex
	step  string
	mode  string // before, after, short
	err   error
	times int
	fired int
	inner disk
	dir   string
}

const always = 1 << 30

func (f *faults) set(step, mode string, err error, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.step, f.mode, f.err, f.times, f.fired = step, mode, err, times, 0
}

func (f *faults) do(step string, effect func() error) error {
	f.mu.Lock()
	hit := f.step == step && f.times > 0
	mode, err := f.mode, f.err
	if hit {
		f.times--
		f.fired++
	}
	f.mu.Unlock()
	if !hit {
		return effect()
	}
	if mode == "before" {
		return err
	}
	if err := effect(); err != nil {
		return err
	}
	if mode == "short" {
		f.shorten()
	}
	return err
}

// shorten takes 300 bytes off the newest segment: a write that came to its end early.
func (f *faults) shorten() {
	_, last, err := wlog.Segments(f.dir)
	if err != nil {
		panic(err)
	}
	name := wlog.SegmentName(f.dir, last)
	stat, err := os.Stat(name)
	if err != nil {
		panic(err)
	}
	if err := os.Truncate(name, max(0, stat.Size()-300)); err != nil {
		panic(err)
	}
}

func (f *faults) disk() disk {
	return disk{
		open: func(dir string, segmentBytes int) (log, error) {
			var l log
			err := f.do("open", func() (err error) {
				l, err = f.inner.open(dir, segmentBytes)
				return err
			})
			if err != nil {
				if l != nil {
					_ = l.Close()
				}
				return nil, err
			}
			return &faultyLog{l, f}, nil
		},
		truncate: func(name string, size int64) error {
			return f.do("truncate", func() error { return f.inner.truncate(name, size) })
		},
		remove:  func(name string) error { return f.do("remove", func() error { return f.inner.remove(name) }) },
		syncDir: func(dir string) error { return f.do("syncDir", func() error { return f.inner.syncDir(dir) }) },
	}
}

type faultyLog struct {
	log
	f *faults
}

func (l *faultyLog) Log(records ...[]byte) error {
	return l.f.do("log", func() error { return l.log.Log(records...) })
}
func (l *faultyLog) Sync() error { return l.f.do("sync", l.log.Sync) }
func (l *faultyLog) NextSegmentSync() (n int, err error) {
	err = l.f.do("next", func() error { n, err = l.log.NextSegmentSync(); return err })
	return n, err
}

// Close fails before or not at all: the real one cannot be called again after it
// has succeeded.
func (l *faultyLog) Close() error { return l.f.do("close", l.log.Close) }

// Every step fails in every way, once and for good, with an error that stays and
// one that goes. Whatever happens: what was acknowledged is there in order, what
// was refused is not (unless the journal has failed), and positions have no holes.
func TestEveryStepFailsBothWays(t *testing.T) {
	for _, step := range []string{"log", "sync", "next", "open", "close", "truncate", "remove", "syncDir"} {
		for _, mode := range []string{"before", "after", "short"} {
			if step == "close" && mode != "before" || step != "log" && mode == "short" {
				continue
			}
			for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
				for _, times := range []int{1, 2, always} {
					name := fmt.Sprintf("%s/%s/%v/%d", step, mode, cause, times)
					t.Run(name, func(t *testing.T) { failStep(t, step, mode, cause, times) })
				}
			}
		}
	}
}

func failStep(t *testing.T, step, mode string, cause error, times int) {
	dir := t.TempDir()
	f := &faults{inner: localDisk(quiet()), dir: dir}
	j, err := open(dir, Config{MaxBytes: 64 << 20, SegmentBytes: 4 * pageBytes}, quiet(), nil, f.disk())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	want := map[uint64]Record{}
	n := 0
	appendSome := func(count, size int) (refused int, last error) {
		for range count {
			n++
			r := record(n, size)
			position, err := j.Append(ctx, r)
			if err != nil {
				refused, last = refused+1, err
				continue
			}
			if position != uint64(len(want))+1 {
				t.Fatalf("position %d, want %d", position, len(want)+1)
			}
			want[position] = *r
		}
		return refused, last
	}
	if refused, err := appendSome(7, 9000); refused > 0 {
		t.Fatal(err)
	}

	f.set(step, mode, cause, times)
	// Some steps come only after another has failed.
	second := true
	switch step {
	case "close", "truncate", "open":
		log := j.log.(*faultyLog)
		log.log = &failOnce{log: log.log}
	case "remove":
		inner, done := j.disk.syncDir, false
		j.disk.syncDir = func(dir string) error {
			if !done {
				done = true
				return syscall.EIO
			}
			return inner(dir)
		}
	default:
		second = false
	}
	refused, last := appendSome(25, 9000) // crosses segments
	if f.fired == 0 {
		t.Fatal("the fault did not fire")
	}
	if refused == 0 {
		t.Fatal("nothing was refused")
	}
	failed := errors.Is(last, ErrFailed)
	if last != nil && !second && times == always && cause == syscall.ENOSPC && !failed && !errors.Is(last, ErrFull) {
		t.Errorf("no space answers %v, want ErrFull", last)
	}
	if failed != (step == "truncate") {
		t.Errorf("journal failed: %v (%v); a failed truncation alone cannot be undone", failed, last)
	}
	if last != nil && !errors.Is(last, cause) && !second {
		t.Errorf("refused with %v, which does not name %v", last, cause)
	}

	// Once the fault is gone, a journal that has not failed goes on by itself.
	f.set("", "", nil, 0)
	refused, last = appendSome(4, 9000)
	if failed && (refused != 4 || !errors.Is(last, ErrFailed)) {
		t.Errorf("a failed journal refuses %d of 4, %v; want all with ErrFailed", refused, last)
	}
	if !failed && refused > 0 {
		t.Errorf("refuses %d of 4 after the fault: %v", refused, last)
	}
	sameRecords(t, readAll(t, j, 1), want)
	mustClose(t, j)

	j = mustOpen(t, dir, small)
	sameRecords(t, readAll(t, j, 1), want)
	if got := mustAppend(t, j, record(1, 10)); got != uint64(len(want))+1 {
		t.Errorf("position %d after reopening, want %d", got, len(want)+1)
	}
}

// failOnce is a log whose next write reaches the disk and is reported failed.
type failOnce struct {
	log
	done bool
}

func (l *failOnce) Log(records ...[]byte) error {
	if err := l.log.Log(records...); err != nil || l.done {
		return err
	}
	l.done = true
	return syscall.EIO
}

// A fault in the middle of many writers refuses whole groups and nothing else.
func TestFaultsBetweenConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	f := &faults{inner: localDisk(quiet()), dir: dir}
	j, err := open(dir, Config{MaxBytes: 64 << 20, SegmentBytes: 8 * pageBytes}, quiet(), nil, f.disk())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	want := map[uint64]Record{}
	refused := 0
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 60 {
				if w == 0 && i%6 == 5 {
					step := []string{"log", "sync", "next", "syncDir"}[i/6%4]
					mode := []string{"before", "after"}[i/6%2]
					f.set(step, mode, syscall.EIO, 1)
				}
				r := record(w*1000+i, 500+w*200)
				position, err := j.Append(context.Background(), r)
				mu.Lock()
				if err != nil {
					refused++
				} else if _, taken := want[position]; taken {
					t.Errorf("position %d handed out twice", position)
				} else {
					want[position] = *r
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if refused == 0 {
		t.Error("no fault was met")
	}
	sameRecords(t, readAll(t, j, 1), want)
	mustClose(t, j)
	j = mustOpen(t, dir, small)
	sameRecords(t, readAll(t, j, 1), want)
}
