package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

const (
	// The cost of an hour to come is read off this stretch.
	currentStretch = 5 * time.Minute
	// Books are kept for 13 months by default.
	longestPeriod = 400 * 24 * time.Hour
)

// A group is the cost of one value of the dimensions asked for. In JSON each
// dimension is a field of its own.
type group struct {
	name   string // its values, joined by ":"
	dims   []store.Dimension
	values []string
	cost   Cost
}

// MarshalJSON writes name, the dimensions, then the cost.
func (g group) MarshalJSON() ([]byte, error) {
	b := []byte(`{"name":`)
	name, err := json.Marshal(g.name)
	if err != nil {
		return nil, err
	}
	b = append(b, name...)
	for i, d := range g.dims {
		value, err := json.Marshal(g.values[i])
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"`+string(d)+`":`...), value...)
	}
	cost, err := json.Marshal(g.cost)
	if err != nil {
		return nil, err
	}
	b = append(b, ',')
	return append(b, cost[1:]...), nil
}

// groupSums are the sums of an answer's groups, by name.
type groupSums struct {
	dims   []store.Dimension
	values map[string][]string
	sums   map[string]*sum
}

func newGroupSums(dims []store.Dimension) groupSums {
	return groupSums{dims: dims, values: map[string][]string{}, sums: map[string]*sum{}}
}

// add books s under a group's values, in an answer that has groups.
func (g groupSums) add(values []string, s sum) {
	if len(g.dims) == 0 {
		return
	}
	name := strings.Join(values, ":")
	if g.sums[name] == nil {
		g.sums[name], g.values[name] = &sum{}, values
	}
	g.sums[name].addSum(s)
}

func (g groupSums) groups(currency *string, coverage float64) []group {
	out := make([]group, 0, len(g.sums))
	for _, name := range slices.Sorted(maps.Keys(g.sums)) {
		out = append(out, group{name: name, dims: g.dims, values: g.values[name], cost: g.sums[name].cost(currency, coverage)})
	}
	return out
}

// costQuery asks for the cost by step and dimensions. The namespace is always
// among what is asked, last, because it tells what no workload used.
func costQuery(fromMs, toMs, stepMs int64, dims []store.Dimension, match map[store.Dimension]string) store.Query {
	by := append(slices.Clone(dims), store.Namespace)
	if slices.Contains(dims, store.Namespace) {
		by = slices.Clone(dims)
	}
	// What no workload used has no workload type, whatever type a filter names.
	_, typed := match[store.WorkloadType]
	return store.Query{FromMs: fromMs, ToMs: toMs, StepMs: stepMs, GroupBy: by, Match: match, WorkloadsOnly: typed}
}

// groupOf returns a row's namespace and its values of dims. What no workload
// used belongs to its cluster and node like anything else; every other
// dimension it answers with its own name.
func groupOf(q store.Query, dims []store.Dimension, row store.Row) (namespace string, values []string) {
	namespace = row.Group[slices.Index(q.GroupBy, store.Namespace)]
	values = slices.Clone(row.Group[:len(dims)])
	if isPseudo(namespace) {
		for i, d := range dims {
			if d != store.Cluster && d != store.Node {
				values[i] = namespace
			}
		}
	}
	return namespace, values
}

// GET /cost/current
//
// The cost of the next hour, if it were like the newest five whole minutes: the
// energy of [edge-5m, edge), edge being the newest sample's whole minute, times
// 1 h / (5 m × coverage).
func (a *api) costCurrent(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "namespace", "workload", "cluster", "aggregate")
	match := q.match("namespace", "cluster", "workload")
	dims := q.dimensions("aggregate")
	if err := q.problem(); err != nil {
		return err
	}
	const minute = int64(time.Minute / time.Millisecond)
	stretchMs := currentStretch.Milliseconds()
	nowMs := q.now.UnixMilli()

	answer := struct {
		Cost Cost `json:"cost"`
		basis
		Period       string  `json:"period"`
		MeasuredFrom *stamp  `json:"measured_from"`
		MeasuredTo   *stamp  `json:"measured_to"`
		Groups       []group `json:"groups"`
		Timestamp    stamp   `json:"timestamp"`
	}{Period: "1 hour", Groups: []group{}, Timestamp: stampOf(q.now)}

	// Look far enough back for a stretch that ends currentFor ago.
	fromMs := (nowMs - stretchMs - currentFor.Milliseconds()) / minute * minute
	seen, err := a.seen(r.Context(), fromMs, nowMs, minute, match[store.Cluster])
	if err != nil {
		return err
	}
	edge := min(seen.lastMs, nowMs) / minute * minute
	from, to := time.UnixMilli(edge-stretchMs), time.UnixMilli(edge)
	share := 0.0
	if edge >= nowMs-currentFor.Milliseconds()-minute {
		share = seen.shareOf(stepsOf(from, to, time.Minute))
	}
	if share == 0 {
		answer.basis = a.basis(nil, q.now)
		answer.Cost = unknownCost(answer.Currency)
		return writeJSON(w, r, answer)
	}

	ask := costQuery(edge-stretchMs, edge, 0, dims, match)
	rows, err := a.books.Sum(r.Context(), ask)
	if err != nil {
		return fmt.Errorf("current cost: %w", err)
	}
	// Rounded once to the microjoule for each row, so that groups add up to the total.
	scale := float64(time.Hour.Milliseconds()) / (float64(stretchMs) * share)
	perHour := func(e power.Microjoules) power.Microjoules {
		return power.Microjoules(math.Round(float64(e) * scale))
	}
	var total sum
	groups := newGroupSums(dims)
	for _, row := range rows {
		namespace, values := groupOf(ask, dims, row)
		var e power.Energy
		for c := range e {
			e[c] = perHour(row.Energy[c])
		}
		row.Energy, row.Idle = e, perHour(row.Idle)
		var s sum
		s.addRow(row, idleOf(namespace, row))
		total.addSum(s)
		groups.add(values, s)
	}
	answer.basis = a.basis(total.prices(), q.now)
	answer.Cost = total.cost(answer.Currency, share)
	answer.Groups = groups.groups(answer.Currency, share)
	answer.MeasuredFrom, answer.MeasuredTo = stampOrNull(from.UnixMilli()), stampOrNull(edge)
	return writeJSON(w, r, answer)
}

type hourCost struct {
	Hour    stamp `json:"hour"`
	Partial bool  `json:"partial"`
	Cost
	Groups []group `json:"groups"`
}

// GET /cost/hourly
func (a *api) costHourly(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "start", "end", "namespace", "workload", "workload_type", "cluster", "aggregate", "format")
	match := q.match("namespace", "cluster", "workload_type", "workload")
	dims := q.dimensions("aggregate")
	format := q.choice("format", "json", "csv")
	start, end := q.period(q.now.Add(-24*time.Hour).Truncate(time.Hour), longestPeriod)
	if err := q.problem(); err != nil {
		return err
	}

	hour := time.Hour.Milliseconds()
	toMs := alignedEnd(end, q.now, time.Hour)
	ask := costQuery(start.UnixMilli(), toMs, hour, dims, match)
	rows, err := a.books.Sum(r.Context(), ask)
	if err != nil {
		return fmt.Errorf("hourly cost: %w", err)
	}
	seen := seenIn(rows, ask)
	if _, cluster := match[store.Cluster]; len(match) > 1 || len(match) == 1 && !cluster {
		// The filter leaves out what would tell whether the nodes were seen.
		if seen, err = a.seen(r.Context(), start.UnixMilli(), toMs, hour, match[store.Cluster]); err != nil {
			return err
		}
	}

	type hourSums struct {
		total  sum
		groups groupSums
	}
	byHour := map[int64]*hourSums{}
	var total sum
	totals := newGroupSums(dims)
	for _, row := range rows {
		namespace, values := groupOf(ask, dims, row)
		at := row.StartMs - row.StartMs%hour
		h := byHour[at]
		if h == nil {
			h = &hourSums{groups: newGroupSums(dims)}
			byHour[at] = h
		}
		var s sum
		s.addRow(row, idleOf(namespace, row))
		h.total.addSum(s)
		h.groups.add(values, s)
		total.addSum(s)
		totals.add(values, s)
	}

	steps := stepsOf(start, end, time.Hour)
	share := seen.shareOf(steps)
	answer := hourly{
		CostAnalysis: make([]hourCost, 0, len(steps)),
		basis:        a.basis(total.prices(), end),
		Period:       stampOf(start).String() + " to " + stampOf(end).String(),
		Timestamp:    stampOf(q.now),
		dims:         dims,
	}
	for _, st := range steps {
		h := byHour[st.startMs]
		share := seen.share(st)
		c := hourCost{Hour: stamp(st.startMs), Partial: !st.whole(), Groups: []group{}}
		switch {
		case h != nil:
			c.Cost = h.total.cost(answer.Currency, share)
			c.Groups = h.groups.groups(answer.Currency, share)
		case share > 0: // the nodes were seen, and used nothing of what was asked for
			c.Cost = new(sum).cost(answer.Currency, share)
		default:
			c.Cost = unknownCost(answer.Currency)
		}
		answer.CostAnalysis = append(answer.CostAnalysis, c)
	}
	answer.Totals = total.cost(answer.Currency, share)
	if len(rows) == 0 && share == 0 {
		answer.Totals = unknownCost(answer.Currency)
	}
	answer.Groups = totals.groups(answer.Currency, share)

	if format == "csv" {
		return answer.writeCSV(w, r)
	}
	return writeJSON(w, r, answer)
}

type hourly struct {
	CostAnalysis []hourCost `json:"cost_analysis"`
	Totals       Cost       `json:"totals"`
	Groups       []group    `json:"groups"` // over the whole period
	basis
	Period    string `json:"period"`
	Timestamp stamp  `json:"timestamp"`

	dims []store.Dimension
}
