package local

import (
	"context"
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

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
	m, used, err := s.used(ctx, ceilSeconds(q.FromMs), ceilSeconds(q.ToMs))
	if err != nil {
		return nil, "", err
	}
	p := newPage(&q, after)
	if q.ByContainer {
		offerContainers(p, used.holders, &m.dims)
	} else if err := offerWorkloads(p, used, &m.dims); err != nil {
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

// eachRow calls f for every single window that starts in [from, to) and whose
// holder is known, open hours or closed.
func (s *Store) eachRow(ctx context.Context, sn *snapshot, from, to int64, f func(*format.Row) error) error {
	known := func(r *format.Row) error {
		if sn.holder(r.Holder) == nil {
			return nil
		}
		return f(r)
	}
	from = max(from, sn.minutesFrom)
	if from < sn.sealedBefore {
		var reader format.SealedReader
		err := scanRange(ctx, sn, "sealed", format.Key(format.HourOf(from), 0), format.Key(min(to, sn.sealedBefore), 0), func(key int64, data []byte) error {
			rows, err := reader.Read(key, data)
			if err != nil {
				return err
			}
			for i := range rows {
				if rows[i].Start >= from && rows[i].Start < to {
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
	return scanRows(ctx, sn, max(from, sn.sealedBefore), to, 0, format.IDMask, known)
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
	t := totals{price: u.price, lastMs: u.lastMs, containers: 1}
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

func offerContainers(p *page, uses []use, d *dims) {
	match := newMatcher(d, p.q.Match)
	for i := range uses {
		u := &uses[i]
		if match.holder(u.h) {
			p.offer(candidate{h: u.h, total: u.total, use: u})
		}
	}
}

func offerWorkloads(p *page, used *usage, d *dims) error {
	list, err := used.workloads(newMatcher(d, p.q.Match))
	for i := range list {
		p.offer(list[i])
	}
	return err
}

// byWorkload adds up what the holders that match used by workload.
func byWorkload(uses []use, match *matcher) ([]candidate, error) {
	var at []int32 // workload → index into both lists + 1
	var list []candidate
	var sums []totals
	for i := range uses {
		u := &uses[i]
		if !match.holder(u.h) {
			continue
		}
		t := u.totals()
		if int(u.h.workload) >= len(at) {
			at = append(at, make([]int32, int(u.h.workload)+1-len(at)+len(at)/2)...)
		}
		k := at[u.h.workload] - 1
		if k < 0 {
			list, sums = append(list, candidate{h: u.h}), append(sums, t)
			sums[len(list)-1].inferred = u.h.Inferred
			at[u.h.workload] = int32(len(list))
			continue
		}
		w := &sums[k]
		for c := range t.energy {
			if !power.AddChecked(&w.energy[c], t.energy[c]) {
				return nil, errOverflow
			}
			w.watts[c] += t.watts[c]
		}
		w.containers++
		w.inferred = w.inferred && u.h.Inferred
		if t.lastMs > w.lastMs {
			w.lastMs, w.price = t.lastMs, t.price
			list[k].h = u.h
		}
	}
	for i := range list {
		list[i].of, list[i].total = &sums[i], sums[i].total()
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
