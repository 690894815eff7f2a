package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wattledger/wattledger/store/local/format"
)

const (
	chunkBits = 6 // 64 holders to a blob of hourly sums
	// sealStep is how many holders one step of a seal covers, and so how long
	// an append waits at most: about 20 ms.
	sealStep = 1024
)

func chunkOf(holder int32) int32 { return holder >> chunkBits }

// A sealPass is what must be done again because it changed after a running
// seal had read it.
type sealPass struct {
	hour    int64
	holders map[int32]bool
	nodes   map[int32]bool
}

func (p *sealPass) touch(start int64, holder int32) {
	if format.HourOf(start) == p.hour {
		p.holders[holder] = true
	}
}

func (p *sealPass) touchNode(start int64, node int32) {
	if format.HourOf(start) == p.hour {
		p.nodes[node] = true
	}
}

// closable returns the moment before which hours are to be sealed.
func (s *Store) closable(newest int64) int64 {
	return max(0, format.HourOf(newest-int64(s.cfg.SealAfter/time.Second)))
}

// Seal seals the hours that have closed, oldest first, and removes their rows
// from the open ones. Event time alone decides which: the same rows give the
// same seals.
func (s *Store) Seal(ctx context.Context) error {
	for {
		if err := s.sweep(ctx); err != nil {
			return err
		}
		at := s.at()
		until := s.closable(at.newest)
		if at.sealedBefore >= until {
			return nil
		}
		oldest, err := s.oldestOpen(ctx, at.sealedBefore)
		if err != nil {
			return err
		}
		if oldest < 0 || oldest >= until {
			// Nothing to seal in between: only the horizon moves.
			err := s.write(ctx, func(ctx context.Context) (func(), error) {
				if o, err := s.oldestOpen(ctx, at.sealedBefore); err != nil || o >= 0 && o < until {
					return nil, err // something came meanwhile
				}
				s.next.sealedBefore = until
				return nil, nil
			})
			if err != nil {
				return err
			}
			continue
		}
		if err := s.sealHour(ctx, format.HourOf(oldest)); err != nil {
			return fmt.Errorf("hour %s: %w", time.Unix(format.HourOf(oldest), 0).UTC().Format(time.RFC3339), err)
		}
	}
}

// oldestOpen returns the start of the oldest row of an open hour, -1 if there is none.
func (s *Store) oldestOpen(ctx context.Context, from int64) (int64, error) {
	oldest := int64(-1)
	for _, table := range []string{"minutes", "node_minutes"} {
		var start int64
		err := s.readers.QueryRowContext(ctx, "SELECT key >> 31 FROM "+table+" WHERE key >= ? ORDER BY key LIMIT 1", format.Key(from, 0)).Scan(&start)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if oldest < 0 || start < oldest {
			oldest = start
		}
	}
	return oldest, nil
}

// sealHour seals one hour: blobs first, in steps nobody sees; then, in one
// commit, what changed meanwhile and the horizon that makes them count.
func (s *Store) sealHour(ctx context.Context, hour int64) error {
	pass := &sealPass{hour: hour, holders: map[int32]bool{}, nodes: map[int32]bool{}}
	s.writing.Lock()
	s.sealing = pass
	s.writing.Unlock()
	defer func() {
		s.writing.Lock()
		s.sealing = nil
		s.writing.Unlock()
	}()

	holders := int32(len(s.at().holders))
	for lo := int32(0); lo < holders; lo += sealStep {
		if err := s.sealHolders(ctx, hour, lo, min(lo+sealStep, holders)-1); err != nil {
			return err
		}
	}
	nodeRows := map[int32][]format.NodeRow{}
	err := scanNodes(ctx, s.readers, hour, hour+format.HourSeconds, func(r *format.NodeRow) error {
		nodeRows[r.Node] = append(nodeRows[r.Node], *r)
		return nil
	})
	if err != nil {
		return err
	}
	err = s.write(ctx, func(ctx context.Context) (func(), error) { return nil, s.sealNodes(ctx, hour, nodeRows) })
	if err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context) (func(), error) {
		if err := s.sealAgain(ctx, pass, holders); err != nil {
			return nil, err
		}
		if err := s.writeSpaces(ctx, hour); err != nil {
			return nil, err
		}
		if len(s.cfg.Followers) > 0 {
			if err := s.postHour(ctx, hour); err != nil {
				return nil, err
			}
		}
		s.next.sealedBefore = hour + format.HourSeconds
		return nil, nil
	})
}

// sealAgain seals what an append touched after it had been sealed.
func (s *Store) sealAgain(ctx context.Context, pass *sealPass, sealed int32) error {
	chunks := map[int32]bool{}
	for id := range pass.holders {
		chunks[chunkOf(id)] = true
	}
	for c := range chunks {
		lo := c << chunkBits
		rows, err := s.openHour(ctx, s.w, pass.hour, lo, lo+1<<chunkBits-1)
		if err != nil {
			return err
		}
		if err := s.writeSealed(ctx, pass.hour, rows); err != nil {
			return err
		}
	}
	nodeRows := map[int32][]format.NodeRow{}
	if len(pass.nodes) > 0 {
		err := scanNodes(ctx, s.w, pass.hour, pass.hour+format.HourSeconds, func(r *format.NodeRow) error {
			if pass.nodes[r.Node] {
				nodeRows[r.Node] = append(nodeRows[r.Node], *r)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.sealNodes(ctx, pass.hour, nodeRows)
}

// sealHolders seals the rows of holders lo to hi. lo begins a chunk.
func (s *Store) sealHolders(ctx context.Context, hour int64, lo, hi int32) error {
	rows, err := s.openHour(ctx, s.readers, hour, lo, hi)
	if err != nil || len(rows) == 0 {
		return err
	}
	return s.write(ctx, func(ctx context.Context) (func(), error) { return nil, s.writeSealed(ctx, hour, rows) })
}

// openHour returns the open rows of one hour, by holder and start.
func (s *Store) openHour(ctx context.Context, w querier, hour int64, lo, hi int32) ([]format.Row, error) {
	var rows []format.Row
	err := scanRows(ctx, w, hour, hour+format.HourSeconds, lo, hi, func(r *format.Row) error {
		rows = append(rows, *r)
		return nil
	})
	return byHolder(rows, lo), err
}

// byHolder brings rows from the order of start and holder into that of holder
// and start. Counting beats sorting here by far: there are up to 60 rows a holder.
func byHolder(rows []format.Row, lo int32) []format.Row {
	var at []int // holder - lo → index of its next row
	for i := range rows {
		at = put(at, rows[i].Holder-lo, 0)
	}
	for i := range rows {
		at[rows[i].Holder-lo]++
	}
	sum := 0
	for i, n := range at {
		at[i] = sum
		sum += n
	}
	sorted := make([]format.Row, len(rows))
	for i := range rows {
		k := rows[i].Holder - lo
		sorted[at[k]] = rows[i]
		at[k]++
	}
	return sorted
}

// writeSealed writes the blobs and sums of whole chunks of one hour.
func (s *Store) writeSealed(ctx context.Context, hour int64, rows []format.Row) error {
	var list []format.Sums
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Holder == rows[0].Holder {
			n++
		}
		data, err := s.writeBlob(ctx, hour, rows[:n])
		if err != nil {
			return err
		}
		s.metrics.sealedRows.Add(float64(n))
		s.metrics.sealedBytes.Add(float64(data))
		list = appendRowSums(list, rows[:n])
		holder, last := rows[0].Holder, rows[n-1].Start
		if _, err := s.w.ExecContext(ctx, "UPDATE holders SET last = ? WHERE id = ? AND last < ?", last, holder, last); err != nil {
			return err
		}
		rows = rows[n:]
		if len(rows) == 0 || chunkOf(rows[0].Holder) != chunkOf(holder) {
			key := format.Key(hour, chunkOf(holder))
			if _, err := s.w.ExecContext(ctx, "INSERT OR REPLACE INTO hours VALUES (?, ?)", key, format.AppendSums(nil, key, list)); err != nil {
				return err
			}
			list = list[:0]
		}
	}
	return nil
}

func (s *Store) writeBlob(ctx context.Context, hour int64, rows []format.Row) (int, error) {
	key := format.Key(hour, rows[0].Holder)
	data := format.AppendSealed(nil, key, rows)
	_, err := s.w.ExecContext(ctx, "INSERT OR REPLACE INTO sealed VALUES (?, ?)", key, data)
	return len(data), err
}

// appendRowSums appends what rows of one holder add up to, by price.
func appendRowSums(list []format.Sums, rows []format.Row) []format.Sums {
	from := len(list)
	for i := range rows {
		list = format.Accumulate(list, from, rows[i].Sums())
	}
	return list
}

func (s *Store) sealNodes(ctx context.Context, hour int64, byNode map[int32][]format.NodeRow) error {
	ids := make([]int32, 0, len(byNode))
	for id := range byNode {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		key := format.Key(hour, id)
		if _, err := s.w.ExecContext(ctx, "INSERT OR REPLACE INTO sealed_nodes VALUES (?, ?)", key, format.AppendNodeRows(nil, key, byNode[id])); err != nil {
			return err
		}
	}
	return nil
}

// writeSpaces makes the sums by space of one hour from its sums by holder. The
// writer's connection is used: the hour may be new.
func (s *Store) writeSpaces(ctx context.Context, hour int64) error {
	d := &s.interns.dims
	all, whole := spaceHour{}, spaceHour{}
	counted := map[int32]bool{}
	var reader format.SumsReader
	err := scanRange(ctx, s.w, "hours", format.Key(hour, 0), format.Key(hour+1, 0), func(key int64, data []byte) error {
		list, err := reader.Read(key, data)
		if err != nil {
			return err
		}
		before := int32(-1)
		for i := range list {
			e := list[i]
			h := d.holder(e.ID)
			if h == nil {
				continue
			}
			first := e.ID != before && e.HeldMs > 0 // entries of a holder stand together
			before = e.ID
			counted[e.ID] = first
			all.add(h.space, e, first && d.counts(h, func(id int32) bool { return counted[id] && d.holder(id).space == h.space }))
			whole.add(d.wholes[h.space], e, first && d.counts(h, func(id int32) bool { return counted[id] && d.wholes[d.holder(id).space] == d.wholes[h.space] }))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.writeSpaceHour(ctx, "space_hours", hour, whole); err != nil {
		return err
	}
	if len(all) == len(whole) && !slices.ContainsFunc(slices.Collect(maps.Keys(all)), func(id int32) bool { return d.wholes[id] != id }) {
		all = nil // no holder has a dimension
	}
	return s.writeSpaceHour(ctx, "dimension_hours", hour, all)
}

// A spaceHour is the sums of one hour, by space.
type spaceHour map[int32][]format.Sums

// add adds an entry of a holder, the first one of it or not.
func (h spaceHour) add(space int32, e format.Sums, first bool) {
	e.ID, e.Holders = space, 0
	list := format.Accumulate(h[space], 0, e)
	if first {
		list[0].Holders++
	}
	h[space] = list
}

// writeSpaceHour puts sums in the place of those that a table has of an hour.
func (s *Store) writeSpaceHour(ctx context.Context, table string, hour int64, h spaceHour) error {
	key := format.Key(hour, 0)
	if len(h) == 0 {
		_, err := s.w.ExecContext(ctx, "DELETE FROM "+table+" WHERE key = ?", key)
		return err
	}
	var list []format.Sums
	for _, id := range slices.Sorted(maps.Keys(h)) {
		list = append(list, h[id]...)
	}
	_, err := s.w.ExecContext(ctx, "INSERT OR REPLACE INTO "+table+" VALUES (?, ?)", key, format.AppendSums(nil, key, list))
	return err
}

// sweep removes open rows that have been sealed, some at a time: until they
// are gone they are only ignored.
func (s *Store) sweep(ctx context.Context) error {
	for {
		more := false
		err := s.write(ctx, func(ctx context.Context) (func(), error) {
			before := format.Key(s.at().sealedBefore, 0)
			for _, table := range []string{"minutes", "node_minutes"} {
				res, err := s.w.ExecContext(ctx, "DELETE FROM "+table+" WHERE key IN (SELECT key FROM "+table+" WHERE key < ? ORDER BY key LIMIT 10000)", before)
				if err != nil {
					return nil, err
				}
				n, err := res.RowsAffected()
				if err != nil {
					return nil, err
				}
				more = more || n > 0
			}
			return nil, nil
		})
		if err != nil || !more {
			return err
		}
	}
}

// mend makes the sums by space of stale hours again.
func (s *Store) mend(ctx context.Context) error {
	for {
		done := false
		err := s.write(ctx, func(ctx context.Context) (func(), error) {
			if len(s.at().stale) == 0 {
				done = true
				return nil, nil
			}
			sp := s.at().stale[0]
			hour := max(sp.from, s.at().hoursFrom)
			if hour < sp.to {
				if err := s.writeSpaces(ctx, hour); err != nil {
					return nil, err
				}
			}
			rest := span{hour + format.HourSeconds, sp.to}
			if _, err := s.w.ExecContext(ctx, "DELETE FROM stale_hours WHERE from_s = ? AND to_s = ?", sp.from, sp.to); err != nil {
				return nil, err
			}
			list := slices.Clone(s.at().stale[1:])
			list = slices.DeleteFunc(list, func(x span) bool { return x == sp })
			if rest.from < rest.to {
				if _, err := s.w.ExecContext(ctx, "INSERT INTO stale_hours (from_s, to_s) VALUES (?, ?)", rest.from, rest.to); err != nil {
					return nil, err
				}
				list = append(list, rest)
			}
			s.next.stale = list
			return func() {}, nil
		})
		if err != nil || done {
			return err
		}
	}
}
