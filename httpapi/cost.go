package httpapi

import (
	"net/http"
	"time"

	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

// Books are kept for 13 months by default.
const longestPeriod = 400 * 24 * time.Hour

// GET /cost/current
func (a *api) costCurrent(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "namespace", "workload", "cluster", "aggregate")
	match := q.match("namespace", "cluster", "workload")
	dims := q.dimensions("aggregate")
	if err := q.problem(); err != nil {
		return err
	}
	current, err := a.reports.Current(r.Context(), q.now, dims, match)
	if err != nil {
		return err
	}
	return writeJSON(w, r, struct {
		Cost Cost `json:"cost"`
		report.Basis
		Period       string  `json:"period"`
		MeasuredFrom *stamp  `json:"measured_from"`
		MeasuredTo   *stamp  `json:"measured_to"`
		Groups       []group `json:"groups"`
		Timestamp    stamp   `json:"timestamp"`
	}{
		costOf(current.Total, current.Currency), current.Basis, "1 hour",
		stampOrNull(current.From.UnixMilli()), stampOrNull(current.To.UnixMilli()),
		groupsOf(current.Groups, dims, current.Currency), stampOf(q.now),
	})
}

type hourCost struct {
	Hour    stamp `json:"hour"`
	Partial bool  `json:"partial"`
	Cost
	Groups []group `json:"groups"`
}

type hourly struct {
	CostAnalysis []hourCost `json:"cost_analysis"`
	Totals       Cost       `json:"totals"`
	Groups       []group    `json:"groups"` // over the whole period
	report.Basis
	Period    string `json:"period"`
	Timestamp stamp  `json:"timestamp"`

	dims []store.Dimension
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
	costs, err := a.reports.Costs(r.Context(), report.Question{
		Steps: report.Even(start, end, time.Hour), Now: q.now, By: dims, Match: match,
	})
	if err != nil {
		return err
	}
	answer := hourly{
		CostAnalysis: make([]hourCost, len(costs.Steps)),
		Totals:       costOf(costs.Total, costs.Currency),
		Groups:       groupsOf(costs.Groups, dims, costs.Currency),
		Basis:        costs.Basis,
		Period:       periodOf(start, end),
		Timestamp:    stampOf(q.now),
		dims:         dims,
	}
	for i, s := range costs.Steps {
		answer.CostAnalysis[i] = hourCost{stamp(s.StartMs), !s.Whole(), costOf(s.Figure, costs.Currency), groupsOf(s.Groups, dims, costs.Currency)}
	}
	if format == "csv" {
		return answer.writeCSV(w, r)
	}
	return writeJSON(w, r, answer)
}

// periodOf writes the period an answer is of.
func periodOf(start, end time.Time) string {
	return stampOf(start).String() + " to " + stampOf(end).String()
}
