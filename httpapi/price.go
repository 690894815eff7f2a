package httpapi

import (
	"slices"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A basis says once what the money in an answer rests on. Where several prices
// applied, what they do not share is null.
type basis struct {
	CostModel             *string  `json:"cost_model"`
	ImpliedPUE            *float64 `json:"implied_pue"`
	ImpliedCarbonKgPerKWh *float64 `json:"implied_carbon_kg_per_kwh"`
	Currency              *string  `json:"currency"`
	Prices                int      `json:"prices"` // how many different prices applied
}

// A priceSet is the different prices of an answer; there are few.
type priceSet []power.Price

func (s *priceSet) add(p power.Price) {
	if p.Model != "" && !slices.Contains(*s, p) {
		*s = append(*s, p)
	}
}

// basis describes prices. An answer without rows rests on the price in force at a time.
func (a *api) basis(prices priceSet, at time.Time) basis {
	b := basis{Prices: len(prices)}
	if len(prices) == 0 {
		if a.ops.Price == nil {
			return b
		}
		prices = priceSet{a.ops.Price(at.UnixMilli())}
	}
	b.CostModel = shared(prices, func(p power.Price) string { return p.Model })
	b.Currency = shared(prices, func(p power.Price) string { return p.Currency })
	b.ImpliedPUE = shared(prices, power.Price.ImpliedPUE)
	b.ImpliedCarbonKgPerKWh = shared(prices, power.Price.ImpliedCarbonKgPerKWh)
	return b
}

// shared returns what all prices have in common, or nil.
func shared[T comparable](prices priceSet, of func(power.Price) T) *T {
	v := of(prices[0])
	for _, p := range prices[1:] {
		if of(p) != v {
			return nil
		}
	}
	return &v
}

// A Cost is energy, money and carbon in an answer. What is unknown is null.
type Cost struct {
	EnergyKWh       *float64 `json:"energy_kwh"`
	IdleEnergyKWh   *float64 `json:"idle_energy_kwh"`
	ElectricityCost *float64 `json:"electricity_cost"`
	CoolingCost     *float64 `json:"cooling_cost"`
	CarbonCost      *float64 `json:"carbon_cost"`
	TotalCost       *float64 `json:"total_cost"`
	CarbonKg        *float64 `json:"carbon_kg"`
	Currency        *string  `json:"currency"`
	Coverage        *float64 `json:"coverage"`
}

// A sum is energy kept apart by price. It is summed in whole microjoules and
// priced at the end, so the order and the cut of its parts change nothing.
type sum struct {
	parts []part
	idle  power.Microjoules
}

type part struct {
	price  power.Price
	energy power.Energy
}

func (s *sum) add(p power.Price, e power.Energy, idle power.Microjoules) {
	s.idle += idle
	for i := range s.parts {
		if s.parts[i].price == p {
			s.parts[i].energy.Add(e)
			return
		}
	}
	s.parts = append(s.parts, part{p, e})
}

func (s *sum) addRow(row store.Row, idle power.Microjoules) { s.add(row.Price, row.Energy, idle) }

func (s *sum) addSum(t sum) {
	for _, p := range t.parts {
		s.add(p.price, p.energy, 0)
	}
	s.idle += t.idle
}

func (s *sum) total() power.Microjoules {
	var e power.Microjoules
	for _, p := range s.parts {
		e += p.energy.Total()
	}
	return e
}

// prices returns the prices of the parts.
func (s *sum) prices() priceSet {
	var ps priceSet
	for _, p := range s.parts {
		ps.add(p.price)
	}
	return ps
}

// money prices the components that of selects. It reports false where it
// cannot: without a price, or with prices in several currencies.
func (s *sum) money(of func(power.Energy) power.Microjoules) (power.Cost, bool) {
	var c power.Cost
	for _, p := range s.parts {
		if p.price.Model == "" || p.price.Currency != s.parts[0].price.Currency {
			return power.Cost{}, false
		}
		c.Add(p.price.Cost(of(p.energy)))
	}
	return c, true
}

// cost writes s as an answer has it; currency is the answer's own.
func (s *sum) cost(currency *string, coverage float64) Cost {
	e, idle := s.total().KWh(), s.idle.KWh()
	c := Cost{EnergyKWh: &e, IdleEnergyKWh: &idle, Currency: currency, Coverage: number(coverage)}
	if len(s.parts) > 0 {
		c.Currency = &s.parts[0].price.Currency
	}
	money, ok := s.money(power.Energy.Total)
	if !ok {
		c.Currency = nil
		return c
	}
	total := money.Total()
	c.ElectricityCost, c.CoolingCost, c.CarbonCost = &money.Electricity, &money.Cooling, &money.Carbon
	c.TotalCost, c.CarbonKg = &total, &money.CarbonKg
	return c
}

// unknownCost is the cost of a time nothing is known of.
func unknownCost(currency *string) Cost {
	none := 0.0
	return Cost{Currency: currency, Coverage: &none}
}
