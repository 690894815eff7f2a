package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// What each GET route has to show in the demo: the member of its answer that
// must not be empty, or a text for what is not JSON.
var demoRoutes = map[string]struct{ query, member, text string }{
	"/power/current":               {member: "data"},
	"/power/containers":            {member: "containers"},
	"/power/nodes":                 {member: "nodes"},
	"/cost/current":                {member: "cost"},
	"/cost/hourly":                 {query: "?aggregate=namespace", member: "cost_analysis"},
	"/cost/daily":                  {query: "?aggregate=namespace", member: "cost_analysis"},
	"/cost/monthly":                {query: "?aggregate=namespace", member: "cost_analysis"},
	"/dimensions":                  {text: `"name":"team","kind":"configured","values":["checkout","data"`},
	"/allocation":                  {query: "?window=2h&aggregate=namespace", text: `"shop":{"name":"shop"`},
	"/allocation/compute":          {query: "?window=2h&aggregate=namespace", text: `"shop":{"name":"shop"`},
	"/allocation/summary":          {query: "?window=2h&aggregate=namespace", text: `"shop":{"name":"shop"`},
	"/allocation/compute/summary":  {query: "?window=2h&aggregate=namespace", text: `"shop":{"name":"shop"`},
	"/allocation/autocomplete":     {query: "?window=2h&field=namespace", text: `"shop"`},
	"/assets":                      {query: "?window=2h", text: `"type":"Node"`},
	"/assets/autocomplete":         {query: "?window=2h&field=cluster", text: `"demo"`},
	"/clusterInfo":                 {text: `"id":"demo"`},
	"/getConfigs":                  {text: `"currencyCode":"USD"`},
	"/healthz":                     {text: `"healthy"`},
	"/cloudCost":                   {text: `"success"`},
	"/cloudCost/view/table":        {text: `"success"`},
	"/cloudCost/view/totals":       {text: `"success"`},
	"/cloudCost/view/graph":        {text: `"success"`},
	"/cloudCost/status":            {text: `"success"`},
	"/cloudCost/autocomplete":      {text: `"success"`},
	"/customCost/total":            {text: `"success"`},
	"/customCost/timeseries":       {text: `"success"`},
	"/cost/summary":                {text: "\"default_prices\":true"},
	"/cost/workload/{workload_id}": {member: "cost_breakdown"},
	"/profile/workload-types":      {member: "profiles"},
	"/":                            {text: "<html"},
	"/ui/":                         {text: "<html"},
	"/openapi.yaml":                {text: "openapi: \"3"},
	"/docs":                        {text: "<h1"},
	"/-/healthy":                   {text: `"healthy"`},
	"/health":                      {text: `"healthy"`},
	"/live":                        {text: `"healthy"`},
	"/-/ready":                     {text: "replay"},
	"/ready":                       {text: "replay"},
	"/metrics":                     {text: "wattledger_flush_rows_total"},
	"/debug/senders":               {text: "wattledger-demo"},
	"/debug/quarantine":            {text: `"quarantine":[`}, // the demo has nothing to set aside
	"/api/v1/status/config":        {text: "cost_model: seed"},
}

// TestDemoStory starts the demo as a newcomer does and asks every GET route
// that the service describes.
func TestDemoStory(t *testing.T) {
	temp := t.TempDir()
	p, err := startProcess(t.TempDir(), []string{"TMPDIR=" + temp}, "demo", "--web.listen-address=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	began := time.Now()

	var paths map[string]map[string]any
	err = eventually("description", func() error {
		_, text, err := get(p.url + "/openapi.yaml")
		if err != nil {
			return err
		}
		var described struct {
			Paths map[string]map[string]any `yaml:"paths"`
		}
		err = yaml.Unmarshal([]byte(text), &described)
		paths = described.Paths
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for path, methods := range paths {
		if methods["get"] == nil || strings.HasPrefix(path, "/debug/pprof/") { // pprof is off by default
			continue
		}
		want, ok := demoRoutes[path]
		if !ok {
			t.Errorf("GET %s is described, but nobody says here what it shows", path)
			continue
		}
		asked++
		err := eventually("GET "+path, func() error {
			at := path
			if strings.Contains(at, "{workload_id}") {
				id, err := someWorkload(p.url)
				if err != nil {
					return err
				}
				at = strings.Replace(at, "{workload_id}", url.PathEscape(id), 1)
			}
			status, text, err := get(p.url + at + want.query)
			switch {
			case err != nil:
				return err
			case status != http.StatusOK:
				return fmt.Errorf("%d %s", status, text)
			case !strings.Contains(text, want.text):
				return fmt.Errorf("%.300q holds no %q", text, want.text)
			case want.member != "":
				return showsSomething(text, want.member)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%v\n%s", err, p.log())
		}
	}
	if asked != len(demoRoutes) {
		t.Errorf("%d routes are described with GET, %d are expected", asked, len(demoRoutes))
	}
	t.Logf("every route shows something after %v", time.Since(began).Round(time.Millisecond))

	// A day is there, not only the last minute.
	err = eventually("a day of costs", func() error {
		_, text, err := get(p.url + "/cost/hourly")
		if err != nil {
			return err
		}
		var answer costAnswer
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			return err
		}
		hours := 0
		for _, h := range answer.Hours {
			if h.Total > 0 {
				hours++
			}
		}
		if hours < 24 {
			return fmt.Errorf("%d hours have a cost", hours)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	// The day is on its way to the books still, and this binary may be many times
	// slower than the real one, which has ten seconds to stop.
	err = eventually("the day is in the books", func() error {
		_, text, err := get(p.url + "/metrics")
		if err != nil {
			return err
		}
		_, value, _ := strings.Cut(text, "\nwattledger_flush_behind_records ")
		value, _, _ = strings.Cut(value, "\n")
		if behind, err := strconv.ParseFloat(value, 64); err != nil || behind > 20 {
			return fmt.Errorf("%q records are not in the books (%v)", value, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := p.terminate(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind (%v)", left, err)
	}
	if strings.Contains(p.log(), "level=ERROR") {
		t.Errorf("the demo logs errors:\n%s", p.log())
	}
}

// someWorkload returns the id of a workload that draws power.
func someWorkload(line string) (string, error) {
	_, text, err := get(line + "/power/current?limit=1")
	if err != nil {
		return "", err
	}
	var answer struct {
		Data []struct {
			ID string `json:"workload_id"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return "", err
	}
	if len(answer.Data) == 0 {
		return "", fmt.Errorf("no workload draws power: %s", text)
	}
	return answer.Data[0].ID, nil
}

// showsSomething says what is missing from a member of an answer: it is empty,
// or all that it says is unknown.
func showsSomething(text, member string) error {
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return err
	}
	if !known(answer[member]) {
		return fmt.Errorf("%.500s holds nothing in %q", text, member)
	}
	return nil
}

// known says whether v holds a number above 0.
func known(v any) bool {
	switch v := v.(type) {
	case float64:
		return v > 0
	case []any:
		for _, x := range v {
			if known(x) {
				return true
			}
		}
	case map[string]any:
		for _, x := range v {
			if known(x) {
				return true
			}
		}
	}
	return false
}
