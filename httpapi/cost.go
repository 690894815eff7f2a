package httpapi

import (
	"net/http"
	"time"

	"github.com/wattledger/wattledger/report"
)

// Books are kept for 13 months by default.
const longestPeriod = 400 * 24 * time.Hour

// currentEstimate says in the answer itself that nobody has paid this yet.
const currentEstimate = "an hour at the mean power from measured_from to measured_to"

// GET /cost/current
func (a *api) costCurrent(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "namespace", "workload", "cluster", "aggregate")
	match := q.match("namespace", "cluster", "workload")
	dims, names := q.dimensions("aggregate")
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
		Estimate     string  `json:"estimate"`
		MeasuredFrom *stamp  `json:"measured_from"`
		MeasuredTo   *stamp  `json:"measured_to"`
		Groups       []group `json:"groups"`
		Timestamp    stamp   `json:"timestamp"`
	}{
		costOf(current.Total, current.Currency), current.Basis, "1 hour", currentEstimate,
		stampOrNull(current.From.UnixMilli()), stampOrNull(current.To.UnixMilli()),
		groupsOf(current.Groups, names, current.Currency), stampOf(q.now),
	})
}
