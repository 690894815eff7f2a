// Package tariff says what energy costs over time.
package tariff

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	_ "time/tzdata" // container images without zone files price by the right clock too

	"github.com/wattledger/wattledger/power"
)

// A Tariff is what energy costs over time. Prices are interned: the same price
// is the same pointer, for as long as the Tariff lives. It is safe for
// concurrent use.
//
// Edges of bands fall on whole minutes of local time, and offsets of time zones
// have been whole minutes since 1972, so one price holds for each minute.
type Tariff struct {
	config Config
	zone   *time.Location
	flat   *power.Price
	bands  []band

	newest atomic.Pointer[pricedDay] // the day asked for last: nearly every question is about it
	mu     sync.Mutex
	days   map[int64]*pricedDay // guarded by mu
}

const (
	minuteMs      = 60_000
	minutesPerDay = 24 * 60
	// maxDays bounds the days kept to some 6 MB. More are asked for only when
	// years are priced again, and then in order.
	maxDays = 512
)

// A pricedDay holds the price of every minute of a day of Unix time.
type pricedDay struct {
	day    int64 // days since 1970
	prices [minutesPerDay]*power.Price
}

// A band is a Band, compiled.
type band struct {
	from, to    int     // minutes of the day; to may be at or below from, past midnight
	days        [7]bool // by time.Weekday
	first, last int     // dates as yyyymmdd, or mmdd for every year; 0 for none
	price       *power.Price
}

// New compiles a configuration.
func New(c Config) (*Tariff, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil || c.TimeZone == "Local" {
		return nil, fmt.Errorf("time_zone %q: not an IANA time zone", c.TimeZone)
	}
	t := &Tariff{config: c, zone: zone, days: map[int64]*pricedDay{}}
	interned := map[power.Price]*power.Price{}
	intern := func(rate, kgPerKWh float64) *power.Price {
		p := c.price(rate, kgPerKWh)
		if interned[p] == nil {
			interned[p] = &p
		}
		return interned[p]
	}
	t.flat = intern(c.ElectricityPerKWh, c.CarbonKgPerKWh)
	for i, b := range c.Bands {
		compiled, err := b.compile()
		if err != nil {
			name := b.Name
			if name == "" {
				name = strconv.Itoa(i + 1)
			}
			return nil, fmt.Errorf("band %s: %w", name, err)
		}
		rate, kg := c.ElectricityPerKWh, c.CarbonKgPerKWh
		if b.ElectricityPerKWh != nil {
			rate = *b.ElectricityPerKWh
		}
		if b.CarbonKgPerKWh != nil {
			kg = *b.CarbonKgPerKWh
		}
		compiled.price = intern(rate, kg)
		t.bands = append(t.bands, compiled)
	}
	return t, nil
}

func (c Config) price(rate, kgPerKWh float64) power.Price {
	p := power.Price{Model: c.Model, Currency: c.Currency, ElectricityPerKWh: rate, CarbonPerKg: c.CarbonRate}
	if c.Model == PhysicalModel {
		p.Overhead, p.CarbonFactor, p.CarbonKgPerKWh = c.PUE-1, c.PUE, kgPerKWh
	} else {
		p.Overhead, p.CarbonFactor, p.CarbonKgPerKWh = c.CoolingFactor, 1, 1
	}
	return p
}

// Config returns the configuration the tariff was made from.
func (t *Tariff) Config() Config { return t.config }

// Flat returns the price outside all bands.
func (t *Tariff) Flat() *power.Price { return t.flat }

// At returns the price at a time in Unix milliseconds. It holds for the whole
// minute of Unix time that ms lies in.
func (t *Tariff) At(ms int64) *power.Price {
	if len(t.bands) == 0 {
		return t.flat
	}
	minute := floorDiv(ms, minuteMs)
	day := floorDiv(minute, minutesPerDay)
	of := int(minute - day*minutesPerDay)
	if d := t.newest.Load(); d != nil && d.day == day {
		return d.prices[of]
	}
	return t.priced(day).prices[of]
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (t *Tariff) priced(day int64) *pricedDay {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.days[day]
	if d == nil {
		d = &pricedDay{day: day}
		for m := range d.prices {
			d.prices[m] = t.priceAt(time.Unix((day*minutesPerDay+int64(m))*60, 0).In(t.zone))
		}
		if len(t.days) >= maxDays {
			clear(t.days)
		}
		t.days[day] = d
	}
	t.newest.Store(d)
	return d
}

func (t *Tariff) priceAt(local time.Time) *power.Price {
	for i := range t.bands {
		if t.bands[i].holds(local) {
			return t.bands[i].price
		}
	}
	return t.flat
}

// holds says whether a minute lies in the band. A band that crosses midnight
// belongs to the day on which it began.
func (b *band) holds(local time.Time) bool {
	minute := local.Hour()*60 + local.Minute()
	began := local
	if b.from < b.to {
		if minute < b.from || minute >= b.to {
			return false
		}
	} else if minute < b.to {
		// Noon, because a day may lack its first hour.
		y, m, d := local.Date()
		began = time.Date(y, m, d-1, 12, 0, 0, 0, local.Location())
	} else if minute < b.from {
		return false
	}
	if !b.days[began.Weekday()] {
		return false
	}
	if b.first == 0 {
		return true
	}
	y, m, d := began.Date()
	date := int(m)*100 + d
	if b.first > 1231 {
		date += y * 10_000
	}
	if b.first <= b.last {
		return date >= b.first && date <= b.last
	}
	return date >= b.first || date <= b.last // over the turn of the year
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (b Band) compile() (band, error) {
	var c band
	var err error
	if b.From == "" && b.To == "" {
		c.to = minutesPerDay
	} else {
		if c.from, err = minuteOfDay(b.From); err != nil {
			return c, fmt.Errorf("from %w", err)
		}
		if c.to, err = minuteOfDay(b.To); err != nil {
			return c, fmt.Errorf("to %w", err)
		}
		if c.from == minutesPerDay {
			return c, errors.New("from 24:00: the day ends there")
		}
		if c.from == c.to {
			return c, fmt.Errorf("from %s to %s is no time at all; leave both out for the whole day", b.From, b.To)
		}
	}
	for _, name := range b.Days {
		i := slices.Index(weekdays, strings.ToLower(name))
		if i < 0 {
			return c, fmt.Errorf("days %q: allowed are mon, tue, wed, thu, fri, sat, sun", name)
		}
		c.days[i] = true
	}
	if len(b.Days) == 0 {
		c.days = [7]bool{true, true, true, true, true, true, true}
	}
	if (b.FromDate == "") != (b.UntilDate == "") {
		return c, errors.New("from_date and until_date go together")
	}
	if b.FromDate != "" {
		if len(b.FromDate) != len(b.UntilDate) {
			return c, errors.New("from_date and until_date must have the same form")
		}
		if c.first, err = date(b.FromDate); err != nil {
			return c, fmt.Errorf("from_date %w", err)
		}
		if c.last, err = date(b.UntilDate); err != nil {
			return c, fmt.Errorf("until_date %w", err)
		}
		if c.first > 1231 && c.last < c.first {
			return c, fmt.Errorf("until_date %s lies before from_date %s", b.UntilDate, b.FromDate)
		}
	}
	if b.ElectricityPerKWh == nil && b.CarbonKgPerKWh == nil {
		return c, errors.New("has no electricity_rate and no carbon_intensity_kg_kwh, so it changes nothing")
	}
	for _, v := range []*float64{b.ElectricityPerKWh, b.CarbonKgPerKWh} {
		if v != nil && !(*v >= 0 && *v < 1e12) {
			return c, fmt.Errorf("%v: must be a number, 0 or above", *v)
		}
	}
	return c, nil
}

// minuteOfDay reads "22:00", up to "24:00".
func minuteOfDay(s string) (int, error) {
	if s == "24:00" {
		return minutesPerDay, nil
	}
	at, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, fmt.Errorf("%q: want a time of day such as 22:00", s)
	}
	return at.Hour()*60 + at.Minute(), nil
}

// date reads "2026-06-01" as 20260601 and "06-01" as 601.
func date(s string) (int, error) {
	if len(s) == len("01-02") {
		// 2024 has every date there is.
		d, err := time.Parse(time.DateOnly, "2024-"+s)
		if err != nil {
			return 0, fmt.Errorf("%q: want a date such as 2026-06-01, or 06-01 for every year", s)
		}
		return int(d.Month())*100 + d.Day(), nil
	}
	d, err := time.Parse(time.DateOnly, s)
	if err != nil || d.Year() < 1 {
		return 0, fmt.Errorf("%q: want a date such as 2026-06-01, or 06-01 for every year", s)
	}
	return d.Year()*10_000 + int(d.Month())*100 + d.Day(), nil
}

// Aligned reports whether every edge of the tariff lies on an edge of windows of
// the given length.
func (t *Tariff) Aligned(window time.Duration) error {
	minutes := int(window / time.Minute)
	if len(t.bands) == 0 || minutes <= 1 {
		return nil
	}
	for i, b := range t.bands {
		if b.from%minutes != 0 || b.to%minutes != 0 {
			return fmt.Errorf("band %d begins or ends inside a window of %v", i+1, window)
		}
	}
	for month := range 12 * 20 {
		_, offset := time.Date(2020, time.Month(1+month), 1, 0, 0, 0, 0, time.UTC).In(t.zone).Zone()
		if offset/60%minutes != 0 {
			return fmt.Errorf("time_zone %s is not whole windows of %v away from UTC", t.zone, window)
		}
	}
	return nil
}
