package report

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/store"
)

// A Question asks what was used and what it cost.
type Question struct {
	Steps []Step // what the answer is cut into, one after another; at least one
	Now   time.Time
	By    []store.Dimension // empty: no groups
	Match map[store.Dimension]string
	Share *Sharing // nil: every figure is its own
	Where *Where   // goes with Share, which may share nothing
}

// A Where picks rows by what the books cannot match on. It is asked after costs
// were shared.
type Where struct {
	Dims []store.Dimension
	Pick func(values []string) bool // of Dims
}

// to is where what was asked for ends.
func (q Question) to() int64 { return q.Steps[len(q.Steps)-1].ToMs }

// An Answer is what was used in each step and in all of them. Groups add up to
// their step, steps to the total.
type Answer struct {
	Basis
	Steps  []StepFigure
	Total  Figure
	Groups []Group // over the whole period
	Others Figure  // all groups that Keep did not keep
	Found  int     // how many groups Keep chose from
}

// A StepFigure is what was used in one step.
type StepFigure struct {
	Step
	Figure
	Groups []Group
	Others Figure
}

// A Group is what was used by one value of the dimensions asked for.
type Group struct {
	Values []string // in the order of the dimensions
	Figure
}

// Name joins a group's values.
func (g Group) Name() string { return strings.Join(g.Values, ":") }

// Costs answers a question. Groups are sorted by name.
func (r *Reports) Costs(ctx context.Context, q Question) (Answer, error) {
	ask := costQuery(q.By, q.Match)
	if q.Share != nil {
		ask = store.Query{GroupBy: q.dimensions(), Match: ofClusters(q.Match)}
	}
	rows, err := r.sum(ctx, ask, q.Steps, q.Now)
	if err != nil {
		return Answer{}, fmt.Errorf("cost: %w", err)
	}
	seen := seenIn(rows, ask.GroupBy)
	if q.Share == nil && leavesOut(q.Match) {
		// The filter leaves out what would tell whether the nodes were seen.
		if seen, err = r.seen(ctx, q.Steps, q.Now, q.Match[store.Cluster]); err != nil {
			return Answer{}, err
		}
	}

	byStep := map[int64]*sums{}
	all := sums{}
	step := func(startMs int64) *sums {
		at := byStep[startMs]
		if at == nil {
			at = &sums{}
			byStep[startMs] = at
		}
		return at
	}
	if q.Share != nil {
		q.shared(rows, ask, func(startMs int64, x *slice) {
			step(startMs).addParts(x.values, x.Parts)
			all.addParts(x.values, x.Parts)
		})
	} else {
		for _, row := range rows {
			namespace, values := groupOf(ask, q.By, row)
			amount := amountOf(namespace, row)
			step(row.StartMs).add(values, amount)
			all.add(values, amount)
		}
	}

	coverage := seen.shareOf(q.Steps)
	answer := Answer{
		Basis:  r.basis(all.total.prices(), time.UnixMilli(q.to())),
		Total:  Figure{all.total, all.parts, coverage, len(rows) == 0 && coverage == 0},
		Groups: all.figures(coverage),
	}
	for _, step := range q.Steps {
		coverage := seen.share(step)
		f := StepFigure{Step: step, Figure: Figure{Coverage: coverage, Unknown: coverage == 0}}
		if at := byStep[step.StartMs]; at != nil {
			f.Figure, f.Groups = Figure{at.total, at.parts, coverage, false}, at.figures(coverage)
		}
		answer.Steps = append(answer.Steps, f)
	}
	return answer, nil
}

// sum asks the books step by step; the rows say the start of their step.
//
// Nothing is booked after now, so an end of now may as well be the end of its
// step, which lets rollups answer.
func (r *Reports) sum(ctx context.Context, q store.Query, steps []Step, now time.Time) ([]store.Row, error) {
	endOf := func(s Step) int64 {
		if s.ToMs >= now.UnixMilli() {
			return s.EndMs
		}
		return s.ToMs
	}
	if length := lengthOf(steps); length > 0 {
		q.FromMs, q.ToMs, q.StepMs = steps[0].FromMs, endOf(steps[len(steps)-1]), length
		rows, err := r.books.Sum(ctx, q)
		if err != nil {
			return nil, err
		}
		rows = slices.Clone(rows) // they may be shared with other questions
		for i := range rows {
			rows[i].StartMs -= rows[i].StartMs % length
		}
		return rows, nil
	}
	if foldsHours(q, steps) {
		q.FromMs, q.ToMs, q.StepMs = steps[0].FromMs, endOf(steps[len(steps)-1]), hourMs
		rows, err := r.books.Sum(ctx, q)
		if err != nil {
			return nil, err
		}
		rows = slices.Clone(rows)
		at := 0 // rows come in the order of their hours
		for i := range rows {
			for at < len(steps)-1 && rows[i].StartMs >= steps[at].EndMs {
				at++
			}
			rows[i].StartMs = steps[at].StartMs
		}
		return rows, nil
	}
	var all []store.Row
	for _, s := range steps {
		q.FromMs, q.ToMs, q.StepMs = s.FromMs, endOf(s), 0
		rows, err := r.books.Sum(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			row.StartMs = s.StartMs
			all = append(all, row)
		}
	}
	return all, nil
}

const hourMs = 3_600_000

// foldsHours says that sums by hour, which the books keep by cluster, namespace,
// type and configured dimension, are added up sooner than the books are asked for
// each step.
func foldsHours(q store.Query, steps []Step) bool {
	kept := func(d store.Dimension) bool {
		return d == store.Cluster || d == store.AnyCluster || d == store.Namespace || d == store.WorkloadType || d.Configured()
	}
	for d := range q.Match {
		if !kept(d) {
			return false
		}
	}
	for _, s := range steps {
		if s.StartMs%hourMs != 0 || s.EndMs%hourMs != 0 {
			return false
		}
	}
	return !slices.ContainsFunc(q.GroupBy, func(d store.Dimension) bool { return !kept(d) })
}

// seen asks how much of each step the nodes of a cluster, or of all, were seen.
func (r *Reports) seen(ctx context.Context, steps []Step, now time.Time, cluster string) (seenTime, error) {
	q := store.Query{GroupBy: []store.Dimension{store.Namespace}}
	if cluster != "" {
		q.Match = map[store.Dimension]string{store.Cluster: cluster}
	}
	rows, err := r.sum(ctx, q, steps, now)
	if err != nil {
		return seenTime{}, fmt.Errorf("coverage: %w", err)
	}
	return seenIn(rows, q.GroupBy), nil
}

// leavesOut says that a filter picks out a part of its clusters.
func leavesOut(match map[store.Dimension]string) bool {
	_, cluster := match[store.Cluster]
	return len(match) > 1 || len(match) == 1 && !cluster
}

// costQuery asks for energy by dimensions. The namespace is always among what is
// asked, last, because it tells what no workload used.
func costQuery(by []store.Dimension, match map[store.Dimension]string) store.Query {
	groupBy := slices.Clone(by)
	if !slices.Contains(by, store.Namespace) {
		groupBy = append(groupBy, store.Namespace)
	}
	// What no workload used has no workload type, whatever type a filter names.
	_, typed := match[store.WorkloadType]
	return store.Query{GroupBy: groupBy, Match: match, WorkloadsOnly: typed}
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

// sums are an amount and its groups.
type sums struct {
	total  Amount
	parts  *Parts            // of what was shared
	groups map[string]*Group // by name
}

// add books an amount under a group's values; without any there are no groups.
func (s *sums) add(values []string, a Amount) {
	s.total.Add(a)
	if len(values) == 0 {
		return
	}
	if s.groups == nil {
		s.groups = map[string]*Group{}
	}
	name := strings.Join(values, ":")
	g := s.groups[name]
	if g == nil {
		g = &Group{Values: values}
		s.groups[name] = g
	}
	g.Add(a)
}

// addParts books what was a group's own and what it was given.
func (s *sums) addParts(values []string, p Parts) {
	for _, a := range []Amount{p.Own, p.Shared} {
		s.add(values, a)
	}
	if s.parts == nil {
		s.parts = &Parts{}
	}
	s.parts.Add(p)
	if len(values) == 0 {
		return
	}
	g := s.groups[strings.Join(values, ":")]
	if g.Parts == nil {
		g.Parts = &Parts{}
	}
	g.Parts.Add(p)
}

// Add adds p to ps.
func (ps *Parts) Add(p Parts) {
	ps.Own.Add(p.Own)
	ps.Shared.Add(p.Shared)
}

// shared calls f with what a filter leaves of rows once what is shared is divided.
func (q Question) shared(rows []store.Row, ask store.Query, f func(startMs int64, x *slice)) {
	type place struct {
		startMs       int64
		cluster, node string
	}
	at, node := slices.Index(ask.GroupBy, store.Cluster), slices.Index(ask.GroupBy, store.Node)
	places, byPlace := []place{}, map[place][]store.Row{}
	for _, row := range rows {
		p := place{row.StartMs, row.Group[at], ""}
		if q.Share.ByNode {
			p.node = row.Group[node]
		}
		if byPlace[p] == nil {
			places = append(places, p)
		}
		byPlace[p] = append(byPlace[p], row)
	}
	for _, p := range places {
		for _, x := range q.divide(byPlace[p], ask) {
			if x.selected {
				f(p.startMs, x)
			}
		}
	}
}

// figures lists the groups by name.
func (s *sums) figures(coverage float64) []Group {
	out := make([]Group, 0, len(s.groups))
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		g := *s.groups[name]
		g.Coverage = coverage
		out = append(out, g)
	}
	return out
}
