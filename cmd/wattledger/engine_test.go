package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/internal/demo"
	"github.com/wattledger/wattledger/transform/tariff"
)

// Names that quoting, escaping and splitting have to leave as they are.
var oddNames = map[string]string{
	"shop":     `sh op,a=b "q" 한글\`,
	"checkout": `check' OR '1'='1`,
}

// feedOddSteps sends some minutes of the simulated cluster with odd names.
func feedOddSteps(t *testing.T, sim *cluster.Cluster, url string, steps int) {
	t.Helper()
	client := remotewrite.Client{URL: url + "/api/v1/write", UserAgent: "test", HTTP: http.DefaultClient, Format: remotewrite.Format{Version: 2, Encoding: "snappy"}}
	for step := range steps {
		sim.Advance(sim.Now().Add(time.Minute))
		samples := demo.Samples(sim, nil, func(name string, labels []cluster.Label) bool { return demo.Needed(name, labels, step%10 == 0) })
		for i, s := range samples {
			samples[i].Labels = slices.Clone(s.Labels)
			for k, l := range s.Labels {
				if odd, ok := oddNames[l.Value]; ok {
					samples[i].Labels[k].Value = odd
				}
			}
		}
		body, err := client.Format.Encode(samples)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Post(t.Context(), body); err != nil {
			t.Fatal(err)
		}
	}
}

// TestQueryEngines asks every route that asks the books with either engine: the
// answers are the same. Without InfluxDB they still are.
func TestQueryEngines(t *testing.T) {
	server := startInflux(t, false)
	dir := t.TempDir()
	now := time.Now().Truncate(time.Minute)
	with := func(engine string) func(c *configs.Config) {
		return func(c *configs.Config) {
			c.InfluxDB.URL, c.Query.Engine = server.URL, engine
			// What is asked of the present is asked of the same moment each time.
			c.API.Now = func() time.Time { return now.Add(30 * time.Second) }
			// The price changes within the hour before the last.
			rate, at := 0.31, now.Add(-time.Hour).UTC().Truncate(time.Hour)
			c.Transform.Cost.Bands = []tariff.Band{{From: at.Add(-90 * time.Minute).Format("15:04"), To: at.Add(-30 * time.Minute).Format("15:04"), ElectricityPerKWh: &rate}}
		}
	}
	l := startLine(t, dir, with("local"))
	sim, err := demo.NewCluster(now.Add(-160 * time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	feedOddSteps(t, sim, l.url, 159)
	hasFollowed(t, l.url, dir, "influxdb")
	paths := questions(t, l.url, now)
	want := map[string]any{}
	for _, p := range paths {
		want[p] = answer(t, l.url+p)
	}
	l.stop()

	l = startLine(t, dir, with("influx"))
	sums := func(of string) (n float64) {
		_, text, err := get(l.url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`\nwattledger_query_sums_` + of + `total (\S+)`).FindStringSubmatch(text); m != nil {
			fmt.Sscan(m[1], &n)
		}
		return n
	}
	if err := eventually("InfluxDB is asked", func() error {
		answer(t, l.url+"/cost/hourly")
		if sums("") == sums("from_books_") {
			return fmt.Errorf("%v sums came from the books", sums(""))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	all, books := sums(""), sums("from_books_")
	for _, p := range paths {
		if diff := differs(want[p], answer(t, l.url+p), ""); diff != "" {
			t.Errorf("%s: %s", p, diff)
		}
	}
	all, books = sums("")-all, sums("from_books_")-books
	if byContainer := 12.0; books < byContainer || books > all/2 {
		t.Errorf("the books answered %v sums of %v, want the %v by container and few more", books, all, byContainer)
	}
	t.Logf("the books answered %v sums of %v", books, all)

	present := []string{"/cost/current", "/cost/current?aggregate=namespace", "/cost/current?aggregate=workload&namespace=" + url.QueryEscape(oddNames["shop"]),
		"/power/current", "/power/containers", "/power/nodes"}
	for _, p := range present {
		want[p] = answer(t, l.url+p)
	}
	server.Stop()
	all, books = sums(""), sums("from_books_")
	for _, p := range append(present, paths...) {
		if diff := differs(want[p], answer(t, l.url+p), ""); diff != "" {
			t.Errorf("without InfluxDB %s: %s", p, diff)
		}
	}
	if all, books = sums("")-all, sums("from_books_")-books; books != all {
		t.Errorf("without InfluxDB the books answered %v sums of %v", books, all)
	}
}

// questions are the routes with what they take, over whole hours and parts of them.
func questions(t *testing.T, base string, now time.Time) (list []string) {
	t.Helper()
	ns, wl := url.QueryEscape(oddNames["shop"]), url.QueryEscape(oddNames["checkout"])
	whole := "start=" + now.Add(-5*time.Hour).Truncate(time.Hour).Format(time.RFC3339) + "&end=" + now.Truncate(time.Hour).Format(time.RFC3339)
	parts := "start=" + now.Add(-127*time.Minute).Format(time.RFC3339) + "&end=" + now.Add(-13*time.Minute).Format(time.RFC3339)
	within := "start=" + now.Add(-70*time.Minute).Format(time.RFC3339) + "&end=" + now.Add(-50*time.Minute).Format(time.RFC3339)
	for _, period := range []string{whole, parts, within} {
		for _, aggregate := range []string{"namespace", "workload", "workload_type", "cluster", "node", "workload_type,namespace"} {
			list = append(list, "/cost/hourly?"+period+"&aggregate="+aggregate)
		}
		for _, match := range []string{"namespace=" + ns, "namespace=" + ns + "&workload=" + wl, "workload_type=web", "cluster=demo", "cluster=none", "workload=nobody"} {
			list = append(list, "/cost/hourly?"+period+"&"+match, "/cost/hourly?"+period+"&aggregate=namespace&"+match)
		}
		list = append(list, "/cost/hourly?"+period+"&aggregate=namespace&format=csv", "/profile/workload-types?"+period)
		id := url.PathEscape("demo:" + oddNames["shop"] + ":deployment:" + oddNames["checkout"])
		for _, step := range []string{"1m", "5m", "1h", "1d"} {
			list = append(list, "/cost/workload/"+id+"?"+period+"&step="+step)
		}
	}
	return list
}

// answer returns what a route answers, as JSON or as lines.
func answer(t *testing.T, url string) any {
	t.Helper()
	status, text, err := get(url)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s %v", url, status, text, err)
	}
	if !strings.HasPrefix(text, "{") {
		return strings.Split(text, "\n")
	}
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	delete(v, "timestamp")
	return v
}

// differs tells the first difference of two answers: numbers with a fraction may
// differ by a billionth, all else is the same.
func differs(a, b any, path string) string {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return fmt.Sprintf("%s: %v, want %v", path, b, a)
		}
		for k := range x {
			if d := differs(x[k], y[k], path+"."+k); d != "" {
				return d
			}
		}
		return ""
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return fmt.Sprintf("%s: %v, want %v", path, b, a)
		}
		for i := range x {
			if d := differs(x[i], y[i], fmt.Sprintf("%s[%d]", path, i)); d != "" {
				return d
			}
		}
		return ""
	case json.Number:
		y, ok := b.(json.Number)
		if ok && strings.ContainsAny(x.String(), ".e") {
			f, _ := x.Float64()
			g, _ := y.Float64()
			if math.Abs(f-g) <= 1e-9*math.Max(math.Abs(f), math.Abs(g)) {
				return ""
			}
		}
	}
	if !reflect.DeepEqual(a, b) {
		return fmt.Sprintf("%s: %v, want %v", path, b, a)
	}
	return ""
}
