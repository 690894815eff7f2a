package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/wattledger/wattledger/period"
	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

// A headFigure is what a stretch cost, and the one before.
type headFigure struct {
	Period         string `json:"period"`
	Totals         Cost   `json:"totals"`
	PreviousPeriod string `json:"previous_period"`
	PreviousTotals Cost   `json:"previous_totals"`
}

// GET /cost/summary: what a front page shows, in one answer.
func (a *api) costSummary(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "tz", "namespace", "workload", "workload_type", "cluster")
	match := q.match("namespace", "cluster", "workload_type", "workload")
	if err := q.problem(); err != nil {
		return err
	}
	current, err := a.reports.Current(r.Context(), q.now, nil, match)
	if err != nil {
		return err
	}
	today, _, err := a.headFigure(r.Context(), q.clock(), "today", match)
	if err != nil {
		return err
	}
	month, basis, err := a.headFigure(r.Context(), q.clock(), "month", match)
	if err != nil {
		return err
	}
	return writeJSON(w, r, struct {
		PerHour  Cost       `json:"per_hour"`
		Estimate string     `json:"estimate"` // what per_hour is
		Today    headFigure `json:"today"`
		Month    headFigure `json:"month"`
		report.Basis
		DefaultPrices bool   `json:"default_prices"`
		TimeZone      string `json:"time_zone"`
		Timestamp     stamp  `json:"timestamp"`
	}{
		costOf(current.Total, current.Currency), currentEstimate, today, month, basis,
		a.ops.DefaultPrices, q.zone.String(), stampOf(q.now),
	})
}

// headFigure answers for the stretch that a word names, up to now.
func (a *api) headFigure(ctx context.Context, c period.Clock, word string, match map[store.Dimension]string) (headFigure, report.Basis, error) {
	named, err := c.Parse(word)
	if err != nil {
		return headFigure{}, report.Basis{}, err
	}
	this := stretch{named.From, c.Now, named}
	var last stretch
	last.start, last.end = this.before()
	costs := func(s stretch) (report.Answer, error) {
		return a.reports.Costs(ctx, report.Question{Steps: report.Cut(s.start, s.end, c.Days(s.start, s.end)), Now: c.Now, Match: match})
	}
	if !this.start.Before(this.end) { // the first moment of it
		this.end = this.start.Add(time.Millisecond)
		last.end = last.start.Add(time.Millisecond)
	}
	now, err := costs(this)
	if err != nil {
		return headFigure{}, report.Basis{}, err
	}
	before, err := costs(last)
	if err != nil {
		return headFigure{}, report.Basis{}, err
	}
	return headFigure{this.String(), costOf(now.Total, now.Currency), last.String(), costOf(before.Total, before.Currency)}, now.Basis, nil
}
