package local

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Tags returns the labels, annotations and configured dimensions that there are of
// the containers and VMs that match.
func (s *Store) Tags(_ context.Context, match map[store.Dimension]string, limit int) ([]store.TagRow, error) {
	if err := checkDimensions(nil, match); err != nil {
		return nil, fmt.Errorf("tags: %w", err)
	}
	found := map[store.Dimension]map[string]bool{}
	looked := map[power.Tags]bool{} // most holders share theirs
	for _, h := range s.at().holders {
		if h == nil || h.Tags == "" || looked[h.Tags] || !matches(h.Holder, match) {
			continue
		}
		looked[h.Tags] = true
		for t := range h.Tags.All {
			d := dimensionOf(t)
			if found[d] == nil {
				found[d] = map[string]bool{}
			}
			found[d][t.Value] = true
		}
	}
	delete(found, "")
	list := make([]store.TagRow, 0, len(found))
	for _, d := range slices.Sorted(maps.Keys(found)) {
		values := slices.Sorted(maps.Keys(found[d]))
		list = append(list, store.TagRow{Dimension: d, Values: values[:min(limit, len(values))], Found: len(values)})
	}
	return list, nil
}

// dimensionOf returns what a tag is a value of.
func dimensionOf(t power.Tag) store.Dimension {
	switch t.Kind {
	case power.PodLabel, power.NamespaceLabel:
		return store.Label(t.Name)
	case power.PodAnnotation, power.NamespaceAnnotation:
		return store.Annotation(t.Name)
	case power.DimensionTag:
		return store.Dimension(t.Name)
	}
	return ""
}
