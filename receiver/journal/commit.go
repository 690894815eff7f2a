package journal

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A group is the appends that share one fsync.
type group struct {
	entries []*entry      // guarded by Local.mu while the group is open
	done    chan struct{} // closed when every entry has its outcome
}

// An entry is one append. Its owner waits for done before it reads the outcome.
type entry struct {
	frame    []byte
	position uint64
	err      error
}

func newGroup() *group { return &group{done: make(chan struct{})} }

// entries are pooled for their frames. One oversized body must not stay for ever.
var entryPool = sync.Pool{New: func() any { return new(entry) }}

const maxPooledFrameBytes = 1 << 20

func putEntry(e *entry) {
	if cap(e.frame) <= maxPooledFrameBytes {
		entryPool.Put(e)
	}
}

// headerEnd is where the first record of a segment begins.
var headerEnd = endAfter(0, frameHeaderBytes)

// Append makes r durable and returns its position.
func (j *Local) Append(ctx context.Context, r *Record) (uint64, error) {
	position, err := j.append(ctx, r)
	if err != nil {
		j.metrics.fail(err)
		return 0, fmt.Errorf("append to journal: %w", err)
	}
	return position, nil
}

func (j *Local) append(ctx context.Context, r *Record) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	e := entryPool.Get().(*entry)
	defer putEntry(e)
	var err error
	e.position, e.err = 0, nil
	if e.frame, err = appendFrame(e.frame[:0], r); err != nil {
		return 0, err
	}
	if endAfter(headerEnd, len(e.frame)) > int64(j.cfg.SegmentBytes) {
		return 0, fmt.Errorf("record of %d bytes, segment_bytes %d: %w", len(e.frame), j.cfg.SegmentBytes, ErrTooLarge)
	}

	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return 0, ErrClosed
	}
	g := j.open
	leads := len(g.entries) == 0
	g.entries = append(g.entries, e)
	j.mu.Unlock()

	if !leads {
		<-g.done
		return e.position, e.err
	}
	// The first of a group writes it. While it waits for the group before,
	// others join.
	j.commitMu.Lock()
	j.mu.Lock()
	j.open = newGroup()
	j.mu.Unlock()
	j.commit(g.entries)
	j.commitMu.Unlock()
	close(g.done)
	return e.position, e.err
}

// commit gives every entry its outcome. Entries that do not fit in one segment
// are written in turns, each durable before the next.
func (j *Local) commit(entries []*entry) {
	for len(entries) > 0 {
		n, end, err := j.makeRoom(entries)
		if err == nil {
			err = j.write(entries[:n], end)
		}
		if err != nil {
			for _, e := range entries {
				e.err = err
			}
			return
		}
		entries = entries[n:]
	}
}

// makeRoom returns how many of entries go into the current segment, at least
// one, and where it ends then. It starts a new segment when none fits.
func (j *Local) makeRoom(entries []*entry) (n int, end int64, err error) {
	j.mu.Lock()
	closed := j.closed
	current, free := j.segments[len(j.segments)-1], j.cfg.MaxBytes-j.bytes
	j.mu.Unlock()
	if closed {
		return 0, 0, ErrClosed
	}
	if j.failed != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrFailed, j.failed)
	}
	full := func(need int64) error {
		return fmt.Errorf("%w: max_bytes %d, %d free, %d needed", ErrFull, j.cfg.MaxBytes, free, need)
	}
	if j.broken {
		if err := j.undo(nil); err != nil {
			return 0, 0, err
		}
	}
	if need := endAfter(current.end, len(entries[0].frame)); j.log == nil || need > int64(j.cfg.SegmentBytes) {
		need = pageEnd(current.end) - current.end + endAfter(headerEnd, len(entries[0].frame))
		if need > free {
			return 0, 0, full(need)
		}
		if err := j.startSegment(); err != nil {
			return 0, 0, err
		}
		j.mu.Lock()
		current, free = j.segments[len(j.segments)-1], j.cfg.MaxBytes-j.bytes
		j.mu.Unlock()
	}
	end = current.end
	for _, e := range entries {
		next := endAfter(end, len(e.frame))
		if next > int64(j.cfg.SegmentBytes) || next-current.end > free {
			break
		}
		end = next
		n++
	}
	if n == 0 {
		return 0, 0, full(endAfter(current.end, len(entries[0].frame)) - current.end)
	}
	return n, end, nil
}

// write makes entries durable in the current segment, which ends at end then.
func (j *Local) write(entries []*entry, end int64) error {
	j.mu.Lock()
	current := j.segments[len(j.segments)-1]
	j.mu.Unlock()

	frames := make([][]byte, len(entries))
	bytes := 0
	for i, e := range entries {
		place(e.frame, current.last+1+uint64(i), current.last)
		frames[i] = e.frame
		bytes += len(e.frame)
	}
	if err := j.log.Log(frames...); err != nil {
		return j.undo(fmt.Errorf("write %d records to %s: %w", len(entries), j.name(current.index), err))
	}
	if err := j.sync(); err != nil {
		return j.undo(fmt.Errorf("sync %s: %w", j.name(current.index), err))
	}

	j.mu.Lock()
	s := &j.segments[len(j.segments)-1]
	s.last += uint64(len(entries))
	j.bytes += end - s.bytes
	s.end, s.bytes = end, end
	j.mu.Unlock()
	for i, e := range entries {
		e.position = current.last + 1 + uint64(i)
	}
	j.metrics.group.Observe(float64(len(entries)))
	j.metrics.records.Add(float64(len(entries)))
	j.metrics.recordBytes.Add(float64(bytes))
	return nil
}

func (j *Local) sync() error {
	start := time.Now()
	err := j.log.Sync()
	j.metrics.fsync.Observe(time.Since(start).Seconds())
	return err
}

// startSegment goes on to a new segment. The one that is left is durable: every
// group in it was synced, so that it does not matter that the log only logs it
// when the sync on leaving fails.
func (j *Local) startSegment() error {
	if j.log == nil {
		return j.classify(j.startLog())
	}
	if _, err := j.log.NextSegmentSync(); err != nil {
		return j.undo(fmt.Errorf("start segment: %w", err))
	}
	j.mu.Lock()
	left := &j.segments[len(j.segments)-1]
	padding := pageEnd(left.bytes) - left.bytes // leaving a segment fills its last page
	left.bytes += padding
	j.bytes += padding
	j.mu.Unlock()
	if err := j.writeHeader(); err != nil {
		return j.undo(fmt.Errorf("start segment: %w", err))
	}
	return nil
}

// startLog opens a log, which starts a new segment.
func (j *Local) startLog() error {
	if err := j.removeUnborn(); err != nil {
		return fmt.Errorf("start segment: %w", err)
	}
	l, err := j.disk.open(j.dir, j.cfg.SegmentBytes)
	if err != nil {
		return fmt.Errorf("start segment: %w", err)
	}
	j.log = l
	if err := j.writeHeader(); err != nil {
		j.broken = true
		return fmt.Errorf("start segment: %w", err)
	}
	return nil
}

// writeHeader makes the header of a new segment durable, and the file itself.
func (j *Local) writeHeader() error {
	index, base := 0, uint64(1)
	j.mu.Lock()
	n := len(j.segments)
	if n > 0 {
		index, base = j.segments[n-1].index+1, j.segments[n-1].last+1
	}
	j.mu.Unlock()
	if err := j.log.Log(segmentFrame(base)); err != nil {
		return fmt.Errorf("write %s: %w", j.name(index), err)
	}
	if err := j.sync(); err != nil {
		return fmt.Errorf("sync %s: %w", j.name(index), err)
	}
	if err := j.disk.syncDir(j.dir); err != nil {
		return fmt.Errorf("sync %s: %w", j.dir, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = append(j.segments, segment{index: index, base: base, last: base - 1, end: headerEnd, bytes: headerEnd})
	j.bytes += headerEnd
	return nil
}

// undo takes back what a failed step has left on disk and returns the error to
// answer with. If it cannot, the journal has failed.
func (j *Local) undo(cause error) error {
	j.broken = true
	if cause != nil {
		j.metrics.undone.Inc()
	}
	err := j.cut()
	if err == nil {
		return j.classify(cause)
	}
	if j.failed == nil { // the log could not be closed yet; the next append tries again
		if cause == nil {
			cause = err
		}
		return j.classify(cause)
	}
	j.metrics.failedToUndo.Set(1)
	j.logger.Error("journal has failed and takes nothing until restart", "cause", cause, "err", err)
	if cause == nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return fmt.Errorf("%w: %w; undo: %w", ErrFailed, cause, err)
}

// cut brings the disk back to the last durable record and gives up the log,
// which keeps parts of failed records in its buffer.
func (j *Local) cut() error {
	j.mu.Lock()
	current := j.segments[len(j.segments)-1]
	j.mu.Unlock()
	name := j.name(current.index)
	truncate := func() error {
		if err := j.disk.truncate(name, current.end); err != nil {
			j.failed = fmt.Errorf("cut %s to %d: %w", name, current.end, err)
			return j.failed
		}
		return nil
	}
	// Twice: the first gives back the space that closing may need, and closing
	// writes what was left in the log's buffer.
	if err := truncate(); err != nil {
		return err
	}
	if j.log != nil {
		if err := j.log.Close(); err != nil {
			return fmt.Errorf("close %s: %w", name, err)
		}
		j.log = nil
	}
	if err := truncate(); err != nil {
		return err
	}
	if err := j.removeUnborn(); err != nil {
		return err
	}
	j.mu.Lock()
	s := &j.segments[len(j.segments)-1]
	j.bytes += s.end - s.bytes
	s.bytes = s.end
	j.mu.Unlock()
	j.broken = false
	return nil
}

// removeUnborn removes segments after the last good one: their headers did not
// become durable.
func (j *Local) removeUnborn() error {
	indexes, err := j.list()
	if err != nil {
		return err
	}
	j.mu.Lock()
	last := -1
	if n := len(j.segments); n > 0 {
		last = j.segments[n-1].index
	}
	j.mu.Unlock()
	for _, index := range indexes {
		if index > last {
			if err := j.removeDurably(index); err != nil {
				return err
			}
		}
	}
	return nil
}

// classify makes a lack of space ErrFull: somebody may make room.
func (j *Local) classify(err error) error {
	if err != nil && noSpace(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
