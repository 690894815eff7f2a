package httpapi

import (
	"net/http"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/report"
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
	q := a.parse(r, "start", "end", "tz", "cluster")
	match := q.match("cluster")
	asked := q.period(q.now.Add(-24*time.Hour).Truncate(time.Hour), longestPeriod)
	if err := q.problem(); err != nil {
		return err
	}

	profiles, err := a.reports.Profiles(r.Context(), asked.start, asked.end, q.now, match)
	if err != nil {
		return err
	}
	answer := struct {
		Profiles []typeProfile `json:"profiles"`
		report.Basis
		Period    string `json:"period"`
		Timestamp stamp  `json:"timestamp"`
	}{[]typeProfile{}, profiles.Basis, asked.String(), stampOf(q.now)}
	for _, row := range profiles.Types {
		p := typeProfile{
			WorkloadType: typeOf(row.Type),
			Workloads:    row.Workloads,
			EnergyKWh:    row.Energy.KWh(),
			Share:        number(float64(row.Energy) / float64(profiles.Total)),
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
