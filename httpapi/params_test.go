package httpapi

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		got, err := parseTime(s, now)
		if want == "" {
			if err == nil {
				t.Errorf("parseTime(%q) = %v, want an error", s, got)
			}
			return
		}
		if err != nil || stampOf(got).String() != want {
			t.Errorf("parseTime(%q) = %v, %v, want %s", s, got, err, want)
		}
	}
	f("2026-03-10T10:00:00Z", "2026-03-10T10:00:00Z")
	f("2026-03-10T10:00:00.25+09:00", "2026-03-10T01:00:00.25Z")
	f("1773136800", "2026-03-10T10:00:00Z")
	f("1773136800.5", "2026-03-10T10:00:00.5Z")
	f("0", "1970-01-01T00:00:00Z")
	f("now", "2026-03-10T12:30:20Z")
	f("now-24h", "2026-03-09T12:30:20Z")
	f("-1h30m", "2026-03-10T11:00:20Z")
	f("-1d", "2026-03-09T12:30:20Z")
	f("", "")
	f("-", "")
	f("now-", "")
	f("now+1h", "")
	f("nowhere", "")
	f("yesterday", "")
	f("2026-03-10", "")
	f("2026-03-10T10:00:00", "")
	f("2026-03-10T10:00:00 09:00", "") // a + that was not escaped
	f("-1773136800", "")
	f("1e9", "")
	f("0x10", "")
	f("Inf", "")
	f("NaN", "")
	f("1.2.3", "")
	f("99999999999999", "")
	f("now-100000d", "")
	f("-9999999999999999999h", "")
}

func TestParseDuration(t *testing.T) {
	f := func(s string, want time.Duration) {
		t.Helper()
		got, err := parseDuration(s)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", s, got, err, want)
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
		got, err := parseTime(s, now)
		if err != nil {
			return
		}
		// What was understood can be written and is understood again.
		again, err := parseTime(stampOf(got).String(), now)
		if err != nil || !again.Equal(got) {
			t.Errorf("parseTime(%q) = %v, which reads back as %v, %v", s, got, again, err)
		}
	})
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"30s", "5m", "7d", "1h30m", "1w2d3h4m5s6ms", "00001s", "106751d", "9223372036854775807ms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("parseDuration(%q) = %v", s, d)
		}
		if again, err := parseDuration(formatDuration(d)); err != nil || again != d {
			t.Errorf("parseDuration(%q) = %v, written %s, read %v, %v", s, d, formatDuration(d), again, err)
		}
	})
}

func TestParseWorkloadID(t *testing.T) {
	f := func(s string, want int) {
		t.Helper()
		m, ok := parseWorkloadID(s)
		if ok != (want > 0) || ok && len(m) != want {
			t.Errorf("parseWorkloadID(%q) = %v, %v, want %d parts", s, m, ok, want)
		}
	}
	f("web", 1)
	f("shop:web", 2)
	f("c1:shop:Deployment:web", 4)
	f(":shop:deployment:web", 4) // a cluster without a name
	f("a:b:c", 0)
	f("a:b:c:d:e", 0)
	f("", 0)
	f("shop:", 0)
}
