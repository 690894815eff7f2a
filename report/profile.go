package report

import (
	"context"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Profiles are how the workloads of each type used power.
type Profiles struct {
	Basis
	Types []store.ProfileRow
	Total power.Microjoules // energy of all types
}

// Profiles answers for the workloads that match, from a time to another.
func (r *Reports) Profiles(ctx context.Context, from, to, now time.Time, match map[store.Dimension]string) (Profiles, error) {
	rows, err := r.books.Profiles(ctx, from.UnixMilli(), to.UnixMilli(), match)
	if err != nil {
		return Profiles{}, fmt.Errorf("profiles: %w", err)
	}
	// Profiles come priced; what the prices were is asked apart.
	priced, err := r.sum(ctx, store.Query{Match: match, WorkloadsOnly: true}, Even(from, to, time.Hour), now)
	if err != nil {
		return Profiles{}, fmt.Errorf("prices of profiles: %w", err)
	}
	var ps prices
	for _, row := range priced {
		ps.add(row.Price)
	}
	answer := Profiles{Basis: r.basis(ps, to), Types: rows}
	for _, row := range rows {
		answer.Total += row.Energy
	}
	return answer, nil
}
