package transform

import (
	"math/rand/v2"
	"testing"
)

// A minute is seen as far as samples stand for it, in whatever order they come and
// however often.
func TestSpanInAnyOrder(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s span
		order := r.Perm(4)
		if seed == 0 {
			order = []int{3, 2, 1, 0}
		}
		for _, i := range append(order, order...) {
			s.cover(int64(i)*15_000, int64(i+1)*15_000)
		}
		if s.seenMs > 60_000 || seed == 0 && s != (span{60_000, 60_000}) {
			t.Errorf("order %v: %+v", order, s)
		}
	}
	var s span
	for _, stretch := range [][2]int64{{0, 20}, {20, 20}, {10, 25}, {30, 40}, {40, 60}} {
		s.cover(stretch[0], stretch[1])
	}
	if s != (span{55, 60}) {
		t.Errorf("with a gap: %+v", s)
	}
}
