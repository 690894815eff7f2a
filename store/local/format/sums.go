package format

import (
	"encoding/binary"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Sums is what rows of one id under one price add up to. The id is a holder
// in hourly Sums and a space (see dims.go) in the Sums by namespace.
type Sums struct {
	ID      int32
	Price   int32
	Holders int32 // sums by namespace: distinct holders of the space, on its first entry only
	Energy  [power.NumComponents]int64
	Idle    int64
	SeenMs  int64
	HeldMs  int64
	LastMs  int64
	// Revision is the highest of the rows'; it orders restatements of an hour.
	Revision uint64
}

func (r *Row) Sums() Sums {
	return Sums{
		ID: r.Holder, Price: r.Price, Energy: r.Energy, Idle: r.Idle,
		SeenMs: int64(r.SeenMs), HeldMs: int64(r.Seconds) * 1000,
		LastMs: r.Start*1000 + r.LastOff, Revision: r.Revision,
	}
}

// Add adds b to s and reports whether the sum fits; if not, s is unchanged.
func (s *Sums) Add(b *Sums) bool {
	t := *s
	ok := true
	for c := range t.Energy {
		ok = power.AddChecked(&t.Energy[c], b.Energy[c]) && ok
	}
	ok = power.AddChecked(&t.Idle, b.Idle) && power.AddChecked(&t.SeenMs, b.SeenMs) && power.AddChecked(&t.HeldMs, b.HeldMs) && ok
	if !ok {
		return false
	}
	t.LastMs = max(t.LastMs, b.LastMs)
	t.Revision = max(t.Revision, b.Revision)
	*s = t
	return true
}

// Accumulate adds s to the entry of list that has its id and price, looking at
// entries from index from on, or appends it. Where a sum would not fit into 64
// bits it starts a second entry for the same price: nothing wraps.
func Accumulate(list []Sums, from int, s Sums) []Sums {
	for i := from; i < len(list); i++ {
		if list[i].ID == s.ID && list[i].Price == s.Price && list[i].Add(&s) {
			return list
		}
	}
	return append(list, s)
}

const (
	sumsVersion = 1
	maxSums     = 1 << 20
)

// AppendSums encodes entries as a blob under key.
func AppendSums(dst []byte, key int64, list []Sums) []byte {
	at := len(dst)
	dst = append(dst, sumsVersion)
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	col := make([]int64, len(list))
	put := func(f func(s *Sums) int64) {
		for i := range list {
			col[i] = f(&list[i])
		}
		dst = appendColumn(dst, col)
	}
	put(func(s *Sums) int64 { return int64(s.ID) })
	put(func(s *Sums) int64 { return int64(s.Price) })
	put(func(s *Sums) int64 { return int64(s.Holders) })
	put(func(s *Sums) int64 { return s.Idle })
	put(func(s *Sums) int64 { return s.SeenMs })
	put(func(s *Sums) int64 { return s.HeldMs })
	put(func(s *Sums) int64 { return s.LastMs })
	put(func(s *Sums) int64 { return int64(s.Revision) })
	for c := range power.NumComponents {
		put(func(s *Sums) int64 { return s.Energy[c] })
	}
	return binary.LittleEndian.AppendUint32(dst, blobSum(key, dst[at:]))
}

// A SumsReader decodes blobs of sums; its buffers are reused.
type SumsReader struct {
	list []Sums
	col  []int64
}

// Read returns the entries of a blob, good until the next call.
func (r *SumsReader) Read(key int64, b []byte) ([]Sums, error) {
	n, b, err := openBlob(key, b, sumsVersion, maxSums)
	if err != nil {
		return nil, err
	}
	return r.decode(n, b)
}

func (r *SumsReader) decode(n int, b []byte) ([]Sums, error) {
	if cap(r.list) < n {
		r.list = make([]Sums, max(n, 64))
		r.col = make([]int64, max(n, 64))
	}
	list, col := r.list[:n], r.col[:n]
	var err error
	column := func(set func(s *Sums, v int64)) {
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
	column(func(s *Sums, v int64) { s.ID = int32(v) })
	column(func(s *Sums, v int64) { s.Price = int32(v) })
	column(func(s *Sums, v int64) { s.Holders = int32(v) })
	column(func(s *Sums, v int64) { s.Idle = v })
	column(func(s *Sums, v int64) { s.SeenMs = v })
	column(func(s *Sums, v int64) { s.HeldMs = v })
	column(func(s *Sums, v int64) { s.LastMs = v })
	column(func(s *Sums, v int64) { s.Revision = uint64(v) })
	for c := range power.NumComponents {
		column(func(s *Sums, v int64) { s.Energy[c] = v })
	}
	if err != nil {
		return nil, err
	}
	if len(b) != 0 {
		return nil, store.ErrCorrupt
	}
	return list, nil
}
