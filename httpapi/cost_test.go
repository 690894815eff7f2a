package httpapi

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12*math.Max(1, math.Abs(want)) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// oneKWh is a workload that used a kilowatt-hour in the hour before now's,
// however it was split.
func oneKWh(price power.Price) *books {
	b := cluster(now.Truncate(time.Hour).Add(-time.Hour), now.Truncate(time.Hour), price)
	kept := b.charges[:0]
	var left power.Microjoules = power.MicrojoulesPerKWh
	for _, c := range b.charges {
		if c.Holder.Workload.Name != "ml-training" {
			continue
		}
		part := left
		if len(kept) < 59 {
			part = left / 7
		}
		c.Energy, c.Idle = power.Energy{power.CPU: part / 3, power.GPU: part - part/3}, 0
		left -= part
		kept = append(kept, c)
	}
	b.charges = kept
	return b
}

func TestOneKWh(t *testing.T) {
	f := func(price power.Price, total, pue, carbonKg float64) {
		t.Helper()
		s := serve(t, oneKWh(price))
		for _, path := range []string{"/cost/hourly?start=now-3h", "/cost/workload/ml-training?step=15m"} {
			v := s.get(path)
			c, ok := v["totals"]
			if !ok {
				c = at(t, v, "cost_breakdown", "totals")
			}
			near(t, path+" energy_kwh", num(t, c, "energy_kwh"), 1)
			near(t, path+" total_cost", num(t, c, "total_cost"), total)
			near(t, path+" parts", num(t, c, "electricity_cost")+num(t, c, "cooling_cost")+num(t, c, "carbon_cost"), total)
			near(t, path+" implied_pue", num(t, v, "implied_pue"), pue)
			near(t, path+" implied_carbon_kg_per_kwh", num(t, v, "implied_carbon_kg_per_kwh"), carbonKg)
			if v["cost_model"] != price.Model || v["currency"] != "USD" {
				t.Errorf("%s: cost_model %v, currency %v", path, v["cost_model"], v["currency"])
			}
		}
	}
	f(seed, 0.326, 2.3, 1)
	f(physical, 0.182, 1.3, 0.52)
}

func TestHourlyAddsUp(t *testing.T) {
	// From 10:00 on; what came before is unknown.
	s := serve(t, cluster(now.Truncate(time.Hour).Add(-2*time.Hour), now, seed))
	for _, aggregate := range []string{"cluster", "node", "namespace", "workload", "workload_type", "workload_kind", "pod", "container", "container_id", "cluster,namespace", "workload_type,node"} {
		v := s.get("/cost/hourly?start=now-4h&aggregate=" + aggregate)
		hours := at(t, v, "cost_analysis").([]any)
		if len(hours) != 5 {
			t.Fatalf("%s: %d hours, want 08 to 12", aggregate, len(hours))
		}
		for _, field := range []string{"energy_kwh", "idle_energy_kwh", "electricity_cost", "total_cost", "carbon_kg"} {
			var ofHours, ofTotals float64
			for i, h := range hours {
				groups := at(t, h, "groups").([]any)
				if i < 2 {
					if len(groups) != 0 || at(t, h, field) != nil || num(t, h, "coverage") != 0 {
						t.Errorf("%s: an hour without data is %v", aggregate, h)
					}
					continue
				}
				var sum float64
				for _, g := range groups {
					sum += num(t, g, field)
				}
				near(t, aggregate+" groups of an hour, "+field, sum, num(t, h, field))
				ofHours += num(t, h, field)
			}
			for _, g := range at(t, v, "groups").([]any) {
				ofTotals += num(t, g, field)
			}
			near(t, aggregate+" hours, "+field, ofHours, num(t, v, "totals", field))
			near(t, aggregate+" groups of the period, "+field, ofTotals, num(t, v, "totals", field))
		}
		near(t, "a whole hour", num(t, hours[2], "energy_kwh"), 60*210/3.6e6) // 210 J of the node each minute
		near(t, "its idle energy", num(t, hours[2], "idle_energy_kwh"), 60*35/3.6e6)
	}
}

func TestHourlyHours(t *testing.T) {
	s := serve(t, cluster(now.Add(-3*time.Hour), now, seed))
	v := s.get("/cost/hourly?start=" + now.Add(-2*time.Hour).Format(time.RFC3339) + "&end=now%2d0s")
	if got := at(t, v, "period"); got != "2026-03-10T10:30:20Z to 2026-03-10T12:30:20Z" {
		t.Errorf("period %v", got)
	}
	for i, want := range []struct {
		hour    string
		partial bool
	}{{"2026-03-10T10:00:00Z", true}, {"2026-03-10T11:00:00Z", false}, {"2026-03-10T12:00:00Z", true}} {
		h := at(t, v, "cost_analysis", i)
		if at(t, h, "hour") != want.hour || at(t, h, "partial") != want.partial {
			t.Errorf("hour %d is %v, partial %v", i, at(t, h, "hour"), at(t, h, "partial"))
		}
	}

	t.Run("the default is 24 hours from a whole hour", func(t *testing.T) {
		v := s.get("/cost/hourly")
		hours := at(t, v, "cost_analysis").([]any)
		if len(hours) != 25 || at(t, hours[0], "partial") != false || at(t, hours[24], "partial") != true {
			t.Errorf("%d hours, the first partial %v, the last %v", len(hours), at(t, hours[0], "partial"), at(t, hours[24], "partial"))
		}
	})
	t.Run("coverage is the share of the time that was seen", func(t *testing.T) {
		// 9:30:00 to 12:30:20 of 9:00:00 to 12:30:20
		v := s.get("/cost/hourly?start=2026-03-10T09:00:00Z")
		near(t, "first hour", num(t, v, "cost_analysis", 0, "coverage"), 0.5)
		near(t, "whole hour", num(t, v, "cost_analysis", 1, "coverage"), 1)
		near(t, "running hour", num(t, v, "cost_analysis", 3, "coverage"), 1)
		near(t, "totals", num(t, v, "totals", "coverage"), 10820.0/12620)
	})
	t.Run("nothing used is 0 where the nodes were seen, unknown where not", func(t *testing.T) {
		v := s.get("/cost/hourly?start=now-5h&namespace=nobody")
		if got := at(t, v, "cost_analysis", 0, "energy_kwh"); got != nil {
			t.Errorf("energy of an unseen hour is %v", got)
		}
		if got := num(t, v, "cost_analysis", 4, "energy_kwh"); got != 0 {
			t.Errorf("energy of a seen hour is %v", got)
		}
	})
}

func TestPseudoGroups(t *testing.T) {
	s := serve(t, cluster(now.Add(-2*time.Hour), now, seed))
	f := func(query, want string) {
		t.Helper()
		var names []string
		for _, g := range at(t, s.get("/cost/hourly?start=now-2h&"+query), "groups").([]any) {
			names = append(names, at(t, g, "name").(string))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: groups %s, want %s", query, got, want)
		}
	}
	f("aggregate=namespace", "__idle__ __system__ __unattributed__ blog ml shop")
	f("aggregate=workload", "__idle__ __system__ __unattributed__ ml-training web")
	f("aggregate=workload_type", "__idle__ __system__ __unattributed__ ml_training web")
	f("aggregate=workload_kind", "__idle__ __system__ __unattributed__ deployment job")
	f("aggregate=cluster,namespace", "c1:__idle__ c1:__system__ c1:__unattributed__ c1:blog c1:ml c1:shop")
	f("aggregate=cluster", "c1")
	f("aggregate=node", "n1")
	f("aggregate=namespace&namespace=shop", "shop")
	f("aggregate=namespace&workload_type=web", "blog shop")
	f("aggregate=namespace&workload_type=system", "")
	f("aggregate=namespace&workload=shop:web", "shop")

	g := at(t, s.get("/cost/hourly?start=now-1h&aggregate=cluster,namespace"), "groups", 3)
	if at(t, g, "cluster") != "c1" || at(t, g, "namespace") != "blog" {
		t.Errorf("a group carries %v", g)
	}
}

func TestCSV(t *testing.T) {
	b := cluster(now.Truncate(time.Hour).Add(-time.Hour), now, seed)
	for i := range b.charges {
		if b.charges[i].Holder.Workload.Namespace == "shop" {
			h := *b.charges[i].Holder
			h.Workload.Namespace = "=shop, \"한글\""
			b.charges[i].Holder = &h
		}
	}
	s := serve(t, b)
	res, body := s.do("GET", "/cost/hourly?start=now-3h&aggregate=namespace&format=csv", "")
	if ct := res.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/csv") || !strings.Contains(res.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("Content-Type %q, Content-Disposition %q", ct, res.Header.Get("Content-Disposition"))
	}
	lines, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines[0], ","); got != "hour,partial,namespace,energy_kwh,idle_energy_kwh,electricity_cost,cooling_cost,carbon_cost,total_cost,carbon_kg,currency,coverage,cost_model,implied_pue,implied_carbon_kg_per_kwh" {
		t.Errorf("header %s", got)
	}
	// Two hours without data keep a line each; two hours with six groups.
	if len(lines) != 1+2+2*6 {
		t.Fatalf("%d lines:\n%s", len(lines), body)
	}
	if got := strings.Join(lines[1], ","); got != "2026-03-10T09:00:00Z,true,,,,,,,,,USD,0,seed,2.3,1" {
		t.Errorf("an hour without data: %s", got)
	}
	if got := lines[3][2]; got != "'=shop, \"한글\"" {
		t.Errorf("a name that looks like a formula: %s", got)
	}
}

func TestSeveralPrices(t *testing.T) {
	first, then := oneKWh(seed), oneKWh(physical)
	first.charges = append(first.charges, then.charges...)
	v := serve(t, first).get("/cost/hourly?start=now-3h")
	near(t, "total_cost", num(t, v, "totals", "total_cost"), 0.326+0.182)
	if num(t, v, "prices") != 2 || at(t, v, "cost_model") != nil || at(t, v, "implied_pue") != nil || at(t, v, "currency") != "USD" {
		t.Errorf("basis of two prices: %v", v)
	}

	euro := seed
	euro.Currency = "EUR"
	both := oneKWh(seed)
	both.charges = append(both.charges, oneKWh(euro).charges...)
	v = serve(t, both).get("/cost/hourly?start=now-3h")
	near(t, "energy in two currencies", num(t, v, "totals", "energy_kwh"), 2)
	if at(t, v, "totals", "total_cost") != nil || at(t, v, "totals", "currency") != nil {
		t.Errorf("money in two currencies was added: %v", v["totals"])
	}
}

func TestCostCurrent(t *testing.T) {
	s := serve(t, cluster(now.Add(-time.Hour), now, seed))
	v := s.get("/cost/current")
	// The node draws 210 J a minute: 3.5 W.
	near(t, "energy of an hour", num(t, v, "cost", "energy_kwh"), 3.5/1000)
	near(t, "cost of an hour", num(t, v, "cost", "total_cost"), 0.326*3.5/1000)
	if v["measured_from"] != "2026-03-10T12:25:00Z" || v["measured_to"] != "2026-03-10T12:30:00Z" || v["period"] != "1 hour" {
		t.Errorf("measured %v to %v, period %v", v["measured_from"], v["measured_to"], v["period"])
	}
	near(t, "a namespace", num(t, s.get("/cost/current?namespace=shop"), "cost", "energy_kwh"), 40.0/60/1000)
	near(t, "a workload", num(t, s.get("/cost/current?workload=c1:ml:job:ml-training"), "cost", "idle_energy_kwh"), 10.0/60/1000)
	var sum float64
	v = s.get("/cost/current?aggregate=workload_type")
	for _, g := range at(t, v, "groups").([]any) {
		sum += num(t, g, "energy_kwh")
	}
	near(t, "groups", sum, num(t, v, "cost", "energy_kwh"))

	t.Run("two minutes of data make an hour too", func(t *testing.T) {
		v := serve(t, cluster(now.Add(-140*time.Second), now, seed)).get("/cost/current")
		near(t, "coverage", num(t, v, "cost", "coverage"), 2.0/5)
		near(t, "energy", num(t, v, "cost", "energy_kwh"), 3.5/1000)
	})
	t.Run("what is not current is unknown", func(t *testing.T) {
		v := serve(t, cluster(now.Add(-time.Hour), now.Add(-10*time.Minute), seed)).get("/cost/current")
		if at(t, v, "cost", "total_cost") != nil || at(t, v, "measured_to") != nil || num(t, v, "cost", "coverage") != 0 || v["cost_model"] != "seed" {
			t.Errorf("cost of a silent cluster: %v", v)
		}
	})
}

func TestCostWorkload(t *testing.T) {
	s := serve(t, cluster(now.Add(-2*time.Hour), now, seed))
	for _, id := range []string{"c1:shop:deployment:web", "c1%3Ashop%3ADeployment%3Aweb", "shop:web"} {
		v := s.get("/cost/workload/" + id + "?start=2026-03-10T11:00:00Z&end=2026-03-10T12:00:00Z&step=30m")
		if v["workload_id"] != "c1:shop:deployment:web" || at(t, v, "workload", "workload_kind") != "deployment" || at(t, v, "workload", "workload_type") != "web" {
			t.Fatalf("%s: %v", id, v)
		}
		totals := at(t, v, "cost_breakdown", "totals")
		near(t, "energy", num(t, totals, "energy_kwh"), 60*40/3.6e6)
		var energy, cost, series float64
		components := at(t, v, "cost_breakdown", "components").(map[string]any)
		for _, c := range components {
			energy += num(t, c, "energy_kwh")
			cost += num(t, c, "total_cost")
		}
		near(t, "components' energy", energy, num(t, totals, "energy_kwh"))
		near(t, "components' cost", cost, num(t, totals, "total_cost"))
		near(t, "dram's share", num(t, components, "dram", "share"), 0.25)
		steps := at(t, v, "cost_breakdown", "series").([]any)
		for _, st := range steps {
			series += num(t, st, "total_cost")
			near(t, "mean power", num(t, st, "mean_watts"), 40.0/60)
		}
		near(t, "series", series, num(t, totals, "total_cost"))
		containers := at(t, v, "cost_breakdown", "containers").([]any)
		if len(steps) != 2 || len(containers) != 2 || num(t, v, "cost_breakdown", "containers_total") != 2 {
			t.Errorf("%d steps, %d containers", len(steps), len(containers))
		}
		near(t, "a container", num(t, containers[0], "energy_kwh"), 60*20/3.6e6)
	}

	p := s.problem(300, "GET", "/cost/workload/web", "")
	want := []Candidate{{"c1:blog:deployment:web", "/cost/workload/c1:blog:deployment:web"}, {"c1:shop:deployment:web", "/cost/workload/c1:shop:deployment:web"}}
	if got, _ := json.Marshal(p.Candidates); string(got) != mustJSON(t, want) {
		t.Errorf("candidates %s", got)
	}
	for _, c := range p.Candidates {
		s.get(c.Href)
	}
	s.problem(404, "GET", "/cost/workload/shop:nobody", "")
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
