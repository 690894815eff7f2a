package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// A frame is what one log record holds: a header of fixed size, the sender, the
// body. All numbers are little endian.
//
//	0      kind: 1 record, 2 segment header, 3 record of some clusters
//	1      protocol
//	2      encoding
//	3      zero
//	4:12   position; in a segment header, the position its first record will have
//	12:20  durable: the newest position known durable when this frame was written
//	20:28  arrival, Unix milliseconds
//	28:32  length of the whole frame
//	32:34  length of the sender
//	34:    sender; of kind 3 the length of the clusters in 2 bytes and the
//	       clusters, joined by zero bytes; body
//
// The log has a checksum per fragment, not per record, and takes a page of zeros
// for padding, so a lost page in the middle of a record passes its checks. The
// length of the whole frame catches that.
//
// durable is what tells a torn tail from damage. A power cut may keep the end of
// a group and lose its beginning; nothing of that group was acknowledged unless a
// later frame says so.
const (
	kindRecord   = 1
	kindSegment  = 2
	kindConfined = 3

	frameHeaderBytes = 34
	maxSenderBytes   = math.MaxUint16
	maxClustersBytes = math.MaxUint16
)

// errShort says that a frame lacks bytes: pages of it were lost.
var errShort = errors.New("frame lacks bytes")

// frame is a decoded frame. rec.Body points into the bytes it was decoded from.
type frame struct {
	kind     uint8
	position uint64
	durable  uint64
	rec      Record
}

// appendFrame encodes r to b with position and durable left to place.
func appendFrame(b []byte, r *Record) ([]byte, error) {
	if err := checkProtocol(r.Protocol, r.Encoding); err != nil {
		return b, err
	}
	if len(r.Sender) > maxSenderBytes {
		return b, fmt.Errorf("sender of %d bytes exceeds %d", len(r.Sender), maxSenderBytes)
	}
	kind, clusters := byte(kindRecord), []byte(nil)
	if r.Clusters != nil {
		joined := strings.Join(r.Clusters, "\x00")
		if len(joined) > maxClustersBytes {
			return b, fmt.Errorf("clusters of %d bytes exceed %d", len(joined), maxClustersBytes)
		}
		kind = kindConfined
		clusters = append(binary.LittleEndian.AppendUint16(nil, uint16(len(joined))), joined...)
	}
	size := int64(frameHeaderBytes) + int64(len(r.Sender)) + int64(len(clusters)) + int64(len(r.Body))
	if size > math.MaxUint32 {
		return b, fmt.Errorf("body of %d bytes: %w", len(r.Body), ErrTooLarge)
	}
	b = append(b, kind, byte(r.Protocol), byte(r.Encoding), 0)
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.ArrivalMs))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(r.Sender)))
	b = append(b, r.Sender...)
	b = append(b, clusters...)
	return append(b, r.Body...), nil
}

// segmentFrame is the first frame of a segment whose first record will be base.
// With it a segment knows its place when every record before it has been released.
func segmentFrame(base uint64) []byte {
	b := make([]byte, frameHeaderBytes)
	b[0] = kindSegment
	binary.LittleEndian.PutUint32(b[28:], frameHeaderBytes)
	place(b, base, base-1)
	return b
}

// place writes the numbers that are known only when a group is committed.
func place(b []byte, position, durable uint64) {
	binary.LittleEndian.PutUint64(b[4:], position)
	binary.LittleEndian.PutUint64(b[12:], durable)
}

// decode reads b into f. f.rec.Sender is kept if it is the same as before, so
// that a run of records from one sender allocates nothing.
func (f *frame) decode(b []byte) error {
	if len(b) < frameHeaderBytes {
		return errShort
	}
	if b[0] < kindRecord || b[0] > kindConfined {
		return fmt.Errorf("unknown frame kind %d: written by a newer version?", b[0])
	}
	size := int64(binary.LittleEndian.Uint32(b[28:]))
	if int64(len(b)) < size {
		return errShort
	}
	sender := frameHeaderBytes + int64(binary.LittleEndian.Uint16(b[32:]))
	if int64(len(b)) > size || sender > size {
		return fmt.Errorf("frame of %d bytes says it has %d, %d of them before the body", len(b), size, sender)
	}
	f.kind = b[0]
	f.position = binary.LittleEndian.Uint64(b[4:])
	f.durable = binary.LittleEndian.Uint64(b[12:])
	if f.position == 0 || f.durable >= f.position {
		return fmt.Errorf("frame at position %d says that %d is durable", f.position, f.durable)
	}
	if f.kind == kindSegment {
		if size != frameHeaderBytes || b[1]|b[2]|b[3] != 0 {
			return errors.New("segment header holds a record")
		}
		return nil
	}
	f.rec.Protocol, f.rec.Encoding = Protocol(b[1]), Encoding(b[2])
	if err := checkProtocol(f.rec.Protocol, f.rec.Encoding); err != nil {
		return err
	}
	f.rec.ArrivalMs = int64(binary.LittleEndian.Uint64(b[20:]))
	if s := b[frameHeaderBytes:sender]; f.rec.Sender != string(s) {
		f.rec.Sender = string(s)
	}
	f.rec.Clusters, f.rec.Body = nil, b[sender:]
	if f.kind != kindConfined {
		return nil
	}
	if len(f.rec.Body) < 2 {
		return errors.New("frame ends before its clusters")
	}
	end := 2 + int(binary.LittleEndian.Uint16(f.rec.Body))
	if end > len(f.rec.Body) {
		return errors.New("frame ends before its clusters do")
	}
	f.rec.Clusters = strings.Split(string(f.rec.Body[2:end]), "\x00")
	f.rec.Body = f.rec.Body[end:]
	return nil
}

// record reports whether f holds a record.
func (f *frame) record() bool { return f.kind == kindRecord || f.kind == kindConfined }

func checkProtocol(p Protocol, e Encoding) error {
	if p != V1 && p != V2 {
		return fmt.Errorf("unknown protocol %d", p)
	}
	if e != Snappy && e != Zstd {
		return fmt.Errorf("unknown encoding %d", e)
	}
	return nil
}
