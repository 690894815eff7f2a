package httpapi

import (
	"strings"
	"testing"
	"time"
)

// Days and months are the hours they consist of, whatever the zone, and the
// local engine says what adding up the charges says.
func TestDaysAndMonths(t *testing.T) {
	b := cluster(now.Add(-60*time.Hour), now, seed)
	plain, s := serve(t, b), serve(t, stored(t, b))
	for _, path := range []string{
		"/cost/daily?start=2026-03-08&aggregate=namespace",
		"/cost/daily?start=2026-03-08&tz=Asia/Seoul&aggregate=workload",
		"/cost/daily?start=2026-03-08&tz=Asia/Kolkata&namespace=shop",
		"/cost/monthly?tz=America/New_York&aggregate=cluster,workload_type&workload_type=web",
		"/cost/daily?start=week&compare=previous&aggregate=namespace",
	} {
		for _, fault := range differences(plain.get(path), s.get(path), "answer") {
			t.Errorf("%s: %s", path, fault)
		}
	}

	f := func(path, dates string, partial ...bool) {
		t.Helper()
		v := s.get(path)
		got, sum := "", 0.0
		for i, e := range at(t, v, "cost_analysis").([]any) {
			got += " " + at(t, e, "date").(string)
			if len(partial) > i && at(t, e, "partial") != partial[i] {
				t.Errorf("%s: partial of entry %d is %v", path, i, at(t, e, "partial"))
			}
			if kWh, ok := at(t, e, "energy_kwh").(float64); ok {
				sum += kWh
			}
		}
		if strings.TrimSpace(got) != dates {
			t.Errorf("%s: entries%s, want %s", path, got, dates)
		}
		if total := at(t, v, "totals", "energy_kwh"); total != nil {
			near(t, path, sum, total.(float64))
		} else if sum != 0 {
			t.Errorf("%s: %v kWh and no total", path, sum)
		}
	}
	f("/cost/daily?start=2026-03-08&tz=UTC", "2026-03-08 2026-03-09 2026-03-10", false, false, true)
	f("/cost/daily?start=2026-03-09&end=2026-03-10&tz=Asia/Seoul", "2026-03-09", false)
	f("/cost/daily?start=yesterday", "2026-03-09", false)
	f("/cost/daily?start=today&tz=Asia/Seoul", "2026-03-10", true)
	f("/cost/daily?start=2026-03-09T10:00+05:30&end=-24h&tz=Asia/Kolkata", "2026-03-09", true)
	f("/cost/monthly?start=lastmonth", "2026-02", false)
	f("/cost/monthly?start=lastmonth&end=now", "2026-02 2026-03", false, true)

	// The same stretch is the same energy, hour by hour or as one day.
	day := s.get("/cost/daily?start=2026-03-09&end=2026-03-10&tz=Asia/Seoul")
	hours := s.get("/cost/hourly?start=2026-03-09&end=2026-03-10&tz=Asia/Seoul")
	near(t, "a day in Seoul", num(t, day, "totals", "total_cost"), num(t, hours, "totals", "total_cost"))
	if start, end := at(t, day, "cost_analysis", 0, "start"), at(t, day, "cost_analysis", 0, "end"); start != "2026-03-08T15:00:00Z" || end != "2026-03-09T15:00:00Z" {
		t.Errorf("a day in Seoul is %v to %v", start, end)
	}
	if n := len(at(t, s.get("/cost/daily"), "cost_analysis").([]any)); n != 30 {
		t.Errorf("%d days where none are asked for", n)
	}
	if n := len(at(t, s.get("/cost/monthly"), "cost_analysis").([]any)); n != 12 {
		t.Errorf("%d months where none are asked for", n)
	}
}

// A day on which the clocks are changed has 23 hours, all of them covered.
func TestDayOf23Hours(t *testing.T) {
	sunday := time.Date(2026, 3, 29, 23, 30, 0, 0, time.UTC)
	s := serve(t, cluster(sunday.Add(-30*time.Hour), sunday, seed), func(cfg *Config, _ *Operations) {
		cfg.Now, cfg.TimeZone = func() time.Time { return sunday }, "Europe/Berlin"
	})
	v := s.get("/cost/daily?start=yesterday")
	near(t, "energy", num(t, v, "totals", "energy_kwh"), 23*60*210/3.6e6)
	near(t, "coverage", num(t, v, "totals", "coverage"), 1)
	if v["time_zone"] != "Europe/Berlin" || at(t, v, "cost_analysis", 0, "date") != "2026-03-29" {
		t.Errorf("yesterday is %v in %v", at(t, v, "cost_analysis", 0, "date"), v["time_zone"])
	}
}

func TestCompare(t *testing.T) {
	b := cluster(now.Add(-40*time.Hour), now, seed)
	s := serve(t, stored(t, b))
	f := func(query, period string, minutes float64) {
		t.Helper()
		v := s.get("/cost/hourly?compare=previous&aggregate=namespace&" + query)
		if got := at(t, v, "previous", "period"); got != period {
			t.Errorf("%s: the period before is %v, want %s", query, got, period)
		}
		near(t, query, num(t, v, "previous", "totals", "energy_kwh"), minutes*210/3.6e6)
		sum := 0.0
		for _, g := range at(t, v, "previous", "groups").([]any) {
			sum += num(t, g, "energy_kwh")
		}
		near(t, query+", groups", sum, minutes*210/3.6e6)
	}
	f("start=today", "2026-03-09T00:00:00Z to 2026-03-09T12:30:20Z", 751)
	f("start=-1h", "2026-03-10T10:30:20Z to 2026-03-10T11:30:20Z", 60)
	f("start=2026-03-10T06:00:00Z&end=2026-03-10T08:00:00Z", "2026-03-10T04:00:00Z to 2026-03-10T06:00:00Z", 120)
	if _, said := s.get("/cost/hourly")["previous"]; said {
		t.Error("compares without being asked to")
	}
	p := s.problem(400, "GET", "/cost/daily?compare=next&start=yesteday&tz=seoul", "")
	for _, want := range []string{`did you mean "yesterday"?`, `did you mean "Asia/Seoul"?`} {
		if !strings.Contains(p.Detail, want) {
			t.Errorf("%q does not say %s", p.Detail, want)
		}
	}
	if len(p.Errors) != 3 || len(p.Errors[1].Allowed) != 1 || p.Errors[1].Allowed[0] != "previous" {
		t.Errorf("errors %+v", p.Errors)
	}
}

func TestDailyCSV(t *testing.T) {
	s := serve(t, stored(t, cluster(now.Add(-30*time.Hour), now, seed)))
	res, body := s.do("GET", "/cost/daily?start=yesterday&end=today&tz=Asia/Seoul&aggregate=namespace&format=csv", "")
	lines := strings.Split(body, "\n")
	if !strings.HasPrefix(lines[0], "date,start,end,partial,namespace,energy_kwh,") || !strings.HasPrefix(lines[1], "2026-03-09,2026-03-08T15:00:00Z,2026-03-09T15:00:00Z,false,__idle__,") {
		t.Errorf("csv %s", body)
	}
	if d := res.Header.Get("Content-Disposition"); !strings.Contains(d, "wattledger-cost-daily.csv") {
		t.Errorf("Content-Disposition %q", d)
	}
}

// Whatever is listed, groups and others are the total, in every entry.
func TestGroupsInPart(t *testing.T) {
	s := serve(t, stored(t, cluster(now.Add(-5*time.Hour), now, seed)))
	f := func(query string, found float64, names string) {
		t.Helper()
		v := s.get("/cost/hourly?start=-3h&aggregate=namespace&" + query)
		got := ""
		for _, g := range at(t, v, "groups").([]any) {
			got += " " + at(t, g, "name").(string)
		}
		if strings.TrimSpace(got) != names || num(t, v, "groups_total") != found {
			t.Errorf("%s: groups%s of %v, want %s of %v", query, got, v["groups_total"], names, found)
		}
		adds := func(what string, part any, total float64) {
			t.Helper()
			sum := num(t, part, "others", "total_cost")
			for _, g := range at(t, part, "groups").([]any) {
				sum += num(t, g, "total_cost")
			}
			near(t, query+", "+what, sum, total)
		}
		adds("period", v, num(t, v, "totals", "total_cost"))
		for _, e := range at(t, v, "cost_analysis").([]any) {
			adds("hour", e, num(t, e, "total_cost"))
		}
	}
	f("sort=energy_kwh&limit=2", 6, "ml shop")
	f("sort=total_cost&order=asc&limit=1", 6, "__unattributed__")
	f("sort=carbon_kg&offset=2&limit=2", 6, "__system__ __idle__")
	f("order=desc&limit=3", 6, "shop ml blog")
	f("search=SYS", 1, "__system__")
	f("search=nothing", 0, "")
	f("offset=100", 6, "")

	_, body := s.do("GET", "/cost/hourly?start=-1h&aggregate=cluster,namespace&limit=1&format=csv", "")
	if !strings.Contains(body, ",__others__,__others__,") {
		t.Errorf("csv %s", body)
	}
	p := s.problem(400, "GET", "/cost/daily?limit=0&sort=size", "")
	if len(p.Errors) != 4 {
		t.Errorf("errors %+v, want limit and sort without groups, and of a wrong form", p.Errors)
	}
}

func TestSummary(t *testing.T) {
	engine := stored(t, cluster(now.Add(-40*time.Hour), now, seed))
	s := serve(t, engine, func(_ *Config, ops *Operations) { ops.DefaultPrices = true })
	v := s.get("/cost/summary")
	near(t, "today", num(t, v, "today", "totals", "energy_kwh"), 751*210/3.6e6)
	near(t, "yesterday until now", num(t, v, "today", "previous_totals", "energy_kwh"), 751*210/3.6e6)
	month := s.get("/cost/monthly?start=month")
	near(t, "month", num(t, v, "month", "totals", "total_cost"), num(t, month, "totals", "total_cost"))
	current := s.get("/cost/current")
	near(t, "per hour", num(t, v, "per_hour", "total_cost"), num(t, current, "cost", "total_cost"))
	if v["default_prices"] != true || serve(t, engine).get("/cost/summary")["default_prices"] != false {
		t.Error("default_prices does not say who set them")
	}
}
