package local

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

const (
	hourSeconds = 3600
	hourMs      = hourSeconds * 1000
	idBits      = 31 // holder, node and chunk ids are below 2^31
	idMask      = 1<<idBits - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A row is one holder's window with ids in place of names.
type row struct {
	start    int64 // Unix seconds
	holder   int32
	seconds  int32
	energy   [power.NumComponents]int64
	idle     int64
	counter  [power.NumComponents]int64
	seenMs   int32
	lastOff  int64 // newest sample, in milliseconds after start
	price    int32
	flags    uint8
	revision uint64
}

const flagIntegrated = 1

// rowKey orders rows by time, then id, in one integer: SQLite appends to a
// table keyed by an integer faster than to any other.
func rowKey(startSeconds int64, id int32) int64 { return startSeconds<<idBits | int64(id) }

func keyStart(key int64) int64 { return key >> idBits }
func keyID(key int64) int32    { return int32(key & idMask) }

// appendRow encodes what rowKey and the revision column do not say. A mask of
// the fields that are not zero goes first: most holders have no GPU.
func appendRow(dst []byte, r *row) []byte {
	at := len(dst)
	mask := uint16(0)
	dst = append(dst, 0, 0)
	put := func(bit int, v int64) {
		if v != 0 {
			mask |= 1 << bit
			dst = binary.AppendVarint(dst, v)
		}
	}
	for c := range r.energy {
		put(c, r.energy[c])
		put(c+4, r.counter[c])
	}
	put(8, r.idle)
	put(9, int64(r.flags))
	binary.LittleEndian.PutUint16(dst[at:], mask)
	dst = binary.AppendVarint(dst, int64(r.seconds))
	dst = binary.AppendVarint(dst, int64(r.seenMs))
	dst = binary.AppendVarint(dst, r.lastOff)
	dst = binary.AppendVarint(dst, int64(r.price))
	return binary.LittleEndian.AppendUint32(dst, rowSum(rowKey(r.start, r.holder), r.revision, dst[at:]))
}

// rowSum is the checksum of a payload in its place: a payload under another
// key or revision is as wrong as one with a flipped bit.
func rowSum(key int64, revision uint64, payload []byte) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], uint64(key))
	binary.LittleEndian.PutUint64(place[8:], revision)
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, payload)
}

// decodeRow reads what appendRow wrote into r.
func decodeRow(r *row, key int64, revision uint64, data []byte) error {
	if len(data) < 6 {
		return store.ErrCorrupt
	}
	payload := data[:len(data)-4]
	if binary.LittleEndian.Uint32(data[len(payload):]) != rowSum(key, revision, payload) {
		return store.ErrCorrupt
	}
	*r = row{start: keyStart(key), holder: keyID(key), revision: revision}
	mask := binary.LittleEndian.Uint16(payload)
	in := varints{b: payload[2:]}
	next := func(bit int) int64 {
		if mask&(1<<bit) == 0 {
			return 0
		}
		return in.next()
	}
	for c := range r.energy {
		r.energy[c] = next(c)
		r.counter[c] = next(c + 4)
	}
	r.idle = next(8)
	r.flags = uint8(next(9))
	r.seconds = in.next32()
	r.seenMs = in.next32()
	r.lastOff = in.next()
	r.price = in.next32()
	if in.bad || len(in.b) != 0 {
		return store.ErrCorrupt
	}
	return nil
}

// varints reads signed varints; bad is set once one is missing or too large.
type varints struct {
	b   []byte
	bad bool
}

func (in *varints) next() int64 {
	v, n := binary.Varint(in.b)
	if n <= 0 {
		in.bad, in.b = true, nil
		return 0
	}
	in.b = in.b[n:]
	return v
}

func (in *varints) next32() int32 {
	v := in.next()
	if v < math.MinInt32 || v > math.MaxInt32 {
		in.bad = true
		return 0
	}
	return int32(v)
}
