package index

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever is added and removed, an index finds what a map of lists does. Few
// hashes make for long runs of slots, and runs that go round the end.
func TestIndexIsAMultimap(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		hashes := uint32(1 + r.IntN(300))
		var x Index
		want := map[uint32][]uint32{}
		n := 0
		for step := range 2000 {
			if r.IntN(500) == 0 {
				x.Clear()
				clear(want)
				n = 0
			}
			h := r.Uint32N(hashes) * 0x10001
			if r.IntN(5) < 3 {
				x.Add(h, uint32(step))
				want[h] = append(want[h], uint32(step))
				n++
			} else if list := want[h]; len(list) > 0 {
				i := r.IntN(len(list))
				x.Remove(h, list[i])
				want[h] = slices.Delete(list, i, i+1)
				n--
			} else {
				x.Remove(h, 7) // not there
			}
		}
		if x.Len() != n {
			t.Fatalf("seed %d: %d numbers, want %d", seed, x.Len(), n)
		}
		for _, h := range slices.Sorted(maps.Keys(want)) {
			var got []uint32
			if _, ok := x.Find(h, func(number uint32) bool { got = append(got, number); return false }); ok {
				t.Fatalf("seed %d: found what was said no to", seed)
			}
			slices.Sort(got)
			slices.Sort(want[h])
			if !slices.Equal(got, want[h]) {
				t.Fatalf("seed %d: hash %d has %v, want %v", seed, h, got, want[h])
			}
			for _, number := range want[h] {
				if got, ok := x.Find(h, func(k uint32) bool { return k == number }); !ok || got != number {
					t.Fatalf("seed %d: %d of hash %d is found as %d, %v", seed, number, h, got, ok)
				}
			}
		}
	}
}
