package report

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

const (
	// currentStretch is what the cost of an hour to come is read off.
	currentStretch = 5 * time.Minute
	// CurrentFor is how long what was seen stays current.
	CurrentFor = 5 * time.Minute
)

// A Current is what an hour like the newest five whole minutes would cost.
type Current struct {
	Basis
	Total  Figure
	Groups []Group
	// From and To are the minutes it was read off; zero where nothing is current.
	From, To time.Time
}

// Current answers for an hour: the energy of [edge-5m, edge), edge being the
// newest sample's whole minute, times 1 h / (5 m × coverage).
func (r *Reports) Current(ctx context.Context, now time.Time, by []store.Dimension, match map[store.Dimension]string) (Current, error) {
	// Look far enough back for a stretch that ends CurrentFor ago.
	back := now.Add(-currentStretch - CurrentFor).Truncate(time.Minute)
	seen, err := r.seen(ctx, Even(back, now, time.Minute), now, match[store.Cluster])
	if err != nil {
		return Current{}, err
	}
	to := time.UnixMilli(min(seen.lastMs, now.UnixMilli())).Truncate(time.Minute)
	from := to.Add(-currentStretch)
	coverage := 0.0
	if !to.Before(now.Add(-CurrentFor - time.Minute)) {
		coverage = seen.shareOf(Even(from, to, time.Minute))
	}
	if coverage == 0 {
		return Current{Basis: r.basis(nil, now), Total: Figure{Unknown: true}}, nil
	}

	ask := costQuery(by, match)
	ask.FromMs, ask.ToMs = from.UnixMilli(), to.UnixMilli()
	rows, err := r.books.Sum(ctx, ask)
	if err != nil {
		return Current{}, fmt.Errorf("current cost: %w", err)
	}
	// Rounded once to the microjoule for each row, so that groups add up to the total.
	scale := float64(time.Hour.Milliseconds()) / (float64(currentStretch.Milliseconds()) * coverage)
	perHour := func(e power.Microjoules) power.Microjoules {
		return power.Microjoules(math.Round(float64(e) * scale))
	}
	var all sums
	for _, row := range rows {
		namespace, values := groupOf(ask, by, row)
		for c := range row.Energy {
			row.Energy[c] = perHour(row.Energy[c])
		}
		row.Idle = perHour(row.Idle)
		all.add(values, amountOf(namespace, row))
	}
	return Current{
		Basis: r.basis(all.total.prices(), now),
		Total: Figure{Amount: all.total, Coverage: coverage}, Groups: all.figures(coverage),
		From: from, To: to,
	}, nil
}
