package local

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
	maxHourRows   = hourSeconds // a window is at least a second
)

// appendSealed encodes rows of one holder and hour, sorted by start.
func appendSealed(dst []byte, key int64, rows []row) []byte {
	at := len(dst)
	dst = append(dst, sealedVersion)
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	hour := keyStart(key)
	col := make([]int64, len(rows))
	put := func(f func(i int) int64) {
		for i := range rows {
			col[i] = f(i)
		}
		dst = appendColumn(dst, col)
	}
	put(func(i int) int64 { return rows[i].start - hour })
	put(func(i int) int64 { return int64(rows[i].seconds) })
	put(func(i int) int64 { return int64(rows[i].seenMs) })
	put(func(i int) int64 { return rows[i].lastOff })
	put(func(i int) int64 { return int64(rows[i].price) })
	put(func(i int) int64 { return int64(rows[i].flags) })
	put(func(i int) int64 { return int64(rows[i].revision) })
	put(func(i int) int64 { return rows[i].idle })
	for c := range rows[0].energy {
		put(func(i int) int64 { return rows[i].energy[c] })
		// The first counter has nothing before it and would widen the column.
		dst = binary.AppendVarint(dst, rows[0].counter[c])
		for i := 1; i < len(rows); i++ {
			col[i] = rows[i].counter[c] - rows[i-1].counter[c] - rows[i].step(&rows[i-1], c)
		}
		dst = appendColumn(dst, col[1:])
	}
	return binary.LittleEndian.AppendUint32(dst, blobSum(key, dst[at:]))
}

// step guesses how far a counter went from the newest sample of one window to
// that of the next. Any guess would do; it only has to be the same every time,
// so it is made of integers, and those may wrap.
func (r *row) step(before *row, c int) int64 {
	return r.energy[c] - r.tail(c) + before.tail(c)
}

// tail guesses the energy after the newest sample of a window.
func (r *row) tail(c int) int64 {
	length := int64(r.seconds) * 1000
	if length <= 0 || r.lastOff < 0 || r.lastOff >= length {
		return 0
	}
	return r.energy[c] / length * (length - r.lastOff)
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

// A sealedReader decodes sealed blobs; its buffers are reused from blob to blob.
type sealedReader struct {
	rows []row
	col  []int64
}

// read returns the rows of a blob, good until the next call.
func (s *sealedReader) read(key int64, b []byte) ([]row, error) {
	n, b, err := openBlob(key, b, sealedVersion, maxHourRows)
	if err != nil {
		return nil, err
	}
	return s.decode(key, n, b)
}

// decode is safe on any bytes.
func (s *sealedReader) decode(key int64, n int, b []byte) ([]row, error) {
	if cap(s.rows) < n {
		s.rows = make([]row, max(n, 64))
		s.col = make([]int64, max(n, 64))
	}
	rows, col := s.rows[:n], s.col[:n]
	var err error
	column := func(set func(r *row, v int64)) {
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
	hour, holder := keyStart(key), keyID(key)
	column(func(r *row, v int64) { *r = row{start: hour + v, holder: holder} })
	column(func(r *row, v int64) { r.seconds = int32(v) })
	column(func(r *row, v int64) { r.seenMs = int32(v) })
	column(func(r *row, v int64) { r.lastOff = v })
	column(func(r *row, v int64) { r.price = int32(v) })
	column(func(r *row, v int64) { r.flags = uint8(v) })
	column(func(r *row, v int64) { r.revision = uint64(v) })
	column(func(r *row, v int64) { r.idle = v })
	for c := range rows[0].energy {
		column(func(r *row, v int64) { r.energy[c] = v })
		if err != nil {
			return nil, err
		}
		in := varints{b: b}
		rows[0].counter[c] = in.next()
		if in.bad {
			return nil, store.ErrCorrupt
		}
		if b, err = readColumn(in.b, col[1:]); err != nil {
			return nil, err
		}
		for i := 1; i < n; i++ {
			rows[i].counter[c] = col[i] + rows[i-1].counter[c] + rows[i].step(&rows[i-1], c)
		}
	}
	if len(b) != 0 {
		return nil, store.ErrCorrupt
	}
	return rows, nil
}
