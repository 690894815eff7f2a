package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// Verified is what Verify read, and what it found.
type Verified struct {
	Problems  []CorruptError
	Segments  int
	Records   int
	Snapshots int
}

// Verify reads a journal without changing anything and checks every byte of its
// segments. It may run beside the process that uses the journal, running: then
// segments may go, and the end of the last is still being written.
//
// It is stricter than Open, which asks what is lost: here a torn tail is a
// finding, too, because a flipped bit looks like it.
func Verify(dir string, running bool) (Verified, error) {
	var v Verified
	j := &Local{dir: dir}
	indexes, err := j.list()
	if c := (*CorruptError)(nil); errors.As(err, &c) {
		v.Problems = append(v.Problems, *c)
		return v, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("verify journal: %w", err)
	}
	next := uint64(0) // position the segment should begin with; 0 for the first
	for i, index := range indexes {
		name := wlog.SegmentName(dir, index)
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && running {
			continue // released meanwhile
		}
		if err != nil {
			return v, fmt.Errorf("verify journal: %w", err)
		}
		s := readSegment(name, data)
		for _, h := range s.holes {
			if h.ends && i == len(indexes)-1 {
				if running {
					continue
				}
				h.reason = fmt.Errorf("%w; an interrupted write looks like this, too, and then a start cuts it off", h.reason)
			}
			v.Problems = append(v.Problems, CorruptError{File: name, Offset: h.from, Reason: h.reason})
		}
		if next != 0 && s.base != 0 && s.base != next {
			v.Problems = append(v.Problems, CorruptError{File: name, Reason: fmt.Errorf("it begins with record %d, but the segment before ends with %d", s.base, next-1)})
		}
		v.Segments++
		v.Records += s.records
		next = s.next
	}
	return v, nil
}

// VerifySnapshots does the same for the snapshots in dir.
func VerifySnapshots(dir string) (Verified, error) {
	var v Verified
	positions, err := Snapshots(dir)
	if err != nil {
		return v, fmt.Errorf("verify snapshots: %w", err)
	}
	for _, position := range positions {
		err := ReadSnapshotAt(dir, position, func(uint64, io.Reader) error { return nil })
		var c *CorruptError
		switch {
		case errors.As(err, &c):
			v.Problems = append(v.Problems, *c)
		case errors.Is(err, fs.ErrNotExist): // replaced meanwhile
		case err != nil:
			return v, fmt.Errorf("verify snapshots: %w", err)
		default:
			v.Snapshots++
		}
	}
	return v, nil
}

// A hole is a stretch of a segment that holds no record that can be read.
type hole struct {
	from, to int64
	reason   error
	ends     bool // no record follows that says that what was here had been durable
}

// A reading is everything that can be read of a segment, whatever lies between.
type reading struct {
	base    uint64 // 0 without a good header
	next    uint64 // position after the last record, 0 if there is neither
	records int
	holes   []hole
}

// readSegment goes through a segment byte by byte. each, if given, is called
// for every good record.
func readSegment(name string, data []byte, each ...func(f *frame)) reading {
	var s reading
	var b []byte
	for off := int64(0); off < int64(len(data)); {
		record, end, ok := recordAt(data, off, b[:0])
		b = record
		var f frame
		reason := errChecksum
		if ok {
			if err := f.decode(record); err != nil {
				ok, reason = false, err
			}
		}
		if !ok {
			if len(bytes.Trim(data[off:], "\x00")) == 0 && int64(len(data)) <= pageEnd(off) {
				return s // a segment that is left is filled up to the end of its page
			}
			end = goodRecordAfter(data, off+1)
			s.holes = append(s.holes, hole{from: off, to: end, reason: reason, ends: true})
			off = end
			continue
		}
		if err := s.take(&f); err != nil {
			s.holes = append(s.holes, hole{from: off, to: off, reason: err})
		}
		if at := paddingBefore(data, off, end); at >= 0 {
			s.holes = append(s.holes, hole{from: at, to: at, reason: errors.New("padding is not zero")})
		}
		for _, fn := range each {
			if f.kind == kindRecord {
				fn(&f)
			}
		}
		off = end
	}
	if s.base == 0 && len(s.holes) == 0 {
		s.holes = append(s.holes, hole{reason: fmt.Errorf("%s has no segment header", filepath.Base(name)), ends: true})
	}
	return s
}

// take notes a frame and says how it does not fit what came before.
func (s *reading) take(f *frame) error {
	first := s.base == 0 && s.records == 0
	expected := s.next
	if f.kind == kindSegment {
		if !first {
			return errors.New("a segment header in the middle")
		}
		s.base, s.next = f.position, f.position
		return nil
	}
	s.next = f.position + 1
	s.records++
	// That it knows of a record here means that the hole before held what was durable.
	if n := len(s.holes); n > 0 && f.durable >= max(expected, 1) {
		for i := range s.holes {
			s.holes[i].ends = false
		}
	}
	switch {
	case f.position == expected, first && len(s.holes) > 0:
		return nil
	case expected != 0 && f.position > expected && len(s.holes) > 0:
		h := &s.holes[len(s.holes)-1]
		h.reason = fmt.Errorf("%w: records %d to %d cannot be read", h.reason, expected, f.position-1)
		return nil
	case first:
		return errors.New("no segment header")
	}
	return fmt.Errorf("record %d, want %d", f.position, expected)
}

// goodRecordAfter returns where the next record is that can be read, or the end.
func goodRecordAfter(data []byte, off int64) int64 {
	at := int64(len(data))
	salvage(data, off, func(found int64, record []byte) bool {
		var f frame
		if f.decode(record) != nil {
			return true
		}
		at = found
		return false
	})
	return at
}

// paddingBefore returns where the few bytes between a record that starts at off
// and the page's end at end, if there are any, are not zero, or -1.
func paddingBefore(data []byte, off, end int64) int64 {
	last := off // the record's last fragment
	for {
		n := fragmentHeaderBytes + int64(data[last+1])<<8 + int64(data[last+2])
		stop := last + n
		next := stop
		if pageEnd(next)-next < fragmentHeaderBytes {
			next = pageEnd(next)
		}
		for at := stop; at < min(next, int64(len(data))); at++ {
			if data[at] != 0 {
				return at
			}
		}
		if next >= end {
			return -1
		}
		last = next
	}
}
