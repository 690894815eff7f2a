package influx

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// spaceMeasurement, in the hourly bucket, has what each namespace used with each
// type of workload in an hour, a point for each price. InfluxDB reads a few
// points in the time it takes to find many series, so sums of long ranges are
// made from these.
const spaceMeasurement = "namespaces"

// spaces are its dimensions; its series have a price beside them.
var spaces = []store.Dimension{store.Cluster, store.Namespace, store.WorkloadType}

// writeSpaces writes the sums of the hours of d. Each is the whole sum: what
// InfluxDB has of one of these hours and d does not becomes 0.
func (f *Follower) writeSpaces(ctx context.Context, d store.Delivery) error {
	type reference struct {
		startMs int64
		price   int64
	}
	hours := hoursOf(d)
	if len(hours) == 0 {
		return nil
	}
	written := map[string]bool{}
	told := map[reference]bool{}
	for i := range d.Spaces {
		r := &d.Spaces[i]
		if _, ok := slices.BinarySearch(hours, r.StartMs); !ok {
			continue
		}
		ref := reference{r.StartMs, f.lines.price(r.Price)}
		if !told[ref] {
			told[ref] = true
			f.batch.add(priceLine(f.batch.buf, ref.price, r.Price, r.StartMs))
		}
		holders := r.Holders
		if i > 0 && d.Spaces[i-1].StartMs == r.StartMs && slices.Equal(d.Spaces[i-1].Group, r.Group) {
			holders = 0 // counted at the price before
		}
		prefix := spacePrefix(r.Group, ref.price)
		written[prefix+strconv.FormatInt(r.StartMs, 10)] = true
		f.batch.add(spaceLine(f.batch.buf, prefix, r, holders))
		if err := f.flushFull(ctx, d); err != nil {
			return err
		}
	}
	from, to := hours[0], hours[len(hours)-1]+hourMs
	_, err := f.ask(ctx, f.cfg.hourly(), `SELECT "held_ms" FROM "`+spaceMeasurement+`" WHERE `+timeRange(from, to)+` GROUP BY *`, func(s series) error {
		price, err := strconv.ParseInt(s.Tags["price"], 10, 64)
		if err != nil {
			return fmt.Errorf("price of %s: %w", spaceMeasurement, err)
		}
		group := make([]string, len(spaces))
		for i, dim := range spaces {
			group[i] = tagName(s.Tags[string(dim)])
		}
		prefix := spacePrefix(group, price)
		for _, v := range s.Values {
			at, err := integer(v[0])
			if err != nil {
				return err
			}
			held, err := integer(v[1])
			if err != nil {
				return err
			}
			_, ours := slices.BinarySearch(hours, at)
			if ours && held != 0 && !written[prefix+strconv.FormatInt(at, 10)] {
				f.batch.add(spaceLine(f.batch.buf, prefix, &store.Row{StartMs: at}, 0))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return f.flush(ctx, f.cfg.hourly(), f.hours, d)
}

// hoursOf returns the starts of the hours that a delivery is about, sorted.
func hoursOf(d store.Delivery) []int64 {
	var hours []int64
	for i := range d.Hours {
		if n := len(hours); n == 0 || hours[n-1] != d.Hours[i].StartMs {
			hours = append(hours, d.Hours[i].StartMs)
		}
	}
	slices.Sort(hours)
	return slices.Compact(hours)
}

func spacePrefix(group []string, price int64) string {
	b := []byte(spaceMeasurement)
	tag := func(name, value string) {
		if value != "" {
			b = append(b, name...)
			b = appendTag(b, tagValue(value))
		}
	}
	tag(",cluster=", group[0])
	tag(",namespace=", group[1])
	tag(",price=", strconv.FormatInt(price, 10))
	tag(",workload_type=", group[2])
	return string(append(b, ' '))
}

func spaceLine(b []byte, prefix string, r *store.Row, holders int) []byte {
	total := r.Energy.Total()
	b = append(b, prefix...)
	b = appendInt(b, "energy_uj=", int64(total))
	b = appendInt(b, "i,cpu_uj=", int64(r.Energy[power.CPU]))
	b = appendInt(b, "i,dram_uj=", int64(r.Energy[power.DRAM]))
	b = appendInt(b, "i,gpu_uj=", int64(r.Energy[power.GPU]))
	b = appendInt(b, "i,other_uj=", int64(r.Energy[power.Other]))
	b = appendInt(b, "i,idle_uj=", int64(r.Idle))
	b = appendInt(b, "i,cost_nano=", nano(r.Price.Cost(total).Total()))
	b = appendInt(b, "i,seen_ms=", r.SeenMs)
	b = appendInt(b, "i,held_ms=", r.HeldMs)
	b = appendInt(b, "i,last_ms=", r.LastMs)
	b = appendInt(b, "i,holders=", int64(holders))
	b = append(b, "i "...)
	b = strconv.AppendInt(b, r.StartMs, 10)
	return append(b, '\n')
}

// readSpaces adds what the sums of whole hours have of [fromMs, toMs). Raw
// points are asked for and added up here: InfluxDB takes ten times as long to
// add up the points of each hour as to send them.
func (s *sum) readSpaces(ctx context.Context, fromMs, toMs int64) error {
	prices, err := s.q.prices(ctx, s.q.cfg.hourly(), fromMs, toMs)
	if err != nil {
		return err
	}
	hourly := map[place]int{} // holders in each hour
	statement := `SELECT "cpu_uj", "dram_uj", "gpu_uj", "other_uj", "idle_uj", "seen_ms", "held_ms", "last_ms", "holders" FROM "` +
		spaceMeasurement + `" WHERE ` + timeRange(fromMs, toMs) + s.where + ` GROUP BY "cluster", "namespace", "workload_type", "price"`
	err = s.q.influxql.query(ctx, s.q.cfg.hourly(), statement, s.params, func(part series) error {
		id, err := strconv.ParseInt(part.Tags["price"], 10, 64)
		if err != nil {
			return fmt.Errorf("price of %s: %w", spaceMeasurement, err)
		}
		group, name := s.groupOf(part)
		for _, v := range part.Values {
			var n [10]int64
			for i := range n {
				if n[i], err = integer(v[i]); err != nil {
					return err
				}
			}
			if n[7] == 0 {
				continue // all that was here has moved or has another price
			}
			price, ok := prices[id]
			if !ok {
				return fmt.Errorf("InfluxDB does not have price %d, which it has rows of", id)
			}
			if err := s.add(place{s.stepOf(n[0]), name, price}, group, &n); err != nil {
				return err
			}
			hourly[place{startMs: n[0], group: name}] += int(n[9])
		}
		return nil
	})
	for at, n := range hourly {
		at.startMs = s.stepOf(at.startMs)
		s.holders[at] = max(s.holders[at], n)
	}
	return err
}
