package classify

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wattledger/wattledger/power"
)

// A Profile describes how power was drawn over time.
type Profile struct {
	Samples   int
	Seconds   float64 // that the samples stand for
	MeanWatts float64
	P50Watts  float64
	P95Watts  float64
	PeakWatts float64
	Variation float64 // coefficient of variation: standard deviation over mean; 0 where the mean is 0
	DutyCycle float64 // share of the samples above half of P95Watts
}

// NewProfile describes power drawn at even intervals. Values that are no numbers
// or below 0 are left out.
func NewProfile(watts []float64, step time.Duration) Profile {
	sorted := slices.DeleteFunc(slices.Clone(watts), func(w float64) bool { return !(w >= 0) || math.IsInf(w, 1) })
	p := Profile{Samples: len(sorted), Seconds: float64(len(sorted)) * step.Seconds()}
	if len(sorted) == 0 {
		return p
	}
	slices.Sort(sorted)
	p.P50Watts, p.P95Watts, p.PeakWatts = quantile(sorted, 0.5), quantile(sorted, 0.95), sorted[len(sorted)-1]
	// The mean of large numbers must not overflow, nor the sum of squares.
	for _, w := range sorted {
		p.MeanWatts += w / float64(len(sorted))
	}
	var squares float64
	for _, w := range sorted {
		if p.MeanWatts > 0 {
			off := w/p.MeanWatts - 1
			squares += off * off / float64(len(sorted))
		}
		if w > p.P95Watts/2 {
			p.DutyCycle += 1 / float64(len(sorted))
		}
	}
	p.Variation = math.Sqrt(squares)
	p.DutyCycle = min(p.DutyCycle, 1)
	return p
}

// quantile interpolates between the two values nearest to q.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	share := at - float64(low)
	return sorted[low]*(1-share) + sorted[high]*share
}

const (
	// minProfileSamples and minProfileSeconds are what a guess needs at least.
	minProfileSamples = 10
	minProfileSeconds = 300
	// idleWatts is less than a container draws that does anything at all.
	idleWatts = 0.5
	// acceleratedWatts is more than a container draws from processors alone on
	// common machines.
	acceleratedWatts = 150
)

// ClassifyWithPower returns what the rules say of a subject, and a guess from a
// series of its mean power, one value each step, where they say nothing.
func (c *Classifier) ClassifyWithPower(s Subject, watts []float64, step time.Duration) Classification {
	ruled := c.Classify(s)
	if ruled.Stage == StageRule || len(watts) == 0 {
		return ruled
	}
	return NewProfile(watts, step).Classify(ruled)
}

// Classify guesses a type from the shape of a power series where no rule gave
// one. It returns what the rules said where it has no guess either. Power alone says little: the confidence never exceeds 0.5, and
// most shapes give no type. The shapes:
//
//   - high and even for nearly all of the time: training
//   - high at times and low between: inference
//   - at work for a part of the time and at rest for the other: batch
//   - low with short peaks: web
func (p Profile) Classify(ruled Classification) Classification {
	if ruled.Type != power.Unknown {
		return ruled
	}
	none := func(reason string) Classification {
		ruled.Reason += "; the power: " + reason
		return ruled
	}
	guess := func(t power.Type, confidence float64, reason string, alternatives ...Alternative) Classification {
		return Classification{Type: t, Stage: StageProfile, Reason: reason, Confidence: confidence, Alternatives: alternatives}
	}
	switch {
	case p.Samples < minProfileSamples || p.Seconds < minProfileSeconds:
		return none(fmt.Sprintf("%d samples over %.0f s are too few to tell; wanted are %d over %d s", p.Samples, p.Seconds, minProfileSamples, minProfileSeconds))
	case p.P95Watts < idleWatts:
		return none(fmt.Sprintf("draws %.2f W: next to nothing", p.P95Watts))
	case p.MeanWatts >= acceleratedWatts && p.DutyCycle >= 0.9 && p.Variation < 0.25:
		return guess(power.MLTraining, 0.5, fmt.Sprintf("%.0f W, even (variation %.2f) and %.0f %% of the time", p.MeanWatts, p.Variation, 100*p.DutyCycle),
			Alternative{power.Inference, 0.2}, Alternative{power.Batch, 0.2})
	case p.PeakWatts >= acceleratedWatts && p.Variation >= 0.25:
		return guess(power.Inference, 0.4, fmt.Sprintf("peaks of %.0f W, uneven (variation %.2f)", p.PeakWatts, p.Variation),
			Alternative{power.MLTraining, 0.25}, Alternative{power.Batch, 0.15})
	case p.DutyCycle >= 0.1 && p.DutyCycle <= 0.7 && p.Variation >= 0.7 && p.P50Watts < p.P95Watts/4:
		return guess(power.Batch, 0.35, fmt.Sprintf("at work %.0f %% of the time and at rest between", 100*p.DutyCycle),
			Alternative{power.Web, 0.2}, Alternative{power.Realtime, 0.15})
	case p.P50Watts < p.PeakWatts/4 && p.Variation >= 1:
		return guess(power.Web, 0.3, fmt.Sprintf("low, with short peaks (variation %.2f)", p.Variation),
			Alternative{power.Batch, 0.25}, Alternative{power.Cache, 0.1})
	}
	return none("the shape of the power is that of no type in particular")
}
