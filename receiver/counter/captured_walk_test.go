package counter

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/test/exposition"
)

// What docs/accounting.md says of the captured bodies, container by container:
// what each was booked, in microjoules, and what its counter showed at the first
// scrape, which was used before anybody looked.
var capturedContainers = []struct {
	id, zone      string
	booked, first int64
}{
	{"132aeab9", "package", 1_556_037_912, 155_893_097}, {"132aeab9", "dram", 161_045_174, 16_354_223},
	{"3c955413", "package", 3_172_458_708, 0}, {"3c955413", "dram", 326_990_771, 0},
	{"3f9918a7", "package", 311_180_428, 31_178_618}, {"3f9918a7", "dram", 32_206_193, 3_270_843},
	{"4421a12b", "package", 667_794_948, 0}, {"4421a12b", "dram", 68_746_935, 0},
	{"70296267", "package", 974_451_733, 415_795_867}, {"70296267", "dram", 102_226_468, 43_619_754},
	{"7ee2505c", "package", 229_924_999, 0}, {"7ee2505c", "dram", 23_025_501, 0},
	{"9b58813f", "package", 103_923_706, 10_392_871}, {"9b58813f", "dram", 10_757_116, 1_090_280},
	{"efec1285", "package", 2_074_491_237, 207_857_464}, {"efec1285", "dram", 214_703_249, 21_805_631},
}

// walked is what a walk over the samples of one counter adds up to.
type walked struct {
	booked, first int64 // microjoules
	falls         int
}

// walk adds up the captured samples of a container's zone, without the cache.
func walkCaptured(t *testing.T, id, zone string) (w walked) {
	t.Helper()
	var node int64 = math.MaxInt64 // first sample of the node's counters
	var all []sample
	for _, body := range bodies(t, "v1") {
		for _, s := range body {
			switch exposition.Value(s.labels, "__name__") {
			case "kepler_node_cpu_joules_total":
				node = min(node, s.tMs)
			case "kepler_container_cpu_joules_total":
				if exposition.Value(s.labels, "container_id")[:8] == id && exposition.Value(s.labels, "zone") == zone && !math.IsNaN(s.value) {
					all = append(all, s)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b sample) int { return int(a.tMs - b.tMs) })
	micro := func(s sample) int64 { return int64(math.Round(s.value * 1e6)) }
	if all[0].tMs > node {
		w.booked = micro(all[0]) // it appeared on a known node: in full
	} else {
		w.first = micro(all[0])
	}
	for i := 1; i < len(all); i++ {
		d := micro(all[i]) - micro(all[i-1])
		if d < 0 {
			d = micro(all[i])
			w.falls++
		}
		w.booked += d
	}
	return w
}

func TestCapturedContainers(t *testing.T) {
	file, err := os.ReadFile(filepath.Join(captured, "truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var truth struct {
		Containers []struct {
			ID    string             `json:"id"`
			Pod   string             `json:"pod"`
			Name  string             `json:"name"`
			Ended *string            `json:"ended"`
			Used  map[string]float64 `json:"active_joules"`
		} `json:"containers"`
	}
	if err := json.Unmarshal(file, &truth); err != nil {
		t.Fatal(err)
	}
	books := bookAll(t, bodies(t, "v1")...)
	for _, want := range capturedContainers {
		w := walkCaptured(t, want.id, want.zone)
		if w.booked != want.booked || w.first != want.first {
			t.Errorf("%s %s: the samples add up to %d after a first of %d, want %d after %d", want.id, want.zone, w.booked, w.first, want.booked, want.first)
		}
		component := map[string]string{"package": "cpu", "dram": "dram"}[want.zone]
		name := "c1/node-a/container/" + want.id + " m0 " + component
		if got := books.totals[name]; got != power.Microjoules(want.booked) {
			t.Errorf("%s: booked %d, want %d", name, got, want.booked)
		}
		for _, c := range truth.Containers {
			if c.ID[:8] != want.id {
				continue
			}
			used := c.Used[want.zone]
			missing := used - float64(want.first+want.booked)/1e6
			t.Logf("%s/%s %s: used %.1f J, at the first scrape %.1f, booked %.1f, not shown %.1f (%.1f %%)",
				c.Pod, c.Name, want.zone, used, float64(want.first)/1e6, float64(want.booked)/1e6, missing, 100*missing/used)
			if missing < 0 || missing > 0.16*used {
				t.Errorf("%s %s: %v J of %v J are not shown by any counter", want.id, want.zone, missing, used)
			}
		}
	}
}
