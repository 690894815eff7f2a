package report

import "github.com/wattledger/wattledger/power"

// An Amount is energy kept apart by price. It is summed in whole microjoules and
// priced at the end, so the order and the cut of its parts change nothing.
type Amount struct {
	parts  []part
	idle   power.Microjoules
	lastMs int64 // newest sample
}

// LastMs is when the newest sample of it was taken, Unix milliseconds; 0 for none.
func (a Amount) LastMs() int64 { return a.lastMs }

type part struct {
	price  power.Price
	energy power.Energy
}

func (a *Amount) add(p power.Price, e power.Energy, idle power.Microjoules) {
	a.idle += idle
	for i := range a.parts {
		if a.parts[i].price == p {
			a.parts[i].energy.Add(e)
			return
		}
	}
	a.parts = append(a.parts, part{p, e})
}

// Add adds b to a.
func (a *Amount) Add(b Amount) {
	for _, p := range b.parts {
		a.add(p.price, p.energy, 0)
	}
	a.idle += b.idle
	a.lastMs = max(a.lastMs, b.lastMs)
}

// Energy returns the energy by component.
func (a Amount) Energy() power.Energy {
	var e power.Energy
	for _, p := range a.parts {
		e.Add(p.energy)
	}
	return e
}

// Idle returns the part of the energy that is idle energy.
func (a Amount) Idle() power.Microjoules { return a.idle }

// Of returns what one component used; whether it was idle is not known.
func (a Amount) Of(c power.Component) Amount {
	var b Amount
	for _, p := range a.parts {
		var e power.Energy
		e[c] = p.energy[c]
		b.add(p.price, e, 0)
	}
	return b
}

// Money prices the amount. It reports false where it cannot: without a price,
// or with prices in several currencies. The currency is empty where nothing was
// used that would have one.
func (a Amount) Money() (c power.Cost, currency string, ok bool) {
	for _, p := range a.parts {
		currency = a.parts[0].price.Currency
		if p.price.Model == "" || p.price.Currency != currency {
			return power.Cost{}, "", false
		}
		c.Add(p.price.Cost(p.energy.Total()))
	}
	return c, currency, true
}

// A Figure is one cell of an answer.
type Figure struct {
	Amount
	Parts *Parts // of the amount; nil where nothing is shared
	// Coverage is the share of the time asked for in which the nodes were seen.
	Coverage float64
	// Unknown says that no node was seen, so that not even 0 is known.
	Unknown bool
}

// Less returns what is left of a without b, which is a part of it.
func (a Amount) Less(b Amount) Amount {
	var rest Amount
	rest.Add(a)
	for _, p := range b.parts {
		var e power.Energy
		for c := range e {
			e[c] = -p.energy[c]
		}
		rest.add(p.price, e, 0)
	}
	rest.idle -= b.idle
	return rest
}
