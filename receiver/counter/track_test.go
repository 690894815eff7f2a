package counter

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A track gives back what was put into it, wherever it is cut.
func TestTrack(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var have track
		var want []point
		p := point{t: rng.Int64() - math.MaxInt64/2, v: rng.Int64N(maxMicro)}
		for range 1 + rng.IntN(40) {
			switch rng.IntN(12) {
			case 0:
				p.start = rng.Int64()
			case 1:
				p.v = rng.Int64N(maxMicro)
			case 2:
				p.v = 0
			}
			p.tail = rng.IntN(9) == 0
			have.add(p)
			want = append(want, p)
			if rng.IntN(5) == 0 {
				cut := rng.IntN(len(want))
				have.drop(want[cut].t, math.MaxInt64)
				want = want[cut:]
			}
			if rng.IntN(7) == 0 {
				have.set(want)
			}
			if got := have.points(nil); !slices.Equal(got, want) || int(have.n) != len(want) || have.last() != p || have.head() != want[0] {
				t.Fatalf("have %v, want %v", got, want)
			}
			p.t += 1 + rng.Int64N(30_000)
			p.v = min(p.v+rng.Int64N(1e9), maxMicro-1)
		}
	}
	far := point{t: math.MaxInt64, v: maxMicro}
	var have track
	have.add(point{t: math.MinInt64})
	have.add(far)
	if got := have.points(nil); got[1] != far {
		t.Errorf("have %v, want %v", got[1], far)
	}
}
