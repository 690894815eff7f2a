package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/wattledger/wattledger/period"
	"github.com/wattledger/wattledger/report"
)

// A cut is how the cost of a period is cut into an answer's entries.
type cut struct {
	name string // of the route, and in the name of a file
	// first is where a period begins that says nothing of it.
	first func(c period.Clock) time.Time
	steps func(c period.Clock, from, to time.Time) []report.Step
	// date is how an entry is called, in the zone of the question; empty where
	// its start in UTC is its name.
	date string
}

var (
	hourly = cut{
		name:  "hourly",
		first: func(c period.Clock) time.Time { return c.Now.Add(-24 * time.Hour).Truncate(time.Hour) },
		steps: func(_ period.Clock, from, to time.Time) []report.Step { return report.Even(from, to, time.Hour) },
	}
	daily = cut{
		name:  "daily",
		first: func(c period.Clock) time.Time { return c.DayOf(c.Now.Add(-29 * 24 * time.Hour)) },
		steps: func(c period.Clock, from, to time.Time) []report.Step {
			return report.Cut(from, to, c.Days(from, to))
		},
		date: time.DateOnly,
	}
	monthly = cut{
		name:  "monthly",
		first: func(c period.Clock) time.Time { return c.MonthOf(c.MonthOf(c.Now).Add(-330 * 24 * time.Hour)) },
		steps: func(c period.Clock, from, to time.Time) []report.Step {
			return report.Cut(from, to, c.Months(from, to))
		},
		date: "2006-01",
	}
)

// An entry is one hour, day or month of an answer.
type entry struct {
	Hour    *stamp `json:"hour,omitempty"` // of hours
	Date    string `json:"date,omitempty"` // of days and months, with their start and end
	Start   *stamp `json:"start,omitempty"`
	End     *stamp `json:"end,omitempty"`
	Partial bool   `json:"partial"`
	Cost
	Groups []group `json:"groups"`
	Others *Cost   `json:"others,omitempty"` // where groups are listed in part
}

// A costAnalysis is the cost of a period, entry by entry.
type costAnalysis struct {
	CostAnalysis []entry `json:"cost_analysis"`
	Totals       Cost    `json:"totals"`
	Groups       []group `json:"groups"` // over the whole period
	Others       *Cost   `json:"others,omitempty"`
	GroupsTotal  *int    `json:"groups_total,omitempty"`
	report.Basis
	Period    string    `json:"period"`
	TimeZone  string    `json:"time_zone,omitempty"`
	Previous  *previous `json:"previous,omitempty"`
	Timestamp stamp     `json:"timestamp"`

	cut  cut
	dims []string // as they were asked for
}

// previous is the period before, to compare with.
type previous struct {
	Period string  `json:"period"`
	Totals Cost    `json:"totals"`
	Groups []group `json:"groups"`
}

// GET /cost/hourly, /cost/daily, /cost/monthly
func (a *api) costBy(c cut) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		q := a.parse(r, "start", "end", "tz", "namespace", "workload", "workload_type", "cluster", "node", "pod", "aggregate", "search", "sort", "order", "offset", "limit", "compare", "share", "share_by", "share_weights", "format")
		match := q.match("namespace", "cluster", "node", "pod", "workload_type", "workload")
		dims, names := q.dimensions("aggregate")
		list := q.list(dims)
		share := q.sharing(a.cfg.Share, dims)
		format := q.choice("format", "json", "csv")
		compare := q.text("compare") != "" && q.choice("compare", "previous") == "previous"
		asked := q.period(c.first(q.clock()), longestPeriod)
		if err := q.problem(); err != nil {
			return err
		}
		ask := report.Question{Steps: c.steps(q.clock(), asked.start, asked.end), Now: q.now, By: dims, Match: match, Share: share}
		costs, err := a.reports.Costs(r.Context(), ask)
		if err != nil {
			return err
		}
		if list != nil {
			costs.Keep(*list)
		}
		answer := c.answer(costs, names, q.zone, list != nil)
		answer.Period, answer.Timestamp = asked.String(), stampOf(q.now)
		if compare {
			if answer.Previous, err = a.previous(r.Context(), c, q, asked, ask, names); err != nil {
				return err
			}
		}
		if format == "csv" {
			return answer.writeCSV(w, r)
		}
		return writeJSON(w, r, answer)
	}
}

func (c cut) answer(costs report.Answer, dims []string, zone *time.Location, listed bool) costAnalysis {
	answer := costAnalysis{
		CostAnalysis: make([]entry, len(costs.Steps)),
		Totals:       costOf(costs.Total, costs.Currency),
		Groups:       groupsOf(costs.Groups, dims, costs.Currency),
		Basis:        costs.Basis,
		cut:          c,
		dims:         dims,
	}
	if c.date != "" {
		answer.TimeZone = zone.String()
	}
	if listed {
		others := costOf(costs.Others, costs.Currency)
		answer.Others, answer.GroupsTotal = &others, &costs.Found
	}
	for i, s := range costs.Steps {
		e := entry{Partial: !s.Whole(), Cost: costOf(s.Figure, costs.Currency), Groups: groupsOf(s.Groups, dims, costs.Currency)}
		start, end := stamp(s.StartMs), stamp(s.EndMs)
		if c.date == "" {
			e.Hour = &start
		} else {
			e.Date, e.Start, e.End = time.UnixMilli(s.StartMs).In(zone).Format(c.date), &start, &end
		}
		if listed {
			others := costOf(s.Others, costs.Currency)
			e.Others = &others
		}
		answer.CostAnalysis[i] = e
	}
	return answer
}

// previous asks the same of the period before.
func (a *api) previous(ctx context.Context, c cut, q *query, asked stretch, ask report.Question, names []string) (*previous, error) {
	start, end := asked.before()
	ask.Steps = c.steps(q.clock(), start, end)
	costs, err := a.reports.Costs(ctx, ask)
	if err != nil {
		return nil, err
	}
	return &previous{
		Period: stretch{start: start, end: end}.String(),
		Totals: costOf(costs.Total, costs.Currency),
		Groups: groupsOf(costs.Groups, names, costs.Currency),
	}, nil
}

// String writes the stretch as answers have it.
func (s stretch) String() string { return stampOf(s.start).String() + " to " + stampOf(s.end).String() }
