package opencost

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

var (
	now  = time.Date(2026, 6, 10, 12, 30, 20, 0, time.UTC) // a Wednesday
	usd  = power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}
	euro = power.Price{Model: "seed", Currency: "EUR", ElectricityPerKWh: 0.3}
)

// books hold what a few containers used in each hour of two days.
type books struct {
	store.Querier
	of []holder
}

type holder struct {
	cluster, node, namespace, kind, workload, pod, container string
	tags                                                     power.Tags
	energy                                                   power.Energy
	price                                                    power.Price
}

func (h *holder) value(d store.Dimension) string {
	if pseudo(h.namespace) && d != store.Cluster && d != store.Node {
		return h.namespace
	}
	switch d {
	case store.Cluster:
		return h.cluster
	case store.Node:
		return h.node
	case store.Namespace:
		return h.namespace
	case store.WorkloadKind:
		return h.kind
	case store.Workload:
		return h.workload
	case store.Pod:
		return h.pod
	case store.Container:
		return h.container
	case store.WorkloadType:
		return "web"
	}
	return d.Value(h.tags)
}

func (b *books) Sum(_ context.Context, q store.Query) ([]store.Row, error) {
	var rows []store.Row
	for at := now.Add(-48 * time.Hour).Truncate(time.Hour); at.Before(now); at = at.Add(time.Hour) {
		ms := at.UnixMilli()
		if ms < q.FromMs || ms >= q.ToMs {
			continue
		}
		for i := range b.of {
			h := &b.of[i]
			row := store.Row{StartMs: q.FromMs, Energy: h.energy, Price: h.price, Holders: 1, SeenMs: 3_600_000, HeldMs: 3_600_000, LastMs: min(ms+3_600_000, now.UnixMilli())}
			if q.StepMs > 0 {
				row.StartMs = ms - ms%q.StepMs
			}
			ok := true
			for d, asked := range q.Match {
				ok = ok && store.Matches(asked, h.value(d))
			}
			if !ok {
				continue
			}
			for _, d := range q.GroupBy {
				row.Group = append(row.Group, h.value(d))
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (b *books) Tags(context.Context, map[store.Dimension]string, int) ([]store.TagRow, error) {
	return []store.TagRow{{Dimension: store.Label("team")}, {Dimension: store.Annotation("x")}, {Dimension: "team"}}, nil
}

func energy(joules float64) power.Energy {
	return power.Energy{power.CPU: power.Microjoules(joules * 1e6), power.DRAM: power.Microjoules(joules * 2e5), power.GPU: power.Microjoules(joules * 3e6), power.Other: 12345}
}

func testBooks() *books {
	team := func(v string) power.Tags {
		return power.TagsOf([]power.Tag{{Kind: power.PodLabel, Name: "team", Value: v}, {Kind: power.PodLabel, Name: "app_kubernetes_io_name", Value: "a/b"}})
	}
	return &books{of: []holder{
		{"c1", "n1", "shop", "deployment", "web", "web-1", "nginx", team("red"), energy(100000), usd},
		{"c1", "n1", "shop", "statefulset", "db", "db-0", "pg", team("blue"), energy(50000), usd},
		{"c1", "n2", "kube-system", "daemonset", "proxy", "proxy-1", "proxy", "", energy(7000), usd},
		{"c1", "n2", "shop", "pod", "bare", "bare", "one", "", energy(3000), usd},
		{"c1", "n1", "__idle__", "idle", "", "", "", "", energy(40000), usd},
		{"c1", "n2", "__idle__", "idle", "", "", "", "", energy(20000), usd},
		{"c1", "n1", "__system__", "system", "", "", "", "", energy(5000), usd},
		{"c1", "n1", "__unattributed__", "unattributed", "", "", "", "", energy(-100), usd},
	}}
}

func server(b *books) *Server { return New(report.New(b, nil), func() time.Time { return now }) }

// ask asks a route and returns what JSON makes of its answer.
func ask(t *testing.T, s *Server, url string) (sets []map[string]map[string]any, err error) {
	t.Helper()
	r := httptest.NewRequest("GET", url, nil)
	path := strings.TrimPrefix(r.URL.Path, "/model")
	h := s.Routes()[path]
	if h == nil {
		t.Fatalf("no route %s", path)
	}
	answer, err := h(t.Context(), r)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(answer.(Envelope).Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &sets); err != nil {
		t.Fatalf("%s: %v in %s", url, err, text)
	}
	return sets, nil
}

func total(sets []map[string]map[string]any) (sum float64) {
	for _, set := range sets {
		for _, row := range set {
			sum += row["totalCost"].(float64)
		}
	}
	return sum
}

func names(set map[string]map[string]any) map[string]bool {
	list := map[string]bool{}
	for name := range set {
		list[name] = true
	}
	return list
}

// However the books are asked, rows with idle add up to the whole, and without it to
// the whole but idle.
func TestConservation(t *testing.T) {
	s := server(testBooks())
	whole := 0.0
	for _, h := range testBooks().of {
		whole += 36 * usd.Cost(h.energy.Total()).Total() // hours of yesterday and today until now
	}
	window := "window=2026-06-09T00:00:00Z,2026-06-10T12:00:00Z"
	idle := 36 * usd.Cost(energy(60000).Total()+12345).Total()
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	for _, aggregate := range []string{"", "all", "cluster", "node", "namespace", "pod", "container", "controller", "controllerKind", "deployment", "service", "label:team", "team",
		"label:app.kubernetes.io/name", "annotation:none", "workloadType", "cluster,namespace", "namespace,controllerKind,controller,pod"} {
		for _, cut := range []string{"", "&accumulate=true", "&step=1d", "&step=5h", "&accumulate=day", "&step=1h&accumulate=week"} {
			for _, share := range []string{"", "&shareIdle=true", "&shareIdle=even", "&shareIdle=true&idleByNode=true", "&shareNamespaces=kube-system", "&shareIdle=true&shareNamespaces=kube-system&shareLabels=team:red"} {
				url := "/allocation?" + window + "&aggregate=" + aggregate + cut + share
				with, err := ask(t, s, url+"&includeIdle=true")
				if err != nil {
					t.Fatal(err)
				}
				near(url, total(with), whole)
				without, err := ask(t, s, url)
				if err != nil {
					t.Fatal(err)
				}
				near(url+" without idle", total(without), whole-idle)
				for _, set := range with {
					for name, row := range set {
						sum := row["cpuCost"].(float64) + row["ramCost"].(float64) + row["gpuCost"].(float64) + row["externalCost"].(float64) + row["sharedCost"].(float64)
						near(name, row["totalCost"].(float64), sum)
						parts := strings.Count(aggregate, ",") + 1
						if aggregate == "" {
							parts = 5
						}
						if name != "__idle__" && strings.Count(name, "/") != parts-1 {
							t.Errorf("%s: %q has not %d parts", url, name, parts)
						}
						if row["minutes"].(float64) <= 0 || row["name"] != name || row["properties"] == nil {
							t.Errorf("%s: %v", url, row)
						}
					}
				}
			}
		}
	}
}

func TestNames(t *testing.T) {
	s := server(testBooks())
	f := func(aggregate string, want ...string) {
		t.Helper()
		sets, err := ask(t, s, "/allocation/compute?window=1d&accumulate=true&includeIdle=true&aggregate="+aggregate)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]bool{"__idle__": true}
		for _, name := range want {
			all[name] = true
		}
		if got := names(sets[0]); fmt.Sprint(got) != fmt.Sprint(all) {
			t.Errorf("by %s: %v, want %v", aggregate, got, all)
		}
	}
	f("namespace", "shop", "kube-system", "__system__", "__unattributed__")
	f("controller", "deployment:web", "statefulset:db", "daemonset:proxy", "__unallocated__", "__system__", "__unattributed__")
	f("ControllerKind", "deployment", "statefulset", "daemonset", "__unallocated__", "__system__", "__unattributed__")
	f("deployment", "web", "__unallocated__", "__system__", "__unattributed__")
	f("label:team", "red", "blue", "__unallocated__", "__system__", "__unattributed__")
	f("label:app.kubernetes.io/name", "a_b", "__unallocated__", "__system__", "__unattributed__")
	f("cluster,service", "c1/__unallocated__", "c1/__system__", "c1/__unattributed__")
	f("cluster,namespace", "c1/shop", "c1/kube-system", "c1/__system__", "c1/__unattributed__")
	f("namespace,namespace", "shop", "kube-system", "__system__", "__unattributed__")
}

func TestWindows(t *testing.T) {
	f := func(window, from, to string) {
		t.Helper()
		w, err := parseWindow(window, now, time.UTC)
		if from == "" {
			if err == nil {
				t.Errorf("%q is taken: %v", window, w)
			}
			return
		}
		if err != nil || w.from.Format("01-02T15:04:05") != from || w.to.Format("01-02T15:04:05") != to {
			t.Errorf("%q: %v, %v; want %s to %s", window, w, err, from, to)
		}
	}
	f("today", "06-10T00:00:00", "06-11T00:00:00")
	f("yesterday", "06-09T00:00:00", "06-10T00:00:00")
	f("week", "06-07T00:00:00", "06-10T12:30:20")
	f("lastweek", "05-31T00:00:00", "06-07T00:00:00")
	f("month", "06-01T00:00:00", "06-10T12:30:20")
	f("lastmonth", "05-01T00:00:00", "06-01T00:00:00")
	f("10m", "06-10T12:21:00", "06-10T12:31:00")
	f("2h", "06-10T11:00:00", "06-10T13:00:00")
	f("7d", "06-04T00:00:00", "06-11T00:00:00")
	f("1w", "06-04T00:00:00", "06-11T00:00:00")
	f("30m offset 15m", "06-10T11:45:20", "06-10T12:15:20")
	f("1d offset 1w", "06-02T12:30:20", "06-03T12:30:20")
	f("2026-06-01T00:00:00Z,2026-06-02T00:00:00Z", "06-01T00:00:00", "06-02T00:00:00")
	f("2026-06-01T09:00:00 09:00,2026-06-02T00:00:00Z", "06-01T00:00:00", "06-02T00:00:00")
	f("1780272000,1780358400", "06-01T00:00:00", "06-02T00:00:00")
	f("1780272000-1780358400", "06-01T00:00:00", "06-02T00:00:00")
	for _, bad := range []string{"", "tomorrow", "5x", "0d", "-3d", "1d,2d", "2026-06-02T00:00:00Z,2026-06-01T00:00:00Z", "2026-06-01T00:00:00Z,2026-06-01T00:00:00Z", "9999999999999999999d"} {
		f(bad, "", "")
	}
}

func TestSets(t *testing.T) {
	s := server(testBooks())
	f := func(query string, want int) {
		t.Helper()
		sets, err := ask(t, s, "/allocation?"+query)
		if err != nil || len(sets) != want {
			t.Errorf("%s: %d sets, %v; want %d", query, len(sets), err, want)
		}
	}
	f("window=2h&step=25m", 5)
	f("window=3d&step=1d", 3)
	f("window=1970-01-01T00:00:00Z,1970-01-02T00:00:00Z", 1)
	f("window=2099-01-01T00:00:00Z,2099-01-02T00:00:00Z", 1)
	f("window=2026-06-08T00:00:00Z,2026-06-10T00:00:00Z&accumulate=day", 2)
	f("window=2026-05-31T00:00:00Z,2026-06-14T00:00:00Z&accumulate=week", 2)
	f("window=2026-01-01T00:00:00Z,2026-07-01T00:00:00Z&accumulate=quarter", 2)
	f("window=2026-05-01T00:00:00Z,2026-07-01T00:00:00Z&step=1h&accumulateBy=month&accumulate=false", 2)
	f("window=1w&step=1w", 2) // the Sunday in between divides it
	f("window=2026-06-09T00:00:00Z,2026-06-09T23:59:59Z&step=1h&includeIdle=false&idleByNode=false&includeProportionalAssetResourceCosts=false&format=json&aggregate=namespace,pod,container", 24)
}

func TestFilters(t *testing.T) {
	s := server(testBooks())
	f := func(filter string, want ...string) {
		t.Helper()
		sets, err := ask(t, s, "/allocation?window=1d&accumulate=true&aggregate=pod&filter="+strings.NewReplacer("+", "%2B", " ", "%20", `"`, "%22", "#", "%23").Replace(filter))
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			return
		}
		all := map[string]bool{}
		for _, name := range want {
			all[name] = true
		}
		if got := names(sets[0]); fmt.Sprint(got) != fmt.Sprint(all) {
			t.Errorf("%s: %v, want %v", filter, got, all)
		}
	}
	f(`namespace:"shop"`, "web-1", "db-0", "bare")
	f(`namespace:"shop"+controllerKind:"deployment"`, "web-1")
	f(`namespace:"shop" controllerKind:"deployment"`, "web-1")
	f(`controllerName:"deployment:web"`, "web-1")
	f(`namespace:"shop" + (pod:"web-1" | pod:"bare")`, "web-1", "bare")
	f(`namespace!:"shop","x"`, "proxy-1")
	f(`pod~:"-"`, "web-1", "db-0", "proxy-1")
	f(`pod<~:"w","d"`, "web-1", "db-0")
	f(`pod~>:"-0"`, "db-0")
	f(`pod!~>:"-0"+namespace:"shop"`, "web-1", "bare")
	f(`label[team]:"red"`, "web-1")
	f(`label[app.kubernetes.io/name]:"a/b"`, "web-1", "db-0")
	f(`label[team]:"__unallocated__"`, "proxy-1", "bare")
	f(`label[team]!:"red"`, "db-0", "proxy-1", "bare")
	f(`label:"team"`, "web-1", "db-0")
	f(`label!:"team"`, "proxy-1", "bare")
	f(`team:"blue"`, "db-0")
	f(`controllerKind:"__unallocated__"`, "bare")
	f(`services:"web"`)
	f(`pod:"\"web-1\\"`)
	f(`cluster:"c1"`, "web-1", "db-0", "proxy-1", "bare", "__system__", "__unattributed__")
	f(` `, "web-1", "db-0", "proxy-1", "bare", "__system__", "__unattributed__")
	for bad, want := range map[string]string{
		`namespace`: "want an operator", `namespace:`: "double quotes", `namespace:"a`: "a quote is not closed", `(namespace:"a"`: "parenthesis is not closed",
		`namespce:"a"`: `did you mean "namespace"`, `namespace:"a"+pod:"b"|pod:"c"`: "put one of them in parentheses", `namespace:"a")`: "not understood",
		`label[x:"a"`: "bracket is not closed", `+`: "want a field", strings.Repeat("(", 99): "nested too deeply", `namespace:"a"한`: "not understood",
	} {
		if _, err := parseFilter(bad); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "at character") {
			t.Errorf("%s: %v, want %s", bad, err, want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`namespace:"shop"+(label[a]!~:"b","c"|pod<~:"x")`)
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parseFilter(text); err == nil && p != nil {
			p.root(make([]string, len(p.dims)))
		}
	})
}

// What clients send is taken, and what nobody sends is named.
func TestParameters(t *testing.T) {
	s := server(testBooks())
	for _, url := range []string{
		"/model/allocation?window=1d&aggregate=cluster,namespace&accumulate=true&includeIdle=true&idle=true&filterNamespaces=",
		"/allocation?window=14d&aggregate=pod&step=1d&accumulate=false",
		"/allocation/compute?window=7d&aggregate=namespace&includeIdle=true&accumulate=all&metrics=cpuCost,ramCost&filter=",
		"/allocation?window=1d&filterNamespaces=sh*,x&filterLabels=team:red&resolution=1m&sharelb=false&costUnit=cumulative&reconcile=false&shareCost=0",
		"/model/assets?window=1d&accumulate=true&filterTypes=Node",
	} {
		if _, err := ask(t, s, url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for url, want := range map[string]string{
		"/allocation":                                    "window is needed",
		"/allocation?window=1d&windw=2d":                 `did you mean "window"`,
		"/allocation?window=1d&aggregate=namspace":       `did you mean "namespace"`,
		"/allocation?window=1d&includeIdle=maybe":        "allowed are true and false",
		"/allocation?window=1d&accumulate=sometimes":     "accumulate",
		"/allocation?window=1d&step=0m":                  "step",
		"/allocation?window=1d&window=2d":                "more than once",
		"/allocation?window=1d&limit=-1":                 "limit",
		"/allocation?window=1d&shareCost=5":              "shareCost",
		"/allocation?window=9w&step=1m":                  "more than 10000 sets",
		"/allocation?window=1d&timezone=Mars":            "timezone",
		"/allocation/autocomplete?window=1d&field=color": "field",
		"/assets?window=1d&filter=namespace:%22x%22":     "filtered by cluster and node",
		"/allocation?window=1d&costParts=water":          "costParts",
		"/allocation?window=1d&filterLabels=team":        "NAME:VALUE",
		"/assets?window=1d&filterTypes=Disk":             "there are nodes alone",
	} {
		_, err := ask(t, s, url)
		wrong, ok := err.(*Error)
		if !ok || wrong.Status != 400 || !strings.Contains(wrong.Message, want) {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
	b := testBooks()
	b.of[1].price = euro
	if _, err := ask(t, server(b), "/allocation?window=1d&aggregate=namespace"); err == nil || err.(*Error).Status != 409 {
		t.Errorf("several currencies: %v", err)
	}
}

// Sharing idle energy without including it does nothing, as in OpenCost.
func TestIdle(t *testing.T) {
	s := server(testBooks())
	get := func(query string) map[string]map[string]any {
		t.Helper()
		sets, err := ask(t, s, "/allocation?window=1d&accumulate=true&aggregate=namespace"+query)
		if err != nil {
			t.Fatal(err)
		}
		return sets[0]
	}
	plain, alone, shared := get(""), get("&shareIdle=true"), get("&shareIdle=true&includeIdle=true")
	cost := func(set map[string]map[string]any, name, field string) float64 { return set[name][field].(float64) }
	if cost(plain, "shop", "totalCost") != cost(alone, "shop", "totalCost") {
		t.Error("idle energy is shared that is not included")
	}
	if shared["__idle__"] != nil || cost(shared, "shop", "cpuCostIdle") <= 0 || cost(shared, "shop", "totalCost") <= cost(plain, "shop", "totalCost") || cost(shared, "shop", "sharedCost") != 0 {
		t.Errorf("shared: %v", shared["shop"])
	}
	namespaces := get("&shareNamespaces=kube-system")
	if namespaces["kube-system"] != nil || cost(namespaces, "shop", "sharedCost") <= 0 || cost(namespaces, "shop", "cpuCost") != cost(plain, "shop", "cpuCost") {
		t.Errorf("shared namespaces: %v", namespaces["shop"])
	}
	if sets, err := ask(t, s, "/model/allocation?window=1d&aggregate=namespace"); err != nil || sets[0]["__idle__"] == nil {
		t.Errorf("under /model idle is included: %v, %v", sets, err)
	}
}
