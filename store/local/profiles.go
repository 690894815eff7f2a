package local

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// maxMinuteProfileMs is the longest range whose profile is made from minutes;
// of a longer one it is made from hours.
const maxMinuteProfileMs = 2 * 24 * format.HourMs

// Profiles returns how the workloads of each type used power, in the order of
// power.Types; what no workload used is left out. The figures are over the
// minutes in which any workload of the type was seen.
func (s *Store) Profiles(ctx context.Context, fromMs, toMs int64, match map[store.Dimension]string) ([]store.ProfileRow, error) {
	stepMs := int64(60_000)
	if toMs-fromMs > maxMinuteProfileMs {
		stepMs = format.HourMs
	}
	q := store.Query{FromMs: fromMs, ToMs: toMs, StepMs: stepMs, GroupBy: []store.Dimension{store.WorkloadType}, Match: match, WorkloadsOnly: true}
	steps, err := s.Sum(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	q.StepMs = 0
	q.GroupBy = []store.Dimension{store.WorkloadType, store.Cluster, store.Namespace, store.WorkloadKind, store.Workload}
	totals, err := s.Sum(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}

	profiles := map[power.Type]*store.ProfileRow{}
	var last []string
	for _, r := range totals {
		t := power.Type(r.Group[0])
		p := profiles[t]
		if p == nil {
			p = &store.ProfileRow{Type: t}
			profiles[t] = p
		}
		if !slices.Equal(last, r.Group) { // one workload may have rows at several prices
			p.Workloads++
		}
		last = r.Group
		total, ok := totalOf(r.Energy)
		if !ok || !power.AddChecked(&p.Energy, total) {
			return nil, fmt.Errorf("profiles: type %s: %w", t, errOverflow)
		}
		p.Cost.Add(r.Price.Cost(total))
	}
	watts := map[power.Type][]float64{}
	lastStart := map[power.Type]int64{}
	for _, r := range steps {
		t := power.Type(r.Group[0])
		total, ok := totalOf(r.Energy)
		if !ok {
			return nil, fmt.Errorf("profiles: type %s: %w", t, errOverflow)
		}
		w := total.Joules() / (float64(stepMs) / 1000)
		if n := len(watts[t]); n > 0 && lastStart[t] == r.StartMs {
			watts[t][n-1] += w
			continue
		}
		lastStart[t] = r.StartMs
		watts[t] = append(watts[t], w)
	}
	var list []store.ProfileRow
	add := func(t power.Type) {
		if p := profiles[t]; p != nil {
			describe(p, watts[t])
			list = append(list, *p)
			delete(profiles, t)
		}
	}
	for _, t := range power.Types {
		add(t)
	}
	rest := make([]power.Type, 0, len(profiles))
	for t := range profiles {
		rest = append(rest, t)
	}
	slices.Sort(rest)
	for _, t := range rest {
		add(t)
	}
	return list, nil
}

// totalOf returns the sum over the components, if it fits.
func totalOf(e power.Energy) (sum power.Microjoules, ok bool) {
	ok = true
	for _, c := range e {
		ok = power.AddChecked(&sum, c) && ok
	}
	return sum, ok
}

// describe fills p's figures from the mean watts of each step.
func describe(p *store.ProfileRow, watts []float64) {
	if len(watts) == 0 {
		return
	}
	slices.Sort(watts)
	n := float64(len(watts))
	var sum, squares float64
	for _, w := range watts {
		sum += w
	}
	p.MeanWatts = sum / n
	for _, w := range watts {
		squares += (w - p.MeanWatts) * (w - p.MeanWatts)
	}
	p.P50Watts, p.P95Watts, p.PeakWatts = quantile(watts, 0.50), quantile(watts, 0.95), watts[len(watts)-1]
	if p.MeanWatts != 0 {
		p.Variation = math.Sqrt(squares/n) / p.MeanWatts
	}
	above, _ := slices.BinarySearch(watts, math.Nextafter(p.P95Watts/2, math.Inf(1)))
	p.DutyCycle = float64(len(watts)-above) / n
}

// quantile returns the q-quantile of sorted values by the nearest rank.
func quantile(sorted []float64, q float64) float64 {
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[max(i, 0)]
}
