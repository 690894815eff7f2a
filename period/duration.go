package period

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var errDuration = errors.New("is not a duration: write whole numbers with units, largest first: 30s, 5m, 1h30m, 7d, 2w")

var units = []struct {
	name string
	unit time.Duration
}{
	{"w", 7 * 24 * time.Hour},
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
}

// ParseDuration reads durations the way Prometheus writes them: 30s, 5m, 1h30m, 7d.
// A day has 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	if s == "" {
		return 0, errDuration
	}
	var sum time.Duration
	next := 0 // the largest unit that may still come
	for s != "" {
		digits := 0
		for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
			digits++
		}
		n, err := strconv.ParseInt(s[:digits], 10, 64)
		if err != nil {
			return 0, errDuration
		}
		s = s[digits:]
		letters := 0
		for letters < len(s) && s[letters] >= 'a' && s[letters] <= 'z' {
			letters++
		}
		i := next
		for i < len(units) && units[i].name != s[:letters] {
			i++
		}
		if i == len(units) || n > int64(math.MaxInt64-sum)/int64(units[i].unit) {
			return 0, errDuration
		}
		sum += time.Duration(n) * units[i].unit
		s, next = s[letters:], i+1
	}
	return sum, nil
}

// FormatDuration writes d the way ParseDuration reads it.
func FormatDuration(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range units[1:] { // weeks read worse than days
		if n := d / u.unit; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10))
			b.WriteString(u.name)
			d -= n * u.unit
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}
