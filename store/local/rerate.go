package local

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// A Tariff says what energy costs at a time in Unix milliseconds. What it says
// holds for the whole minute.
type Tariff interface {
	At(ms int64) *power.Price
}

// A Rerating is what giving rows the prices of a tariff comes to.
type Rerating struct {
	Spaces []RatedSpace // by cluster and namespace
	Rows   int          // rows whose price changed, hourly sums included
	// Kept are hours that stay at their prices although the tariff has others:
	// only their sums are left, and the tariff changes within them or the range
	// holds a part of them.
	Kept []int64 // Unix milliseconds, rising
}

// A RatedSpace is the energy of one namespace and what it cost before and costs
// after, each in one currency.
type RatedSpace struct {
	Cluster, Namespace            string
	CurrencyBefore, CurrencyAfter string
	Energy                        power.Microjoules
	Before, After                 power.Cost
}

// Rerate gives the rows that start in [fromMs, toMs) the prices of a tariff.
// Energy is not touched; followers get the rows again, with a higher revision.
// dry changes nothing and returns the same. tell, if not nil, is called with how
// far it is after each hour. A Rerate that was cut short is done again: what
// has its price already is left alone.
func (s *Store) Rerate(ctx context.Context, fromMs, toMs int64, tariff Tariff, dry bool, tell func(doneMs int64)) (Rerating, error) {
	r := rerating{s: s, tariff: tariff, dry: dry, energy: map[ratedKey]int64{}}
	err := r.run(ctx, span{ceilSeconds(fromMs), ceilSeconds(toMs)}, tell)
	if err == nil && !dry {
		err = s.mend(ctx)
	}
	if err != nil {
		return Rerating{}, fmt.Errorf("rerate: %w", err)
	}
	return r.result(), nil
}

type rerating struct {
	s      *Store
	tariff Tariff
	dry    bool
	energy map[ratedKey]int64
	rows   int
	kept   []int64
}

// ratedKey is what energy is kept apart by until it is priced.
type ratedKey struct {
	cluster, namespace string
	before, after      power.Price
}

func (r *rerating) run(ctx context.Context, sp span, tell func(doneMs int64)) error {
	at := r.s.at()
	sp.from = max(sp.from, at.hoursFrom, format.HourOf(max(min(at.oldest, at.newest), 0)))
	sp.to = min(sp.to, at.newest+1)
	for hour := format.HourOf(sp.from); hour < sp.to; hour += format.HourSeconds {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := span{max(sp.from, hour), min(sp.to, hour+format.HourSeconds)}
		if part.to == at.newest+1 && hour+format.HourSeconds > part.to {
			part.to = hour + format.HourSeconds // nothing starts later, so the hour is whole
		}
		if err := r.hour(ctx, hour, part); err != nil {
			return fmt.Errorf("hour %s: %w", time.Unix(hour, 0).UTC().Format(time.RFC3339), err)
		}
		if tell != nil {
			tell(part.to * 1000)
		}
	}
	return nil
}

// hour rates one hour, from its sums if those tell that there is nothing to do
// or if nothing else is left.
func (r *rerating) hour(ctx context.Context, hour int64, part span) error {
	price := r.steady(hour)
	whole := part.from == hour && part.to == hour+format.HourSeconds
	closed, bare, wrong := false, false, 0
	sum := map[ratedKey]int64{}
	err := r.s.read(ctx, func(sn *snapshot) error {
		closed, bare = hour < sn.sealedBefore, hour < sn.minutesFrom
		if !closed {
			return nil
		}
		return eachSum(ctx, sn, hour, func(_ int64, list []format.Sums) error {
			for i := range list {
				after := sn.prices[list[i].Price]
				if price == nil || after != *price {
					wrong++
				}
				if bare && whole && price != nil {
					after = *price
				}
				if err := add(sum, &sn.dims, &list[i], after); err != nil {
					return err
				}
			}
			return nil
		})
	})
	switch {
	case err != nil:
		return err
	case bare && wrong > 0 && (price == nil || !whole):
		r.kept = append(r.kept, hour*1000)
	case bare && wrong > 0 && r.dry:
		r.rows += wrong
	case bare && wrong > 0:
		err = r.rateSums(ctx, hour, price)
	case !closed || wrong > 0 || !whole && !bare:
		return r.rateRows(ctx, part)
	}
	if err == nil && whole {
		err = r.take(sum) // who knows how much of a part lies in the range
	}
	return err
}

// steady returns the price of a whole hour, nil if there are several.
func (r *rerating) steady(hour int64) *power.Price {
	price := r.tariff.At(hour * 1000)
	for at := hour; at < hour+format.HourSeconds; at += 60 {
		if *r.tariff.At(at * 1000) != *price {
			return nil
		}
	}
	return price
}

// rateRows rates single windows, so many holders at a time that an append does
// not wait for long.
func (r *rerating) rateRows(ctx context.Context, part span) error {
	holders := int32(len(r.s.at().holders))
	for lo := int32(0); lo < holders; lo += sealStep {
		hi := min(lo+sealStep, holders) - 1
		var err error
		if r.dry {
			err = r.s.read(ctx, func(sn *snapshot) error {
				changed, err := r.collect(ctx, sn, &sn.dims, sn.sealedBefore, part, lo, hi)
				r.rows += len(changed)
				return err
			})
		} else {
			err = r.s.write(ctx, func(ctx context.Context) (func(), error) {
				changed, err := r.collect(ctx, r.s.w, &r.s.interns.dims, r.s.at().sealedBefore, part, lo, hi)
				if err != nil || len(changed) == 0 {
					return nil, err
				}
				st := r.s.interns.stage(r.s.w)
				for i := range changed {
					if changed[i].Price, err = st.price(ctx, r.tariff.At(changed[i].Start*1000)); err != nil {
						return nil, err
					}
				}
				r.rows += len(changed)
				return r.s.put(ctx, st, changed, nil, false)
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// collect adds up the rows of holders lo to hi that start in part of an hour,
// and returns those whose price is not the tariff's, at their next revision.
func (r *rerating) collect(ctx context.Context, w querier, d *dims, sealedBefore int64, part span, lo, hi int32) (changed []format.Row, err error) {
	sum := map[ratedKey]int64{}
	one := func(x *format.Row) error {
		if x.Start < part.from || x.Start >= part.to {
			return nil
		}
		after := *r.tariff.At(x.Start * 1000)
		e := x.Sums()
		if err := add(sum, d, &e, after); err != nil {
			return err
		}
		if d.prices[x.Price] != after {
			y := *x
			y.Revision++
			changed = append(changed, y)
		}
		return nil
	}
	hour := format.HourOf(part.from)
	if hour >= sealedBefore {
		err = scanRows(ctx, w, part.from, part.to, lo, hi, one)
	} else {
		var reader format.SealedReader
		err = scanRange(ctx, w, "sealed", format.Key(hour, lo), format.Key(hour, hi)+1, func(key int64, data []byte) error {
			rows, err := reader.Read(key, data)
			for i := range rows {
				if err == nil {
					err = one(&rows[i])
				}
			}
			return err
		})
	}
	if err == nil {
		err = r.take(sum)
	}
	return changed, err
}

// rateSums gives the sums of an hour without single windows one price.
func (r *rerating) rateSums(ctx context.Context, hour int64, price *power.Price) error {
	return r.s.write(ctx, func(ctx context.Context) (func(), error) {
		s := r.s
		st := s.interns.stage(s.w)
		id, err := st.price(ctx, price)
		if err != nil {
			return nil, err
		}
		rated := map[int64][]format.Sums{}
		changed := 0
		err = eachSum(ctx, s.w, hour, func(key int64, list []format.Sums) error {
			var all []format.Sums
			for _, e := range list {
				if e.Price != id {
					e.Price = id
					e.Revision++
					changed++
				}
				all = format.Accumulate(all, 0, e)
			}
			rated[key] = all
			return nil
		})
		if err != nil || changed == 0 {
			return nil, err
		}
		for key, all := range rated {
			if _, err := s.w.ExecContext(ctx, "INSERT OR REPLACE INTO hours VALUES (?, ?)", key, format.AppendSums(nil, key, all)); err != nil {
				return nil, err
			}
		}
		if len(s.cfg.Followers) > 0 {
			if err := s.postHour(ctx, hour); err != nil {
				return nil, err
			}
		}
		stale := span{hour, hour + format.HourSeconds}
		if _, err := s.w.ExecContext(ctx, "INSERT INTO stale_hours (from_s, to_s) VALUES (?, ?)", stale.from, stale.to); err != nil {
			return nil, err
		}
		r.rows += changed
		s.next.dims, s.next.stale = st.extended(), append(slices.Clip(s.next.stale), stale)
		return func() { st.apply(s.next.dims) }, nil
	})
}

// eachSum calls f with the sums by holder of one closed hour, chunk by chunk.
func eachSum(ctx context.Context, w querier, hour int64, f func(key int64, list []format.Sums) error) error {
	var reader format.SumsReader
	return scanRange(ctx, w, "hours", format.Key(hour, 0), format.Key(hour+1, 0), func(key int64, data []byte) error {
		list, err := reader.Read(key, data)
		if err != nil {
			return err
		}
		return f(key, list)
	})
}

// add adds an entry to what is kept apart by namespace and prices.
func add(to map[ratedKey]int64, d *dims, e *format.Sums, after power.Price) error {
	h := d.holder(e.ID)
	if h == nil {
		return nil
	}
	k := ratedKey{h.Cluster, value(h.Holder, store.Namespace), d.prices[e.Price], after}
	sum := to[k]
	for _, part := range e.Energy {
		if !power.AddChecked(&sum, part) {
			return fmt.Errorf("namespace %s: %w", k.namespace, errOverflow)
		}
	}
	to[k] = sum
	return nil
}

func (r *rerating) take(part map[ratedKey]int64) error {
	for k, e := range part {
		sum := r.energy[k]
		if !power.AddChecked(&sum, e) {
			return fmt.Errorf("namespace %s: %w", k.namespace, errOverflow)
		}
		r.energy[k] = sum
	}
	return nil
}

// result prices what was added up: energy in integers first, money once.
func (r *rerating) result() Rerating {
	type spaceKey struct{ cluster, namespace, before, after string }
	spaces := map[spaceKey]*RatedSpace{}
	for _, k := range slices.SortedFunc(maps.Keys(r.energy), compareRated) {
		e := power.Microjoules(r.energy[k])
		at := spaceKey{k.cluster, k.namespace, k.before.Currency, k.after.Currency}
		if spaces[at] == nil {
			spaces[at] = &RatedSpace{Cluster: k.cluster, Namespace: k.namespace, CurrencyBefore: k.before.Currency, CurrencyAfter: k.after.Currency}
		}
		x := spaces[at]
		x.Energy += e
		x.Before.Add(k.before.Cost(e))
		x.After.Add(k.after.Cost(e))
	}
	out := Rerating{Rows: r.rows, Kept: r.kept}
	for _, x := range spaces {
		out.Spaces = append(out.Spaces, *x)
	}
	slices.SortFunc(out.Spaces, func(a, b RatedSpace) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.CurrencyBefore, b.CurrencyBefore), cmp.Compare(a.CurrencyAfter, b.CurrencyAfter))
	})
	return out
}

// compareRated makes the order of floating-point sums, and so their last digits,
// the same every time.
func compareRated(a, b ratedKey) int {
	return cmp.Or(cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.namespace, b.namespace),
		comparePrice(a.before, b.before), comparePrice(a.after, b.after))
}

func comparePrice(a, b power.Price) int {
	return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.Currency, b.Currency), cmp.Compare(a.ElectricityPerKWh, b.ElectricityPerKWh),
		cmp.Compare(a.Overhead, b.Overhead), cmp.Compare(a.CarbonFactor, b.CarbonFactor), cmp.Compare(a.CarbonKgPerKWh, b.CarbonKgPerKWh),
		cmp.Compare(a.CarbonPerKg, b.CarbonPerKg))
}
