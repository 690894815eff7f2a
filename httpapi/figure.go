package httpapi

import (
	"encoding/json"
	"math"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/report"
)

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
	// Where something is shared: what of it was used, and what was given.
	Own    *Cost `json:"own,omitempty"`
	Shared *Cost `json:"shared,omitempty"`
}

// costOf writes a figure; currency is the answer's own, for figures that hold nothing.
func costOf(f report.Figure, currency *string) Cost {
	c := costOfAll(f, currency)
	if f.Parts != nil {
		own, shared := f, f
		own.Amount, shared.Amount = f.Parts.Own, f.Parts.Shared
		a, b := costOfAll(own, currency), costOfAll(shared, currency)
		c.Own, c.Shared = &a, &b
	}
	return c
}

func costOfAll(f report.Figure, currency *string) Cost {
	c := Cost{Currency: currency, Coverage: number(f.Coverage)}
	if f.Unknown {
		return c
	}
	e, idle := f.Energy().Total().KWh(), f.Idle().KWh()
	c.EnergyKWh, c.IdleEnergyKWh = &e, &idle
	money, own, ok := f.Money()
	if !ok {
		c.Currency = nil
		return c
	}
	if own != "" {
		c.Currency = &own
	}
	total := money.Total()
	c.ElectricityCost, c.CoolingCost, c.CarbonCost = &money.Electricity, &money.Cooling, &money.Carbon
	c.TotalCost, c.CarbonKg = &total, &money.CarbonKg
	return c
}

// A group is a group's cost in JSON, where each dimension is a field of its own.
type group struct {
	name   string
	dims   []string
	values []string
	cost   Cost
}

func groupsOf(groups []report.Group, dims []string, currency *string) []group {
	out := make([]group, len(groups))
	for i, g := range groups {
		out[i] = group{g.Name(), dims, g.Values, costOf(g.Figure, currency)}
	}
	return out
}

// MarshalJSON writes name, the dimensions, then the cost.
func (g group) MarshalJSON() ([]byte, error) {
	b := []byte(`{"name":`)
	name, err := json.Marshal(g.name)
	if err != nil {
		return nil, err
	}
	b = append(b, name...)
	for i, d := range g.dims {
		value, err := json.Marshal(g.values[i])
		if err != nil {
			return nil, err
		}
		name, err := json.Marshal(d)
		if err != nil {
			return nil, err
		}
		b = append(append(append(append(b, ','), name...), ':'), value...)
	}
	cost, err := json.Marshal(g.cost)
	if err != nil {
		return nil, err
	}
	b = append(b, ',')
	return append(b, cost[1:]...), nil
}

// number is nil for what is not known, so that it is written as null.
func number(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

func typeOf(t power.Type) power.Type {
	if t == "" {
		return power.Unknown
	}
	return t
}
