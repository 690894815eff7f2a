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
	"sync"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A use is what one holder used in the range of a power query.
type use struct {
	energy  [power.NumComponents]int64
	seenMs  int64
	lastMs  int64
	h       *holder
	id      int32
	price   int32
	seconds int32
}

func (u *use) add(energy *[power.NumComponents]int64, seenMs int32, lastMs int64, price, seconds int32) error {
	for c := range energy {
		if !addTo(&u.energy[c], energy[c]) {
			return errOverflow
		}
	}
	u.seenMs += int64(seenMs)
	if u.seconds == 0 || lastMs >= u.lastMs { // no window lasts 0 seconds
		u.lastMs, u.price, u.seconds = lastMs, price, seconds
	}
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
	m, uses, err := s.uses(ctx, ceilSeconds(q.FromMs), ceilSeconds(q.ToMs))
	if err != nil {
		return nil, "", err
	}
	p := newPage(&q, after)
	if q.ByContainer {
		offerContainers(p, uses, &m.dims)
	} else if err := offerWorkloads(p, uses, &m.dims); err != nil {
		return nil, "", err
	}
	page := p.sorted()
	next := ""
	if len(page) > q.Limit {
		page = page[:q.Limit]
		next = cursorAfter(page[q.Limit-1], q)
	}
	rows := make([]store.PowerRow, len(page))
	for i, c := range page {
		rows[i] = c.row(&m.dims)
		if int(c.h.node) < len(m.generations) {
			rows[i].Generation = m.generations[c.h.node].generation
		}
	}
	return rows, next, nil
}

// powerViews are what questions of current power have been answered from since
// the newest commit: they ask for the same few stretches again and again.
type powerViews struct {
	mu    sync.Mutex
	views []powerView // guarded by mu
}

// maxPowerViews bounds what questions about different stretches make it hold.
const maxPowerViews = 2

type powerView struct {
	starts []*recentRows
	uses   []use
}

// uses returns what was used in [from, to) by each container and VM that was
// seen to the end, by id, from memory if that reaches back far enough.
func (s *Store) uses(ctx context.Context, from, to int64) (*memory, []use, error) {
	m := s.at()
	if from >= m.recent.from || m.newest == 0 {
		uses, err := m.uses(m.recent.between(from, to))
		return m, uses, err
	}
	var uses []use
	err := s.read(ctx, func(sn *snapshot) error {
		m = sn.memory
		uses = make([]use, len(m.holders))
		err := s.eachRow(ctx, sn, from, to, func(r *row) error {
			u := &uses[r.holder]
			u.id = r.holder
			return u.add(&r.energy, r.seenMs, r.start*1000+r.lastOff, r.price, r.seconds)
		})
		uses = current(slices.DeleteFunc(uses, func(u use) bool { return u.seconds == 0 }), &m.dims)
		return err
	})
	return m, uses, err
}

func (m *memory) uses(starts []*recentRows) ([]use, error) {
	m.power.mu.Lock() // one adds up, the others wait for it
	defer m.power.mu.Unlock()
	for _, v := range m.power.views {
		if slices.Equal(v.starts, starts) {
			return v.uses, nil
		}
	}
	var uses []use
	for _, st := range starts {
		var err error
		if uses, err = addUses(uses, st); err != nil {
			return nil, err
		}
	}
	v := powerView{starts, current(uses, &m.dims)}
	if len(m.power.views) == maxPowerViews {
		m.power.views = m.power.views[1:]
	}
	m.power.views = append(slices.Clip(m.power.views), v)
	return v.uses, nil
}

// addUses adds the rows of a start to uses, which are sorted by id.
func addUses(uses []use, st *recentRows) ([]use, error) {
	if uses == nil {
		uses = make([]use, 0, len(st.rows)+len(st.rows)/16)
	}
	at, known := 0, len(uses)
	for i := range st.rows {
		r := &st.rows[i]
		for at < known && uses[at].id < r.holder {
			at++
		}
		to := at
		if at == known || uses[at].id != r.holder {
			to = len(uses)
			uses = append(uses, use{id: r.holder})
		}
		if err := uses[to].add(&r.energy, r.seenMs, st.start*1000+r.lastOff, r.price, r.seconds); err != nil {
			return nil, err
		}
	}
	if known > 0 && len(uses) > known {
		slices.SortFunc(uses, func(a, b use) int { return int(a.id - b.id) })
	}
	return uses, nil
}

// current leaves the containers and VMs that were seen to the end of uses.
func current(uses []use, d *dims) []use {
	newest := make([]int64, len(d.nodes))
	for i := range uses {
		if h := d.holder(uses[i].id); h != nil {
			uses[i].h = h
			newest[h.node] = max(newest[h.node], uses[i].lastMs)
		}
	}
	return slices.DeleteFunc(uses, func(u use) bool {
		return u.h == nil || u.h.Kind != power.Container && u.h.Kind != power.VM ||
			u.lastMs < newest[u.h.node]-max(2*int64(u.seconds)*1000, 120_000)
	})
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
	use   *use    // of a container
	of    *totals // of a workload
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

func (u *use) totals() totals {
	t := totals{price: u.price, lastMs: u.lastMs, containers: 1, inferred: u.h.Inferred}
	for i := range u.energy {
		t.energy[i] = power.Microjoules(u.energy[i])
		if u.seenMs > 0 {
			t.watts[i] = float64(u.energy[i]) / 1000 / float64(u.seenMs)
		}
	}
	return t
}

// watts is the same to the last bit as the total of u.totals.
func (u *use) watts() float64 {
	t := u.totals()
	return t.total()
}

func (t *totals) total() float64 {
	return t.watts[power.CPU] + t.watts[power.DRAM] + t.watts[power.GPU] + t.watts[power.Other]
}

func offerContainers(p *page, uses []use, d *dims) {
	match := newMatcher(d, p.q.Match)
	for i := range uses {
		u := &uses[i]
		if match.holder(u.h) {
			p.offer(candidate{h: u.h, total: u.watts(), use: u})
		}
	}
}

func offerWorkloads(p *page, uses []use, d *dims) error {
	match := newMatcher(d, p.q.Match)
	at := map[int32]int32{} // workload → index into list
	var list []candidate
	for i := range uses {
		h := uses[i].h
		if !match.holder(h) {
			continue
		}
		t := uses[i].totals()
		k, ok := at[h.workload]
		if !ok {
			at[h.workload] = int32(len(list))
			list = append(list, candidate{h: h, of: &t})
			continue
		}
		w := list[k].of
		for c := range t.energy {
			if !addTo((*int64)(&w.energy[c]), int64(t.energy[c])) {
				return errOverflow
			}
			w.watts[c] += t.watts[c]
		}
		w.containers++
		w.inferred = w.inferred && t.inferred
		if t.lastMs > w.lastMs {
			w.lastMs, w.price = t.lastMs, t.price
			list[k].h = h
		}
	}
	for _, c := range list {
		c.total = c.of.total()
		p.offer(c)
	}
	return nil
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

func (c *candidate) row(d *dims) store.PowerRow {
	h := c.h
	if c.of == nil {
		t := c.use.totals()
		return t.row(*h.Holder, d)
	}
	return c.of.row(power.Holder{
		HolderKey: power.HolderKey{Cluster: h.Cluster}, Workload: h.Workload, Type: h.Type, Rule: h.Rule, Inferred: c.of.inferred,
	}, d)
}

func (t *totals) row(h power.Holder, d *dims) store.PowerRow {
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

// A page takes the first rows after a cursor, one more than asked for if there
// are any.
type page struct {
	worst
	after *candidate
}

func newPage(q *store.PowerQuery, after *cursor) *page {
	p := &page{worst: worst{q: q}}
	if after != nil {
		p.after = &candidate{total: after.Watts, names: after.Names}
	}
	return p
}

func (p *page) offer(c candidate) {
	full := len(p.list) > p.q.Limit
	if full && !less(&c, &p.list[0], p.q) || p.after != nil && !less(p.after, &c, p.q) {
		return
	}
	if !full {
		heap.Push(p, c)
		return
	}
	p.list[0] = c
	heap.Fix(p, 0)
}

func (p *page) sorted() []candidate {
	slices.SortFunc(p.list, func(a, b candidate) int {
		switch {
		case less(&a, &b, p.q):
			return -1
		case less(&b, &a, p.q):
			return 1
		}
		return 0
	})
	return p.list
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
