// Package period reads times as people write them, and knows the days and
// months of a time zone, those of 23 and 25 hours included.
package period

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // container images without zone files know the days of other zones too

	"github.com/wattledger/wattledger/internal/suggest"
)

// Forms are the ways to write a time.
var Forms = []string{
	"2026-01-02T15:04:05Z", "2026-01-02T15:04:05+09:00", "2026-01-02T15:04", "2026-01-02",
	"Unix seconds or milliseconds", "now", "now-24h", "-7d",
	"today", "yesterday", "week", "lastweek", "month", "lastmonth",
}

// Times outside these would not survive being written as RFC 3339.
const (
	minTimeMs  = 0
	maxTimeMs  = 253402300799_999
	maxTimeSec = maxTimeMs / 1000
)

// A Clock tells what times people write mean at a moment, in a zone.
type Clock struct {
	Now  time.Time
	Zone *time.Location
}

// A Span is what was meant: a word stands for a stretch, everything else for a
// moment, of which From and To are the same.
type Span struct {
	From, To time.Time
	// before is the start of the stretch before, of a word that names one.
	before time.Time
}

// Before returns the stretch before a range that begins with s. Before a whole
// day, week or month lies the whole one before; before a part of one, as long a
// part; and before any other range one of the same length.
func (s Span) Before(from, to time.Time) (time.Time, time.Time) {
	switch {
	case s.before.IsZero():
		return from.Add(from.Sub(to)), from
	case to.Equal(s.To):
		return s.before, from
	}
	end := s.before.Add(to.Sub(from))
	if end.After(from) { // a longer month than the one before
		end = from
	}
	return s.before, end
}

// Parse reads a time in one of the Forms, or says which there are and what may
// have been meant. Times are kept to the millisecond, as samples are.
func (c Clock) Parse(s string) (Span, error) {
	if span, ok := c.word(s); ok {
		return span, nil
	}
	ms, ok := c.moment(s)
	if !ok || ms < minTimeMs || ms > maxTimeMs {
		return Span{}, c.unreadable(s)
	}
	t := time.UnixMilli(ms).UTC()
	return Span{From: t, To: t}, nil
}

func (c Clock) unreadable(s string) error {
	text := "is not a time: write " + strings.Join(Forms[:len(Forms)-1], ", ") + " or " + Forms[len(Forms)-1]
	if guess := c.guess(s); guess != "" {
		text += fmt.Sprintf("; did you mean %q?", guess)
	}
	return fmt.Errorf("%s", text)
}

var words = []string{"now", "today", "yesterday", "week", "lastweek", "month", "lastmonth"}

// guess returns what may have been meant by what is no time.
func (c Clock) guess(s string) string {
	if _, err := ParseDuration(strings.TrimLeft(s, "+- ")); err == nil {
		return "-" + strings.TrimLeft(s, "+- ")
	}
	for _, layout := range []string{"2006-1-2", "2006/1/2", "2006.1.2", "20060102", "2006_1_2"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format(time.DateOnly)
		}
	}
	return suggest.Nearest(strings.NewReplacer(" ", "", "-", "", "_", "", "this", "").Replace(strings.ToLower(s)), words)
}

// word reads a word. A week begins on Monday.
func (c Clock) word(s string) (Span, bool) {
	now := c.Now.In(c.Zone)
	y, m, d := now.Date()
	monday := d - (int(now.Weekday())+6)%7
	span := func(before, from, to time.Time) (Span, bool) { return Span{from.UTC(), to.UTC(), before.UTC()}, true }
	switch strings.ToLower(s) {
	case "today":
		return span(c.day(y, m, d-1), c.day(y, m, d), c.day(y, m, d+1))
	case "yesterday":
		return span(c.day(y, m, d-2), c.day(y, m, d-1), c.day(y, m, d))
	case "week":
		return span(c.day(y, m, monday-7), c.day(y, m, monday), c.day(y, m, monday+7))
	case "lastweek":
		return span(c.day(y, m, monday-14), c.day(y, m, monday-7), c.day(y, m, monday))
	case "month":
		return span(c.day(y, m-1, 1), c.day(y, m, 1), c.day(y, m+1, 1))
	case "lastmonth":
		return span(c.day(y, m-2, 1), c.day(y, m-1, 1), c.day(y, m, 1))
	}
	return Span{}, false
}

// moment reads all that is no word, as Unix milliseconds.
func (c Clock) moment(s string) (ms int64, ok bool) {
	if s == "now" {
		return c.Now.UnixMilli(), true
	}
	if back, ok := strings.CutPrefix(strings.TrimPrefix(s, "now"), "-"); ok {
		d, err := ParseDuration(back)
		return c.Now.UnixMilli() - d.Milliseconds(), err == nil
	}
	s = strings.ToUpper(s) // RFC 3339 allows t and z
	if t, err := time.ParseInLocation(time.DateOnly, s, time.UTC); err == nil {
		return c.day(t.Date()).UnixMilli(), true
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, c.Zone); err == nil {
			return t.UnixMilli(), true
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00"} {
		// A + that was not escaped arrives as a blank.
		for _, s := range []string{s, blankToPlus(s)} {
			if t, err := time.Parse(layout, s); err == nil {
				return t.UnixMilli(), true
			}
		}
	}
	return unix(s)
}

// blankToPlus puts a plus where a blank stands in front of an offset.
func blankToPlus(s string) string {
	if i := len(s) - len(" 09:00"); i > 0 && s[i] == ' ' {
		return s[:i] + "+" + s[i+1:]
	}
	return s
}

// unix reads seconds, with a fraction if need be, or milliseconds where seconds
// would lie beyond the year 9999.
func unix(s string) (ms int64, ok bool) {
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, false // ParseFloat also takes hexadecimal, exponents, underscores and Inf
	}
	n, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || n > maxTimeMs:
		return 0, false
	case n > maxTimeSec:
		return int64(n), true
	}
	return int64(math.Round(n * 1000)), true
}

// day returns the first moment of a day, which is not always midnight: a clock
// may be put forward or back there.
func (c Clock) day(y int, m time.Month, d int) time.Time {
	want := time.Date(y, m, d, 12, 0, 0, 0, c.Zone)
	t := time.Date(want.Year(), want.Month(), want.Day(), 0, 0, 0, 0, c.Zone)
	if t.Day() != want.Day() { // there is no midnight: the day begins when the clock is put forward
		_, t = t.ZoneBounds()
	}
	if before := t.Add(-time.Hour); before.Day() == want.Day() { // midnight comes twice
		return before
	}
	return t
}

// DayOf and MonthOf return the first moment of the day or month that a time lies in.
func (c Clock) DayOf(t time.Time) time.Time { return c.day(t.In(c.Zone).Date()) }

func (c Clock) MonthOf(t time.Time) time.Time {
	y, m, _ := t.In(c.Zone).Date()
	return c.day(y, m, 1)
}

// Days returns the edges of the days that a range touches.
func (c Clock) Days(from, to time.Time) []time.Time {
	y, m, d := from.In(c.Zone).Date()
	return edges(to, func(i int) time.Time { return c.day(y, m, d+i) })
}

// Months returns the edges of the months that a range touches.
func (c Clock) Months(from, to time.Time) []time.Time {
	y, m, _ := from.In(c.Zone).Date()
	return edges(to, func(i int) time.Time { return c.day(y, m+time.Month(i), 1) })
}

func edges(to time.Time, at func(i int) time.Time) []time.Time {
	es := []time.Time{at(0)}
	for i := 1; es[len(es)-1].Before(to); i++ {
		es = append(es, at(i))
	}
	return es
}

// Zone returns a time zone by its name in the IANA database, or says what may
// have been meant. "Local" is none: answers must not depend on the server's.
func Zone(name string) (*time.Location, error) {
	if name != "" && name != "Local" {
		if z, err := time.LoadLocation(name); err == nil {
			return z, nil
		}
	}
	text := "is not a time zone: write a name of the IANA database, such as UTC, Asia/Seoul or Europe/Berlin"
	if guess := guessZone(name); guess != "" {
		text += fmt.Sprintf("; did you mean %q?", guess)
	}
	return nil, fmt.Errorf("%s", text)
}

// guessZone finds a city without its region, or a name in the wrong case.
func guessZone(name string) string {
	city := []byte(strings.ToLower(name[strings.LastIndexByte(name, '/')+1:]))
	for i := range city {
		if (i == 0 || city[i-1] == '_') && 'a' <= city[i] && city[i] <= 'z' {
			city[i] -= 'a' - 'A'
		} else if city[i] == ' ' {
			city[i] = '_'
		}
	}
	if slices.Contains([]string{"", "Local"}, string(city)) {
		return ""
	}
	for _, region := range []string{"Asia", "Europe", "America", "Africa", "Australia", "Pacific", "Atlantic", "Indian"} {
		if _, err := time.LoadLocation(region + "/" + string(city)); err == nil {
			return region + "/" + string(city)
		}
	}
	if strings.EqualFold(name, "utc") {
		return "UTC"
	}
	return ""
}
