package local

import (
	"context"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/store/local/format"
)

// restate merges rows, sorted by key, into the closed hours they belong to and
// makes those hours' sums by holder again. It returns the rows that changed
// something.
func (s *Store) restate(ctx context.Context, rows []format.Row) (changed []format.Row, err error) {
	type place struct {
		hour   int64
		holder int32
	}
	byPlace := map[place][]format.Row{}
	var places []place
	for _, r := range rows {
		p := place{format.HourOf(r.Start), r.Holder}
		if byPlace[p] == nil {
			places = append(places, p)
		}
		byPlace[p] = append(byPlace[p], r)
	}
	var reader format.SealedReader
	made := map[int64][]format.Sums{} // chunk key → sums of the holders restated in it
	for _, p := range places {
		key := format.Key(p.hour, p.holder)
		data, err := blob(ctx, s.w, "SELECT data FROM sealed WHERE key = ?", key)
		if err != nil {
			return nil, err
		}
		var have []format.Row
		if data != nil {
			if have, err = reader.Read(key, data); err != nil {
				return nil, fmt.Errorf("row %d of sealed: %w", key, err)
			}
		}
		have, news := merge(slices.Clone(have), byPlace[p])
		if len(news) == 0 {
			continue
		}
		changed = append(changed, news...)
		if _, err := s.writeBlob(ctx, p.hour, have); err != nil {
			return nil, err
		}
		last := have[len(have)-1].Start
		if _, err := s.w.ExecContext(ctx, "UPDATE holders SET last = ? WHERE id = ? AND last < ?", last, p.holder, last); err != nil {
			return nil, err
		}
		chunk := format.Key(p.hour, chunkOf(p.holder))
		made[chunk] = appendRowSums(made[chunk], have)
	}
	for key, list := range made {
		if err := s.replaceSums(ctx, key, list); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(changed, func(a, b format.Row) int { return int(a.Start - b.Start) })
	return changed, nil
}

// merge puts rows into have, which is sorted by start, and returns it with
// those rows that were new or at least as new as what they replaced.
func merge(have, rows []format.Row) (all, changed []format.Row) {
	for _, r := range rows {
		i, found := slices.BinarySearchFunc(have, r.Start, func(h format.Row, t int64) int { return int(h.Start - t) })
		switch {
		case !found:
			have = slices.Insert(have, i, r)
		case r.Revision < have[i].Revision || r == have[i]:
			continue
		default:
			have[i] = r
		}
		changed = append(changed, r)
	}
	return have, changed
}

// replaceSums puts list in the place of the entries its holders have in a chunk.
func (s *Store) replaceSums(ctx context.Context, key int64, list []format.Sums) error {
	data, err := blob(ctx, s.w, "SELECT data FROM hours WHERE key = ?", key)
	if err != nil {
		return err
	}
	var all []format.Sums
	if data != nil {
		var reader format.SumsReader
		if all, err = reader.Read(key, data); err != nil {
			return fmt.Errorf("row %d of hours: %w", key, err)
		}
	}
	all = slices.DeleteFunc(all, func(h format.Sums) bool {
		return slices.ContainsFunc(list, func(l format.Sums) bool { return l.ID == h.ID })
	})
	all = append(all, list...)
	slices.SortStableFunc(all, func(a, b format.Sums) int { return int(a.ID) - int(b.ID) })
	_, err = s.w.ExecContext(ctx, "INSERT OR REPLACE INTO hours VALUES (?, ?)", key, format.AppendSums(nil, key, all))
	return err
}
