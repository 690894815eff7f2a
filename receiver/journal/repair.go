package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/wattledger/wattledger/internal/durable"
)

// A Loss is a run of records that cannot be read any more.
type Loss struct {
	From, To uint64 // positions
	// SinceMs and UntilMs are when the records before and after came, in Unix
	// milliseconds; 0 where there is none.
	SinceMs, UntilMs int64
	// Beyond: nobody knows how many there were, only that there must be so many.
	Beyond bool
}

// standIn is what stands in the place of a record that is lost, so that positions
// have no gap: a request without a sample.
var standIn = Record{Protocol: V1, Encoding: Snappy, Sender: "wattledger repair", Body: []byte{0}}

// Repair makes a journal whole again that Verify finds damaged: records that can
// be read stay as and where they are, each that cannot is replaced by one without
// samples, and the journal reaches at least up to position. Segments that had to
// be changed are kept in aside as they were. Nobody may use the journal meanwhile.
func Repair(dir, aside string, position uint64) ([]Loss, error) {
	losses, err := repair(dir, aside, position)
	if err != nil {
		return nil, fmt.Errorf("repair journal: %w", err)
	}
	return losses, nil
}

func repair(dir, aside string, position uint64) ([]Loss, error) {
	r := repairing{}
	indexes, err := (&Local{dir: dir}).list()
	if c := (*CorruptError)(nil); errors.As(err, &c) {
		return nil, fmt.Errorf("%w; the segments after it cannot be put in their place", err)
	}
	if err != nil || len(indexes) == 0 {
		return nil, err
	}
	for i, index := range indexes {
		name := wlog.SegmentName(dir, index)
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		until := uint64(0) // the position the next segment goes on with
		if i+1 < len(indexes) {
			next, err := os.ReadFile(wlog.SegmentName(dir, indexes[i+1]))
			if err != nil {
				return nil, err
			}
			until = readSegment("", next).base
		} else if r.last < position {
			until = position + 1
		}
		whole, changed := r.segment(data, until)
		if !changed {
			continue
		}
		if err := replace(name, filepath.Join(aside, "journal"), whole); err != nil {
			return nil, err
		}
	}
	return r.losses, nil
}

// repairing goes through the segments of a journal in their order.
type repairing struct {
	last      uint64 // position of the newest record seen
	arrivalMs int64  // when it came
	losses    []Loss
}

// segment returns a segment with its good records and with others in the place
// of the bad, up to the one before position until if that is not 0, and whether
// that is another than data.
func (r *repairing) segment(data []byte, until uint64) (whole []byte, changed bool) {
	var frames [][]byte
	add := func(frame []byte) { frames = append(frames, frame) }
	fill := func(next uint64, untilMs int64, beyond bool) {
		if next <= r.last+1 {
			return
		}
		r.losses = append(r.losses, Loss{From: r.last + 1, To: next - 1, SinceMs: r.arrivalMs, UntilMs: untilMs, Beyond: beyond})
		for r.last+1 < next {
			x := standIn
			x.ArrivalMs = r.arrivalMs
			frame, err := appendFrame(nil, &x)
			if err != nil {
				panic(err) // it is a constant
			}
			place(frame, r.last+1, r.last)
			add(frame)
			r.last++
		}
	}
	got := readSegment("", data)
	base := got.base
	if r.last > 0 {
		base = r.last + 1
	}
	begun := false
	begin := func(at uint64) {
		if !begun {
			begun = true
			add(segmentFrame(at))
			r.last = at - 1
		}
	}
	if base != 0 {
		begin(base)
	}
	readSegment("", data, func(f *frame) {
		begin(f.position)
		if f.position <= r.last { // out of turn
			return
		}
		fill(f.position, f.rec.ArrivalMs, false)
		frame, err := appendFrame(nil, &f.rec)
		if err != nil {
			panic(err) // it has been read as one
		}
		place(frame, f.position, f.durable)
		add(frame)
		r.last, r.arrivalMs = f.position, f.rec.ArrivalMs
	})
	if until == 0 && !begun {
		until = 1
	}
	if until != 0 {
		begin(until)
		fill(until, 0, true)
	}
	return encodeLog(frames), len(got.holes) > 0 || until != 0 && until != got.next || base != got.base
}

// encodeLog lays records out as the log does; see page.go.
func encodeLog(records [][]byte) []byte {
	var b []byte
	for _, record := range records {
		for first := true; first || len(record) > 0; first = false {
			room := pageEnd(int64(len(b))+1) - int64(len(b)) - fragmentHeaderBytes
			if room < 0 {
				b = append(b, make([]byte, room+fragmentHeaderBytes)...)
				room = pageBytes - fragmentHeaderBytes
			}
			part := record[:min(int64(len(record)), room)]
			record = record[len(part):]
			kind := byte(fragmentMiddle)
			switch {
			case first && len(record) == 0:
				kind = fragmentFull
			case first:
				kind = fragmentFirst
			case len(record) == 0:
				kind = fragmentLast
			}
			b = append(b, kind)
			b = binary.BigEndian.AppendUint16(b, uint16(len(part)))
			b = binary.BigEndian.AppendUint32(b, crc32.Checksum(part, castagnoli))
			b = append(b, part...)
		}
		if left := pageEnd(int64(len(b))) - int64(len(b)); left < fragmentHeaderBytes {
			b = append(b, make([]byte, left)...)
		}
	}
	return b
}

// replace puts data in the place of a file, durably, and keeps the file in aside.
// At every moment one of the two is there under its name.
func replace(name, aside string, data []byte) error {
	if err := SetAside(name, aside); err != nil {
		return err
	}
	temp := filepath.Join(aside, filepath.Base(name)+".new")
	if err := os.WriteFile(temp, data, 0o640); err != nil {
		return err
	}
	f, err := os.Open(temp)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close(), os.Rename(temp, name)); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(aside), durable.SyncDir(filepath.Dir(name)))
}

// SetAside gives a file a second name in a folder.
func SetAside(name, aside string) error {
	if err := os.MkdirAll(aside, 0o750); err != nil {
		return err
	}
	if err := os.Link(name, filepath.Join(aside, filepath.Base(name))); err != nil {
		return err
	}
	return durable.SyncDir(aside)
}

// RemoveSnapshot moves a snapshot into a folder.
func RemoveSnapshot(dir string, position uint64, aside string) error {
	name := snapshotName(dir, position)
	if err := SetAside(name, aside); err != nil {
		return fmt.Errorf("set a snapshot aside: %w", err)
	}
	return errors.Join(os.Remove(name), durable.SyncDir(dir))
}

// BadSnapshots returns the positions of the snapshots that cannot be read.
func (v *Verified) BadSnapshots(dir string) (positions []uint64) {
	all, err := Snapshots(dir)
	if err != nil {
		return nil
	}
	for _, p := range all {
		if slices.ContainsFunc(v.Problems, func(c CorruptError) bool { return c.File == snapshotName(dir, p) }) {
			positions = append(positions, p)
		}
	}
	return positions
}
