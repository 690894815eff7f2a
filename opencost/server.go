// Package opencost answers as OpenCost does, for the clients that people already
// have: allocations and assets by its names, windows, filters and fields, read off
// the same reports as every other face. What OpenCost knows and the books do not,
// such as cores and bytes, is null or 0.
package opencost

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

// A Server answers from reports. It keeps nothing between requests.
type Server struct {
	reports *report.Reports
	now     func() time.Time
}

// New returns a server; now is its clock.
func New(reports *report.Reports, now func() time.Time) *Server { return &Server{reports, now} }

// An Envelope is what every answer comes in.
type Envelope struct {
	Code    int    `json:"code"`
	Status  string `json:"status"`
	Data    any    `json:"data"`
	Message string `json:"message,omitempty"`
}

// Failure is the envelope of an error.
func Failure(status int, message string) Envelope { return Envelope{status, "error", nil, message} }

func success(data any, message string) Envelope {
	return Envelope{http.StatusOK, "success", data, message}
}

// A CSV is an answer that is a table.
type CSV []byte

// A Handler answers a request with an Envelope or a CSV.
type Handler func(ctx context.Context, r *http.Request) (any, error)

// Routes are the paths that are answered, without the prefix /model, under which
// all of them are answered, too.
func (s *Server) Routes() map[string]Handler {
	return map[string]Handler{
		"/allocation":                 s.allocation,
		"/allocation/compute":         s.allocation,
		"/allocation/summary":         s.summary,
		"/allocation/compute/summary": s.summary,
		"/allocation/autocomplete":    s.allocationAutocomplete,
		"/assets":                     s.assets,
		"/assets/autocomplete":        s.assetAutocomplete,
		"/clusterInfo":                s.clusterInfo,
		"/getConfigs":                 s.configs,
		"/cloudCost":                  s.nothing(map[string]any{"sets": []any{}}),
		"/cloudCost/view/table":       s.nothing([]any{}),
		"/cloudCost/view/totals":      s.nothing(map[string]any{"combined": nil}),
		"/cloudCost/view/graph":       s.nothing([]any{}),
		"/cloudCost/status":           s.nothing([]any{}),
		"/cloudCost/autocomplete":     s.nothing(map[string]any{"data": []any{}}),
		"/customCost/total":           s.nothing(map[string]any{"customCosts": []any{}, "totalCost": 0}),
		"/customCost/timeseries":      s.nothing(map[string]any{"timeseries": []any{}}),
	}
}

// nothing answers for costs that are none of ours: of clouds, and of others.
func (s *Server) nothing(data any) Handler {
	return func(context.Context, *http.Request) (any, error) { return success(data, ""), nil }
}

func kubecost(r *http.Request) bool { return strings.HasPrefix(r.RequestURI, "/model/") }

// GET /allocation, /allocation/compute
func (s *Server) allocation(ctx context.Context, r *http.Request) (any, error) {
	now := s.now().UTC()
	p := newParams(r.URL.RawQuery, allocationParams)
	format := p.choice("format", "json", "json", "csv")
	q, err := p.allocation(now, kubecost(r))
	if err != nil {
		return nil, err
	}
	sets, message, err := s.allocations(ctx, q, now)
	if err != nil {
		return nil, err
	}
	if format == "csv" {
		return allocationCSV(sets, q)
	}
	data := []map[string]*Allocation{}
	for _, x := range sets {
		data = append(data, x.page(q))
	}
	if len(data) == 0 { // kubectl-cost looks at the first without asking whether there is one
		data = append(data, map[string]*Allocation{})
	}
	return success(data, message), nil
}

// page returns the rows of a set that are asked for: the dearest first, equals by name.
func (x set) page(q allocationQuestion) map[string]*Allocation {
	if q.limit == 0 && q.offset == 0 {
		return x.rows
	}
	list := x.sorted()
	list = list[min(q.offset, len(list)):]
	if q.limit > 0 {
		list = list[:min(q.limit, len(list))]
	}
	rows := map[string]*Allocation{}
	for _, a := range list {
		rows[a.Name] = a
	}
	return rows
}

func (x set) sorted() []*Allocation {
	list := make([]*Allocation, 0, len(x.rows))
	for _, a := range x.rows {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *Allocation) int {
		return cmp.Or(cmp.Compare(b.TotalCost, a.TotalCost), strings.Compare(a.Name, b.Name))
	})
	return list
}

// A Summary is an allocation in short.
type Summary struct {
	Name                  string    `json:"name"`
	Start                 time.Time `json:"start"`
	End                   time.Time `json:"end"`
	CPUCoreRequestAverage *float64  `json:"cpuCoreRequestAverage"`
	CPUCoreUsageAverage   *float64  `json:"cpuCoreUsageAverage"`
	CPUCost               float64   `json:"cpuCost"`
	CPUCostIdle           float64   `json:"cpuCostIdle"`
	GPURequestAverage     *float64  `json:"gpuRequestAverage"`
	GPUUsageAverage       *float64  `json:"gpuUsageAverage"`
	GPUCost               float64   `json:"gpuCost"`
	GPUCostIdle           float64   `json:"gpuCostIdle"`
	NetworkCost           float64   `json:"networkCost"`
	LoadBalancerCost      float64   `json:"loadBalancerCost"`
	PVCost                float64   `json:"pvCost"`
	RAMByteRequestAverage *float64  `json:"ramByteRequestAverage"`
	RAMByteUsageAverage   *float64  `json:"ramByteUsageAverage"`
	RAMCost               float64   `json:"ramCost"`
	RAMCostIdle           float64   `json:"ramCostIdle"`
	SharedCost            float64   `json:"sharedCost"`
	ExternalCost          float64   `json:"externalCost"`
	TotalEfficiency       *float64  `json:"totalEfficiency"`
	TotalCost             float64   `json:"totalCost"`
}

// GET /allocation/summary, /allocation/compute/summary
func (s *Server) summary(ctx context.Context, r *http.Request) (any, error) {
	now := s.now().UTC()
	q, err := newParams(r.URL.RawQuery, allocationParams).allocation(now, kubecost(r))
	if err != nil {
		return nil, err
	}
	sets, message, err := s.allocations(ctx, q, now)
	if err != nil {
		return nil, err
	}
	type summarySet struct {
		Allocations map[string]Summary `json:"allocations"`
		Window      Window             `json:"window"`
	}
	data := struct {
		Step   int64        `json:"step"` // nanoseconds
		Sets   []summarySet `json:"sets"`
		Window Window       `json:"window"`
	}{Window: Window{q.window.from, q.window.to}, Sets: []summarySet{}}
	for _, x := range sets {
		if data.Step == 0 {
			data.Step = int64(x.window.to.Sub(x.window.from))
		}
		rows := map[string]Summary{}
		for name, a := range x.page(q) {
			rows[name] = Summary{
				Name: name, Start: a.Start, End: a.End, CPUCost: a.CPUCost, CPUCostIdle: a.CPUCostIdle, GPUCost: a.GPUCost, GPUCostIdle: a.GPUCostIdle,
				RAMCost: a.RAMCost, RAMCostIdle: a.RAMCostIdle, SharedCost: a.SharedCost, ExternalCost: a.ExternalCost, TotalCost: a.TotalCost,
			}
		}
		data.Sets = append(data.Sets, summarySet{rows, Window{x.window.from, x.window.to}})
	}
	return success(data, message), nil
}

// GET /getConfigs, which kubectl-cost asks for the currency.
func (s *Server) configs(context.Context, *http.Request) (any, error) {
	currency := "USD"
	if c := s.reports.Currency(s.now()); c != nil {
		currency = *c
	}
	return success(map[string]string{"currencyCode": currency}, ""), nil
}

// GET /clusterInfo
func (s *Server) clusterInfo(ctx context.Context, r *http.Request) (any, error) {
	p := newParams(r.URL.RawQuery, []string{"cluster"})
	if err := p.err(); err != nil {
		return nil, err
	}
	now := s.now().UTC()
	q := allocationQuestion{sets: []span{{now.Add(-24 * time.Hour).Truncate(time.Hour), now}}, share: []*report.Sharing{{}}}
	answers, err := s.ask(ctx, q, []store.Dimension{store.Cluster}, now)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, g := range answers[0].Groups {
		if asked := p.text("cluster"); asked == "" || asked == g.Name() {
			names = append(names, g.Name())
		}
	}
	switch len(names) {
	case 0:
		return nil, &Error{http.StatusNotFound, "no such cluster was seen in the last day"}
	case 1:
		return success(map[string]string{"id": names[0], "name": names[0], "provider": "on-premises"}, ""), nil
	}
	return nil, wrong("there are several clusters; ask for one by cluster=: %s", strings.Join(names, ", "))
}
