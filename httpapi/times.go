package httpapi

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var (
	errTime     = errors.New("is not a time: write RFC 3339 (2026-01-02T15:04:05Z, with + sent as %2B), Unix seconds, now, now-24h or -24h")
	errDuration = errors.New("is not a duration: write whole numbers with units, largest first: 30s, 5m, 1h30m, 7d, 2w")
)

// Times outside these would not survive being written as RFC 3339.
const (
	minTimeMs = 0
	maxTimeMs = 253402300799_999
)

// parseTime reads RFC 3339, Unix seconds (with a fraction, if need be), "now",
// "now-24h" or "-24h". Times are kept to the millisecond, as samples are.
func parseTime(s string, now time.Time) (time.Time, error) {
	ms, err := parseTimeMs(s, now.UnixMilli())
	if err != nil {
		return time.Time{}, err
	}
	if ms < minTimeMs || ms > maxTimeMs {
		return time.Time{}, errTime
	}
	return time.UnixMilli(ms).UTC(), nil
}

// ParseTime reads a time as the parameters of every route are read.
func ParseTime(s string, now time.Time) (time.Time, error) { return parseTime(s, now) }

func parseTimeMs(s string, nowMs int64) (int64, error) {
	if s == "now" {
		return nowMs, nil
	}
	if back, ok := strings.CutPrefix(strings.TrimPrefix(s, "now"), "-"); ok {
		d, err := parseDuration(back)
		if err != nil {
			return 0, errTime
		}
		return nowMs - d.Milliseconds(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UnixMilli(), nil
	}
	for _, c := range s {
		// ParseFloat also takes hexadecimal, exponents, underscores and Inf.
		if (c < '0' || c > '9') && c != '.' {
			return 0, errTime
		}
	}
	sec, err := strconv.ParseFloat(s, 64)
	if err != nil || sec*1000 > maxTimeMs {
		return 0, errTime
	}
	return int64(math.Round(sec * 1000)), nil
}

var durationUnits = []struct {
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

// parseDuration reads durations the way Prometheus writes them: 30s, 5m, 1h30m, 7d.
// A day has 24 hours.
func parseDuration(s string) (time.Duration, error) {
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
		for i < len(durationUnits) && durationUnits[i].name != s[:letters] {
			i++
		}
		if i == len(durationUnits) || n > int64(math.MaxInt64-sum)/int64(durationUnits[i].unit) {
			return 0, errDuration
		}
		sum += time.Duration(n) * durationUnits[i].unit
		s, next = s[letters:], i+1
	}
	return sum, nil
}

// formatDuration writes d the way parseDuration reads it.
func formatDuration(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range durationUnits[1:] { // weeks read worse than days
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

// A stamp is a time in an answer: RFC 3339, UTC, to the millisecond where there are any.
type stamp int64 // Unix milliseconds

func stampOf(t time.Time) stamp { return stamp(t.UnixMilli()) }

func (s stamp) String() string {
	return time.UnixMilli(int64(s)).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}

// MarshalText makes stamps read the same in JSON and CSV.
func (s stamp) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// stampOrNull is nil for a time that is unknown.
func stampOrNull(ms int64) *stamp {
	if ms <= 0 {
		return nil
	}
	s := stamp(ms)
	return &s
}
