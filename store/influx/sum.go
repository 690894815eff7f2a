package influx

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A sum is one question being answered.
type sum struct {
	q       *Querier
	ask     store.Query
	where   string // of tags; begins with AND or is empty
	params  map[string]any
	rows    map[place]*store.Row
	holders map[place]int // price is 0
}

// A place is where a part of an answer belongs.
type place struct {
	startMs int64
	group   string
	price   power.Price
}

func newSum(q *Querier, ask store.Query) *sum {
	s := &sum{q: q, ask: ask, params: map[string]any{}, rows: map[place]*store.Row{}, holders: map[place]int{}}
	var where strings.Builder
	for _, d := range held {
		if v, ok := ask.Match[d]; ok {
			// A tag that is not there equals the empty string.
			fmt.Fprintf(&where, " AND %q = $%s", string(d), d)
			s.params[string(d)] = tagValue(v)
		}
	}
	if ask.WorkloadsOnly {
		for _, k := range []power.HolderKind{power.System, power.Idle, power.Unattributed} {
			fmt.Fprintf(&where, " AND \"namespace\" != '%s'", k.PseudoName())
		}
	}
	s.where = where.String()
	return s
}

func (s *sum) run(ctx context.Context) error {
	from, to := max(s.ask.FromMs, minMs), min(s.ask.ToMs, maxMs)
	if s.ask.StepMs%hourMs != 0 {
		return s.read(ctx, s.q.cfg.Bucket, from, to)
	}
	closed, err := s.q.closedBefore(ctx)
	if err != nil {
		return err
	}
	first := (from + hourMs - 1) / hourMs * hourMs
	last := min(to/hourMs*hourMs, closed)
	if first >= last {
		return s.read(ctx, s.q.cfg.Bucket, from, to)
	}
	if err := s.read(ctx, s.q.cfg.Bucket, from, first); err != nil {
		return err
	}
	if within(spaces, s.ask) {
		err = s.readSpaces(ctx, first, last)
	} else {
		err = s.read(ctx, s.q.cfg.hourly(), first, last)
	}
	if err != nil {
		return err
	}
	return s.read(ctx, s.q.cfg.Bucket, last, to)
}

// read adds what one bucket has of [fromMs, toMs).
func (s *sum) read(ctx context.Context, bucket string, fromMs, toMs int64) error {
	if fromMs >= toMs {
		return nil
	}
	prices, err := s.q.prices(ctx, bucket, fromMs, toMs)
	if err != nil || len(prices) == 0 {
		return err
	}
	if _, ok := prices[0]; ok {
		return errSeveralPrices
	}
	for id, p := range prices {
		where := s.where
		if len(prices) > 1 {
			where += fmt.Sprintf(" AND \"price\" = %d", id)
		}
		if err := s.readPrice(ctx, bucket, fromMs, toMs, where, p); err != nil {
			return err
		}
	}
	if s.native(bucket) {
		return nil
	}
	return s.readHolders(ctx, bucket, fromMs, toMs)
}

// native reports whether a bucket has one row for each workload, node and step:
// then holders are counted as the rows come.
func (s *sum) native(bucket string) bool {
	return bucket == s.q.cfg.hourly() && s.ask.StepMs == hourMs
}

// every returns the length of the pieces that are asked for: a step, or a part
// of one. InfluxDB's own sums wrap around silently; those of a day are far from
// that, and adding them up here is checked.
func (s *sum) every() int64 {
	a, b := s.ask.StepMs, int64(dayMs)
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (s *sum) groupBy() string {
	text := fmt.Sprintf(" GROUP BY time(%dms)", s.every())
	for _, d := range s.ask.GroupBy {
		text += fmt.Sprintf(", %q", string(d))
	}
	return text + " fill(none)"
}

const columns = `sum("cpu_uj"), sum("dram_uj"), sum("gpu_uj"), sum("other_uj"), sum("idle_uj"), sum("seen_ms"), sum("held_ms"), max("last_ms"), sum("containers")`

func (s *sum) readPrice(ctx context.Context, bucket string, fromMs, toMs int64, where string, price power.Price) error {
	statement := "SELECT " + columns
	statement += ` FROM "` + energyMeasurement + `" WHERE ` + timeRange(fromMs, toMs) + where + s.groupBy()
	native := s.native(bucket)
	return s.q.influxql.query(ctx, bucket, statement, s.params, func(part series) error {
		group, name := s.groupOf(part)
		for _, v := range part.Values {
			var n [10]int64
			for i := range n {
				var err error
				if n[i], err = integer(v[i]); err != nil {
					return err
				}
			}
			if n[9] == 0 {
				continue // all that was here has moved to another workload
			}
			at := place{s.stepOf(n[0]), name, price}
			if err := s.add(at, group, &n); err != nil {
				return err
			}
			if native {
				at.price = power.Price{}
				s.holders[at] += int(n[9])
			}
		}
		return nil
	})
}

func (s *sum) groupOf(part series) (group []string, name string) {
	group = make([]string, len(s.ask.GroupBy))
	for i, d := range s.ask.GroupBy {
		group[i] = tagName(part.Tags[string(d)])
	}
	return group, strings.Join(group, "\x00")
}

// stepOf returns the start of the step that a time belongs to.
func (s *sum) stepOf(ms int64) int64 {
	if s.ask.StepMs == 0 {
		return s.ask.FromMs
	}
	return ms - ms%s.ask.StepMs
}

func (s *sum) add(at place, group []string, n *[10]int64) error {
	r := s.rows[at]
	if r == nil {
		if len(s.rows) == maxRows {
			return fmt.Errorf("%w: %d", store.ErrTooMany, maxRows)
		}
		r = &store.Row{StartMs: at.startMs, Group: group, Price: at.price}
		s.rows[at] = r
	}
	ok := addTo((*int64)(&r.Idle), n[5])
	for c := range r.Energy {
		ok = addTo((*int64)(&r.Energy[c]), n[1+c]) && ok
	}
	if !ok {
		return fmt.Errorf("group %q: %w", strings.Join(group, ":"), errOverflow)
	}
	r.SeenMs += n[6]
	r.HeldMs += n[7]
	r.LastMs = max(r.LastMs, n[8])
	return nil
}

func addTo(sum *int64, n int64) bool {
	t := *sum + n
	if (n > 0) != (t > *sum) && n != 0 {
		return false
	}
	*sum = t
	return true
}

// readHolders counts, in each step, the most holders each workload had on a
// node at one time.
func (s *sum) readHolders(ctx context.Context, bucket string, fromMs, toMs int64) error {
	inner := `SELECT max("containers") AS "most" FROM "` + energyMeasurement + `" WHERE ` + timeRange(fromMs, toMs) + s.where +
		fmt.Sprintf(" GROUP BY time(%dms), * fill(none)", s.every())
	statement := `SELECT sum("most") FROM (` + inner + `) WHERE ` + timeRange(fromMs, toMs) + s.groupBy()
	return s.q.influxql.query(ctx, bucket, statement, s.params, func(part series) error {
		_, name := s.groupOf(part)
		for _, v := range part.Values {
			at, err := integer(v[0])
			if err != nil {
				return err
			}
			n, err := integer(v[1])
			if err != nil {
				return err
			}
			p := place{startMs: s.stepOf(at), group: name}
			s.holders[p] = max(s.holders[p], int(n))
		}
		return nil
	})
}

// finish returns the rows in order: by step, group and price.
func (s *sum) finish() []store.Row {
	var list []store.Row
	for at, r := range s.rows {
		at.price = power.Price{}
		r.Holders = s.holders[at]
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(a.StartMs, b.StartMs), slices.Compare(a.Group, b.Group), cmp.Compare(priceID(a.Price), priceID(b.Price)))
	})
	return list
}
