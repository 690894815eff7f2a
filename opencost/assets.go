package opencost

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

// An Asset is a node, the only kind of asset there is.
type Asset struct {
	Type         string            `json:"type"`
	Properties   AssetProperties   `json:"properties"`
	Labels       map[string]string `json:"labels"`
	Window       Window            `json:"window"`
	Start        time.Time         `json:"start"`
	End          time.Time         `json:"end"`
	Minutes      float64           `json:"minutes"`
	NodeType     string            `json:"nodeType"`
	CPUCores     float64           `json:"cpuCores"`
	RAMBytes     float64           `json:"ramBytes"`
	CPUCoreHours float64           `json:"cpuCoreHours"`
	RAMByteHours float64           `json:"ramByteHours"`
	GPUHours     float64           `json:"GPUHours"`
	CPUBreakdown Breakdown         `json:"cpuBreakdown"`
	RAMBreakdown Breakdown         `json:"ramBreakdown"`
	Preemptible  float64           `json:"preemptible"`
	Discount     float64           `json:"discount"`
	CPUCost      float64           `json:"cpuCost"`
	GPUCost      float64           `json:"gpuCost"`
	GPUCount     float64           `json:"gpuCount"`
	RAMCost      float64           `json:"ramCost"`
	OtherCost    float64           `json:"otherCost"`
	Adjustment   float64           `json:"adjustment"`
	TotalCost    float64           `json:"totalCost"`
	EnergyKWh    float64           `json:"energyKWh"`
	CarbonKgCO2e float64           `json:"carbonKgCO2e"`

	row    Allocation
	energy map[string]power.Energy // by user, system, idle, other
}

// AssetProperties say which asset one is.
type AssetProperties struct {
	Category   string `json:"category"`
	Provider   string `json:"provider"`
	Service    string `json:"service"`
	Cluster    string `json:"cluster"`
	Name       string `json:"name"`
	ProviderID string `json:"providerID"`
}

// A Breakdown is who used what share.
type Breakdown struct {
	Idle   float64 `json:"idle"`
	Other  float64 `json:"other"`
	System float64 `json:"system"`
	User   float64 `json:"user"`
}

// GET /assets
func (s *Server) assets(ctx context.Context, r *http.Request) (any, error) {
	now := s.now().UTC()
	p := newParams(r.URL.RawQuery, assetParams)
	zone := p.zone()
	w, err := parseWindow(p.text("window"), now, zone)
	if err != nil {
		p.fail("window %v", err)
	}
	if t := p.text("filterTypes"); t != "" && !strings.EqualFold(t, "node") {
		p.fail("filterTypes %.20q: there are nodes alone", t)
	}
	f := p.filter()
	if !f.coarse() {
		p.fail("filter: assets are filtered by cluster and node")
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	q := allocationQuestion{sets: []span{w}, share: []*report.Sharing{{}}, filter: f, money: []string{"electricity", "overhead", "carbon"}}
	answers, err := s.ask(ctx, q, []store.Dimension{store.Namespace, store.Cluster, store.Node}, now)
	if err != nil {
		return nil, err
	}
	nodes, err := s.nodes(answers[0], w, q.money, now)
	if err != nil {
		return nil, err
	}
	if p.values.Has("filterTypes") { // kubectl-cost takes a list, everybody else an object
		return success([]map[string]*Asset{nodes}, ""), nil
	}
	return success(nodes, ""), nil
}

// nodes adds up what each node used.
func (s *Server) nodes(answer report.Answer, w span, money []string, now time.Time) (map[string]*Asset, error) {
	nodes := map[string]*Asset{}
	for _, g := range answer.Groups {
		cluster, node := g.Values[1], g.Values[2]
		if node == "" {
			continue
		}
		key := cluster + "/Node/" + node
		a := nodes[key]
		if a == nil {
			a = &Asset{
				Type: "Node", Labels: map[string]string{}, Window: Window{w.from, w.to}, energy: map[string]power.Energy{},
				Properties: AssetProperties{Category: "Compute", Provider: "on-premises", Service: "Kubernetes", Cluster: cluster, Name: node, ProviderID: node},
			}
			nodes[key] = a
		}
		if err := a.row.add(money, g.Amount, report.Amount{}, report.Amount{}); err != nil {
			return nil, err
		}
		who := map[string]string{idleName: "idle", power.System.PseudoName(): "system", power.Unattributed.PseudoName(): "other"}[g.Values[0]]
		if who == "" {
			who = "user"
		}
		e := a.energy[who]
		e.Add(g.Energy())
		a.energy[who] = e
	}
	for _, a := range nodes {
		a.row.times(w, now, answer.Total.Coverage)
		a.Start, a.End, a.Minutes = a.row.Start, a.row.End, a.row.Minutes
		a.CPUCost, a.RAMCost, a.GPUCost, a.OtherCost = a.row.CPUCost, a.row.RAMCost, a.row.GPUCost, a.row.ExternalCost
		a.TotalCost, a.EnergyKWh, a.CarbonKgCO2e = a.row.TotalCost, a.row.EnergyKWh, a.row.CarbonKgCO2e
		a.CPUBreakdown, a.RAMBreakdown = a.breakdown(power.CPU), a.breakdown(power.DRAM)
	}
	return nodes, nil
}

// breakdown returns shares of a component's energy; what is negative counts as none.
func (a *Asset) breakdown(c power.Component) (b Breakdown) {
	sum := 0.0
	for _, e := range a.energy {
		sum += max(0, e[c].Joules())
	}
	if sum == 0 {
		return b
	}
	share := func(who string) float64 { return max(0, a.energy[who][c].Joules()) / sum }
	return Breakdown{Idle: share("idle"), Other: share("other"), System: share("system"), User: share("user")}
}
