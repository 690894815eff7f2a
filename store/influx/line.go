package influx

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Measurements. Both buckets have them.
const (
	energyMeasurement = "energy" // a row per node, workload, type and start
	priceMeasurement  = "prices" // which prices rows that start then refer to
	closedMeasurement = "closed" // the hours that are complete; hourly bucket only
)

// maxCachedTags bounds the memory that escaped tags are kept in.
const maxCachedTags = 200_000

// A tagKey is what a point's tags are made of.
type tagKey struct {
	node     string
	workload power.Workload
	typ      power.Type
}

// An encoder turns rows into line protocol. It is not safe for concurrent use.
type encoder struct {
	tags   map[tagKey]string // measurement and escaped tags, as a line begins
	last   tagKey            // most rows are of the workload before, on another node or later
	prefix string            // of last
	prices map[power.Price]int64
}

func newEncoder() *encoder {
	return &encoder{tags: map[tagKey]string{}, prices: map[power.Price]int64{}}
}

// row appends the line of a row, times in milliseconds.
//
// Every field is written every time: InfluxDB overwrites field by field, and a
// field left out would keep what an earlier version of the row had.
func (e *encoder) row(b []byte, r *store.WindowRow) []byte {
	key := tagKey{r.Node, r.Workload, r.Type}
	if key != e.last || e.prefix == "" {
		prefix, ok := e.tags[key]
		if !ok {
			if len(e.tags) >= maxCachedTags {
				clear(e.tags)
			}
			prefix = linePrefix(key)
			e.tags[key] = prefix
		}
		e.last, e.prefix = key, prefix
	}
	total := r.Energy.Total()
	b = append(b, e.prefix...)
	b = appendInt(b, "energy_uj=", int64(total))
	b = appendInt(b, "i,cpu_uj=", int64(r.Energy[power.CPU]))
	b = appendInt(b, "i,dram_uj=", int64(r.Energy[power.DRAM]))
	b = appendInt(b, "i,gpu_uj=", int64(r.Energy[power.GPU]))
	b = appendInt(b, "i,other_uj=", int64(r.Energy[power.Other]))
	b = appendInt(b, "i,idle_uj=", int64(r.Idle))
	b = appendInt(b, "i,cost_nano=", nano(r.Cost.Total()))
	b = appendInt(b, "i,seen_ms=", r.SeenMs)
	b = appendInt(b, "i,held_ms=", r.HeldMs)
	b = appendInt(b, "i,last_ms=", r.LastMs)
	b = appendInt(b, "i,containers=", int64(r.Containers))
	b = appendInt(b, "i,revision=", int64(r.Revision))
	b = appendInt(b, "i,seconds=", int64(r.Seconds))
	if r.Containers == 0 || mixed(r, total) {
		b = append(b, "i,price=0i,electricity="...)
		b = strconv.AppendFloat(b, r.Cost.Electricity, 'g', -1, 64)
		b = append(b, ",cooling="...)
		b = strconv.AppendFloat(b, r.Cost.Cooling, 'g', -1, 64)
		b = append(b, ",carbon="...)
		b = strconv.AppendFloat(b, r.Cost.Carbon, 'g', -1, 64)
		b = append(b, ",carbon_kg="...)
		b = strconv.AppendFloat(b, r.Cost.CarbonKg, 'g', -1, 64)
	} else {
		b = appendInt(b, "i,price=", e.price(r.Price))
		b = append(b, 'i')
	}
	watts := 0.0
	if r.Seconds > 0 {
		watts = total.Joules() / float64(r.Seconds)
	}
	b = append(b, ",watts="...)
	b = strconv.AppendFloat(b, watts, 'g', -1, 64)
	b = append(b, ' ')
	b = strconv.AppendInt(b, r.StartMs, 10)
	return append(b, '\n')
}

func appendInt(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(append(b, name...), v, 10)
}

// mixed reports whether a row's cost is not its energy at its price: it was
// used at several.
func mixed(r *store.WindowRow, total power.Microjoules) bool {
	c := r.Price.Cost(total)
	return apart(c.Electricity, r.Cost.Electricity) || apart(c.Cooling, r.Cost.Cooling) ||
		apart(c.Carbon, r.Cost.Carbon) || apart(c.CarbonKg, r.Cost.CarbonKg)
}

func apart(a, b float64) bool { return math.Abs(a-b) > 1e-12*math.Max(math.Abs(a), math.Abs(b)) }

// nano returns an amount of money in nano-units.
func nano(v float64) int64 {
	v = math.Round(v * 1e9)
	if v >= math.MaxInt64 {
		return math.MaxInt64
	}
	if v <= math.MinInt64 {
		return math.MinInt64
	}
	return int64(v)
}

// price returns the number that stands for a price: the same in every process.
func (e *encoder) price(p power.Price) int64 {
	id, ok := e.prices[p]
	if !ok {
		if len(e.prices) >= 1000 {
			clear(e.prices)
		}
		id = priceID(p)
		e.prices[p] = id
	}
	return id
}

func priceID(p power.Price) int64 {
	h := fnv.New64a()
	for _, s := range []string{p.Model, p.Currency} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	for _, f := range []float64{p.ElectricityPerKWh, p.Overhead, p.CarbonFactor, p.CarbonKgPerKWh, p.CarbonPerKg} {
		h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(f)))
	}
	id := int64(h.Sum64() >> 1)
	if id == 0 {
		id = 1 // 0 stands for several
	}
	return id
}

// priceLine appends the line that says what a price is and that rows which
// start at startMs refer to it.
func priceLine(b []byte, id int64, p power.Price, startMs int64) []byte {
	b = append(b, priceMeasurement+",price="...)
	b = strconv.AppendInt(b, id, 10)
	b = append(b, " model="...)
	b = appendText(b, p.Model)
	b = append(b, ",currency="...)
	b = appendText(b, p.Currency)
	for _, f := range []struct {
		name  string
		value float64
	}{
		{",electricity_per_kwh=", p.ElectricityPerKWh}, {",overhead=", p.Overhead}, {",carbon_factor=", p.CarbonFactor},
		{",carbon_kg_per_kwh=", p.CarbonKgPerKWh}, {",carbon_per_kg=", p.CarbonPerKg},
	} {
		b = append(b, f.name...)
		b = strconv.AppendFloat(b, f.value, 'g', -1, 64)
	}
	b = append(b, ' ')
	b = strconv.AppendInt(b, startMs, 10)
	return append(b, '\n')
}

// closedLine appends the line that says that an hour's rows are all there.
func closedLine(b []byte, startMs int64) []byte {
	b = append(b, closedMeasurement+" seconds=3600i "...)
	b = strconv.AppendInt(b, startMs, 10)
	return append(b, '\n')
}

// linePrefix returns a line up to its first field. Tags are in the order of
// their names, as InfluxDB keeps them, and empty ones are left out: it has none.
func linePrefix(k tagKey) string {
	b := []byte(energyMeasurement)
	for _, t := range []struct{ name, value string }{
		{",cluster=", k.workload.Cluster}, {",namespace=", k.workload.Namespace}, {",node=", k.node},
		{",workload=", k.workload.Name}, {",workload_kind=", k.workload.Kind}, {",workload_type=", string(k.typ)},
	} {
		if t.value != "" {
			b = append(b, t.name...)
			b = appendTag(b, tagValue(t.value))
		}
	}
	return string(append(b, ' '))
}

func appendTag(b []byte, v string) []byte {
	for i := range len(v) {
		switch v[i] {
		case ',', ' ', '=':
			b = append(b, '\\')
		}
		b = append(b, v[i])
	}
	return b
}

func appendText(b []byte, v string) []byte {
	b = append(b, '"')
	for i := range len(v) {
		switch v[i] {
		case '"', '\\':
			b = append(b, '\\')
		}
		b = append(b, v[i])
	}
	return append(b, '"')
}

// mark stands before what line protocol cannot hold in a tag: a backslash at
// the end or before a character that would then count as escaped, and ends of
// lines. It is visible, and nothing else looks like it.
const mark = "␛"

// tagValue returns the value a tag has for a name; tagName is its inverse.
func tagValue(name string) string {
	if !strings.ContainsAny(name, "\\\n\r"+mark) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case strings.HasPrefix(name[i:], mark):
			b.WriteString(mark + mark)
			i += len(mark) - 1
		case c == '\n':
			b.WriteString(mark + "n")
		case c == '\r':
			b.WriteString(mark + "r")
		case c == '\\' && (i+1 == len(name) || strings.IndexByte(",= \\\"\n\r", name[i+1]) >= 0 || strings.HasPrefix(name[i+1:], mark)):
			b.WriteString(mark + "/")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

var tagNames = strings.NewReplacer(mark+mark, mark, mark+"n", "\n", mark+"r", "\r", mark+"/", "\\")

// tagName returns the name a tag's value stands for.
func tagName(value string) string {
	if !strings.Contains(value, mark) {
		return value
	}
	return tagNames.Replace(value)
}
