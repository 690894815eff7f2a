// Package index finds things by the hash of their names. A Go map keeps every
// name a second time, which at a million series is most of the memory; where the
// things are in a list and know their names, eight bytes for each are enough.
package index

import "hash/maphash"

// An Index maps hashes to numbers; a hash may have several. It is open addressing
// with linear probing over flat slots without pointers. The zero Index is empty.
// It is not safe for concurrent use.
type Index struct {
	slots []slot // length is a power of two, or 0
	used  int
}

// A slot is free when its number is zero.
type slot struct {
	hash   uint32
	number uint32 // plus one
}

var seed = maphash.MakeSeed()

// Hash returns the hash of a name. It is another one in each process, so that
// nobody outside can make names that share one.
func Hash[K comparable](name K) uint32 { return uint32(maphash.Comparable(seed, name)) }

// Find returns the number with a hash for which is says yes. It asks for each
// number with the hash until then, so an is that says no sees all of them; it
// must not change the index.
func (x *Index) Find(hash uint32, is func(number uint32) bool) (number uint32, ok bool) {
	if len(x.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(x.slots) - 1)
	for i := hash & mask; x.slots[i].number != 0; i = (i + 1) & mask {
		if s := x.slots[i]; s.hash == hash && is(s.number-1) {
			return s.number - 1, true
		}
	}
	return 0, false
}

// Add adds a number. One that is there already is there twice.
func (x *Index) Add(hash, number uint32) {
	if (x.used+1)*4 > len(x.slots)*3 {
		old := x.slots
		x.slots = make([]slot, max(8, 2*len(old)))
		for _, s := range old {
			if s.number != 0 {
				x.put(s)
			}
		}
	}
	x.put(slot{hash, number + 1})
	x.used++
}

func (x *Index) put(s slot) {
	mask := uint32(len(x.slots) - 1)
	i := s.hash & mask
	for x.slots[i].number != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}

// Remove takes a number away: those that probing had pushed past it move back.
// One that is not there is no matter.
func (x *Index) Remove(hash, number uint32) {
	if len(x.slots) == 0 {
		return
	}
	mask := uint32(len(x.slots) - 1)
	i := hash & mask
	for x.slots[i] != (slot{hash, number + 1}) {
		if x.slots[i].number == 0 {
			return
		}
		i = (i + 1) & mask
	}
	x.used--
	for j := (i + 1) & mask; x.slots[j].number != 0; j = (j + 1) & mask {
		if home := x.slots[j].hash & mask; (j-home)&mask >= (j-i)&mask {
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = slot{}
}

// Clear takes all numbers away and keeps their room.
func (x *Index) Clear() {
	if x.used > 0 {
		clear(x.slots)
		x.used = 0
	}
}

// Len returns how many numbers there are.
func (x *Index) Len() int { return x.used }
