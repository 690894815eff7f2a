package local

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A use is what one holder used in the range of a power query.
type use struct {
	energy  [power.NumComponents]int64
	seenMs  int64
	lastMs  int64
	price   int32
	seconds int32
	seen    bool
}

func (u *use) add(energy *[power.NumComponents]int64, seenMs int32, lastMs int64, price, seconds int32) error {
	for c := range energy {
		if !addTo(&u.energy[c], energy[c]) {
			return errOverflow
		}
	}
	u.seenMs += int64(seenMs)
	if !u.seen || lastMs >= u.lastMs {
		u.lastMs, u.price, u.seconds = lastMs, price, seconds
	}
	u.seen = true
	return nil
}

// Power returns the mean power of containers and VMs that were seen to the
// end: what has stopped before its node did draws nothing any more. The mean is
// over the time seen, not over the range. Pages of one query agree on its
// range: the cursor carries the first page's.
func (s *Store) Power(ctx context.Context, q store.PowerQuery) ([]store.PowerRow, string, error) {
	rows, next, err := s.power(ctx, q)
	if err != nil {
		return nil, "", fmt.Errorf("power: %w", err)
	}
	return rows, next, nil
}

func (s *Store) power(ctx context.Context, q store.PowerQuery) ([]store.PowerRow, string, error) {
	if q.Limit <= 0 {
		return nil, "", fmt.Errorf("limit %d is not positive", q.Limit)
	}
	if q.By == "" {
		q.By = store.ByPower
	}
	if q.By != store.ByPower && q.By != store.ByName {
		return nil, "", fmt.Errorf("unknown order %q", q.By)
	}
	if err := checkDimensions(nil, q.Match); err != nil {
		return nil, "", err
	}
	var after *cursor
	if q.Cursor != "" {
		c, err := parseCursor(q)
		if err != nil {
			return nil, "", err
		}
		after, q.FromMs, q.ToMs = c, c.FromMs, c.ToMs
	}
	uses, d, generations, err := s.uses(ctx, ceilSeconds(q.FromMs), ceilSeconds(q.ToMs))
	if err != nil {
		return nil, "", err
	}
	candidates, err := rank(uses, d, q)
	if err != nil {
		return nil, "", err
	}
	page := pageOf(candidates, after, q)
	next := ""
	if len(page) > q.Limit {
		page = page[:q.Limit]
		next = cursorAfter(page[q.Limit-1], q)
	}
	rows := make([]store.PowerRow, len(page))
	for i, c := range page {
		rows[i] = c.row(uses, d)
		rows[i].Generation = generations[c.h.node].generation
	}
	return rows, next, nil
}

// uses adds up what each holder used in [from, to), from memory if that
// reaches back far enough.
func (s *Store) uses(ctx context.Context, from, to int64) ([]use, dims, map[int32]nodeState, error) {
	s.mu.RLock()
	d := s.view
	uses := make([]use, len(d.holders))
	generations := make(map[int32]nodeState, len(s.genOf))
	for k, v := range s.genOf {
		generations[k] = v
	}
	inMemory := from >= s.recent.from || s.at.newest == 0
	if inMemory {
		for start, st := range s.recent.starts {
			if start < from || start >= to {
				continue
			}
			for i := range st.rows {
				r := &st.rows[i]
				if err := uses[r.holder].add(&r.energy, r.seenMs, start*1000+r.lastOff, r.price, r.seconds); err != nil {
					s.mu.RUnlock()
					return nil, d, nil, err
				}
			}
		}
	}
	s.mu.RUnlock()
	if inMemory {
		return uses, d, generations, nil
	}
	err := s.read(ctx, func(sn *snapshot) error {
		d = sn.dims
		uses = make([]use, len(d.holders))
		return s.eachRow(ctx, sn, from, to, func(r *row) error {
			return uses[r.holder].add(&r.energy, r.seenMs, r.start*1000+r.lastOff, r.price, r.seconds)
		})
	})
	return uses, d, generations, err
}

// eachRow calls f for every single window that starts in [from, to) and whose
// holder is known, open hours or closed.
func (s *Store) eachRow(ctx context.Context, sn *snapshot, from, to int64, f func(*row) error) error {
	known := func(r *row) error {
		if sn.holder(r.holder) == nil {
			return nil
		}
		return f(r)
	}
	from = max(from, sn.minutesFrom)
	if from < sn.sealedBefore {
		var reader sealedReader
		err := scanRange(ctx, sn, "sealed", rowKey(hourOf(from), 0), rowKey(min(to, sn.sealedBefore), 0), func(key int64, data []byte) error {
			rows, err := reader.read(key, data)
			if err != nil {
				return err
			}
			for i := range rows {
				if rows[i].start >= from && rows[i].start < to {
					if err := known(&rows[i]); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return scanRows(ctx, sn, max(from, sn.sealedBefore), to, 0, idMask, known)
}

// A candidate is a row of the answer before it is known to be on the page. It
// is small: there may be a hundred thousand for a page of a hundred.
type candidate struct {
	h     *holder  // a container, or the newest of the workload's
	names []string // of a page's end, in place of h
	total float64
	of    *totals // of a workload; nil for a container
}

// totals is what a holder or a workload used.
type totals struct {
	energy     power.Energy
	watts      [power.NumComponents]float64
	price      int32
	lastMs     int64
	containers int
	inferred   bool
}

func (u *use) totals(h *holder) totals {
	t := totals{price: u.price, lastMs: u.lastMs, containers: 1, inferred: h.Inferred}
	for i := range u.energy {
		t.energy[i] = power.Microjoules(u.energy[i])
		if u.seenMs > 0 {
			t.watts[i] = float64(u.energy[i]) / 1000 / float64(u.seenMs)
		}
	}
	return t
}

func (t *totals) total() float64 {
	return t.watts[power.CPU] + t.watts[power.DRAM] + t.watts[power.GPU] + t.watts[power.Other]
}

// rank returns the holders or workloads that match.
func rank(uses []use, d dims, q store.PowerQuery) ([]candidate, error) {
	newest := make([]int64, len(d.nodes))
	for id := range uses {
		if h := d.holders[id]; h != nil && uses[id].seen {
			newest[h.node] = max(newest[h.node], uses[id].lastMs)
		}
	}
	var list []candidate
	if q.ByContainer && len(q.Match) == 0 {
		list = make([]candidate, 0, len(uses))
	}
	byWorkload := map[power.Workload]int{}
	for id := range uses {
		u, h := &uses[id], d.holders[id]
		if !u.seen || h == nil || (h.Kind != power.Container && h.Kind != power.VM) {
			continue
		}
		if u.lastMs < newest[h.node]-max(2*int64(u.seconds)*1000, 120_000) {
			continue
		}
		if !matches(h.Holder, q.Match) {
			continue
		}
		t := u.totals(h)
		if q.ByContainer {
			list = append(list, candidate{h: h, total: t.total()})
			continue
		}
		at, ok := byWorkload[h.Workload]
		if !ok {
			byWorkload[h.Workload] = len(list)
			list = append(list, candidate{h: h, of: &t})
			continue
		}
		w := list[at].of
		for i := range t.energy {
			if !addTo((*int64)(&w.energy[i]), int64(t.energy[i])) {
				return nil, errOverflow
			}
			w.watts[i] += t.watts[i]
		}
		w.containers++
		w.inferred = w.inferred && t.inferred
		if t.lastMs > w.lastMs {
			w.lastMs, w.price = t.lastMs, t.price
			list[at].h = h
		}
	}
	for i := range list {
		if of := list[i].of; of != nil {
			list[i].total = of.total()
		}
	}
	return list, nil
}

// compareNames orders rows by cluster, namespace, workload, pod and container;
// it is 0 for the same row only.
func compareNames(a, b *candidate, byContainer bool) int {
	for i := range nameParts {
		if c := strings.Compare(a.name(i, byContainer), b.name(i, byContainer)); c != 0 {
			return c
		}
	}
	return 0
}

const nameParts = 8

func (c *candidate) name(i int, byContainer bool) string {
	if c.h == nil {
		if i < len(c.names) {
			return c.names[i]
		}
		return ""
	}
	switch {
	case i == 0:
		return c.h.Cluster
	case i == 1:
		return c.h.Workload.Namespace
	case i == 2:
		return c.h.Workload.Name
	case i == 3 && !byContainer:
		return c.h.Workload.Kind
	case !byContainer:
		return ""
	case i == 3:
		return c.h.Pod
	case i == 4:
		return c.h.Holder.Container
	case i == 5:
		return c.h.Node
	case i == 6:
		return c.h.ID
	}
	return c.h.Kind.String()
}

func (c *candidate) row(uses []use, d dims) store.PowerRow {
	h := c.h
	if c.of == nil {
		t := uses[h.id].totals(h)
		return t.row(*h.Holder, d)
	}
	return c.of.row(power.Holder{
		HolderKey: power.HolderKey{Cluster: h.Cluster}, Workload: h.Workload, Type: h.Type, Rule: h.Rule, Inferred: c.of.inferred,
	}, d)
}

func (t *totals) row(h power.Holder, d dims) store.PowerRow {
	return store.PowerRow{
		Holder: h, Energy: t.energy, Watts: t.watts, Price: d.prices[t.price], Containers: t.containers, LastMs: t.lastMs,
	}
}

// less reports whether a comes before b.
func less(a, b *candidate, q *store.PowerQuery) bool {
	c := 0
	if q.By == store.ByPower {
		c = cmp.Compare(a.total, b.total)
		if !q.Ascending {
			c = -c
		}
		if c == 0 {
			return compareNames(a, b, q.ByContainer) < 0
		}
		return c < 0
	}
	c = compareNames(a, b, q.ByContainer)
	if !q.Ascending {
		c = -c
	}
	return c < 0
}

// pageOf returns the first rows after the cursor, one more than asked for if
// there are any, sorted.
func pageOf(list []candidate, after *cursor, q store.PowerQuery) []candidate {
	h := &worst{q: &q}
	last := candidate{}
	if after != nil {
		last = candidate{total: after.Watts, names: after.Names}
	}
	for i := range list {
		if after != nil && !less(&last, &list[i], &q) {
			continue
		}
		if len(h.list) <= q.Limit {
			heap.Push(h, list[i])
		} else if less(&list[i], &h.list[0], &q) {
			h.list[0] = list[i]
			heap.Fix(h, 0)
		}
	}
	slices.SortFunc(h.list, func(a, b candidate) int {
		switch {
		case less(&a, &b, &q):
			return -1
		case less(&b, &a, &q):
			return 1
		}
		return 0
	})
	return h.list
}

// worst is a heap with the last row of a page on top.
type worst struct {
	list []candidate
	q    *store.PowerQuery
}

func (h *worst) Len() int           { return len(h.list) }
func (h *worst) Less(i, j int) bool { return less(&h.list[j], &h.list[i], h.q) }
func (h *worst) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *worst) Push(x any)         { h.list = append(h.list, x.(candidate)) }
func (h *worst) Pop() any {
	x := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return x
}

// A cursor is where a page ended, and the query it belongs to.
type cursor struct {
	Query  uint64   `json:"q"`
	FromMs int64    `json:"f"`
	ToMs   int64    `json:"t"`
	Watts  float64  `json:"w"`
	Names  []string `json:"n"`
}

func cursorAfter(c candidate, q store.PowerQuery) string {
	names := make([]string, nameParts)
	for i := range names {
		names[i] = c.name(i, q.ByContainer)
	}
	b, err := json.Marshal(cursor{queryHash(q), q.FromMs, q.ToMs, c.total, names})
	if err != nil {
		return "" // power that is not a number cannot be
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(q store.PowerQuery) (*cursor, error) {
	b, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err != nil {
		return nil, store.ErrBadCursor
	}
	var c cursor
	if err := json.Unmarshal(b, &c); err != nil || c.Query != queryHash(q) {
		return nil, store.ErrBadCursor
	}
	return &c, nil
}

// queryHash is equal for queries whose rows and order are: the range and the
// page size may differ from page to page.
func queryHash(q store.PowerQuery) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%v %v %q", q.ByContainer, q.Ascending, q.By)
	for _, d := range store.Dimensions {
		if v, ok := q.Match[d]; ok {
			fmt.Fprintf(h, " %s=%q", d, v)
		}
	}
	return h.Sum64()
}
