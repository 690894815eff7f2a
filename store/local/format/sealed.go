package format

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/wattledger/wattledger/store"
)

// A sealed blob holds the rows of one holder in one hour, sorted by start:
//
//	version, number of rows, columns, CRC-32C of key and everything before
//
// A counter is stored as what the counter before and the energy since do not
// explain, supposing that the energy after the newest sample came at the
// window's mean rate. That is 0 where samples fall on window edges.

const (
	sealedVersion = 1
	MaxHourRows   = HourSeconds // a window is at least a second
)

// AppendSealed encodes rows of one holder and hour, sorted by start.
func AppendSealed(dst []byte, key int64, rows []Row) []byte {
	at := len(dst)
	dst = append(dst, sealedVersion)
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	hour := KeyStart(key)
	col := make([]int64, len(rows))
	put := func(f func(i int) int64) {
		for i := range rows {
			col[i] = f(i)
		}
		dst = appendColumn(dst, col)
	}
	put(func(i int) int64 { return rows[i].Start - hour })
	put(func(i int) int64 { return int64(rows[i].Seconds) })
	put(func(i int) int64 { return int64(rows[i].SeenMs) })
	put(func(i int) int64 { return rows[i].LastOff })
	put(func(i int) int64 { return int64(rows[i].Price) })
	put(func(i int) int64 { return int64(rows[i].Flags) })
	put(func(i int) int64 { return int64(rows[i].Revision) })
	put(func(i int) int64 { return rows[i].Idle })
	for c := range rows[0].Energy {
		put(func(i int) int64 { return rows[i].Energy[c] })
		// The first counter has nothing before it and would widen the column.
		dst = binary.AppendVarint(dst, rows[0].Counter[c])
		for i := 1; i < len(rows); i++ {
			col[i] = rows[i].Counter[c] - rows[i-1].Counter[c] - rows[i].step(&rows[i-1], c)
		}
		dst = appendColumn(dst, col[1:])
	}
	return binary.LittleEndian.AppendUint32(dst, blobSum(key, dst[at:]))
}

// step guesses how far a counter went from the newest sample of one window to
// that of the next. Any guess would do; it only has to be the same every time,
// so it is made of integers, and those may wrap.
func (r *Row) step(before *Row, c int) int64 {
	return r.Energy[c] - r.tail(c) + before.tail(c)
}

// tail guesses the energy after the newest sample of a window.
func (r *Row) tail(c int) int64 {
	length := int64(r.Seconds) * 1000
	if length <= 0 || r.LastOff < 0 || r.LastOff >= length {
		return 0
	}
	return r.Energy[c] / length * (length - r.LastOff)
}

func blobSum(key int64, b []byte) uint32 {
	var place [8]byte
	binary.LittleEndian.PutUint64(place[:], uint64(key))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, b)
}

// openBlob checks the checksum and version of a blob and returns the number
// of rows and what follows it.
func openBlob(key int64, b []byte, version byte, maxRows uint64) (n int, rest []byte, err error) {
	if len(b) < 6 {
		return 0, nil, store.ErrCorrupt
	}
	body := b[:len(b)-4]
	if binary.LittleEndian.Uint32(b[len(body):]) != blobSum(key, body) || body[0] != version {
		return 0, nil, store.ErrCorrupt
	}
	rows, k := binary.Uvarint(body[1:])
	if k <= 0 || rows == 0 || rows > maxRows {
		return 0, nil, store.ErrCorrupt
	}
	return int(rows), body[1+k:], nil
}

// A SealedReader decodes sealed blobs; its buffers are reused from blob to blob.
type SealedReader struct {
	rows []Row
	col  []int64
}

// Read returns the rows of a blob, good until the next call.
func (s *SealedReader) Read(key int64, b []byte) ([]Row, error) {
	n, b, err := openBlob(key, b, sealedVersion, MaxHourRows)
	if err != nil {
		return nil, err
	}
	return s.decode(key, n, b)
}

// decode is safe on any bytes.
func (s *SealedReader) decode(key int64, n int, b []byte) ([]Row, error) {
	if cap(s.rows) < n {
		s.rows = make([]Row, max(n, 64))
		s.col = make([]int64, max(n, 64))
	}
	rows, col := s.rows[:n], s.col[:n]
	var err error
	column := func(set func(r *Row, v int64)) {
		if err != nil {
			return
		}
		if b, err = readColumn(b, col); err != nil {
			return
		}
		for i := range rows {
			set(&rows[i], col[i])
		}
	}
	hour, holder := KeyStart(key), KeyID(key)
	column(func(r *Row, v int64) { *r = Row{Start: hour + v, Holder: holder} })
	column(func(r *Row, v int64) { r.Seconds = int32(v) })
	column(func(r *Row, v int64) { r.SeenMs = int32(v) })
	column(func(r *Row, v int64) { r.LastOff = v })
	column(func(r *Row, v int64) { r.Price = int32(v) })
	column(func(r *Row, v int64) { r.Flags = uint8(v) })
	column(func(r *Row, v int64) { r.Revision = uint64(v) })
	column(func(r *Row, v int64) { r.Idle = v })
	for c := range rows[0].Energy {
		column(func(r *Row, v int64) { r.Energy[c] = v })
		if err != nil {
			return nil, err
		}
		in := varints{b: b}
		rows[0].Counter[c] = in.next()
		if in.bad {
			return nil, store.ErrCorrupt
		}
		if b, err = readColumn(in.b, col[1:]); err != nil {
			return nil, err
		}
		for i := 1; i < n; i++ {
			rows[i].Counter[c] = col[i] + rows[i-1].Counter[c] + rows[i].step(&rows[i-1], c)
		}
	}
	if len(b) != 0 {
		return nil, store.ErrCorrupt
	}
	return rows, nil
}
