package local

import (
	"math/bits"
	"sync"

	"github.com/wattledger/wattledger/store/local/format"
)

// spaceSums are what rows by holder add up to by space, made when first asked
// for. They hold until one of the holders moves to another space.
type spaceSums struct {
	once    sync.Once
	list    []format.Sums
	holders []uint64 // a bit for each
}

// A spaceAdder adds entries up by space.
type spaceAdder struct {
	dims    *dims
	at      []int32 // space → its first entry's place in list + 1
	list    []format.Sums
	holders []uint64
}

func newSpaceAdder(d *dims) *spaceAdder {
	return &spaceAdder{dims: d, at: make([]int32, len(d.spaces)), holders: make([]uint64, len(d.holders)/64+1)}
}

// add adds an entry of a holder.
func (a *spaceAdder) add(e format.Sums) {
	h := a.dims.holder(e.ID)
	if h == nil {
		return
	}
	if e.HeldMs > 0 {
		a.holders[e.ID/64] |= 1 << (e.ID % 64)
	}
	e.ID = h.space
	a.addSpace(&e)
}

func (a *spaceAdder) addSpace(e *format.Sums) {
	at := &a.at[e.ID]
	switch {
	case *at == 0:
		a.list = append(a.list, *e)
		*at = int32(len(a.list))
	case a.list[*at-1].Price != e.Price || !a.list[*at-1].Add(e):
		a.list = format.Accumulate(a.list, int(*at-1), *e)
	}
}

// inSpaces returns the sums of one start.
func (st *recentRows) inSpaces(d *dims) *spaceSums {
	st.spaces.once.Do(func() {
		a := newSpaceAdder(d)
		for i := range st.rows {
			a.add(st.rows[i].sums(st.start))
		}
		st.spaces.list, st.spaces.holders = a.list, a.holders
	})
	return &st.spaces
}

func (o *olderSums) inSpaces(d *dims, list []format.Sums) *spaceSums {
	o.spaces.once.Do(func() {
		a := newSpaceAdder(d)
		for i := range list {
			a.add(list[i])
		}
		o.spaces.list, o.spaces.holders = a.list, a.holders
	})
	return &o.spaces
}

// inSpaces returns the sums of the whole hour, with the number of holders in
// each space's first entry. older are those of its older rows, by holder.
func (h *openHour) inSpaces(d *dims, older []format.Sums) []format.Sums {
	h.spaces.once.Do(func() {
		parts := []*spaceSums{h.older.inSpaces(d, older)}
		for _, st := range h.recent {
			parts = append(parts, st.inSpaces(d))
		}
		a := newSpaceAdder(d)
		for _, p := range parts {
			for i := range p.list {
				a.addSpace(&p.list[i])
			}
			for i, set := range p.holders {
				a.holders[i] |= set
			}
		}
		for i, set := range a.holders {
			for ; set != 0; set &= set - 1 {
				id := i*64 + bits.TrailingZeros64(set)
				h := d.holders[id]
				if d.counts(h, func(other int32) bool {
					return int(other) < id && a.holders[other/64]&(1<<(other%64)) != 0 && d.holders[other].space == h.space
				}) {
					a.list[a.at[h.space]-1].Holders++
				}
			}
		}
		h.spaces.list = a.list
	})
	return h.spaces.list
}
