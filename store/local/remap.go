package local

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Remapped is what giving holders other tags comes to.
type Remapped struct {
	Holders int
	Moves   []Move // by dimension, before and after
}

// A Move is energy that leaves one value of a dimension for another.
type Move struct {
	Dimension     string
	Before, After string
	Energy        power.Microjoules
}

// holdersPerRemap bounds how long an append waits for a remap.
const holdersPerRemap = 500

// Remap gives every holder the tags that tag returns for what it is, and tells what
// energy moves by it; with dry it only tells. Run again after it was cut short it
// goes on. done is called with the share of holders that have theirs.
func (s *Store) Remap(ctx context.Context, tag func(*power.Holder) power.Tags, dry bool, done func(share float64)) (Remapped, error) {
	var changed []*power.Holder
	for _, h := range s.at().holders {
		if h == nil {
			continue
		}
		if tags := tag(h.Holder); tags != h.Tags {
			next := *h.Holder
			next.Tags = tags
			changed = append(changed, &next)
		}
	}
	out := Remapped{Holders: len(changed)}
	var err error
	if out.Moves, err = s.moves(ctx, changed); err != nil || dry {
		return out, err
	}
	for i := 0; i < len(changed); i += holdersPerRemap {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		part := changed[i:min(i+holdersPerRemap, len(changed))]
		if err := s.Append(ctx, store.Batch{Holders: part}); err != nil {
			return out, fmt.Errorf("remap: %w", err)
		}
		done(float64(i+len(part)) / float64(len(changed)))
	}
	return out, nil
}

// dimensionsOf returns the names of the dimensions among some tags.
func dimensionsOf(names map[string]bool, tags power.Tags) {
	for t := range tags.All {
		if t.Kind == power.DimensionTag {
			names[t.Name] = true
		}
	}
}

// moves adds up what changed holders used, by each dimension's value before and
// after. It reads all there is of them, once.
func (s *Store) moves(ctx context.Context, changed []*power.Holder) ([]Move, error) {
	found := map[string]bool{}
	next := map[holderID]power.Tags{}
	for _, h := range changed {
		next[idOf(h)] = h.Tags
		dimensionsOf(found, h.Tags)
	}
	sums := map[Move]power.Microjoules{}
	err := s.read(ctx, func(sn *snapshot) error {
		// Holders stand here with what they are and what they become side by side.
		both := sn.dims
		both.holders = make([]*holder, len(sn.holders))
		for i, h := range sn.holders {
			if h == nil {
				continue
			}
			if tags, ok := next[idOf(h.Holder)]; ok {
				dimensionsOf(found, h.Tags)
				both.holders[i] = beside(h, tags)
			}
		}
		names := slices.Sorted(maps.Keys(found))
		if len(names) == 0 {
			return nil
		}
		q := store.Query{FromMs: 0, ToMs: math.MaxInt64 / 2}
		for _, name := range names {
			q.GroupBy = append(q.GroupBy, store.Dimension(name), store.Dimension(afterPrefix+name))
		}
		g := newGrouping(q, both, sn.newest)
		r := reading{s: s, sn: sn, q: q, g: g}
		if err := r.run(ctx); err != nil {
			return err
		}
		if err := g.close(); err != nil {
			return err
		}
		for _, row := range g.rows {
			for i, name := range names {
				m := Move{Dimension: name, Before: row.Group[2*i], After: row.Group[2*i+1]}
				if m.Before == m.After {
					continue
				}
				sum := int64(sums[m])
				if !power.AddChecked(&sum, int64(row.Energy.Total())) {
					return errOverflow
				}
				sums[m] = power.Microjoules(sum)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("remap: %w", err)
	}
	var list []Move
	for m, e := range sums {
		m.Energy = e
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b Move) int {
		return strings.Compare(a.Dimension+"\x00"+a.Before+"\x00"+a.After, b.Dimension+"\x00"+b.Before+"\x00"+b.After)
	})
	return list, nil
}

// afterPrefix makes the name of what a dimension becomes. None that is configured
// begins so: they are at most 63 letters long.
const afterPrefix = "z_after_remap_of_"

// beside returns h with the dimensions it has and those it gets.
func beside(h *holder, after power.Tags) *holder {
	var list []power.Tag
	for t := range h.Tags.All {
		if t.Kind == power.DimensionTag {
			list = append(list, t)
		}
	}
	for t := range after.All {
		if t.Kind == power.DimensionTag {
			t.Name = afterPrefix + t.Name
			list = append(list, t)
		}
	}
	next, was := *h, *h.Holder
	was.Tags = power.TagsOf(list)
	next.Holder = &was
	return &next
}
