package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// A segment is one file: a header, then the records base to last.
type segment struct {
	index int
	base  uint64
	last  uint64 // base-1 when it holds none
	end   int64  // where its last record ends
	bytes int64  // size of the file
}

// errStop ends a scan early.
var errStop = errors.New("stop")

// scan reads a segment and calls fn for each record. The frame is good until fn
// returns. damage says what ended the good part at end: a checksum, a missing
// page, a position out of turn. Without a good header base is 0.
func scan(name string, fn func(f *frame) error) (s segment, damage, err error) {
	in, err := wlog.OpenReadSegment(name)
	if err != nil {
		return s, nil, err
	}
	defer in.Close()
	s.index = in.Index()
	stat, err := in.Stat()
	if err != nil {
		return s, nil, err
	}
	s.bytes = stat.Size()

	r := wlog.NewReader(wlog.NewSegmentBufReader(in))
	var f frame
	for r.Next() {
		if err := f.decode(r.Record()); errors.Is(err, errShort) {
			return s, err, nil
		} else if err != nil {
			return s, nil, &CorruptError{File: name, Offset: s.end, Reason: err}
		}
		switch {
		case s.base == 0 && f.kind == kindSegment:
			s.base, s.last = f.position, f.position-1
		case s.base == 0:
			return s, errors.New("no segment header"), nil
		case !f.record() || f.position != s.last+1:
			return s, fmt.Errorf("position %d, want %d", f.position, s.last+1), nil
		default:
			if err := fn(&f); err != nil {
				return s, nil, err
			}
			s.last = f.position
		}
		s.end = r.Offset()
	}
	if err := r.Err(); err != nil {
		var c *wlog.CorruptionErr
		if errors.As(err, &c) {
			err = c.Err
		}
		return s, err, nil
	}
	// The log's reader takes the beginning of a record that is followed by
	// padding for the end of the log.
	tail, err := readFrom(name, s.end)
	if err != nil {
		return s, nil, err
	}
	if len(bytes.Trim(tail, "\x00")) > 0 {
		return s, errors.New("last record is torn"), nil
	}
	if s.base == 0 {
		return s, errors.New("no segment header"), nil
	}
	if s.bytes > pageEnd(s.end) {
		return s, errors.New("zeros follow the last record"), nil // more than a page is filled with
	}
	return s, nil, nil
}

func readFrom(name string, off int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(off, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// load checks all segments and takes note of them.
//
// Where the good part of the last segment ends, the question is whether what
// follows was ever durable. It was if a later frame says so, and then the journal
// is damaged; otherwise it is the torn tail of a group that was not acknowledged,
// or the very last record, and is cut off.
func (j *Local) load() error {
	indexes, err := j.list()
	if err != nil {
		return err
	}
	if indexes, err = j.dropUnborn(indexes); err != nil {
		return err
	}
	for i, index := range indexes {
		name := j.name(index)
		s, damage, err := scan(name, func(*frame) error { return nil })
		if err != nil {
			return err
		}
		if s.base == 0 {
			return &CorruptError{File: name, Offset: 0, Reason: damage}
		}
		if i > 0 && s.base != j.segments[i-1].last+1 {
			prev := j.segments[i-1]
			return &CorruptError{File: j.name(prev.index), Offset: prev.end,
				Reason: fmt.Errorf("it ends with position %d, but %s begins with %d", prev.last, filepath.Base(name), s.base)}
		}
		if damage != nil {
			if err := j.cutTorn(&s, damage, indexes[i+1:]); err != nil {
				return err
			}
		}
		j.segments = append(j.segments, s)
		j.bytes += s.bytes
	}
	// A segment without records is dropped as soon as another remembers where the
	// positions go on, or restarts in a row would each leave one.
	if n := len(j.segments); n > 1 && j.segments[n-1].last < j.segments[n-1].base {
		if err := j.removeDurably(j.segments[n-1].index); err != nil {
			return err
		}
		j.bytes -= j.segments[n-1].bytes
		j.segments = j.segments[:n-1]
	}
	return nil
}

// list returns the indexes of the segments there are.
func (j *Local) list() ([]int, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, err
	}
	var indexes []int
	for _, e := range entries {
		if k, err := strconv.Atoi(e.Name()); err == nil {
			indexes = append(indexes, k)
		}
	}
	sort.Ints(indexes)
	for i := 1; i < len(indexes); i++ {
		if want := indexes[i-1] + 1; indexes[i] != want {
			return nil, &CorruptError{File: j.name(want), Reason: errors.New("segment is missing")}
		}
	}
	return indexes, nil
}

// dropUnborn removes a last segment whose header never became durable. Nothing
// is written behind a header before it is.
func (j *Local) dropUnborn(indexes []int) ([]int, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	n := len(indexes) - 1
	name := j.name(indexes[n])
	s, damage, err := scan(name, func(*frame) error { return errStop })
	if s.base != 0 || err != nil && !errors.Is(err, errStop) {
		if errors.Is(err, errStop) {
			err = nil
		}
		return indexes, err
	}
	off, err := j.recordAfter(name, 0, 0)
	if err != nil {
		return nil, err
	}
	if off >= 0 || n == 0 && indexes[0] > 0 {
		return nil, &CorruptError{File: name, Offset: 0, Reason: damage}
	}
	j.logger.Warn("removed a journal segment that was never finished", "file", name, "bytes", s.bytes, "reason", damage)
	return indexes[:n], j.removeDurably(indexes[n])
}

// cutTorn cuts s back to its good part, or answers that what follows was durable.
func (j *Local) cutTorn(s *segment, damage error, later []int) error {
	name := j.name(s.index)
	corrupt := &CorruptError{File: name, Offset: s.end, Reason: damage}
	if len(later) > 0 {
		// The next segment says how far this one had come when it was left.
		next, _, err := scan(j.name(later[0]), func(*frame) error { return errStop })
		if err != nil && !errors.Is(err, errStop) {
			return err
		}
		if next.base != s.last+1 {
			return corrupt
		}
	} else {
		off, err := j.recordAfter(name, s.end, s.last+1)
		if err != nil {
			return err
		}
		if off >= 0 {
			corrupt.Reason = fmt.Errorf("%w, and a good record follows at %d", damage, off)
			return corrupt
		}
	}
	if err := j.disk.truncate(name, s.end); err != nil {
		return fmt.Errorf("cut off torn record: %w", err)
	}
	j.metrics.tornBytes.Add(float64(s.bytes - s.end))
	j.logger.Warn("cut off a torn record at the end of the journal",
		"file", name, "offset", s.end, "bytes", s.bytes-s.end, "last_position", s.last, "reason", damage)
	s.bytes = s.end
	return nil
}

// recordAfter returns the offset of a good record at or after off that was
// written when position durable was already durable, or -1.
func (j *Local) recordAfter(name string, off int64, durable uint64) (int64, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return -1, err
	}
	found := int64(-1)
	salvage(data, off, func(off int64, record []byte) bool {
		var f frame
		if f.decode(record) == nil && f.record() && f.durable >= durable {
			found = off
		}
		return found < 0
	})
	return found, nil
}

func (j *Local) removeDurably(index int) error {
	if err := j.disk.remove(j.name(index)); err != nil {
		return err
	}
	return j.disk.syncDir(j.dir)
}
