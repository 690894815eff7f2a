package classify

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
)

func TestProfile(t *testing.T) {
	p := NewProfile([]float64{10, 20, 30, 40, math.NaN(), -1, math.Inf(1)}, 15*time.Second)
	want := Profile{Samples: 4, Seconds: 60, MeanWatts: 25, P50Watts: 25, P95Watts: 38.5, PeakWatts: 40, Variation: math.Sqrt(125) / 25, DutyCycle: 0.75}
	near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-12*max(1, math.Abs(b)) }
	if p.Samples != want.Samples || p.Seconds != want.Seconds || !near(p.MeanWatts, want.MeanWatts) || !near(p.P50Watts, want.P50Watts) ||
		!near(p.P95Watts, want.P95Watts) || !near(p.PeakWatts, want.PeakWatts) || !near(p.Variation, want.Variation) || !near(p.DutyCycle, want.DutyCycle) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	if got := NewProfile(nil, 15*time.Second); got != (Profile{}) {
		t.Errorf("no samples give %+v", got)
	}
	huge := NewProfile([]float64{math.MaxFloat64, math.MaxFloat64, 0}, 15*time.Second)
	if math.IsInf(huge.MeanWatts, 0) || math.IsNaN(huge.Variation) {
		t.Errorf("huge values give %+v", huge)
	}
}

func TestProfileClassify(t *testing.T) {
	none := Classification{Type: power.Unknown, Stage: StageNone, Reason: "no rule matched"}
	f := func(name string, want power.Type, at func(i int) float64) {
		t.Helper()
		watts := make([]float64, 120)
		for i := range watts {
			watts[i] = at(i)
		}
		got := NewProfile(watts, time.Minute).Classify(none)
		if got.Type != want || got.Confidence > 0.5 || got.Reason == "" || (got.Stage == StageNone) != (want == power.Unknown) {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
		sum := got.Confidence
		for _, a := range got.Alternatives {
			sum += a.Confidence
			if a.Confidence > got.Confidence {
				t.Errorf("%s: alternative %+v is surer than the answer", name, a)
			}
		}
		if sum > 1 {
			t.Errorf("%s: confidences add up to %v", name, sum)
		}
	}
	f("even 600 W", power.MLTraining, func(i int) float64 { return 600 + float64(i%7) })
	f("bursts on a GPU", power.Inference, func(i int) float64 { return 60 + float64(i%5)*80 })
	f("a quarter of the time", power.Batch, func(i int) float64 {
		if i%40 < 10 {
			return 60
		}
		return 1
	})
	f("rare peaks", power.Web, func(i int) float64 {
		if i%25 == 0 {
			return 40
		}
		return 3
	})
	f("even 20 W", power.Unknown, func(i int) float64 { return 20 })
	f("nothing", power.Unknown, func(i int) float64 { return 0 })
	if got := NewProfile([]float64{600, 600, 600}, time.Minute).Classify(none); got.Stage != StageNone {
		t.Errorf("three samples give %+v", got)
	}
	ruled := Classification{Type: power.Cache, Stage: StageRule, Rule: "r"}
	if got := NewProfile(slices.Repeat([]float64{600}, 60), time.Minute).Classify(ruled); got.Type != power.Cache {
		t.Errorf("a rule's answer becomes %+v", got)
	}
}
