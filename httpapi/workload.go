package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

const (
	maxCandidates = 20
	maxContainers = 1000
	maxSteps      = 11_000
)

type workloadDescription struct {
	WorkloadID   string     `json:"workload_id"`
	Cluster      string     `json:"cluster"`
	Namespace    string     `json:"namespace"`
	Workload     string     `json:"workload"`
	WorkloadKind string     `json:"workload_kind"`
	WorkloadType power.Type `json:"workload_type"`
	Rule         string     `json:"rule"` // the classification rule; empty for none
	Inferred     bool       `json:"inferred"`
	FirstSeen    *stamp     `json:"first_seen"`
	LastSeen     *stamp     `json:"last_seen"`
}

type componentCost struct {
	EnergyKWh       float64  `json:"energy_kwh"`
	Share           *float64 `json:"share"` // of the workload's energy
	ElectricityCost *float64 `json:"electricity_cost"`
	CoolingCost     *float64 `json:"cooling_cost"`
	CarbonCost      *float64 `json:"carbon_cost"`
	TotalCost       *float64 `json:"total_cost"`
	CarbonKg        *float64 `json:"carbon_kg"`
}

type containerCost struct {
	Node        string `json:"node"`
	Pod         string `json:"pod"`
	Container   string `json:"container"`
	ContainerID string `json:"container_id"`
	Cost
}

type stepCost struct {
	Time    stamp `json:"time"`
	Partial bool  `json:"partial"`
	Cost
	MeanWatts *float64 `json:"mean_watts"`
}

// GET /cost/workload/{workload_id}
func (a *api) costWorkload(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "start", "end", "step")
	start, end := q.period(q.now.Add(-24*time.Hour).Truncate(time.Hour), longestPeriod)
	length := q.duration("step", time.Hour, time.Minute, 31*24*time.Hour)
	switch {
	case length%time.Minute != 0:
		q.fail("step", "must be whole minutes")
	case end.Sub(start)/length > maxSteps:
		q.fail("step", fmt.Sprintf("cuts the period into more than %d steps", maxSteps))
	}
	if err := q.problem(); err != nil {
		return err
	}
	found, err := a.findWorkload(r)
	if err != nil {
		return err
	}
	wl := found.Workload
	match := map[store.Dimension]string{
		store.Cluster: wl.Cluster, store.Namespace: wl.Namespace,
		store.WorkloadKind: strings.ToLower(wl.Kind), store.Workload: wl.Name,
	}

	stepMs := length.Milliseconds()
	toMs := alignedEnd(end, q.now, length)
	rows, err := a.books.Sum(r.Context(), store.Query{FromMs: start.UnixMilli(), ToMs: toMs, StepMs: stepMs, Match: match})
	if err != nil {
		return fmt.Errorf("cost of %s by step: %w", wl.ID(), err)
	}
	seen, err := a.seen(r.Context(), start.UnixMilli(), toMs, stepMs, wl.Cluster)
	if err != nil {
		return err
	}
	containerRows, err := a.books.Sum(r.Context(), store.Query{
		FromMs: start.UnixMilli(), ToMs: toMs, Match: match,
		GroupBy: []store.Dimension{store.Node, store.Pod, store.Container, store.ContainerID},
	})
	if err != nil {
		return fmt.Errorf("cost of %s by container: %w", wl.ID(), err)
	}

	var total sum
	byStep := map[int64]*sum{}
	for _, row := range rows {
		at := row.StartMs - row.StartMs%stepMs
		if byStep[at] == nil {
			byStep[at] = &sum{}
		}
		idle := idleOf(wl.Namespace, row)
		byStep[at].addRow(row, idle)
		total.addRow(row, idle)
	}
	steps := stepsOf(start, end, length)
	share := seen.shareOf(steps)
	b := a.basis(total.prices(), end)

	series := make([]stepCost, 0, len(steps))
	for _, st := range steps {
		share := seen.share(st)
		c := stepCost{Time: stamp(st.startMs), Partial: !st.whole(), Cost: unknownCost(b.Currency)}
		if s := byStep[st.startMs]; s != nil || share > 0 {
			if s == nil { // the nodes were seen, and the workload did not run
				s = &sum{}
			}
			c.Cost = s.cost(b.Currency, share)
			c.MeanWatts = number(s.total().Joules() / (float64(st.toMs-st.fromMs) / 1000))
		}
		series = append(series, c)
	}
	containers := containerCosts(wl.Namespace, containerRows, b.Currency, share)
	breakdown := costBreakdown{
		Totals:          total.cost(b.Currency, share),
		Components:      componentCosts(&total),
		Containers:      containers[:min(len(containers), maxContainers)],
		ContainersTotal: len(containers),
		Series:          series,
	}
	if len(rows) == 0 && share == 0 {
		breakdown.Totals = unknownCost(b.Currency)
	}
	return writeJSON(w, r, struct {
		WorkloadID    string              `json:"workload_id"`
		Workload      workloadDescription `json:"workload"`
		CostBreakdown costBreakdown       `json:"cost_breakdown"`
		basis
		Period    string `json:"period"`
		Step      string `json:"step"`
		Timestamp stamp  `json:"timestamp"`
	}{wl.ID(), describe(found), breakdown, b, stampOf(start).String() + " to " + stampOf(end).String(), formatDuration(length), stampOf(q.now)})
}

type costBreakdown struct {
	Totals     Cost                     `json:"totals"`
	Components map[string]componentCost `json:"components"`
	// Containers are the ones that used most; ContainersTotal says how many there are.
	Containers      []containerCost `json:"containers"`
	ContainersTotal int             `json:"containers_total"`
	Series          []stepCost      `json:"series"`
}

// findWorkload returns the one workload that the id in the path names.
func (a *api) findWorkload(r *http.Request) (store.WorkloadRow, error) {
	id, err := url.PathUnescape(mux.Vars(r)["workload_id"])
	if err != nil {
		return store.WorkloadRow{}, invalid(ParamError{Parameter: "workload_id", Reason: "is not well escaped"})
	}
	match, ok := parseWorkloadID(id)
	if !ok {
		return store.WorkloadRow{}, invalid(ParamError{Parameter: "workload_id",
			Reason: fmt.Sprintf("%q is no workload id: write cluster:namespace:kind:name, namespace:name or name", clip(id))})
	}
	found, err := a.books.Workloads(r.Context(), match, maxCandidates+1)
	if err != nil {
		return store.WorkloadRow{}, fmt.Errorf("find workload: %w", err)
	}
	switch len(found) {
	case 0:
		return store.WorkloadRow{}, newProblem(http.StatusNotFound, "no-such-workload", "No such workload",
			fmt.Sprintf("the books hold no workload %q", clip(id)))
	case 1:
		return found[0], nil
	}
	p := newProblem(http.StatusMultipleChoices, "ambiguous-workload", "Several workloads have this name",
		fmt.Sprintf("%q names several workloads; ask for one of the candidates", clip(id)))
	if len(found) > maxCandidates {
		p.Detail += fmt.Sprintf(", of which the first %d are listed", maxCandidates)
	}
	for _, f := range found[:min(len(found), maxCandidates)] {
		p.Candidates = append(p.Candidates, Candidate{f.Workload.ID(), "/cost/workload/" + url.PathEscape(f.Workload.ID())})
	}
	return store.WorkloadRow{}, p
}

func describe(f store.WorkloadRow) workloadDescription {
	return workloadDescription{
		WorkloadID:   f.Workload.ID(),
		Cluster:      f.Workload.Cluster,
		Namespace:    f.Workload.Namespace,
		Workload:     f.Workload.Name,
		WorkloadKind: strings.ToLower(f.Workload.Kind),
		WorkloadType: typeOf(f.Type),
		Rule:         f.Rule,
		Inferred:     f.Inferred,
		FirstSeen:    stampOrNull(f.FirstMs),
		LastSeen:     stampOrNull(f.LastMs),
	}
}

func componentCosts(s *sum) map[string]componentCost {
	out := map[string]componentCost{}
	total := s.total().KWh()
	for c := range power.Component(power.NumComponents) {
		of := func(e power.Energy) power.Microjoules { return e[c] }
		var energy power.Microjoules
		for _, p := range s.parts {
			energy += p.energy[c]
		}
		cc := componentCost{EnergyKWh: energy.KWh(), Share: number(energy.KWh() / total)}
		if money, ok := s.money(of); ok {
			sum := money.Total()
			cc.ElectricityCost, cc.CoolingCost, cc.CarbonCost = &money.Electricity, &money.Cooling, &money.Carbon
			cc.TotalCost, cc.CarbonKg = &sum, &money.CarbonKg
		}
		out[c.String()] = cc
	}
	return out
}

// containerCosts lists containers by falling energy.
func containerCosts(namespace string, rows []store.Row, currency *string, coverage float64) []containerCost {
	sums := map[string]*sum{}
	var order []store.Row // the first row of each container
	for _, row := range rows {
		key := strings.Join(row.Group, "\x00")
		if sums[key] == nil {
			sums[key] = &sum{}
			order = append(order, row)
		}
		sums[key].addRow(row, idleOf(namespace, row))
	}
	out := make([]containerCost, 0, len(order))
	for _, row := range order {
		g := row.Group
		out = append(out, containerCost{Node: g[0], Pod: g[1], Container: g[2], ContainerID: g[3],
			Cost: sums[strings.Join(g, "\x00")].cost(currency, coverage)})
	}
	slices.SortStableFunc(out, func(a, b containerCost) int {
		switch {
		case *a.EnergyKWh > *b.EnergyKWh:
			return -1
		case *a.EnergyKWh < *b.EnergyKWh:
			return 1
		}
		return strings.Compare(a.Pod+":"+a.Container+":"+a.ContainerID, b.Pod+":"+b.Container+":"+b.ContainerID)
	})
	return out
}
