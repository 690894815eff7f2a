package counter

import (
	"fmt"
	"math"
	"testing"

	"github.com/wattledger/wattledger/power"
)

// withGPU is scraped, and what c1 uses of the GPU: 250 W, by processes of which one
// ends every 100 s with what it has counted, 5 kJ.
func withGPU(started, second float64) []string {
	up := second - started
	ended := math.Floor(second/100) - math.Floor(started/100)
	return append(scraped(started, second),
		gpuLine("c1", max(250*up-5000*ended, 0)+40_000), gpuWattsLine("c1", 250),
		fmt.Sprintf(`kepler_node_gpu_joules_total{gpu="0",gpu_uuid="GPU-1",node_name="node-a"} %v`, 9e6+300*second))
}

// Nodes with GPUs under pairs and double exporters: only the gauge tells what a
// process that ended used, so a few percent are allowed.
func TestGPUsUnderEverySetup(t *testing.T) {
	check := func(b *bench, seconds, by float64) {
		b.t.Helper()
		got := b.books.totals["default/node-a/container/c1 m0 gpu"].Joules()
		if math.Abs(got-250*seconds) > 250*by+0.04*250*seconds {
			b.t.Errorf("c1 used %.0f J of the GPU, want %.0f", got, 250*seconds)
		}
		got = b.books.totals["default/node-a/node/ m0 gpu"].Joules()
		if math.Abs(got-300*seconds) > 300*by {
			b.t.Errorf("the GPU used %.0f J, want %.0f", got, 300*seconds)
		}
		b.near("container/c1", power.Used, 120*seconds, 120*by)
	}
	for _, kind := range []string{"declared", "other", "none"} {
		for _, ahead := range []float64{-30, -2, 0.2, 2, 30} {
			t.Run(fmt.Sprint("pair ", kind, ahead), func(t *testing.T) {
				b := newBench(t)
				var all []sent
				for second := 0.0; second <= 1800; second += 15 {
					all = append(all, sent{second, second, kind + " a", withGPU(-3000, second)})
					all = append(all, sent{second + 5, second + 5 + ahead, kind + " b", withGPU(-3000, second+5)})
				}
				b.tell(all)
				check(b, 1800, math.Abs(ahead)+6)
			})
		}
	}
	for _, overlap := range []float64{20, 120, 900} {
		t.Run(fmt.Sprint("exporters ", overlap), func(t *testing.T) {
			b := newBench(t)
			for second := 0.0; second <= 2400; second++ {
				if second <= 1000+overlap && math.Mod(second, 15) == 0 {
					b.as("old:28282")
					b.at(second, withGPU(-3000, second)...)
				}
				if second >= 1000 && math.Mod(second, 15) == 4 {
					b.as("new:28282")
					b.at(second, withGPU(990, second)...)
				}
			}
			check(b, 2400, 35)
		})
	}
	t.Run("clock set back", func(t *testing.T) {
		b := newBench(t)
		b.as("10.0.0.1:28282")
		for second := 0.0; second <= 2400; second += 15 {
			at := second
			if second > 1200 {
				at -= 900
			}
			b.at(at, withGPU(-3000, second)...)
		}
		check(b, 2400, 16)
	})
}
