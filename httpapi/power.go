package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/wattledger/wattledger/period"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

const (
	defaultPage = 100
	maxPage     = 10_000
)

type componentWatts struct {
	CPU   *float64 `json:"cpu_watts"`
	DRAM  *float64 `json:"dram_watts"`
	GPU   *float64 `json:"gpu_watts"`
	Other *float64 `json:"other_watts"`
}

type workloadPower struct {
	WorkloadID   string         `json:"workload_id"`
	Cluster      string         `json:"cluster"`
	Namespace    string         `json:"namespace"`
	Workload     string         `json:"workload"`
	WorkloadKind string         `json:"workload_kind"`
	WorkloadType power.Type     `json:"workload_type"`
	Inferred     bool           `json:"inferred"`
	PowerWatts   *float64       `json:"power_watts"`
	Components   componentWatts `json:"components"`
	CostPerHour  *float64       `json:"cost_per_hour"`
	Containers   int            `json:"containers"`
	ObservedAt   *stamp         `json:"observed_at"`
}

// GET /power/current
func (a *api) powerCurrent(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "workload", "namespace", "cluster", "node", "workload_type", "time_range", "limit", "cursor")
	match := q.match("namespace", "cluster", "node", "workload_type", "workload")
	span := q.duration("time_range", report.CurrentFor, time.Minute, 7*24*time.Hour)
	limit := q.count("limit", defaultPage, maxPage)
	from, at := q.page("/power/current")
	if err := q.problem(); err != nil {
		return err
	}

	page, err := a.reports.Power(r.Context(), store.PowerQuery{
		FromMs: at.Add(-span).UnixMilli(), ToMs: at.UnixMilli(),
		Match: match, By: store.ByPower, Limit: limit, Cursor: from,
	})
	if err != nil {
		return err
	}

	answer := struct {
		Data []workloadPower `json:"data"`
		report.Basis
		Timestamp stamp   `json:"timestamp"`
		TimeRange string  `json:"time_range"`
		Next      *string `json:"next"`
	}{Data: []workloadPower{}, Basis: page.Basis, Timestamp: stampOf(at), TimeRange: period.FormatDuration(span), Next: q.next("/power/current", at, page.Next)}
	for _, row := range page.Rows {
		h := row.Holder
		answer.Data = append(answer.Data, workloadPower{
			WorkloadID:   h.Workload.ID(),
			Cluster:      h.Workload.Cluster,
			Namespace:    h.Workload.Namespace,
			Workload:     h.Workload.Name,
			WorkloadKind: strings.ToLower(h.Workload.Kind),
			WorkloadType: typeOf(h.Type),
			Inferred:     h.Inferred,
			PowerWatts:   number(row.TotalWatts()),
			Components:   componentsOf(row.Watts),
			CostPerHour:  number(report.CostPerHour(row.Price, row.TotalWatts())),
			Containers:   row.Containers,
			ObservedAt:   stampOrNull(row.LastMs),
		})
	}
	return writeJSON(w, r, answer)
}

type containerPower struct {
	Cluster      string         `json:"cluster"`
	Node         string         `json:"node"`
	Namespace    string         `json:"namespace"`
	Pod          string         `json:"pod"`
	PodID        string         `json:"pod_id"`
	Container    string         `json:"container"`
	ContainerID  string         `json:"container_id"`
	Image        string         `json:"image"`
	WorkloadID   string         `json:"workload_id"`
	WorkloadType power.Type     `json:"workload_type"`
	PowerWatts   *float64       `json:"power_watts"`
	Components   componentWatts `json:"components"`
	CostPerHour  *float64       `json:"cost_per_hour"`
	ObservedAt   *stamp         `json:"observed_at"`
	Generation   string         `json:"generation"`
}

// GET /power/containers
func (a *api) powerContainers(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "namespace", "workload", "workload_type", "pod", "node", "cluster", "time_range", "limit", "cursor", "sort")
	match := q.match("namespace", "workload_type", "pod", "node", "cluster", "workload")
	stretch := q.duration("time_range", report.CurrentFor, time.Minute, 7*24*time.Hour)
	limit := q.count("limit", defaultPage, maxPage)
	sort := q.choice("sort", "-power_watts", "power_watts", "name", "-name")
	from, at := q.page("/power/containers")
	if err := q.problem(); err != nil {
		return err
	}

	page, err := a.reports.Power(r.Context(), store.PowerQuery{
		FromMs: at.Add(-stretch).UnixMilli(), ToMs: at.UnixMilli(), ByContainer: true,
		Match: match, By: store.PowerOrder(strings.TrimPrefix(sort, "-")), Ascending: sort[0] != '-',
		Limit: limit, Cursor: from,
	})
	if err != nil {
		return err
	}

	answer := struct {
		Containers []containerPower `json:"containers"`
		Count      int              `json:"count"`
		report.Basis
		Timestamp stamp   `json:"timestamp"`
		Next      *string `json:"next"`
	}{Containers: []containerPower{}, Count: len(page.Rows), Basis: page.Basis, Timestamp: stampOf(at), Next: q.next("/power/containers", at, page.Next)}
	for _, row := range page.Rows {
		h := row.Holder
		answer.Containers = append(answer.Containers, containerPower{
			Cluster:      h.Cluster,
			Node:         h.Node,
			Namespace:    h.Workload.Namespace,
			Pod:          h.Pod,
			PodID:        h.PodUID,
			Container:    h.Container,
			ContainerID:  h.ID,
			Image:        h.Image,
			WorkloadID:   h.Workload.ID(),
			WorkloadType: typeOf(h.Type),
			PowerWatts:   number(row.TotalWatts()),
			Components:   componentsOf(row.Watts),
			CostPerHour:  number(report.CostPerHour(row.Price, row.TotalWatts())),
			ObservedAt:   stampOrNull(row.LastMs),
			Generation:   row.Generation,
		})
	}
	return writeJSON(w, r, answer)
}

type nodePower struct {
	Cluster    string         `json:"cluster"`
	Node       string         `json:"node"`
	PowerWatts *float64       `json:"power_watts"`
	Components componentWatts `json:"components"`
	Generation string         `json:"generation"`
	ObservedAt *stamp         `json:"observed_at"`
	Identity   nodeIdentity   `json:"identity"`
}

// nodeIdentity is the proof that a node's books close:
//
//	node = containers + vms + system + idle + unattributed
type nodeIdentity struct {
	WindowStart          stamp   `json:"window_start"`
	WindowSeconds        int32   `json:"window_seconds"`
	NodeJoules           float64 `json:"node_joules"`
	ContainersJoules     float64 `json:"containers_joules"`
	VMsJoules            float64 `json:"vms_joules"`
	SystemJoules         float64 `json:"system_joules"`
	IdleJoules           float64 `json:"idle_joules"`
	UnattributedJoules   float64 `json:"unattributed_joules"`
	UnattributedNegative bool    `json:"unattributed_negative"`
	Closes               bool    `json:"closes"` // in whole microjoules, component by component
}

// GET /power/nodes
func (a *api) powerNodes(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "cluster", "node")
	match := q.match("cluster", "node")
	if err := q.problem(); err != nil {
		return err
	}

	nodes, err := a.reports.Nodes(r.Context(), q.now, match)
	if err != nil {
		return err
	}

	answer := struct {
		Nodes     []nodePower `json:"nodes"`
		Count     int         `json:"count"`
		Timestamp stamp       `json:"timestamp"`
	}{Nodes: []nodePower{}, Count: len(nodes), Timestamp: stampOf(q.now)}
	for _, n := range nodes {
		answer.Nodes = append(answer.Nodes, nodePower{
			Cluster:    n.Cluster,
			Node:       n.Node,
			PowerWatts: number(n.Total),
			Components: componentsOf(n.Watts),
			Generation: n.Generation,
			ObservedAt: stampOrNull(n.LastMs),
			Identity: nodeIdentity{
				WindowStart:          stamp(n.StartMs),
				WindowSeconds:        n.Seconds,
				NodeJoules:           n.Used.Total().Joules(),
				ContainersJoules:     n.Containers.Total().Joules(),
				VMsJoules:            n.VMs.Total().Joules(),
				SystemJoules:         n.System.Total().Joules(),
				IdleJoules:           n.Idle.Total().Joules(),
				UnattributedJoules:   n.Unattributed.Total().Joules(),
				UnattributedNegative: n.Unattributed.Total() < 0,
				Closes:               n.Closes,
			},
		})
	}
	return writeJSON(w, r, answer)
}

func componentsOf(w [power.NumComponents]float64) componentWatts {
	return componentWatts{CPU: number(w[power.CPU]), DRAM: number(w[power.DRAM]), GPU: number(w[power.GPU]), Other: number(w[power.Other])}
}
