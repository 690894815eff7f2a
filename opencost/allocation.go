package opencost

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

// An Allocation is what one set of names cost in one set of time, with OpenCost's
// fields and ours. What is unknown is null.
type Allocation struct {
	Name       string     `json:"name"`
	Properties Properties `json:"properties"`
	Window     Window     `json:"window"`
	Start      time.Time  `json:"start"`
	End        time.Time  `json:"end"`
	Minutes    float64    `json:"minutes"`

	CPUCores               *float64  `json:"cpuCores"`
	CPUCoreHours           *float64  `json:"cpuCoreHours"`
	CPUCoreRequestAverage  *float64  `json:"cpuCoreRequestAverage"`
	CPUCoreUsageAverage    *float64  `json:"cpuCoreUsageAverage"`
	CPUCost                float64   `json:"cpuCost"`
	CPUCostAdjustment      float64   `json:"cpuCostAdjustment"`
	CPUCostIdle            float64   `json:"cpuCostIdle"`
	CPUEfficiency          *float64  `json:"cpuEfficiency"`
	GPUCount               *float64  `json:"gpuCount"`
	GPUHours               *float64  `json:"gpuHours"`
	GPURequestAverage      *float64  `json:"gpuRequestAverage"`
	GPUUsageAverage        *float64  `json:"gpuUsageAverage"`
	GPUCost                float64   `json:"gpuCost"`
	GPUCostAdjustment      float64   `json:"gpuCostAdjustment"`
	GPUCostIdle            float64   `json:"gpuCostIdle"`
	GPUEfficiency          *float64  `json:"gpuEfficiency"`
	NetworkTransferBytes   *float64  `json:"networkTransferBytes"`
	NetworkReceiveBytes    *float64  `json:"networkReceiveBytes"`
	NetworkCost            float64   `json:"networkCost"`
	NetworkCrossZoneCost   float64   `json:"networkCrossZoneCost"`
	NetworkCrossRegionCost float64   `json:"networkCrossRegionCost"`
	NetworkInternetCost    float64   `json:"networkInternetCost"`
	NetworkCostAdjustment  float64   `json:"networkCostAdjustment"`
	LoadBalancerCost       float64   `json:"loadBalancerCost"`
	LoadBalancerAdjustment float64   `json:"loadBalancerCostAdjustment"`
	PVBytes                *float64  `json:"pvBytes"`
	PVByteHours            *float64  `json:"pvByteHours"`
	PVCost                 float64   `json:"pvCost"`
	PVs                    *struct{} `json:"pvs"`
	PVCostAdjustment       float64   `json:"pvCostAdjustment"`
	RAMBytes               *float64  `json:"ramBytes"`
	RAMByteHours           *float64  `json:"ramByteHours"`
	RAMByteRequestAverage  *float64  `json:"ramByteRequestAverage"`
	RAMByteUsageAverage    *float64  `json:"ramByteUsageAverage"`
	RAMCost                float64   `json:"ramCost"`
	RAMCostAdjustment      float64   `json:"ramCostAdjustment"`
	RAMCostIdle            float64   `json:"ramCostIdle"`
	RAMEfficiency          *float64  `json:"ramEfficiency"`
	ExternalCost           float64   `json:"externalCost"`
	SharedCost             float64   `json:"sharedCost"`
	TotalCost              float64   `json:"totalCost"`
	TotalEfficiency        *float64  `json:"totalEfficiency"`
	RawAllocationOnly      *struct{} `json:"rawAllocationOnly"`
	LBAllocations          *struct{} `json:"lbAllocations"`

	EnergyKWh       float64 `json:"energyKWh"`
	CPUEnergyKWh    float64 `json:"cpuEnergyKWh"`
	RAMEnergyKWh    float64 `json:"ramEnergyKWh"`
	GPUEnergyKWh    float64 `json:"gpuEnergyKWh"`
	OtherEnergyKWh  float64 `json:"otherEnergyKWh"`
	IdleEnergyKWh   float64 `json:"idleEnergyKWh"`
	CarbonKgCO2e    float64 `json:"carbonKgCO2e"`
	ElectricityCost float64 `json:"electricityCost"`
	OverheadCost    float64 `json:"overheadCost"`
	CarbonCost      float64 `json:"carbonCost"`
	Currency        *string `json:"currency"`
	CostModel       *string `json:"costModel"`
	Coverage        float64 `json:"coverage"`

	seenEndMs int64
}

// Properties are what all of an allocation's members share.
type Properties struct {
	Cluster        string            `json:"cluster,omitempty"`
	Node           string            `json:"node,omitempty"`
	Container      string            `json:"container,omitempty"`
	Controller     string            `json:"controller,omitempty"`
	ControllerKind string            `json:"controllerKind,omitempty"`
	Namespace      string            `json:"namespace,omitempty"`
	Pod            string            `json:"pod,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Annotations    map[string]string `json:"annotations,omitempty"`
}

// A Window is a stretch of time.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// A set is the allocations of one stretch of time.
type set struct {
	window span
	rows   map[string]*Allocation
}

// allocations answers a question, and says what there is to say of the answer.
func (s *Server) allocations(ctx context.Context, q allocationQuestion, now time.Time) (sets []set, message string, err error) {
	dims, places := dimsOf(q.parts)
	if fine(q.parts) { // so that a row of a container tells who controls it
		for _, d := range []store.Dimension{store.Cluster, store.Node, store.WorkloadKind, store.Workload} {
			if !slices.Contains(dims, d) {
				dims = append(dims, d)
			}
		}
	}
	answers, err := s.ask(ctx, q, dims, now)
	if err != nil {
		return nil, "", err
	}
	whole := answers[0]
	if !q.filter.coarse() {
		message = "a filter by anything but cluster and node leaves out __idle__, __system__ and __unattributed__"
	}
	at := 0
	for _, w := range q.sets {
		x := set{window: w, rows: map[string]*Allocation{}}
		if w.from.Before(now) && w.from.UnixMilli() >= 0 {
			step := whole.Steps[at]
			var second []report.Group
			if len(answers) > 1 {
				second = answers[1].Steps[at].Groups
			}
			at++
			if err := s.fill(&x, q, dims, places, step, second, whole.Basis); err != nil {
				return nil, "", err
			}
			for _, a := range x.rows {
				a.times(w, now, step.Coverage)
			}
		}
		sets = append(sets, x)
	}
	return sets, message, nil
}

// fine says that names go down to pods or containers.
func fine(parts []part) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.name == "pod" || p.name == "container" })
}

// ask asks the books for all sets that have begun, once for each kind of sharing
// that has to be told apart.
func (s *Server) ask(ctx context.Context, q allocationQuestion, dims []store.Dimension, now time.Time) ([]report.Answer, error) {
	var steps []report.Step
	for _, w := range q.sets {
		if !w.from.Before(now) || w.from.UnixMilli() < 0 {
			continue
		}
		from, end := w.from.UnixMilli(), w.to.UnixMilli()
		steps = append(steps, report.Step{StartMs: from, FromMs: from, ToMs: min(end, now.UnixMilli()), EndMs: end})
	}
	if len(steps) == 0 {
		return []report.Answer{{}}, nil
	}
	var answers []report.Answer
	for _, share := range q.share {
		a, err := s.reports.Costs(ctx, report.Question{Steps: steps, Now: now, By: dims, Share: share, Where: q.where()})
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// where turns a filter into what reports ask of rows.
func (q allocationQuestion) where() *report.Where {
	if q.filter == nil {
		return nil
	}
	coarse, n := q.filter.coarse(), len(q.filter.dims)
	return &report.Where{Dims: append(slices.Clone(q.filter.dims), store.Namespace), Pick: func(values []string) bool {
		return (coarse || !pseudo(values[n])) && q.filter.root(controlled(q.filter.dims, values[:n]))
	}}
}

// controlled empties the kinds that control nothing, which filters know as none.
func controlled(dims []store.Dimension, values []string) []string {
	if i := slices.Index(dims, store.WorkloadKind); i >= 0 && !controller(values[i]) {
		values = slices.Clone(values)
		values[i] = ""
	}
	return values
}

// fill adds the groups of a step to a set.
func (s *Server) fill(x *set, q allocationQuestion, dims []store.Dimension, places [][]int, step report.StepFigure, second []report.Group, basis report.Basis) error {
	namespaces := map[string]*report.Parts{}
	for _, g := range second {
		namespaces[strings.Join(g.Values, "\x00")] = g.Parts
	}
	for _, g := range step.Groups {
		isIdle := g.Values[0] == idleName
		if isIdle && !q.idle {
			continue
		}
		values := valuesOf(q.parts, places, g.Values)
		name := nameOf(values)
		if isIdle && len(q.parts) > 0 {
			name = idleName
		}
		a := x.rows[name]
		if a == nil {
			a = &Allocation{Name: name, Window: Window{x.window.from, x.window.to}, Currency: basis.Currency, CostModel: basis.CostModel, Coverage: g.Coverage}
			a.Properties = s.propertiesOf(dims, g.Values)
			x.rows[name] = a
		} else {
			a.Properties = a.Properties.and(s.propertiesOf(dims, g.Values))
		}
		// What idle energy was given, and what of namespaces.
		var idle, shared report.Amount
		switch {
		case g.Parts == nil:
		case len(second) > 0:
			if p := namespaces[strings.Join(g.Values, "\x00")]; p != nil {
				shared = p.Shared
			}
			idle = g.Parts.Shared.Less(shared)
		case len(q.share[0].Names) > 0:
			idle = g.Parts.Shared
		default:
			shared = g.Parts.Shared
		}
		own := g.Amount
		if g.Parts != nil {
			own = g.Parts.Own
		}
		if err := a.add(q.money, own, idle, shared); err != nil {
			return err
		}
	}
	return nil
}

// add adds what was used, and what was given of idle energy and of what is shared.
func (a *Allocation) add(money []string, own, idle, shared report.Amount) error {
	price := func(x report.Amount) (float64, power.Cost, error) {
		c, _, ok := x.Money()
		if !ok {
			return 0, c, &Error{http.StatusConflict, `costs are in several currencies; ask for one cluster at a time, filter=cluster:"NAME"`}
		}
		sum := 0.0
		for _, name := range money {
			sum += map[string]float64{"electricity": c.Electricity, "overhead": c.Cooling, "carbon": c.Carbon}[name]
		}
		return sum, c, nil
	}
	for _, f := range []struct {
		component      power.Component
		cost, costIdle *float64
		energy         *float64
	}{
		{power.CPU, &a.CPUCost, &a.CPUCostIdle, &a.CPUEnergyKWh}, {power.DRAM, &a.RAMCost, &a.RAMCostIdle, &a.RAMEnergyKWh},
		{power.GPU, &a.GPUCost, &a.GPUCostIdle, &a.GPUEnergyKWh}, {power.Other, &a.ExternalCost, nil, &a.OtherEnergyKWh},
	} {
		used, _, err := price(own.Of(f.component))
		if err != nil {
			return err
		}
		given, _, err := price(idle.Of(f.component))
		if err != nil {
			return err
		}
		*f.cost += used + given
		if f.costIdle != nil {
			*f.costIdle += given
		}
		for _, x := range []report.Amount{own, idle, shared} {
			*f.energy += x.Of(f.component).Energy().Total().KWh()
		}
	}
	given, _, err := price(shared)
	if err != nil {
		return err
	}
	a.SharedCost += given
	a.TotalCost = a.CPUCost + a.RAMCost + a.GPUCost + a.ExternalCost + a.SharedCost
	for _, x := range []report.Amount{own, idle, shared} {
		_, c, err := price(x)
		if err != nil {
			return err
		}
		a.EnergyKWh += x.Energy().Total().KWh()
		a.IdleEnergyKWh += x.Idle().KWh()
		a.ElectricityCost += c.Electricity
		a.OverheadCost += c.Cooling
		a.CarbonCost += c.Carbon
		a.CarbonKgCO2e += c.CarbonKg
	}
	a.seenEndMs = max(a.seenEndMs, own.LastMs())
	return nil
}

// times says from when to when a row has samples: not the window, which may end in
// the future, because clients make monthly rates of it.
func (a *Allocation) times(w span, now time.Time, coverage float64) {
	end := w.to
	if now.Before(end) {
		end = now
	}
	if seen := time.UnixMilli(a.seenEndMs).Add(time.Minute - 1).Truncate(time.Minute); a.seenEndMs > 0 && seen.Before(end) {
		end = seen
	}
	end = end.Truncate(time.Minute)
	seen := time.Duration(math.Round(coverage*w.clip(now).Minutes())) * time.Minute
	start := end.Add(-max(seen, time.Minute))
	if start.Before(w.from) {
		start = w.from
	}
	if !start.Before(end) {
		end = start.Add(time.Minute)
	}
	a.Start, a.End, a.Minutes = start.UTC(), end.UTC(), end.Sub(start).Minutes()
}

// clip returns how much of w has been.
func (w span) clip(now time.Time) time.Duration {
	if now.Before(w.to) {
		return now.Sub(w.from)
	}
	return w.to.Sub(w.from)
}

// propertiesOf returns what a group's values say.
func (s *Server) propertiesOf(dims []store.Dimension, values []string) (p Properties) {
	for i, d := range dims {
		v := values[i]
		if v == store.Unassigned || pseudo(v) && d != store.Cluster && d != store.Node {
			continue
		}
		switch d {
		case store.Cluster:
			p.Cluster = v
		case store.Node:
			p.Node = v
		case store.Namespace:
			p.Namespace = v
		case store.WorkloadKind:
			if controller(v) {
				p.ControllerKind = v
			}
		case store.Workload:
			p.Controller = v
		case store.Pod:
			p.Pod = v
		case store.Container:
			p.Container = v
		default:
			kind, name, ok := strings.Cut(string(d), ":")
			switch {
			case ok && kind == "label":
				p.Labels = with(p.Labels, name, v)
			case ok && kind == "annotation":
				p.Annotations = with(p.Annotations, name, v)
			}
		}
	}
	if p.ControllerKind == "" {
		p.Controller = ""
	}
	return p
}

func with(m map[string]string, name, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[name] = value
	return m
}

// and returns what p and q share.
func (p Properties) and(q Properties) Properties {
	for _, f := range []struct{ a, b *string }{
		{&p.Cluster, &q.Cluster}, {&p.Node, &q.Node}, {&p.Container, &q.Container}, {&p.Controller, &q.Controller},
		{&p.ControllerKind, &q.ControllerKind}, {&p.Namespace, &q.Namespace}, {&p.Pod, &q.Pod},
	} {
		if *f.a != *f.b {
			*f.a = ""
		}
	}
	for _, m := range []struct{ a, b map[string]string }{{p.Labels, q.Labels}, {p.Annotations, q.Annotations}} {
		for k, v := range m.a {
			if m.b[k] != v {
				delete(m.a, k)
			}
		}
	}
	return p
}
