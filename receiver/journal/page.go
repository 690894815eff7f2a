package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// The layout of a log file, from tsdb/wlog: pages of 32 KiB; a record is one or
// more fragments, each a type, a length and a checksum before its bytes; no
// fragment crosses a page; what is left of a page is zeros.
const (
	pageBytes           = 32 << 10
	fragmentHeaderBytes = 7

	fragmentFull   = 1
	fragmentFirst  = 2
	fragmentMiddle = 3
	fragmentLast   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pageEnd rounds off up to the end of its page.
func pageEnd(off int64) int64 { return (off + pageBytes - 1) / pageBytes * pageBytes }

// endAfter returns how far a log file that ends at off is filled once a record
// of n bytes has been written to it.
func endAfter(off int64, n int) int64 {
	for first := true; first || n > 0; first = false {
		room := pageBytes - off%pageBytes - fragmentHeaderBytes
		if room < 0 { // the log fills a page that has no room for a header
			off = pageEnd(off)
			room = pageBytes - fragmentHeaderBytes
		}
		part := min(int64(n), room)
		off += fragmentHeaderBytes + part
		n -= int(part)
		if pageEnd(off)-off < fragmentHeaderBytes {
			off = pageEnd(off)
		}
	}
	return off
}

// recordAt returns the record that starts at off, appended to b, and where it
// ends. It answers false for anything but a whole record with good checksums.
func recordAt(data []byte, off int64, b []byte) (record []byte, end int64, ok bool) {
	for first := true; ; first = false {
		if off+fragmentHeaderBytes > int64(len(data)) {
			return b, off, false
		}
		kind := data[off]
		switch {
		case first && kind != fragmentFull && kind != fragmentFirst:
			return b, off, false
		case kind == fragmentFull && data[off+1]|data[off+2] == 0: // no frame is empty, and zeros would pass the checksum
			return b, off, false
		case !first && kind != fragmentMiddle && kind != fragmentLast:
			return b, off, false
		}
		n := int64(binary.BigEndian.Uint16(data[off+1:]))
		sum := binary.BigEndian.Uint32(data[off+3:])
		start := off + fragmentHeaderBytes
		if n > pageBytes-off%pageBytes-fragmentHeaderBytes || start+n > int64(len(data)) {
			return b, off, false
		}
		if crc32.Checksum(data[start:start+n], castagnoli) != sum {
			return b, off, false
		}
		b = append(b, data[start:start+n]...)
		off = start + n
		if pageEnd(off)-off < fragmentHeaderBytes {
			off = pageEnd(off)
		}
		if kind == fragmentFull || kind == fragmentLast {
			return b, off, true
		}
	}
}

// salvage calls fn for every whole record at or after off, until fn answers
// false. It looks at every byte: a flipped length hides where the next record
// starts.
func salvage(data []byte, off int64, fn func(off int64, record []byte) bool) {
	var b []byte
	for off < int64(len(data)) {
		record, end, ok := recordAt(data, off, b[:0])
		b = record
		if !ok {
			off++
			continue
		}
		if !fn(off, record) {
			return
		}
		off = end
	}
}
