package report

import (
	"slices"
	"time"

	"github.com/wattledger/wattledger/power"
)

// A Basis says once what the money in an answer rests on. Where several prices
// applied, what they do not share is nil.
type Basis struct {
	CostModel             *string  `json:"cost_model"`
	ImpliedPUE            *float64 `json:"implied_pue"`
	ImpliedCarbonKgPerKWh *float64 `json:"implied_carbon_kg_per_kwh"`
	Currency              *string  `json:"currency"`
	Prices                int      `json:"prices"` // how many different prices applied
}

// prices are the different prices of an answer; there are few.
type prices []power.Price

func (ps *prices) add(p power.Price) {
	if p.Model != "" && !slices.Contains(*ps, p) {
		*ps = append(*ps, p)
	}
}

func (a Amount) prices() prices {
	var ps prices
	for _, p := range a.parts {
		ps.add(p.price)
	}
	return ps
}

// basis describes prices. An answer without rows rests on the price in force at a time.
func (r *Reports) basis(ps prices, at time.Time) Basis {
	b := Basis{Prices: len(ps)}
	if len(ps) == 0 {
		if r.price == nil {
			return b
		}
		ps = prices{r.price(at.UnixMilli())}
	}
	b.CostModel = shared(ps, func(p power.Price) string { return p.Model })
	b.Currency = shared(ps, func(p power.Price) string { return p.Currency })
	b.ImpliedPUE = shared(ps, power.Price.ImpliedPUE)
	b.ImpliedCarbonKgPerKWh = shared(ps, power.Price.ImpliedCarbonKgPerKWh)
	return b
}

// shared returns what all prices have in common, or nil.
func shared[T comparable](ps prices, of func(power.Price) T) *T {
	v := of(ps[0])
	for _, p := range ps[1:] {
		if of(p) != v {
			return nil
		}
	}
	return &v
}

// Currency is that of the price in force at a time; nil where that is unknown.
func (r *Reports) Currency(at time.Time) *string { return r.basis(nil, at).Currency }
