package influx

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/influxdata/influxdb-client-go/v2/api"
)

// A Rejected is a line that InfluxDB will not take however often it is sent.
type Rejected struct {
	Bucket         string
	Line           string // without the end of line; times in milliseconds
	Reason         string // the server's words
	FromSeq, ToSeq uint64 // the delivery it was in
}

// Key returns what the line is about: its series and time. Of two lines with
// the same key the newer takes the place of the older.
func (r Rejected) Key() string {
	series, _, at := cutLine(r.Line)
	return series + " " + at
}

// Retry writes a line that was refused before, unless InfluxDB has a newer
// version of it by now. It returns an *Error with the server's words if the line
// is refused again.
func (f *Follower) Retry(ctx context.Context, r Rejected) error {
	newer, err := f.hasNewer(ctx, r)
	if err == nil && !newer {
		if err = f.writer(r.Bucket).WriteRecord(ctx, r.Line+"\n"); err != nil {
			err = explain(err, r.Bucket)
		}
	}
	if err != nil {
		return fmt.Errorf("influxdb: retry a line: %w", err)
	}
	return nil
}

func (f *Follower) writer(bucket string) api.WriteAPIBlocking {
	if bucket == f.cfg.hourly() {
		return f.hours
	}
	return f.windows
}

// hasNewer reports whether InfluxDB has a row of the same series and time with a
// higher revision. Lines that have none are not restated.
func (f *Follower) hasNewer(ctx context.Context, r Rejected) (newer bool, err error) {
	prefix, fields, at := cutLine(r.Line)
	_, text, ok := strings.Cut(","+fields, ",revision=")
	if !ok {
		return false, nil
	}
	text, _, _ = strings.Cut(text, "i")
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return false, fmt.Errorf("line %q: %w", r.Line, err)
	}
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return false, fmt.Errorf("line %q: %w", r.Line, err)
	}
	measurement, tags := cutSeries(prefix)
	where, params := timeRange(ms, ms+1), map[string]any{}
	for _, d := range held {
		where += fmt.Sprintf(" AND %q = $%s", string(d), d)
		params[string(d)] = tags[string(d)] // none equals the empty string
	}
	err = f.influxql.query(ctx, r.Bucket, fmt.Sprintf(`SELECT "revision" FROM %q WHERE %s`, measurement, where), params, func(s series) error {
		for _, v := range s.Values {
			has, err := integer(v[1])
			if err != nil {
				return err
			}
			newer = newer || has > revision
		}
		return nil
	})
	var e *Error
	if errors.As(err, &e) && e.Status == 404 {
		return false, nil // the write will say so too
	}
	return newer, err
}

// cutLine cuts a line we made into series, fields and time.
func cutLine(line string) (series, fields, at string) {
	i := 0
	for i < len(line) && line[i] != ' ' {
		if line[i] == '\\' && i+1 < len(line) && strings.IndexByte(", =", line[i+1]) >= 0 {
			i++
		}
		i++
	}
	series, rest := line[:min(i, len(line))], strings.TrimPrefix(line[min(i, len(line)):], " ")
	end := max(strings.LastIndexByte(rest, ' '), 0)
	return series, rest[:end], strings.TrimPrefix(rest[end:], " ")
}

// cutSeries cuts a series into its measurement and the values of its tags.
func cutSeries(series string) (measurement string, tags map[string]string) {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(series); i++ {
		switch c := series[i]; {
		case c == '\\' && i+1 < len(series) && strings.IndexByte(", =", series[i+1]) >= 0:
			i++
			part.WriteByte(series[i])
		case c == ',':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	parts = append(parts, part.String())
	tags = map[string]string{}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, "=") // names have no sign in them
		tags[name] = value
	}
	return parts[0], tags
}
