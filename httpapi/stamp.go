package httpapi

import "time"

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
