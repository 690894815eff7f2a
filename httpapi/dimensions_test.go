package httpapi

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
)

// teams tags the containers of books: each is of a team but those of one namespace.
func teams(b *books) {
	tagged := map[*power.Holder]*power.Holder{}
	for i := range b.charges {
		h := b.charges[i].Holder
		if h.Kind != power.Container {
			continue
		}
		if tagged[h] == nil {
			next := *h
			tags := []power.Tag{{Kind: power.PodLabel, Name: "app_kubernetes_io_name", Value: h.Workload.Name}}
			if h.Workload.Namespace != "blog" {
				tags = append(tags, power.Tag{Kind: power.DimensionTag, Name: "team", Value: "team-" + h.Workload.Namespace})
			}
			next.Tags = power.TagsOf(tags)
			tagged[h] = &next
		}
		b.charges[i].Holder = tagged[h]
	}
}

func TestDimensions(t *testing.T) {
	b := cluster(now.Add(-5*time.Hour), now, seed)
	teams(b)
	configured := func(c *Config, _ *Operations) { c.Dimensions = []string{"app", "team"} }
	for name, s := range map[string]*server{"plain": serve(t, b, configured), "engine": serve(t, stored(t, b), configured)} {
		t.Run(name, func(t *testing.T) {
			get := func(query string) (energy, cost float64, groups []any) {
				t.Helper()
				answer := s.get("/cost/hourly?start=-4h&" + query)
				totals := answer["totals"].(map[string]any)
				return totals["energy_kwh"].(float64), totals["total_cost"].(float64), answer["groups"].([]any)
			}
			wholeEnergy, wholeCost, _ := get("aggregate=namespace")
			for _, dims := range []string{"team", "label:app.kubernetes.io/name", "app", "annotation:none", "cluster,team,namespace"} {
				energy, cost, groups := get("aggregate=" + url.QueryEscape(dims))
				if energy != wholeEnergy || cost != wholeCost {
					t.Errorf("by %s: %v kWh for %v, by namespace %v for %v", dims, energy, cost, wholeEnergy, wholeCost)
				}
				if len(groups) == 0 || groups[0].(map[string]any)[strings.Split(dims, ",")[0]] == nil {
					t.Errorf("by %s: no group has it as a field: %v", dims, groups)
				}
			}
			_, _, byTeam := get("aggregate=team")
			var names []string
			for _, g := range byTeam {
				names = append(names, g.(map[string]any)["name"].(string))
			}
			for _, want := range []string{"__idle__", "__unassigned__"} {
				if !slices.Contains(names, want) {
					t.Errorf("no group %s among %v", want, names)
				}
			}
			i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, "team-") })
			if i < 0 {
				t.Fatalf("no team among %v", names)
			}
			among := byTeam[i].(map[string]any)["energy_kwh"].(float64)
			if energy, _, _ := get("team=" + names[i]); energy != among {
				t.Errorf("of %s: %v, among all %v", names[i], energy, among)
			}
			// Lists are any of them.
			if energy, _, _ := get("team=" + strings.Join(names, ",")); energy != wholeEnergy {
				t.Errorf("of all teams: %v, want %v", energy, wholeEnergy)
			}
			res, body := s.do("GET", "/dimensions?limit=1", "")
			for _, want := range []string{`"name":"team","kind":"configured"`, `"label:app_kubernetes_io_name","kind":"label"`, `"name":"pod","kind":"built_in"`} {
				if res.StatusCode != 200 || !strings.Contains(body, want) {
					t.Errorf("dimensions: %d, no %s in %s", res.StatusCode, want, body)
				}
			}
		})
	}
	s := serve(t, b, configured)
	for query, want := range map[string]string{
		"aggregate=taem":      `\"taem\" is not a dimension; did you mean \"team\"?`,
		"aggregate=label:":    `\"label:\" is not a dimension`,
		"aggregate=team,team": "names team twice",
		"taem=x":              `did you mean \"team\"?`,
		"label:=x":            "is not a parameter of this route",
		"team=":               "is empty",
		"namespace=a%00b":     "NUL",
	} {
		if res, body := s.do("GET", "/cost/hourly?"+query, ""); res.StatusCode != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", query, res.StatusCode, body, want)
		}
	}
}

// TestShare asks for shared costs as a user would: sums stay, parts stand apart, and
// what cannot be is named.
func TestShare(t *testing.T) {
	b := cluster(now.Add(-5*time.Hour), now, seed)
	teams(b)
	s := serve(t, stored(t, b), func(c *Config, _ *Operations) { c.Dimensions = []string{"team"} })
	totals := func(query string) map[string]any {
		t.Helper()
		return s.get("/cost/hourly?start=-4h&" + query)["totals"].(map[string]any)
	}
	plain := totals("aggregate=team")
	for _, query := range []string{
		"share=idle", "share=idle,system,unattributed,blog&share_by=even", "share=team%3Dteam-shop", "share=idle&share_by=weights&share_weights=team-shop:2,nobody:1",
	} {
		got := totals("aggregate=team&" + query)
		if got["energy_kwh"] != plain["energy_kwh"] {
			t.Errorf("%s: %v kWh, want %v", query, got["energy_kwh"], plain["energy_kwh"])
		}
		own, shared := got["own"].(map[string]any)["energy_kwh"].(float64), got["shared"].(map[string]any)["energy_kwh"].(float64)
		if shared <= 0 || own <= 0 {
			t.Errorf("%s: own %v, shared %v", query, own, shared)
		}
		near(t, query, own+shared, got["energy_kwh"].(float64))
	}
	if _, body := s.do("GET", "/cost/hourly?start=-4h&aggregate=team&share=idle&format=csv", ""); !strings.Contains(body, "own_energy_kwh,own_cost,shared_energy_kwh,shared_cost\n") {
		t.Errorf("csv: %.300s", body)
	}
	for query, want := range map[string]string{
		"share=teem%3Dx": `\"teem\" is not a dimension`, "share=idle&share_by=half": `\"half\" is not known`,
		"share_by=even": "say by share what is shared", "share=idle&share_by=weights": "is needed with share_by=weights",
		"share=idle&share_by=weights&share_weights=a:1": "say by aggregate which",
		"share=idle&share_by=weights&share_weights=a:x": `\"a:x\" is not NAME:NUMBER`, "share=idle,,x": "has an empty part",
	} {
		if res, body := s.do("GET", "/cost/hourly?"+query, ""); res.StatusCode != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", query, res.StatusCode, body, want)
		}
	}
}
