package local

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Workloads returns the workloads of containers and VMs that match, sorted by
// id, at most limit of them if limit is positive.
func (s *Store) Workloads(_ context.Context, match map[store.Dimension]string, limit int) ([]store.WorkloadRow, error) {
	if err := checkDimensions(nil, match); err != nil {
		return nil, fmt.Errorf("workloads: %w", err)
	}
	byWorkload := map[power.Workload]int{}
	var list []store.WorkloadRow
	s.lives.RLock()
	d := s.at().dims
	for id, h := range d.holders {
		if h == nil || h.Kind.PseudoName() != "" || !matches(h.Holder, match) {
			continue
		}
		l := s.last[id]
		w := store.WorkloadRow{Workload: h.Workload, Type: h.Type, Rule: h.Rule, Inferred: h.Inferred, FirstMs: l.first * 1000, LastMs: l.last * 1000}
		at, ok := byWorkload[h.Workload]
		if !ok {
			byWorkload[h.Workload] = len(list)
			list = append(list, w)
			continue
		}
		have := &list[at]
		if w.LastMs >= have.LastMs { // what is known of the newest holder says most
			have.Type, have.Rule = w.Type, w.Rule
		}
		have.Inferred = have.Inferred && w.Inferred
		have.FirstMs, have.LastMs = min(have.FirstMs, w.FirstMs), max(have.LastMs, w.LastMs)
	}
	s.lives.RUnlock()
	slices.SortFunc(list, func(a, b store.WorkloadRow) int {
		x, y := a.Workload, b.Workload
		return cmp.Or(cmp.Compare(x.ID(), y.ID()), cmp.Compare(x.Kind, y.Kind))
	})
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list, nil
}
