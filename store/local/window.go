package local

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// A WindowRow is what followers are fed.
type WindowRow = store.WindowRow

// A windowGroup is what window rows are kept apart by.
type windowGroup struct {
	node     int32
	workload power.Workload
	typ      power.Type
}

func groupOf(h *holder) windowGroup { return windowGroup{h.node, h.Workload, h.Type} }

type windowKey struct {
	start int64
	windowGroup
}

// windows adds rows up for followers.
type windows struct {
	sn     *snapshot
	want   map[windowKey]bool // nil: all
	groups map[windowGroup]bool
	rows   map[windowKey]*WindowRow
	parts  map[windowKey][]format.Sums
}

func newWindows(sn *snapshot) *windows {
	return &windows{sn: sn, rows: map[windowKey]*WindowRow{}, parts: map[windowKey][]format.Sums{}}
}

// ask wants a group at a start. r is a row that is or was part of it: if
// nothing is left there, a row of zeros takes its place.
func (w *windows) ask(start int64, g windowGroup, seconds int32, revision uint64) {
	if w.want == nil {
		w.want, w.groups = map[windowKey]bool{}, map[windowGroup]bool{}
	}
	k := windowKey{start, g}
	w.want[k] = true
	w.groups[g] = true
	row := w.row(k, seconds)
	row.Revision = max(row.Revision, revision)
}

func (w *windows) row(k windowKey, seconds int32) *WindowRow {
	r := w.rows[k]
	if r == nil {
		r = &WindowRow{Node: w.sn.nodes[k.node].name, Workload: k.workload, Type: k.typ, StartMs: k.start * 1000, Seconds: seconds}
		w.rows[k] = r
	}
	return r
}

// add adds an entry of a holder, if it is wanted.
func (w *windows) add(start int64, seconds int32, e *format.Sums) {
	h := w.sn.holder(e.ID)
	if h == nil {
		return
	}
	k := windowKey{start, groupOf(h)}
	if w.want != nil && !w.want[k] {
		return
	}
	r := w.row(k, seconds)
	r.Seconds = max(r.Seconds, seconds)
	r.Revision = max(r.Revision, e.Revision)
	w.parts[k] = append(w.parts[k], *e)
}

// finish prices what was added and returns it by start, node and workload.
func (w *windows) finish() ([]WindowRow, error) {
	list := make([]WindowRow, 0, len(w.rows))
	for k, r := range w.rows {
		var byPrice []format.Sums
		holders := map[int32]bool{}
		for _, e := range w.parts[k] {
			holders[e.ID] = true
			e.ID = 0
			byPrice = format.Accumulate(byPrice, 0, e)
		}
		r.Containers = len(holders)
		for _, e := range byPrice {
			ok := power.AddChecked((*int64)(&r.Idle), e.Idle)
			var total int64
			for c := range e.Energy {
				ok = power.AddChecked((*int64)(&r.Energy[c]), e.Energy[c]) && power.AddChecked(&total, e.Energy[c]) && ok
			}
			if !ok {
				return nil, fmt.Errorf("%s at %d: %w", k.workload.ID(), k.start, errOverflow)
			}
			r.SeenMs += e.SeenMs
			r.HeldMs += e.HeldMs
			r.LastMs = max(r.LastMs, e.LastMs)
			r.Price = w.sn.prices[e.Price]
			r.Cost.Add(r.Price.Cost(power.Microjoules(total)))
		}
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b WindowRow) int {
		return cmp.Or(cmp.Compare(a.StartMs, b.StartMs), cmp.Compare(a.Workload.ID(), b.Workload.ID()),
			cmp.Compare(a.Node, b.Node), cmp.Compare(a.Type, b.Type))
	})
	return list, nil
}

// holdersOf returns the holders of the groups asked for, nil if all are wanted.
func (w *windows) holdersOf() []int32 {
	if w.want == nil {
		return nil
	}
	ids := []int32{}
	for id, h := range w.sn.holders {
		if h != nil && w.groups[groupOf(h)] {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

// Windows returns the present state of every window that entries refer to,
// one row for each node, workload and type. Where a holder moved to another
// workload, both have a row.
func (s *Store) Windows(ctx context.Context, entries []Entry) ([]WindowRow, error) {
	return s.aggregate(ctx, "windows", func(ctx context.Context, w *windows) error {
		at := map[span]bool{}
		sn := w.sn
		for i := range entries {
			e := &entries[i]
			switch e.Kind {
			case RowsWritten:
				for _, key := range e.keys {
					if h := sn.holder(format.KeyID(key)); h != nil {
						w.ask(format.KeyStart(key), groupOf(h), 0, 0)
						at[span{format.KeyStart(key), format.KeyStart(key) + 1}] = true
					}
				}
			case HolderDescribed:
				h := sn.holder(e.holder)
				if h == nil {
					continue
				}
				was := e.was
				was.node, was.workload.Cluster = h.node, h.Cluster
				err := s.holderRows(ctx, sn, []int32{e.holder}, []span{{max(e.from, sn.minutesFrom), e.to}}, func(r *format.Row) error {
					w.ask(r.Start, groupOf(h), r.Seconds, r.Revision)
					w.ask(r.Start, was, r.Seconds, r.Revision)
					at[span{r.Start, r.Start + 1}] = true
					return nil
				})
				if err != nil {
					return err
				}
			}
		}
		if w.want == nil {
			return nil
		}
		list := slices.SortedFunc(maps.Keys(at), func(a, b span) int { return cmp.Compare(a.from, b.from) })
		err := s.holderRows(ctx, sn, w.holdersOf(), list, func(r *format.Row) error {
			e := r.Sums()
			w.add(r.Start, r.Seconds, &e)
			return nil
		})
		for k, r := range w.rows {
			if r.Seconds == 0 { // expired since
				delete(w.rows, k)
			}
		}
		return err
	})
}

// Hours returns the present state of every closed hour that entries refer to.
func (s *Store) Hours(ctx context.Context, entries []Entry) ([]WindowRow, error) {
	return s.aggregate(ctx, "hours", func(ctx context.Context, w *windows) error {
		whole := map[int64]bool{}
		moved := map[int64][]*Entry{}
		for i := range entries {
			e := &entries[i]
			switch e.Kind {
			case HourClosed:
				whole[e.HourMs/1000] = true
			case HolderDescribed:
				for _, hour := range hoursBetween(max(e.from, w.sn.hoursFrom), min(e.to, w.sn.sealedBefore)) {
					moved[hour] = append(moved[hour], e)
				}
			}
		}
		for hour := range whole {
			if err := w.readHour(ctx, hour, nil); err != nil {
				return err
			}
		}
		for hour, list := range moved {
			if err := w.readHour(ctx, hour, list); err != nil {
				return err
			}
		}
		return nil
	})
}

// readHour adds the sums of one hour: all of them, or those of the groups that
// holders moved between.
func (w *windows) readHour(ctx context.Context, hour int64, moved []*Entry) error {
	var all []format.Sums
	var reader format.SumsReader
	err := scanRange(ctx, w.sn, "hours", format.Key(hour, 0), format.Key(hour+1, 0), func(key int64, data []byte) error {
		list, err := reader.Read(key, data)
		all = append(all, list...)
		return err
	})
	if err != nil {
		return err
	}
	one := &windows{sn: w.sn, rows: w.rows, parts: map[windowKey][]format.Sums{}}
	for _, e := range moved {
		h := w.sn.holder(e.holder)
		if h == nil {
			continue
		}
		was := e.was
		was.node, was.workload.Cluster = h.node, h.Cluster
		for i := range all {
			if all[i].ID == e.holder {
				one.ask(hour, groupOf(h), format.HourSeconds, all[i].Revision)
				one.ask(hour, was, format.HourSeconds, all[i].Revision)
			}
		}
	}
	if moved != nil && one.want == nil {
		return nil
	}
	for i := range all {
		one.add(hour, format.HourSeconds, &all[i])
	}
	for k, parts := range one.parts {
		w.parts[k] = parts
	}
	return nil
}

// WindowsBetween returns every window that starts in [fromMs, toMs), as
// Windows does.
func (s *Store) WindowsBetween(ctx context.Context, fromMs, toMs int64) ([]WindowRow, error) {
	return s.aggregate(ctx, "windows", func(ctx context.Context, w *windows) error {
		return s.eachRow(ctx, w.sn, ceilSeconds(fromMs), ceilSeconds(toMs), func(r *format.Row) error {
			e := r.Sums()
			w.add(r.Start, r.Seconds, &e)
			return nil
		})
	})
}

// HoursBetween returns every closed hour that starts in [fromMs, toMs), as Hours does.
func (s *Store) HoursBetween(ctx context.Context, fromMs, toMs int64) ([]WindowRow, error) {
	return s.aggregate(ctx, "hours", func(ctx context.Context, w *windows) error {
		from, to := max(ceilSeconds(fromMs), w.sn.hoursFrom), min(ceilSeconds(toMs), w.sn.sealedBefore)
		var reader format.SumsReader
		return scanRange(ctx, w.sn, "hours", format.Key(from, 0), format.Key(max(from, to), 0), func(key int64, data []byte) error {
			list, err := reader.Read(key, data)
			for i := range list {
				w.add(format.KeyStart(key), format.HourSeconds, &list[i])
			}
			return err
		})
	})
}

func (s *Store) aggregate(ctx context.Context, what string, fill func(context.Context, *windows) error) ([]WindowRow, error) {
	var list []WindowRow
	err := s.read(ctx, func(sn *snapshot) error {
		w := newWindows(sn)
		err := fill(ctx, w)
		if err == nil {
			list, err = w.finish()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return list, nil
}

func hoursBetween(from, to int64) (hours []int64) {
	for h := format.HourOf(max(from, 0)); h < to; h += format.HourSeconds {
		hours = append(hours, h)
	}
	return hours
}

// holderRows calls f for the single windows of holders, whose ids are sorted,
// in spans, which are sorted too; of closed hours, for all of an hour's.
func (s *Store) holderRows(ctx context.Context, sn *snapshot, ids []int32, spans []span, f func(*format.Row) error) error {
	if len(ids) == 0 {
		return nil
	}
	var reader format.SealedReader
	blobs := func(key int64, data []byte) error {
		rows, err := reader.Read(key, data)
		for i := range rows {
			if err == nil {
				err = f(&rows[i])
			}
		}
		return err
	}
	lo, hi := ids[0], ids[len(ids)-1]
	var keys []int64
	done := int64(-1)
	for _, sp := range spans {
		for _, hour := range hoursBetween(max(sp.from, sn.minutesFrom), min(sp.to, sn.sealedBefore)) {
			if hour == done {
				continue
			}
			done = hour
			for _, id := range ids {
				keys = append(keys, format.Key(hour, id))
			}
		}
		err := scanRows(ctx, sn, max(sp.from, sn.sealedBefore), sp.to, lo, hi, func(r *format.Row) error {
			if _, ok := slices.BinarySearch(ids, r.Holder); !ok {
				return nil
			}
			return f(r)
		})
		if err != nil {
			return err
		}
	}
	return scanKeys(ctx, sn, "sealed", keys, blobs)
}
