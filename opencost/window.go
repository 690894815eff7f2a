package opencost

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A span is a stretch of time, its end exclusive.
type span struct{ from, to time.Time }

var (
	lengthForm = regexp.MustCompile(`^(\d+)([mhdw])$`)
	offsetForm = regexp.MustCompile(`^(\d+[mhdw])\s+offset\s+(\d+[mhdw])$`)
)

const windowForms = "today, yesterday, week, month, lastweek, lastmonth, 30m, 12h, 7d, 4w, \"30m offset 1h\", two RFC 3339 times or two Unix times joined by a comma"

// parseWindow reads a window as OpenCost does: days begin at midnight of zone, weeks
// on Sunday, and lengths end with the next whole minute, hour or day.
func parseWindow(s string, now time.Time, zone *time.Location) (w span, err error) {
	now = now.In(zone)
	y, m, d := now.Date()
	day := func(d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, zone) }
	sunday := d - int(now.Weekday())
	switch s {
	case "":
		return w, fmt.Errorf("is needed: %s", windowForms)
	case "today":
		w = span{day(d), day(d + 1)}
	case "yesterday":
		w = span{day(d - 1), day(d)}
	case "week":
		w = span{day(sunday), now}
	case "lastweek":
		w = span{day(sunday - 7), day(sunday)}
	case "month":
		w = span{day(1), now}
	case "lastmonth":
		w = span{time.Date(y, m-1, 1, 0, 0, 0, 0, zone), day(1)}
	default:
		if w, err = lengthOrRange(s, now, day(d)); err != nil {
			return span{}, err
		}
	}
	if !w.from.Before(w.to) {
		return span{}, fmt.Errorf("%q ends before it begins", s)
	}
	return span{w.from.UTC(), w.to.UTC()}, nil
}

func lengthOrRange(s string, now, midnight time.Time) (span, error) {
	if parts := offsetForm.FindStringSubmatch(s); parts != nil {
		length, err := parseLength(parts[1])
		back, err2 := parseLength(parts[2])
		if err != nil || err2 != nil {
			return span{}, unreadable(s)
		}
		to := now.Add(-back)
		return span{to.Add(-length), to}, nil
	}
	if parts := lengthForm.FindStringSubmatch(s); parts != nil {
		n, err := strconv.Atoi(parts[1])
		if err != nil || n < 1 || n > 1_000_000 {
			return span{}, unreadable(s)
		}
		switch parts[2] {
		case "m", "h":
			unit := map[string]time.Duration{"m": time.Minute, "h": time.Hour}[parts[2]]
			to := now.Truncate(unit)
			if to.Before(now) {
				to = to.Add(unit)
			}
			return span{to.Add(-time.Duration(n) * unit), to}, nil
		case "w":
			n *= 7
		}
		to := midnight
		if to.Before(now) {
			to = midnight.AddDate(0, 0, 1)
		}
		return span{to.AddDate(0, 0, -n), to}, nil
	}
	for _, separator := range []string{",", "-"} {
		a, b, ok := strings.Cut(s, separator)
		if !ok || separator == "-" && strings.Count(s, "-") > 1 {
			continue
		}
		from, ok1 := moment(a)
		to, ok2 := moment(b)
		if ok1 && ok2 {
			return span{from, to}, nil
		}
	}
	return span{}, unreadable(s)
}

func moment(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 && n < 253402300800 {
		return time.Unix(n, 0), true
	}
	// A + that was not escaped arrives as a blank.
	for _, text := range []string{s, strings.Replace(s, " ", "+", 1)} {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func unreadable(s string) error { return fmt.Errorf("%.60q is no window: write %s", s, windowForms) }

// parseLength reads 30m, 2h, 1d or 1w.
func parseLength(s string) (time.Duration, error) {
	parts := lengthForm.FindStringSubmatch(s)
	if parts == nil {
		return 0, fmt.Errorf("%.60q is no length such as 30m, 2h, 1d or 1w", s)
	}
	unit := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[parts[2]]
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || n < 1 || n > int64(10*365*24*time.Hour/unit) {
		return 0, fmt.Errorf("%.60q is no length from 1m to ten years", s)
	}
	return time.Duration(n) * unit, nil
}

// maxSets bounds the sets of one answer.
const maxSets = 10_000

// cut cuts a window into sets: of a length, or at the edges of calendar days,
// weeks, months or quarters of a zone.
func (w span) cut(step string, zone *time.Location) ([]span, error) {
	next := func(t time.Time) time.Time { return w.to }
	from := w.from
	switch step {
	case "", "all":
	case "hour", "day", "week", "weeknow", "month", "quarter":
		next = func(t time.Time) time.Time { return edgeAfter(t.In(zone), step).UTC() }
	default:
		length, err := parseLength(step)
		if err != nil {
			return nil, err
		}
		if length == 7*24*time.Hour { // begins with the Sunday before
			next = func(t time.Time) time.Time { return edgeAfter(t.UTC(), "week") }
		} else {
			next = func(t time.Time) time.Time { return t.Add(length) }
		}
	}
	var sets []span
	for from.Before(w.to) {
		to := next(from)
		if to.After(w.to) {
			to = w.to
		}
		if len(sets) == maxSets {
			return nil, fmt.Errorf("cuts the window into more than %d sets", maxSets)
		}
		sets = append(sets, span{from, to})
		from = to
	}
	return sets, nil
}

// edgeAfter returns the next edge of a calendar unit after t, in t's zone.
func edgeAfter(t time.Time, unit string) time.Time {
	y, m, d := t.Date()
	switch unit {
	case "hour":
		return t.Truncate(time.Hour).Add(time.Hour)
	case "day":
		return time.Date(y, m, d+1, 0, 0, 0, 0, t.Location())
	case "week", "weeknow":
		return time.Date(y, m, d+7-int(t.Weekday()), 0, 0, 0, 0, t.Location())
	case "month":
		return time.Date(y, m+1, 1, 0, 0, 0, 0, t.Location())
	}
	return time.Date(y, m-(m-1)%3+3, 1, 0, 0, 0, 0, t.Location())
}
