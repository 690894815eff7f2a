package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
)

// A List says which groups of an answer are wanted, and in which order. The zero
// List wants all of them by name.
type List struct {
	By         Key
	Descending bool
	Search     string // a part of the name, in upper or lower case
	Offset     int
	Limit      int // 0 wants all
}

// A Key is what groups are sorted by; equals are sorted by name.
type Key string

const (
	ByName   Key = "name"
	ByEnergy Key = "energy_kwh"
	ByCost   Key = "total_cost" // groups in several currencies have none, and come as if free
	ByCarbon Key = "carbon_kg"
)

// Keep keeps the groups that l wants, in the answer and in each step, and adds
// up all the others, so that groups and others are still the total.
func (a *Answer) Keep(l List) {
	wanted := make([]Group, 0, len(a.Groups))
	for _, g := range a.Groups {
		if strings.Contains(strings.ToLower(g.Name()), strings.ToLower(l.Search)) {
			wanted = append(wanted, g)
		}
	}
	a.Found = len(wanted)
	slices.SortFunc(wanted, func(x, y Group) int {
		c := l.By.compare(x, y)
		if l.Descending {
			c = -c
		}
		return cmp.Or(c, strings.Compare(x.Name(), y.Name()))
	})
	wanted = wanted[min(l.Offset, len(wanted)):]
	if l.Limit > 0 {
		wanted = wanted[:min(l.Limit, len(wanted))]
	}
	rank := map[string]int{}
	for i, g := range wanted {
		rank[g.Name()] = i
	}
	a.Groups, a.Others = keep(a.Groups, rank, a.Total)
	for i, s := range a.Steps {
		a.Steps[i].Groups, a.Steps[i].Others = keep(s.Groups, rank, s.Figure)
	}
}

// keep returns the ranked groups in their order, and all others as one figure of whole.
func keep(groups []Group, rank map[string]int, whole Figure) ([]Group, Figure) {
	kept := make([]Group, 0, len(rank))
	others := Figure{Coverage: whole.Coverage, Unknown: whole.Unknown}
	for _, g := range groups {
		if _, ok := rank[g.Name()]; ok {
			kept = append(kept, g)
		} else {
			others.Add(g.Amount)
			if g.Parts != nil {
				if others.Parts == nil {
					others.Parts = &Parts{}
				}
				others.Parts.Add(*g.Parts)
			}
		}
	}
	slices.SortFunc(kept, func(x, y Group) int { return rank[x.Name()] - rank[y.Name()] })
	return kept, others
}

func (k Key) compare(x, y Group) int {
	money := func(g Group) power.Cost { c, _, _ := g.Money(); return c }
	switch k {
	case ByEnergy:
		return cmp.Compare(x.Energy().Total(), y.Energy().Total())
	case ByCost:
		return cmp.Compare(money(x).Total(), money(y).Total())
	case ByCarbon:
		return cmp.Compare(money(x).CarbonKg, money(y).CarbonKg)
	}
	return strings.Compare(x.Name(), y.Name())
}
