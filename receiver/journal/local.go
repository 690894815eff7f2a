package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// Local keeps the journal in segment files of a directory that no other process
// may use meanwhile. It is safe for concurrent use and owns no goroutine but the
// log's.
//
// Appends that come while a group is being synced make up the next group; the
// first of them writes it, with one fsync for all. A new segment is started
// before a group that would not fit, and every segment begins with a header that
// says which position comes next, so that positions go on after everything has
// been released.
type Local struct {
	dir     string
	cfg     Config
	logger  *slog.Logger
	disk    disk
	metrics *metrics
	lock    io.Closer // the directory's

	mu       sync.Mutex // never held across I/O
	open     *group     // who comes now joins it; guarded by mu
	closed   bool       // guarded by mu
	segments []segment  // oldest first, never empty, the last is the one to write to; guarded by mu
	bytes    int64      // of all segments; guarded by mu

	commitMu sync.Mutex // held while a group is written and synced
	log      log        // nil when none is open; guarded by commitMu
	broken   bool       // the log has failed and must be cut back before use; guarded by commitMu
	failed   error      // what could not be undone; guarded by commitMu

	releaseMu sync.Mutex // held while segments are removed
}

var _ Journal = (*Local)(nil)

// Open reads and checks everything in dir, cuts off a torn tail, and starts a
// new segment. Damage to what was durable is an error that names file and offset
// (CorruptError); nothing has been changed then.
func Open(dir string, cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Local, error) {
	return open(dir, cfg, logger, reg, localDisk(logger))
}

func open(dir string, cfg Config, logger *slog.Logger, reg prometheus.Registerer, d disk) (*Local, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := d.syncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("open journal: sync %s: %w", filepath.Dir(dir), err)
	}
	lock, _, err := fileutil.Flock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("open journal: lock %s (is another process using it?): %w", dir, err)
	}
	j := &Local{dir: dir, cfg: cfg, logger: logger, disk: d, metrics: newMetrics(reg), lock: releaser{lock}, open: newGroup()}
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), j.lock.Close())
	}
	if err := j.startLog(); err != nil {
		// A full disk must not keep the process from starting: it is the process
		// that releases segments.
		if !noSpace(err) || len(j.segments) == 0 {
			err = fmt.Errorf("open journal: %w", err)
			if j.log != nil {
				err = errors.Join(err, j.log.Close())
			}
			return nil, errors.Join(err, j.lock.Close())
		}
		logger.Warn("journal starts without room for a new segment", "dir", dir, "err", err)
	}
	j.registerGauges(reg)
	return j, nil
}

type releaser struct{ fileutil.Releaser }

func (r releaser) Close() error { return r.Release() }

// Close waits for the group being written. After it another process may open
// the directory, also when it returns an error.
func (j *Local) Close() error {
	j.mu.Lock()
	closed := j.closed
	j.closed = true
	j.mu.Unlock()
	if closed {
		return ErrClosed
	}
	j.commitMu.Lock()
	defer j.commitMu.Unlock()
	var err error
	switch {
	case j.log == nil:
	case j.broken || j.failed != nil:
		err = j.cut() // closing a failed log writes what was left in its buffer
	default:
		err = j.log.Close()
	}
	if noSpace(err) {
		err = nil // the log could not fill its last page; nothing acknowledged needs that
	}
	if err = errors.Join(err, j.lock.Close()); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// First returns the position of the oldest record kept.
func (j *Local) First() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segments[0].base
}

// Last returns the position of the newest durable record.
func (j *Local) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segments[len(j.segments)-1].last
}

// Release removes the segments that hold no position above position, but never
// the one that is written to.
func (j *Local) Release(position uint64) error {
	j.releaseMu.Lock()
	defer j.releaseMu.Unlock()
	for {
		j.mu.Lock()
		if j.closed {
			j.mu.Unlock()
			return ErrClosed
		}
		oldest, more := j.segments[0], len(j.segments) > 1
		j.mu.Unlock()
		if !more || oldest.last > position {
			return nil
		}
		// One by one, each durably gone before the next: after a power cut no
		// segment may be missing between two that are there.
		if err := errors.Join(j.disk.remove(j.name(oldest.index)), j.disk.syncDir(j.dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("release journal up to %d: %w", position, err)
		}
		j.mu.Lock()
		j.segments = j.segments[1:]
		j.bytes -= oldest.bytes
		j.mu.Unlock()
	}
}

// Read calls fn for every record from position from on.
func (j *Local) Read(ctx context.Context, from uint64, fn func(position uint64, r *Record) error) error {
	from = max(from, 1)
	j.mu.Lock()
	segments := append([]segment(nil), j.segments...)
	j.mu.Unlock()
	first, last := segments[0].base, segments[len(segments)-1].last
	if from < first {
		return fmt.Errorf("read journal from %d: it begins at %d: %w", from, first, ErrReleased)
	}
	if from > last+1 {
		return fmt.Errorf("read journal from %d: it ends at %d, records are missing: %w", from, last, ErrCorrupt)
	}
	for _, s := range segments {
		if s.last < s.base || s.last < from {
			continue
		}
		name := j.name(s.index)
		got, damage, err := scan(name, func(f *frame) error {
			if f.position < from {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(f.position, &f.rec); err != nil {
				return err
			}
			if f.position == s.last { // beyond it a group may be on its way
				return errStop
			}
			return nil
		})
		switch {
		case errors.Is(err, errStop):
		case errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("read journal from %d: %s is gone: %w", from, name, ErrReleased)
		case err != nil:
			return fmt.Errorf("read journal from %d: %w", from, err)
		default: // the segment ended before its last record
			if damage == nil {
				damage = errShort
			}
			return fmt.Errorf("read journal from %d: %w", from, &CorruptError{File: name, Offset: got.end, Reason: damage})
		}
	}
	return nil
}

func (j *Local) name(index int) string { return wlog.SegmentName(j.dir, index) }
