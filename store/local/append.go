package local

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// rowsPerInsert is how many rows one INSERT writes. More gain nothing: by then
// the time goes into the rows themselves.
const rowsPerInsert = 50

// Rows that are there already give way to newer revisions only.
var (
	insertMinute      = upsertInto("minutes", 1)
	insertMinutes     = upsertInto("minutes", rowsPerInsert)
	insertNodeMinutes = upsertInto("node_minutes", 1)
)

func upsertInto(table string, rows int) string {
	return "INSERT INTO " + table + " VALUES (?, ?, ?)" + strings.Repeat(", (?, ?, ?)", rows-1) +
		" ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, data = excluded.data WHERE excluded.revision >= revision"
}

// Append makes a batch durable; see store.Appender.
func (s *Store) Append(ctx context.Context, b store.Batch) error {
	began := time.Now()
	if err := s.append(ctx, b); err != nil {
		return fmt.Errorf("append %d charges: %w", len(b.Charges), err)
	}
	s.metrics.appendSeconds.Observe(time.Since(began).Seconds())
	s.metrics.appendedRows.Add(float64(len(b.Charges) + len(b.Nodes)))
	return nil
}

func (s *Store) append(ctx context.Context, b store.Batch) error {
	if err := check(b); err != nil {
		return err
	}
	closes := false // an hour: Run has something to do
	err := s.write(ctx, func(ctx context.Context) (func(), error) {
		st := s.interns.stage(s.w)
		for _, h := range b.Holders {
			// Only holders with rows are kept; the first charge describes a new one.
			if _, known := s.interns.find(idOf(h)); !known {
				continue
			}
			if _, err := st.describe(ctx, h, 0); err != nil {
				return nil, fmt.Errorf("describe %s: %w", h.ID, err)
			}
		}
		newest := map[holderID]*power.Holder{}
		for _, h := range b.Holders {
			newest[idOf(h)] = h
		}
		rows := make([]format.Row, 0, len(b.Charges))
		for i := range b.Charges {
			if i%64 == 0 {
				runtime.Gosched() // to questions, which have less to do
			}
			c := &b.Charges[i]
			h := c.Holder
			if len(newest) > 0 {
				if n := newest[idOf(h)]; n != nil {
					h = n
				}
			}
			id, err := st.holder(ctx, h, c.StartMs/1000)
			if err != nil {
				return nil, fmt.Errorf("describe %s: %w", h.ID, err)
			}
			price, err := st.price(ctx, c.Price)
			if err != nil {
				return nil, fmt.Errorf("price: %w", err)
			}
			rows = append(rows, chargeRow(c, id, price))
		}
		if err := st.flush(ctx); err != nil {
			return nil, fmt.Errorf("describe holders: %w", err)
		}
		s.next.holderSeq = st.holderSeq
		nodes := make([]format.NodeRow, 0, len(b.Nodes))
		for i := range b.Nodes {
			n := &b.Nodes[i]
			id, err := st.node(ctx, nodeKey{n.Cluster, n.Node})
			if err != nil {
				return nil, fmt.Errorf("node %s: %w", n.Node, err)
			}
			nodes = append(nodes, windowRow(n, id))
		}
		committed, err := s.put(ctx, st, rows, nodes, b.More)
		if err != nil {
			return nil, err
		}
		s.next.position = max(s.next.position, b.Position)
		closes = s.closable(s.next.newest) > s.closable(s.at().newest)
		return committed, nil
	})
	if closes {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return err
}

func inOrder(a, b format.Row) int {
	return cmp.Compare(format.Key(a.Start, a.Holder), format.Key(b.Start, b.Holder))
}

// put writes rows in the running transaction, wherever they now have to go, and
// returns what is to be done once that is durable. With more to come, readers may
// go on seeing the recent rows of before.
func (s *Store) put(ctx context.Context, st *stage, rows []format.Row, nodes []format.NodeRow, more bool) (committed func(), err error) {
	// In key order the upserts append to one place of the tree.
	if !slices.IsSortedFunc(rows, inOrder) {
		slices.SortStableFunc(rows, inOrder)
	}
	if rows, err = s.displace(ctx, st, rows); err != nil {
		return nil, fmt.Errorf("displace: %w", err)
	}
	at := s.at()
	for _, r := range rows {
		s.next.newest = max(s.next.newest, r.Start)
	}
	expired, late, hot := split(rows, at.minutesFrom, at.sealedBefore, func(r *format.Row) int64 { return r.Start })
	s.metrics.expiredRows.Add(float64(len(expired)))
	rows = rows[len(expired):]
	if len(rows) > 0 {
		s.next.oldest = min(s.next.oldest, rows[0].Start)
	}
	replaced, err := s.replacements(ctx, hot)
	if err != nil {
		return nil, err
	}
	if err := s.upsert(ctx, hot); err != nil {
		return nil, err
	}
	restated, err := s.restate(ctx, late)
	if err != nil {
		return nil, fmt.Errorf("restate: %w", err)
	}
	s.metrics.lateRows.Add(float64(len(late)))

	slices.SortStableFunc(nodes, func(a, b format.NodeRow) int {
		return cmp.Compare(format.Key(a.Start, a.Node), format.Key(b.Start, b.Node))
	})
	for i := range nodes {
		s.next.newest, s.next.oldest = max(s.next.newest, nodes[i].Start), min(s.next.oldest, nodes[i].Start)
	}
	_, lateNodes, hotNodes := split(nodes, at.minutesFrom, at.sealedBefore, func(r *format.NodeRow) int64 { return r.Start })
	if err := s.upsertNodes(ctx, hotNodes); err != nil {
		return nil, err
	}
	if err := s.restateNodes(ctx, lateNodes); err != nil {
		return nil, fmt.Errorf("restate nodes: %w", err)
	}

	earlier, err := s.moveFirst(ctx, st, rows)
	if err != nil {
		return nil, err
	}
	stale, err := s.markStale(ctx, st, restated)
	if err != nil {
		return nil, err
	}
	if len(s.cfg.Followers) > 0 {
		if err := s.post(ctx, st, rows, restated); err != nil {
			return nil, fmt.Errorf("outbox: %w", err)
		}
	}
	c := change{
		rows: rows, hot: hot, hotNodes: hotNodes,
		replaced: replaced, moved: st.moved(), earlier: earlier,
	}
	s.next.dims = st.extended()
	s.next.stale = append(slices.Clip(s.next.stale), stale...)
	if len(nodes) > 0 {
		s.next.generations = append(slices.Clone(s.next.generations), make([]nodeState, len(s.next.dims.nodes)-len(s.next.generations))...)
		for i := range nodes {
			noteNode(s.next.generations, &nodes[i])
		}
	}
	apart := s.next.recent.apart(&c) && len(late) == 0
	if !apart {
		s.show(s.recent.after(c, &s.next.horizons, s.closable(s.next.newest), false))
	}
	return func() {
		st.apply(s.next.dims)
		s.committed(c)
		if !apart {
			s.recent = s.next.recent
			return
		}
		s.recent = s.recent.after(c, &s.next.horizons, s.closable(s.next.newest), true)
		if !more {
			s.show(s.recent)
		}
	}, nil
}

// check refuses what rows cannot hold, before anything is written.
func check(b store.Batch) error {
	for i := range b.Charges {
		c := &b.Charges[i]
		if c.Holder == nil || c.Price == nil {
			return fmt.Errorf("charge %d: no holder or no price", i)
		}
		if err := checkWindow(c.StartMs, c.Seconds, c.Revision); err != nil {
			return fmt.Errorf("charge %d of %s: %w", i, c.Holder.ID, err)
		}
		if p := c.Price; math.IsNaN(p.ElectricityPerKWh + p.Overhead + p.CarbonFactor + p.CarbonKgPerKWh + p.CarbonPerKg) {
			return fmt.Errorf("charge %d of %s: a price that is not a number", i, c.Holder.ID)
		}
	}
	for i := range b.Nodes {
		n := &b.Nodes[i]
		if err := checkWindow(n.StartMs, n.Seconds, n.Revision); err != nil {
			return fmt.Errorf("window %d of node %s: %w", i, n.Node, err)
		}
	}
	return nil
}

func checkWindow(startMs int64, seconds int32, revision uint64) error {
	switch {
	case startMs < 0 || startMs%1000 != 0 || startMs/1000 > math.MaxUint32:
		return fmt.Errorf("start %d is not a whole second between 1970 and 2106", startMs)
	case seconds <= 0 || seconds > format.HourSeconds:
		return fmt.Errorf("a window of %d seconds", seconds)
	case revision > math.MaxInt64:
		return fmt.Errorf("revision %d is out of range", revision)
	}
	return nil
}

func chargeRow(c *power.Charge, holder, price int32) format.Row {
	r := format.Row{
		Start: c.StartMs / 1000, Holder: holder, Seconds: c.Seconds, Idle: int64(c.Idle),
		SeenMs: c.SeenMs, LastOff: c.LastMs - c.StartMs, Price: price, Revision: c.Revision,
	}
	for i := range r.Energy {
		r.Energy[i], r.Counter[i] = int64(c.Energy[i]), int64(c.Counter[i])
	}
	if c.Integrated {
		r.Flags |= format.Integrated
	}
	return r
}

// split cuts rows, sorted by start, into those before a, those before b and the rest.
func split[R any](rows []R, a, b int64, start func(*R) int64) (before, between, after []R) {
	i, j := 0, 0
	for j < len(rows) && start(&rows[j]) < b {
		j++
	}
	for i < j && start(&rows[i]) < a {
		i++
	}
	return rows[:i], rows[i:j], rows[j:]
}

// upsert writes rows of open hours.
func (s *Store) upsert(ctx context.Context, rows []format.Row) error {
	var buf []byte
	args := make([]any, 0, 3*rowsPerInsert)
	for len(rows) > 0 {
		query, n := insertMinutes, rowsPerInsert
		if len(rows) < n {
			query, n = insertMinute, 1
		}
		buf = buf[:0]
		if cap(buf) < n*128 {
			buf = make([]byte, 0, n*128) // never grows: a row takes 2+10·10+… < 128 bytes
		}
		args = args[:0]
		for i := range rows[:n] {
			at := len(buf)
			buf = format.AppendRow(buf, &rows[i])
			args = append(args, format.Key(rows[i].Start, rows[i].Holder), int64(rows[i].Revision), buf[at:len(buf):len(buf)])
		}
		if _, err := s.w.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		rows = rows[n:]
		runtime.Gosched()
	}
	return nil
}

// moveFirst moves the first row of holders back to rows that are earlier.
func (s *Store) moveFirst(ctx context.Context, st *stage, rows []format.Row) (map[int32]int64, error) {
	earlier := map[int32]int64{}
	for i := range rows {
		r := &rows[i]
		first, ok := st.first[r.Holder]
		if !ok {
			first = s.last[r.Holder].first // only writers change it
		}
		if e, ok := earlier[r.Holder]; ok {
			first = e
		}
		if r.Start < first {
			earlier[r.Holder] = r.Start
		}
	}
	for id, first := range earlier {
		if _, err := s.w.ExecContext(ctx, "UPDATE holders SET first = ? WHERE id = ?", first, id); err != nil {
			return nil, err
		}
	}
	return earlier, nil
}

// markStale notes the closed hours whose sums by space no longer hold: those
// restated, and all of a holder that moved to another space.
func (s *Store) markStale(ctx context.Context, st *stage, restated []format.Row) ([]span, error) {
	var add []span
	note := func(from, to int64) {
		to = min(to, s.at().sealedBefore)
		for _, sp := range append(slices.Clip(s.at().stale), add...) {
			if sp.from <= from && to <= sp.to {
				return
			}
		}
		if from < to {
			add = append(add, span{from, to})
		}
	}
	for i := range restated {
		hour := format.HourOf(restated[i].Start)
		note(hour, hour+format.HourSeconds)
	}
	for _, id := range st.moved() {
		l := s.last[id]
		note(format.HourOf(l.first), format.HourOf(l.last)+format.HourSeconds)
	}
	for _, sp := range add {
		if _, err := s.w.ExecContext(ctx, "INSERT INTO stale_hours (from_s, to_s) VALUES (?, ?)", sp.from, sp.to); err != nil {
			return nil, err
		}
	}
	return add, nil
}

// A change is what a commit did.
type change struct {
	rows     []format.Row  // by start and holder
	hot      []format.Row  // those of open hours
	replaced []replacement // those of open hours that recent has let go of
	hotNodes []format.NodeRow
	moved    []int32         // holders that are in another space now
	earlier  map[int32]int64 // first rows that were not known to be the first
}

// replacements returns what the rows of open hours that recent has let go of
// are about to replace.
func (s *Store) replacements(ctx context.Context, hot []format.Row) (list []replacement, err error) {
	m := &s.recent
	for i := range hot {
		if hot[i].Start >= m.from {
			break
		}
		if m.hour(format.HourOf(hot[i].Start)) == nil {
			continue
		}
		r := replacement{new: hot[i]}
		err := scanRows(ctx, s.w, hot[i].Start, hot[i].Start+1, hot[i].Holder, hot[i].Holder, func(old *format.Row) error {
			was := *old
			r.old = &was
			return nil
		})
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// committed tells a running seal and the lives of holders of an append that is
// durable.
func (s *Store) committed(c change) {
	if s.sealing != nil {
		for i := range c.hot {
			s.sealing.touch(c.hot[i].Start, c.hot[i].Holder)
		}
		for i := range c.hotNodes {
			s.sealing.touchNode(c.hotNodes[i].Start, c.hotNodes[i].Node)
		}
	}
	s.lives.Lock()
	defer s.lives.Unlock()
	for i := range c.rows {
		r := &c.rows[i]
		if int(r.Holder) >= len(s.last) {
			s.last = put(s.last, r.Holder, lifetime{})
		}
		l := &s.last[r.Holder]
		if l.last == 0 {
			*l = lifetime{r.Start, r.Start}
		}
		l.last = max(l.last, r.Start)
	}
	for id, first := range c.earlier {
		s.last[id].first = first
	}
}

// readStale reads the hours whose sums by space are not to be used.
func readStale(ctx context.Context, w *writer) (list []span, err error) {
	err = eachRow(ctx, w, "SELECT from_s, to_s FROM stale_hours", func(rows *sql.Rows) error {
		var sp span
		err := rows.Scan(&sp.from, &sp.to)
		list = append(list, sp)
		return err
	})
	return list, err
}

// post writes what an append changed to the outbox.
func (s *Store) post(ctx context.Context, st *stage, rows, restated []format.Row) error {
	if len(rows) > 0 {
		keys := binary.AppendUvarint(nil, uint64(len(rows)))
		prev := int64(0)
		for i := range rows {
			k := format.Key(rows[i].Start, rows[i].Holder)
			keys = binary.AppendUvarint(keys, uint64(k-prev))
			prev = k
		}
		if err := s.postEntry(ctx, RowsWritten, keys); err != nil {
			return err
		}
	}
	hour := int64(-1)
	for i := range restated {
		if h := format.HourOf(restated[i].Start); h != hour {
			hour = h
			if err := s.postEntry(ctx, HourClosed, binary.AppendUvarint(nil, uint64(h))); err != nil {
				return err
			}
		}
	}
	for id, was := range st.old {
		l := s.last[id]
		data := binary.AppendUvarint(nil, uint64(id))
		data = binary.AppendUvarint(data, uint64(l.first))
		data = binary.AppendUvarint(data, uint64(l.last+1))
		for _, text := range []string{was.Workload.Namespace, was.Workload.Kind, was.Workload.Name, string(was.Type)} {
			data = binary.AppendUvarint(data, uint64(len(text)))
			data = append(data, text...)
		}
		if err := s.postEntry(ctx, HolderDescribed, data); err != nil {
			return err
		}
	}
	return nil
}
