package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

type typeProfile struct {
	WorkloadType power.Type `json:"workload_type"`
	Workloads    int        `json:"workloads"`
	EnergyKWh    float64    `json:"energy_kwh"`
	Share        *float64   `json:"share"` // of the energy of all types in the answer
	MeanWatts    *float64   `json:"mean_watts"`
	P50Watts     *float64   `json:"p50_watts"`
	P95Watts     *float64   `json:"p95_watts"`
	PeakWatts    *float64   `json:"peak_watts"`
	Variation    *float64   `json:"coefficient_of_variation"`
	DutyCycle    *float64   `json:"duty_cycle"`
	TotalCost    *float64   `json:"total_cost"`
}

// GET /profile/workload-types
func (a *api) profileWorkloadTypes(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "start", "end", "cluster")
	match := q.match("cluster")
	start, end := q.period(q.now.Add(-24*time.Hour).Truncate(time.Hour), longestPeriod)
	if err := q.problem(); err != nil {
		return err
	}

	rows, err := a.books.Profiles(r.Context(), start.UnixMilli(), end.UnixMilli(), match)
	if err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	// Profiles come priced; what the prices were is asked apart.
	priced, err := a.books.Sum(r.Context(), store.Query{
		FromMs: start.UnixMilli(), ToMs: alignedEnd(end, q.now, time.Hour), StepMs: time.Hour.Milliseconds(),
		Match: match, WorkloadsOnly: true,
	})
	if err != nil {
		return fmt.Errorf("prices of profiles: %w", err)
	}
	var prices priceSet
	for _, row := range priced {
		prices.add(row.Price)
	}
	answer := struct {
		Profiles []typeProfile `json:"profiles"`
		basis
		Period    string `json:"period"`
		Timestamp stamp  `json:"timestamp"`
	}{
		Profiles:  []typeProfile{},
		basis:     a.basis(prices, end),
		Period:    stampOf(start).String() + " to " + stampOf(end).String(),
		Timestamp: stampOf(q.now),
	}
	var total power.Microjoules
	for _, row := range rows {
		total += row.Energy
	}
	for _, row := range rows {
		p := typeProfile{
			WorkloadType: typeOf(row.Type),
			Workloads:    row.Workloads,
			EnergyKWh:    row.Energy.KWh(),
			Share:        number(float64(row.Energy) / float64(total)),
			MeanWatts:    number(row.MeanWatts),
			P50Watts:     number(row.P50Watts),
			P95Watts:     number(row.P95Watts),
			PeakWatts:    number(row.PeakWatts),
			Variation:    number(row.Variation),
			DutyCycle:    number(row.DutyCycle),
		}
		if answer.Currency != nil { // money in several currencies has no sum
			p.TotalCost = number(row.Cost.Total())
		}
		answer.Profiles = append(answer.Profiles, p)
	}
	return writeJSON(w, r, answer)
}
