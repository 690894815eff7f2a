package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A task streams what it tells; what goes wrong on the way is its last line.
func TestTask(t *testing.T) {
	begun, end := make(chan TaskRange), make(chan error)
	s := serve(t, &books{}, func(_ *Config, ops *Operations) {
		ops.Rerate = func(_ context.Context, r TaskRange, tell func(Event)) error {
			begun <- r
			tell(Event{Progress: &Progress{At: r.To, Share: 1}})
			err := <-end
			if err == nil {
				tell(Event{Rerated: &Rerated{Rows: 7, Spaces: []RatedSpace{}, Kept: []time.Time{}}})
			}
			return err
		}
	})
	f := func(query string, result error, want TaskRange, last string) {
		t.Helper()
		answer := make(chan string)
		go func() {
			_, text := s.do("POST", "/-/rerate?"+query, "")
			answer <- text
		}()
		if got := <-begun; got != want {
			t.Errorf("%s: asked for %+v, want %+v", query, got, want)
		}
		s.problem(409, "POST", "/-/rerate?from=now-1h", "") // one at a time
		end <- result
		lines := strings.Split(strings.TrimSpace(<-answer), "\n")
		for _, line := range lines {
			var v any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(err)
			}
			doc := description(t)
			schema := doc["components"].(map[string]any)["schemas"].(map[string]any)["TaskEvent"].(map[string]any)
			for _, fault := range check(doc, schema, v, "event") {
				t.Error(fault)
			}
		}
		if len(lines) != 2 || !strings.Contains(lines[1], last) {
			t.Errorf("%s: %q, want %q at the end", query, lines, last)
		}
	}
	f("from=now-1h", nil, TaskRange{From: now.Add(-time.Hour), To: now}, `"rows":7`)
	f("from=-2h&to=-1h&dry_run=true", errors.New("disk on fire"), TaskRange{From: now.Add(-2 * time.Hour), To: now.Add(-time.Hour), DryRun: true}, `{"error":"disk on fire"}`)

	for query, reason := range map[string]string{
		"": "from: is needed", "from=now-1h&to=now-2h": "must lie after", "from=soon": "not a time",
		"from=now-1h&dry-run=true": "did you mean", "from=now-1h&dry_run=yes": "dry_run",
	} {
		if p := s.problem(400, "POST", "/-/rerate?"+query, ""); !strings.Contains(p.Detail, reason) {
			t.Errorf("%s: %s, want %s", query, p.Detail, reason)
		}
	}
	for _, route := range (&api{}).adminRoutes() {
		s.problem(403, "POST", route.path, "", "Sec-Fetch-Site", "cross-site")
	}
	serve(t, &books{}).problem(404, "POST", "/-/rerate?from=now-1h", "")

	s = serve(t, &books{}, func(_ *Config, ops *Operations) {
		ops.Backfill = func(context.Context, TaskRange, func(Event)) error {
			return fmt.Errorf("backfill: %w", CannotBegin("kepler.prometheus_url is not set"))
		}
	})
	if p := s.problem(409, "POST", "/-/backfill?from=now-1h", ""); p.Type != "urn:wattledger:problem:cannot-begin" || !strings.Contains(p.Detail, "kepler.prometheus_url") {
		t.Errorf("what cannot begin: %+v", p)
	}
}
