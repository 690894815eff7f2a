package period

import (
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 10, 12, 30, 20, 0, time.UTC) // a Tuesday

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestParse(t *testing.T) {
	clock := Clock{now, time.UTC}
	f := func(s, want string) {
		t.Helper()
		got, err := clock.Parse(s)
		if want == "" {
			if err == nil {
				t.Errorf("Parse(%q) = %v, want an error", s, got)
			}
			return
		}
		if text := got.From.Format(time.RFC3339Nano); err != nil || text != want {
			t.Errorf("Parse(%q) = %v, %v, want %s", s, text, err, want)
		}
	}
	f("2026-03-10T10:00:00Z", "2026-03-10T10:00:00Z")
	f("2026-03-10t10:00:00z", "2026-03-10T10:00:00Z")
	f("2026-03-10T10:00:00.25+09:00", "2026-03-10T01:00:00.25Z")
	f("2026-03-10T10:00:00 09:00", "2026-03-10T01:00:00Z") // a + that was not escaped
	f("2026-03-10T10:00+09:00", "2026-03-10T01:00:00Z")
	f("2026-03-10T10:00:00", "2026-03-10T10:00:00Z")
	f("2026-03-10T10:00", "2026-03-10T10:00:00Z")
	f("2026-03-10 10:00", "2026-03-10T10:00:00Z")
	f("2026-03-10", "2026-03-10T00:00:00Z")
	f("1773136800", "2026-03-10T10:00:00Z")
	f("1773136800.5", "2026-03-10T10:00:00.5Z")
	f("1773136800500", "2026-03-10T10:00:00.5Z")
	f("0", "1970-01-01T00:00:00Z")
	f("now", "2026-03-10T12:30:20Z")
	f("now-24h", "2026-03-09T12:30:20Z")
	f("-1h30m", "2026-03-10T11:00:20Z")
	f("-7d", "2026-03-03T12:30:20Z")
	f("today", "2026-03-10T00:00:00Z")
	f("", "")
	f("-", "")
	f("now-", "")
	f("now+1h", "")
	f("now-5M", "") // months or minutes?
	f("nowhere", "")
	f("2026-02-30", "")
	f("2026-03-10T10:00:00 9:00", "")
	f("-1773136800", "")
	f("1e9", "")
	f("0x10", "")
	f("Inf", "")
	f("NaN", "")
	f("1.2.3", "")
	f("999999999999999", "")
	f("now-100000d", "")
	f("-9999999999999999999h", "")
}

func TestGuess(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		_, err := Clock{now, time.UTC}.Parse(s)
		if err == nil || !strings.Contains(err.Error(), "today") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want the forms and %s", s, err, want)
		}
	}
	f("7d", `did you mean "-7d"?`)
	f("2026-3-1", `did you mean "2026-03-01"?`)
	f("2026/03/01", `did you mean "2026-03-01"?`)
	f("yesteday", `did you mean "yesterday"?`)
	f("last month", `did you mean "lastmonth"?`)
	f("this-week", `did you mean "week"?`)
	f("?", "or lastmonth")
	g := func(name, want string) {
		t.Helper()
		if _, err := Zone(name); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Zone(%q): %v, want %s", name, err, want)
		}
	}
	g("Seoul", `did you mean "Asia/Seoul"?`)
	g("europe/berlin", `did you mean "Europe/Berlin"?`)
	g("new york", `did you mean "America/New_York"?`)
	g("utc", `did you mean "UTC"?`)
	g("Local", "Europe/Berlin")
	g("../etc/passwd", "Europe/Berlin")
}

func TestWords(t *testing.T) {
	f := func(at, zoneName, word, from, to, beforeFrom, beforeTo string) {
		t.Helper()
		z := zone(t, zoneName)
		now, err := time.ParseInLocation("2006-01-02T15:04", at, z)
		if err != nil {
			t.Fatal(err)
		}
		span, err := Clock{now, z}.Parse(word)
		if err != nil {
			t.Fatal(err)
		}
		until := span.To
		if until.After(now) {
			until = now
		}
		b, e := span.Before(span.From, until)
		got := ""
		for _, t := range []time.Time{span.From, span.To, b, e} {
			got += t.In(z).Format(" 01-02T15:04")
		}
		if want := " " + strings.Join([]string{from, to, beforeFrom, beforeTo}, " "); got != want {
			t.Errorf("%s at %s in %s:\n%s, want\n%s", word, at, zoneName, got, want)
		}
	}
	f("2026-03-10T12:30", "UTC", "today", "03-10T00:00", "03-11T00:00", "03-09T00:00", "03-09T12:30")
	f("2026-03-10T12:30", "Asia/Seoul", "yesterday", "03-09T00:00", "03-10T00:00", "03-08T00:00", "03-09T00:00")
	f("2026-03-10T12:30", "UTC", "week", "03-09T00:00", "03-16T00:00", "03-02T00:00", "03-03T12:30")
	f("2026-03-15T12:30", "UTC", "week", "03-09T00:00", "03-16T00:00", "03-02T00:00", "03-08T12:30") // a Sunday
	f("2026-03-10T12:30", "UTC", "lastweek", "03-02T00:00", "03-09T00:00", "02-23T00:00", "03-02T00:00")
	f("2026-03-10T12:30", "UTC", "lastmonth", "02-01T00:00", "03-01T00:00", "01-01T00:00", "02-01T00:00")
	f("2026-03-30T12:30", "UTC", "month", "03-01T00:00", "04-01T00:00", "02-01T00:00", "03-01T00:00") // February is shorter
	f("2026-01-05T00:00", "UTC", "lastmonth", "12-01T00:00", "01-01T00:00", "11-01T00:00", "12-01T00:00")
}

// Days have the hours that the zone gives them, and begin when it says.
func TestDays(t *testing.T) {
	f := func(zoneName, day, first string, hours float64) {
		t.Helper()
		c := Clock{now, zone(t, zoneName)}
		span, err := c.Parse(day)
		if err != nil {
			t.Fatal(err)
		}
		days := c.Days(span.From, span.From.Add(time.Second))
		if len(days) != 2 || !days[0].Equal(span.From) || days[0].Format("15:04") != first || days[1].Sub(days[0]).Hours() != hours {
			t.Errorf("%s in %s: %v, want one of %v hours from %s", day, zoneName, days, hours, first)
		}
	}
	f("UTC", "2026-03-29", "00:00", 24)
	f("Europe/Berlin", "2026-03-29", "00:00", 23)
	f("Europe/Berlin", "2026-10-25", "00:00", 25)
	f("America/New_York", "2026-03-08", "00:00", 23)
	f("Asia/Seoul", "2026-03-29", "00:00", 24)
	f("Africa/Cairo", "2026-04-24", "01:00", 23)   // the clock is put forward at midnight
	f("America/Havana", "2026-11-01", "00:00", 25) // and back to midnight
	f("America/Santiago", "2026-09-06", "01:00", 23)

	c := Clock{now, zone(t, "Europe/Berlin")}
	year := c.Days(time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC), time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC))
	if len(year) != 366 {
		t.Errorf("a year has %d days", len(year)-1)
	}
	months := c.Months(year[0], year[365])
	if len(months) != 13 || !months[12].Equal(year[365]) || months[3].Sub(months[2]) != 31*24*time.Hour-time.Hour {
		t.Errorf("months of a year: %v", months)
	}
}

func TestParseDuration(t *testing.T) {
	f := func(s string, want time.Duration) {
		t.Helper()
		got, err := ParseDuration(s)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	f("30s", 30*time.Second)
	f("5m", 5*time.Minute)
	f("7d", 7*24*time.Hour)
	f("2w", 14*24*time.Hour)
	f("1h30m", 90*time.Minute)
	f("1d12h", 36*time.Hour)
	f("250ms", 250*time.Millisecond)
	f("0s", 0)
	f("", -1)
	f("30", -1)
	f("s", -1)
	f("1.5h", -1)
	f("-5m", -1)
	f("5 m", -1)
	f("5M", -1)
	f("30m1h", -1) // largest first
	f("1m1m", -1)
	f("5y", -1)
	f("99999999999d", -1)
	f("99999999999999999999s", -1)
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{"now", "now-24h", "-5m", "1773136800.5", "2026-03-10T10:00:00+09:00", "-99999w", "now--1h", "9999-12-31T23:59:59Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Clock{now, time.UTC}.Parse(s)
		if err != nil {
			return
		}
		// What was understood can be written and is understood again.
		again, err := Clock{now, time.UTC}.Parse(got.From.Format(time.RFC3339Nano))
		if err != nil || !again.From.Equal(got.From) {
			t.Errorf("Parse(%q) = %v, which reads back as %v, %v", s, got, again, err)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"30s", "5m", "7d", "1h30m", "1w2d3h4m5s6ms", "00001s", "106751d", "9223372036854775807ms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("ParseDuration(%q) = %v", s, d)
		}
		if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d {
			t.Errorf("ParseDuration(%q) = %v, written %s, read %v, %v", s, d, FormatDuration(d), again, err)
		}
	})
}
