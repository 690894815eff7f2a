package format

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

const (
	HourSeconds = 3600
	HourMs      = HourSeconds * 1000
	IDBits      = 31 // holder, node and chunk ids are below 2^31
	IDMask      = 1<<IDBits - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Row is one holder's window with ids in place of names.
type Row struct {
	Start    int64 // Unix seconds
	Holder   int32
	Seconds  int32
	Energy   [power.NumComponents]int64
	Idle     int64
	Counter  [power.NumComponents]int64
	SeenMs   int32
	LastOff  int64 // newest sample, in milliseconds after start
	Price    int32
	Flags    uint8
	Revision uint64
}

const Integrated = 1

// Key orders rows by time, then id, in one integer: SQLite appends to a
// table keyed by an integer faster than to any other.
func Key(startSeconds int64, id int32) int64 { return startSeconds<<IDBits | int64(id) }

func KeyStart(key int64) int64 { return key >> IDBits }
func KeyID(key int64) int32    { return int32(key & IDMask) }

// AppendRow encodes what rowKey and the revision column do not say. A mask of
// the fields that are not zero goes first: most holders have no GPU.
func AppendRow(dst []byte, r *Row) []byte {
	at := len(dst)
	mask := uint16(0)
	dst = append(dst, 0, 0)
	put := func(bit int, v int64) {
		if v != 0 {
			mask |= 1 << bit
			dst = binary.AppendVarint(dst, v)
		}
	}
	for c := range r.Energy {
		put(c, r.Energy[c])
		put(c+4, r.Counter[c])
	}
	put(8, r.Idle)
	put(9, int64(r.Flags))
	binary.LittleEndian.PutUint16(dst[at:], mask)
	dst = binary.AppendVarint(dst, int64(r.Seconds))
	dst = binary.AppendVarint(dst, int64(r.SeenMs))
	dst = binary.AppendVarint(dst, r.LastOff)
	dst = binary.AppendVarint(dst, int64(r.Price))
	return binary.LittleEndian.AppendUint32(dst, rowSum(Key(r.Start, r.Holder), r.Revision, dst[at:]))
}

// rowSum is the checksum of a payload in its place: a payload under another
// key or revision is as wrong as one with a flipped bit.
func rowSum(key int64, revision uint64, payload []byte) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], uint64(key))
	binary.LittleEndian.PutUint64(place[8:], revision)
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, payload)
}

// DecodeRow reads what appendRow wrote into r.
func DecodeRow(r *Row, key int64, revision uint64, data []byte) error {
	if len(data) < 6 {
		return store.ErrCorrupt
	}
	payload := data[:len(data)-4]
	if binary.LittleEndian.Uint32(data[len(payload):]) != rowSum(key, revision, payload) {
		return store.ErrCorrupt
	}
	*r = Row{Start: KeyStart(key), Holder: KeyID(key), Revision: revision}
	mask := binary.LittleEndian.Uint16(payload)
	in := varints{b: payload[2:]}
	next := func(bit int) int64 {
		if mask&(1<<bit) == 0 {
			return 0
		}
		return in.next()
	}
	for c := range r.Energy {
		r.Energy[c] = next(c)
		r.Counter[c] = next(c + 4)
	}
	r.Idle = next(8)
	r.Flags = uint8(next(9))
	r.Seconds = in.next32()
	r.SeenMs = in.next32()
	r.LastOff = in.next()
	r.Price = in.next32()
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

// HourOf returns the start of the hour that a moment lies in.
func HourOf(seconds int64) int64 { return seconds - seconds%HourSeconds }
