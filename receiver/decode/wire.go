package decode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/wattledger/wattledger/receiver/journal"
)

// Wire types of protobuf. Groups are not part of proto3 and are refused.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// maxField is the highest field number protobuf allows.
const maxField = 1<<29 - 1

// uvarint reads a varint of b at i and returns where it ends, or -1. Like every
// protobuf reader it drops the bits of a tenth byte that do not fit.
func uvarint(b []byte, i int) (uint64, int) {
	if i < len(b) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return uvarintLong(b, i)
}

func uvarintLong(b []byte, i int) (v uint64, next int) {
	for shift := 0; shift < 70 && i < len(b); shift += 7 {
		c := b[i]
		i++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, i
		}
	}
	return 0, -1
}

// field reads a tag of b at i.
func field(b []byte, i int) (number, wireType, next int, err error) {
	tag, next := uvarint(b, i)
	if next < 0 {
		return 0, 0, 0, malformed("tag", i)
	}
	if tag>>3 == 0 {
		return 0, 0, 0, malformed("field number 0", i)
	}
	if tag>>3 > maxField {
		return 0, 0, 0, stricter("field number too large", i)
	}
	return int(tag >> 3), int(tag & 7), next, nil
}

// span reads a length of b at i and returns the bounds of what it is the length of.
func span(b []byte, i int) (start, end int, err error) {
	n, start := uvarint(b, i)
	if start < 0 || n > uint64(len(b)-start) {
		return 0, 0, malformed("length", i)
	}
	return start, start + int(n), nil
}

// skip returns where the field of an unknown number that starts at i ends.
func skip(b []byte, i, wireType int) (next int, err error) {
	switch wireType {
	case wireVarint:
		if _, next = uvarint(b, i); next >= 0 {
			return next, nil
		}
	case wireFixed64:
		if len(b)-i >= 8 {
			return i + 8, nil
		}
	case wireBytes:
		_, next, err = span(b, i)
		return next, err
	case wireFixed32:
		if len(b)-i >= 4 {
			return i + 4, nil
		}
	case 3:
		return 0, stricter("group", i)
	default:
		return 0, malformed("wire type", i)
	}
	return 0, malformed("truncated field", i)
}

// varintField and fixedField read the value of a known field, checking its wire type.
func varintField(b []byte, i, wireType int) (v uint64, next int, err error) {
	if wireType != wireVarint {
		return 0, 0, malformed("wire type", i)
	}
	if v, next = uvarint(b, i); next < 0 {
		return 0, 0, malformed("varint", i)
	}
	return v, next, nil
}

func fixedField(b []byte, i, wireType int) (v uint64, next int, err error) {
	if wireType != wireFixed64 {
		return 0, 0, malformed("wire type", i)
	}
	if len(b)-i < 8 {
		return 0, 0, malformed("fixed64", i)
	}
	return binary.LittleEndian.Uint64(b[i:]), i + 8, nil
}

func bytesField(b []byte, i, wireType int) (start, end int, err error) {
	if wireType != wireBytes {
		return 0, 0, malformed("wire type", i)
	}
	return span(b, i)
}

// varints calls fn for each value of a repeated varint field, packed or not.
func varints(b []byte, i, wireType int, fn func(uint64)) (next int, err error) {
	if wireType == wireVarint {
		v, next := uvarint(b, i)
		if next < 0 {
			return 0, malformed("varint", i)
		}
		fn(v)
		return next, nil
	}
	start, end, err := bytesField(b, i, wireType)
	if err != nil {
		return 0, err
	}
	packed := b[:end]
	for i := start; i < end; {
		v, next := uvarint(packed, i)
		if next < 0 {
			return 0, stricter("packed varint", i)
		}
		fn(v)
		i = next
	}
	return end, nil
}

// doubles calls fn for each value of a repeated double field, packed or not.
func doubles(b []byte, i, wireType int, fn func(float64)) (next int, err error) {
	if wireType == wireFixed64 {
		v, next, err := fixedField(b, i, wireType)
		if err == nil {
			fn(math.Float64frombits(v))
		}
		return next, err
	}
	start, end, err := bytesField(b, i, wireType)
	if err != nil {
		return 0, err
	}
	if (end-start)%8 != 0 {
		return 0, stricter("packed double", i)
	}
	for i := start; i < end; i += 8 {
		fn(math.Float64frombits(binary.LittleEndian.Uint64(b[i:])))
	}
	return end, nil
}

// A point is one sample of a request.
type point struct {
	tMs     int64
	startMs int64
	value   float64
}

// sample reads a Sample message of either protocol; 1.0 has no start timestamp.
func sample(b []byte, protocol journal.Protocol) (p point, err error) {
	for i := 0; i < len(b); {
		number, wireType, at, err := field(b, i)
		if err != nil {
			return p, err
		}
		var v uint64
		switch {
		case number == 1:
			v, i, err = fixedField(b, at, wireType)
			p.value = math.Float64frombits(v)
		case number == 2:
			v, i, err = varintField(b, at, wireType)
			p.tMs = int64(v)
		case number == 3 && protocol == journal.V2:
			v, i, err = varintField(b, at, wireType)
			p.startMs = int64(v)
		default:
			i, err = skip(b, at, wireType)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// snappyMaxExpansion bounds how much larger than its input a snappy block can
// be: the densest element turns 3 bytes into 64.
const snappyMaxExpansion = 22

// decompress puts the decoded body into q.raw. The size is checked before
// anything is allocated for it.
func (d *Decoder) decompress(q *Request, encoding journal.Encoding, body []byte) (err error) {
	if len(body) == 0 {
		return fmt.Errorf("%w: empty body", ErrCompression)
	}
	switch encoding {
	case journal.Snappy:
		n, err := snappy.DecodedLen(body)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCompression, err)
		}
		if n > d.limits.MaxDecodedBytes {
			return overLimit("max_decoded_bytes", d.limits.MaxDecodedBytes)
		}
		if n > snappyMaxExpansion*len(body) {
			return fmt.Errorf("%w: %d bytes cannot hold %d", ErrCompression, len(body), n)
		}
		// Decode uses what it is given only if its length, not its capacity, suffices.
		if q.raw, err = snappy.Decode(q.raw[:cap(q.raw)], body); err != nil {
			return fmt.Errorf("%w: %w", ErrCompression, err)
		}
	case journal.Zstd:
		if err := singleFrame(body); err != nil {
			return fmt.Errorf("%w: %w", ErrCompression, err)
		}
		q.raw, err = d.zstd.DecodeAll(body, q.raw[:0])
		if isZstdTooLarge(err) {
			return overLimit("max_decoded_bytes", d.limits.MaxDecodedBytes)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCompression, err)
		}
	default:
		return fmt.Errorf("%w: encoding %d", ErrCompression, encoding)
	}
	return nil
}

// decodedLen returns how many bytes a body says it has when decoded, and the
// most it may have where it does not say.
func (d *Decoder) decodedLen(encoding journal.Encoding, body []byte) int {
	most := uint64(d.limits.MaxDecodedBytes)
	if said, ok := saidLen(encoding, body); ok {
		return int(min(said, most))
	}
	return int(most)
}

// CheckSize refuses a body whose beginning says that it unpacks to more than is
// taken.
func (d *Decoder) CheckSize(encoding journal.Encoding, beginning []byte) error {
	if said, ok := saidLen(encoding, beginning); ok && said > uint64(d.limits.MaxDecodedBytes) {
		return overLimit("max_decoded_bytes", d.limits.MaxDecodedBytes)
	}
	return nil
}

// saidLen returns what a body says it unpacks to, if it does.
func saidLen(encoding journal.Encoding, body []byte) (n uint64, ok bool) {
	if encoding == journal.Snappy {
		n, err := snappy.DecodedLen(body)
		return uint64(n), err == nil
	}
	var header zstd.Header
	err := header.Decode(body)
	return header.FrameContentSize, err == nil && header.HasFCS
}

// singleFrame checks that a zstd body is one frame, as every sender writes it.
// For each further frame the decoder copies all that came before, so that a
// body of many small ones would cost the square of its size.
func singleFrame(body []byte) error {
	var header zstd.Header
	if err := header.Decode(body); err != nil {
		return err
	}
	if header.Skippable {
		return errors.New("zstd: skippable frame")
	}
	at := header.HeaderSize
	for last := false; !last; {
		if len(body)-at < 3 {
			return io.ErrUnexpectedEOF
		}
		block := int(body[at]) | int(body[at+1])<<8 | int(body[at+2])<<16
		last = block&1 != 0
		size := block >> 3
		if block>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		at += 3 + size
	}
	if header.HasCheckSum {
		at += 4
	}
	switch {
	case at > len(body):
		return io.ErrUnexpectedEOF
	case at < len(body):
		return errors.New("zstd: more than one frame")
	}
	return nil
}

// A wireError is a body that protobuf cannot read. Strict ones are read by
// gogo/protobuf, which is more lenient than the format.
type wireError struct {
	what   string
	at     int // offset within its message
	strict bool
}

func (e *wireError) Error() string {
	return fmt.Sprintf("malformed protobuf: %s at byte %d of its message", e.what, e.at)
}

func (e *wireError) Is(target error) bool { return target == ErrMalformed }

func malformed(what string, at int) error { return &wireError{what: what, at: at} }
func stricter(what string, at int) error  { return &wireError{what: what, at: at, strict: true} }

// isStricter reports whether err is a body that gogo/protobuf would read.
func isStricter(err error) bool {
	var e *wireError
	return errors.As(err, &e) && e.strict
}
