package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/wattledger/wattledger/period"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/report"
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
	q := a.parse(r, "start", "end", "tz", "step")
	asked := q.period(q.now.Add(-24*time.Hour).Truncate(time.Hour), longestPeriod)
	length := q.duration("step", time.Hour, time.Minute, 31*24*time.Hour)
	switch {
	case length%time.Minute != 0:
		q.fail("step", "must be whole minutes")
	case asked.end.Sub(asked.start)/length > maxSteps:
		q.fail("step", fmt.Sprintf("cuts the period into more than %d steps", maxSteps))
	}
	if err := q.problem(); err != nil {
		return err
	}
	found, err := a.findWorkload(r)
	if err != nil {
		return err
	}
	costs, err := a.reports.Workload(r.Context(), found.Workload, report.Even(asked.start, asked.end, length), q.now)
	if err != nil {
		return err
	}
	id := found.Workload.ID()
	return writeJSON(w, r, struct {
		WorkloadID    string              `json:"workload_id"`
		Workload      workloadDescription `json:"workload"`
		CostBreakdown costBreakdown       `json:"cost_breakdown"`
		report.Basis
		Period    string `json:"period"`
		Step      string `json:"step"`
		Timestamp stamp  `json:"timestamp"`
	}{id, describe(found), breakdown(costs), costs.Basis, asked.String(), period.FormatDuration(length), stampOf(q.now)})
}

func breakdown(costs report.Workload) costBreakdown {
	b := costBreakdown{
		Totals:          costOf(costs.Total, costs.Currency),
		Components:      componentCosts(costs.Total.Amount),
		Containers:      []containerCost{},
		ContainersTotal: len(costs.Containers),
	}
	for _, c := range costs.Containers[:min(len(costs.Containers), maxContainers)] {
		b.Containers = append(b.Containers, containerCost{c.Node, c.Pod, c.Container, c.ID, costOf(c.Figure, costs.Currency)})
	}
	for _, s := range costs.Steps {
		c := stepCost{Time: stamp(s.StartMs), Partial: !s.Whole(), Cost: costOf(s.Figure, costs.Currency)}
		if !s.Unknown {
			c.MeanWatts = number(s.Energy().Total().Joules() / (float64(s.ToMs-s.FromMs) / 1000))
		}
		b.Series = append(b.Series, c)
	}
	return b
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

func componentCosts(a report.Amount) map[string]componentCost {
	out := map[string]componentCost{}
	total := a.Energy().Total().KWh()
	for c := range power.Component(power.NumComponents) {
		part := a.Of(c)
		kWh := part.Energy().Total().KWh()
		cc := componentCost{EnergyKWh: kWh, Share: number(kWh / total)}
		if money, _, ok := part.Money(); ok {
			sum := money.Total()
			cc.ElectricityCost, cc.CoolingCost, cc.CarbonCost = &money.Electricity, &money.Cooling, &money.Carbon
			cc.TotalCost, cc.CarbonKg = &sum, &money.CarbonKg
		}
		out[c.String()] = cc
	}
	return out
}
