package local

import (
	"encoding/binary"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// sums is what rows of one id under one price add up to. The id is a holder
// in hourly sums and a space (see dims.go) in the sums by namespace.
type sums struct {
	id      int32
	price   int32
	holders int32 // sums by namespace: distinct holders of the space, on its first entry only
	energy  [power.NumComponents]int64
	idle    int64
	seenMs  int64
	heldMs  int64
	lastMs  int64
	// revision is the highest of the rows'; it orders restatements of an hour.
	revision uint64
}

func (r *row) sums() sums {
	return sums{
		id: r.holder, price: r.price, energy: r.energy, idle: r.idle,
		seenMs: int64(r.seenMs), heldMs: int64(r.seconds) * 1000,
		lastMs: r.start*1000 + r.lastOff, revision: r.revision,
	}
}

// add adds b to s and reports whether the sum fits; if not, s is unchanged.
func (s *sums) add(b *sums) bool {
	t := *s
	ok := true
	for c := range t.energy {
		ok = addTo(&t.energy[c], b.energy[c]) && ok
	}
	ok = addTo(&t.idle, b.idle) && addTo(&t.seenMs, b.seenMs) && addTo(&t.heldMs, b.heldMs) && ok
	if !ok {
		return false
	}
	t.lastMs = max(t.lastMs, b.lastMs)
	t.revision = max(t.revision, b.revision)
	*s = t
	return true
}

func addTo(a *int64, b int64) bool {
	c := *a + b
	if (c > *a) != (b > 0) && b != 0 {
		return false
	}
	*a = c
	return true
}

// accumulate adds s to the entry of list that has its id and price, looking at
// entries from index from on, or appends it. Where a sum would not fit into 64
// bits it starts a second entry for the same price: nothing wraps.
func accumulate(list []sums, from int, s sums) []sums {
	for i := from; i < len(list); i++ {
		if list[i].id == s.id && list[i].price == s.price && list[i].add(&s) {
			return list
		}
	}
	return append(list, s)
}

const (
	sumsVersion = 1
	maxSums     = 1 << 20
)

// appendSums encodes entries as a blob under key.
func appendSums(dst []byte, key int64, list []sums) []byte {
	at := len(dst)
	dst = append(dst, sumsVersion)
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	col := make([]int64, len(list))
	put := func(f func(s *sums) int64) {
		for i := range list {
			col[i] = f(&list[i])
		}
		dst = appendColumn(dst, col)
	}
	put(func(s *sums) int64 { return int64(s.id) })
	put(func(s *sums) int64 { return int64(s.price) })
	put(func(s *sums) int64 { return int64(s.holders) })
	put(func(s *sums) int64 { return s.idle })
	put(func(s *sums) int64 { return s.seenMs })
	put(func(s *sums) int64 { return s.heldMs })
	put(func(s *sums) int64 { return s.lastMs })
	put(func(s *sums) int64 { return int64(s.revision) })
	for c := range power.NumComponents {
		put(func(s *sums) int64 { return s.energy[c] })
	}
	return binary.LittleEndian.AppendUint32(dst, blobSum(key, dst[at:]))
}

// A sumsReader decodes blobs of sums; its buffers are reused.
type sumsReader struct {
	list []sums
	col  []int64
}

// read returns the entries of a blob, good until the next call.
func (r *sumsReader) read(key int64, b []byte) ([]sums, error) {
	n, b, err := openBlob(key, b, sumsVersion, maxSums)
	if err != nil {
		return nil, err
	}
	return r.decode(n, b)
}

func (r *sumsReader) decode(n int, b []byte) ([]sums, error) {
	if cap(r.list) < n {
		r.list = make([]sums, max(n, 64))
		r.col = make([]int64, max(n, 64))
	}
	list, col := r.list[:n], r.col[:n]
	var err error
	column := func(set func(s *sums, v int64)) {
		if err != nil {
			return
		}
		if b, err = readColumn(b, col); err != nil {
			return
		}
		for i := range list {
			set(&list[i], col[i])
		}
	}
	column(func(s *sums, v int64) { s.id = int32(v) })
	column(func(s *sums, v int64) { s.price = int32(v) })
	column(func(s *sums, v int64) { s.holders = int32(v) })
	column(func(s *sums, v int64) { s.idle = v })
	column(func(s *sums, v int64) { s.seenMs = v })
	column(func(s *sums, v int64) { s.heldMs = v })
	column(func(s *sums, v int64) { s.lastMs = v })
	column(func(s *sums, v int64) { s.revision = uint64(v) })
	for c := range power.NumComponents {
		column(func(s *sums, v int64) { s.energy[c] = v })
	}
	if err != nil {
		return nil, err
	}
	if len(b) != 0 {
		return nil, store.ErrCorrupt
	}
	return list, nil
}
