package local

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store/local/format"
)

// A holder whose tags changed has several ids, one after the other, and one row in
// a window all the same: what another of its ids held there gives way, and is left
// behind as a void row.

// void reports whether a row holds nothing, not even time.
func void(seconds int32) bool { return seconds == 0 }

// voidOf returns the void row in the place of r. Its newest sample is the oldest
// there can be.
func voidOf(r *format.Row, revision uint64) format.Row {
	return format.Row{Start: r.Start, Holder: r.Holder, Price: r.Price, LastOff: -r.Start * 1000, Revision: revision}
}

// siblings are the ids of holders that have several, oldest first.
type siblings map[power.HolderKey][]int32

// with returns s after h came to be the newest of some others.
func (s siblings) with(key power.HolderKey, others []int32, id int32) siblings {
	next := maps.Clone(s)
	if next == nil {
		next = siblings{}
	}
	ids := append(slices.Clone(others), id)
	slices.Sort(ids)
	next[key] = slices.Compact(ids)
	return next
}

// without returns s after some holders are gone.
func (s siblings) without(gone map[int32]bool) siblings {
	next := siblings{}
	for key, ids := range s {
		ids = slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return gone[id] })
		if len(ids) > 1 {
			next[key] = ids
		}
	}
	return next
}

// counts reports whether a holder counts as one of a group in a step in which all
// those that did have been marked: not where an elder of its key did.
func (d *dims) counts(h *holder, marked func(id int32) bool) bool {
	if len(d.siblings) == 0 {
		return true
	}
	for _, id := range d.siblings[h.HolderKey] {
		if id != h.id && marked(id) {
			return false
		}
	}
	return true
}

// displace returns rows, sorted by key, with void ones in the place of what else
// their holders' keys have in the same windows, and without those that are older
// than that.
func (s *Store) displace(ctx context.Context, st *stage, rows []format.Row) ([]format.Row, error) {
	all := st.siblings()
	if len(all) == 0 {
		return rows, nil
	}
	keys := map[int32]power.HolderKey{}
	for key, ids := range all {
		for _, id := range ids {
			keys[id] = key
		}
	}
	given := map[int64]*format.Row{}
	for i := range rows {
		if _, several := keys[rows[i].Holder]; several {
			given[format.Key(rows[i].Start, rows[i].Holder)] = &rows[i]
		}
	}
	if len(given) == 0 {
		return rows, nil
	}
	drop, voids := map[int64]bool{}, map[int64]format.Row{}
	for at, r := range given {
		for _, id := range all[keys[r.Holder]] {
			if id == r.Holder {
				continue
			}
			old, found := given[format.Key(r.Start, id)], true
			if old == nil {
				var err error
				if old, found, err = s.rowAt(ctx, r.Start, id); err != nil {
					return nil, err
				}
			}
			switch {
			case !found || void(old.Seconds) && old.Revision >= r.Revision:
			case old.Revision > r.Revision, old.Revision == r.Revision && given[format.Key(old.Start, old.Holder)] != nil && old.Holder > r.Holder:
				drop[at] = true
			default:
				voids[format.Key(r.Start, id)] = voidOf(old, r.Revision)
			}
		}
	}
	kept := make([]format.Row, 0, len(rows)+len(voids))
	for i := range rows {
		at := format.Key(rows[i].Start, rows[i].Holder)
		if _, gone := voids[at]; !gone && !drop[at] {
			kept = append(kept, rows[i])
		}
	}
	for _, r := range voids {
		kept = append(kept, r)
	}
	slices.SortStableFunc(kept, inOrder)
	return kept, nil
}

// rowAt returns the row that a holder has in a window. The writer's connection is
// used.
func (s *Store) rowAt(ctx context.Context, start int64, holder int32) (found *format.Row, ok bool, err error) {
	at := s.at()
	if start >= at.sealedBefore {
		err = scanRows(ctx, s.w, start, start+1, holder, holder, func(r *format.Row) error {
			row := *r
			found = &row
			return nil
		})
		return found, found != nil, err
	}
	key := format.Key(format.HourOf(start), holder)
	data, err := blob(ctx, s.w, "SELECT data FROM sealed WHERE key = ?", key)
	if err != nil || data == nil {
		return nil, false, err
	}
	rows, err := new(format.SealedReader).Read(key, data)
	if err != nil {
		return nil, false, fmt.Errorf("row %d of sealed: %w", key, err)
	}
	for i := range rows {
		if rows[i].Start == start {
			row := rows[i]
			return &row, true, nil
		}
	}
	return nil, false, nil
}
