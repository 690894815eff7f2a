package counter

import (
	"testing"

	"github.com/wattledger/wattledger/test/exposition"
)

// Legacy Kepler numbers the GPUs that dcgm-exporter knows by UUID: one device,
// booked once, whichever is heard first.
func TestLegacyGPUsAndDCGMAreOneDevice(t *testing.T) {
	legacy := `kepler_node_gpu_joules_total{cluster="c1",instance="a",mode="dynamic",package="0",source="nvml"}`
	dcgm := `DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{cluster="c1",instance="a:9400",Hostname="a",UUID="GPU-1",gpu="0"}`
	for _, order := range [][2]string{{legacy, dcgm}, {dcgm, legacy}} {
		b := newBooks()
		f := newFeeder(t, b)
		// Both are known before the first interval is booked.
		for i := range 4 {
			for _, text := range order {
				v := 1000 + 300*float64(i)
				if text == dcgm {
					v *= 1000 // millijoules
				}
				f.send([]sample{{labels: exposition.Series(t, text), tMs: f.arrival + int64(i)*15_000, value: v}})
			}
		}
		if got, want := b.total("c1/a/node", "m0", "gpu"), int64(900e6); int64(got) != want {
			t.Errorf("%s first: node GPU energy %d, want %d", order[0][:12], got, want)
		}
	}
}
