package local

import (
	"context"
	"fmt"
	"slices"
)

// restate merges rows, sorted by key, into the closed hours they belong to and
// makes those hours' sums by holder again. It returns the rows that changed
// something.
func (s *Store) restate(ctx context.Context, rows []row) (changed []row, err error) {
	type place struct {
		hour   int64
		holder int32
	}
	byPlace := map[place][]row{}
	var places []place
	for _, r := range rows {
		p := place{hourOf(r.start), r.holder}
		if byPlace[p] == nil {
			places = append(places, p)
		}
		byPlace[p] = append(byPlace[p], r)
	}
	var reader sealedReader
	made := map[int64][]sums{} // chunk key → sums of the holders restated in it
	for _, p := range places {
		key := rowKey(p.hour, p.holder)
		data, err := blob(ctx, s.w, "SELECT data FROM sealed WHERE key = ?", key)
		if err != nil {
			return nil, err
		}
		var have []row
		if data != nil {
			if have, err = reader.read(key, data); err != nil {
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
		last := have[len(have)-1].start
		if _, err := s.w.ExecContext(ctx, "UPDATE holders SET last = ? WHERE id = ? AND last < ?", last, p.holder, last); err != nil {
			return nil, err
		}
		chunk := rowKey(p.hour, chunkOf(p.holder))
		made[chunk] = appendRowSums(made[chunk], have)
	}
	for key, list := range made {
		if err := s.replaceSums(ctx, key, list); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(changed, func(a, b row) int { return int(a.start - b.start) })
	return changed, nil
}

// merge puts rows into have, which is sorted by start, and returns it with
// those rows that were new or at least as new as what they replaced.
func merge(have, rows []row) (all, changed []row) {
	for _, r := range rows {
		i, found := slices.BinarySearchFunc(have, r.start, func(h row, t int64) int { return int(h.start - t) })
		switch {
		case !found:
			have = slices.Insert(have, i, r)
		case r.revision < have[i].revision || r == have[i]:
			continue
		default:
			have[i] = r
		}
		changed = append(changed, r)
	}
	return have, changed
}

// replaceSums puts list in the place of the entries its holders have in a chunk.
func (s *Store) replaceSums(ctx context.Context, key int64, list []sums) error {
	data, err := blob(ctx, s.w, "SELECT data FROM hours WHERE key = ?", key)
	if err != nil {
		return err
	}
	var all []sums
	if data != nil {
		var reader sumsReader
		if all, err = reader.read(key, data); err != nil {
			return fmt.Errorf("row %d of hours: %w", key, err)
		}
	}
	all = slices.DeleteFunc(all, func(h sums) bool {
		return slices.ContainsFunc(list, func(l sums) bool { return l.id == h.id })
	})
	all = append(all, list...)
	slices.SortStableFunc(all, func(a, b sums) int { return int(a.id) - int(b.id) })
	_, err = s.w.ExecContext(ctx, "INSERT OR REPLACE INTO hours VALUES (?, ?)", key, appendSums(nil, key, all))
	return err
}
