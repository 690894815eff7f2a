// Package influxqueries runs the example questions against a real InfluxDB.
package influxqueries

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/test/influxtest"
)

var day0 = time.Date(2025, 10, 10, 0, 0, 0, 0, time.UTC)

// books are three hours of two nodes: a workload on both, one on one, and what
// idled. A kWh costs 0.326.
func books() store.Delivery {
	price := power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}
	row := func(node, namespace, kind, workload string, typ power.Type, start time.Time, length time.Duration, watts int64) store.WindowRow {
		e := power.Microjoules(watts * int64(length/time.Second) * 1e6)
		return store.WindowRow{
			Node: node, Workload: power.Workload{Cluster: "c1", Namespace: namespace, Kind: kind, Name: workload}, Type: typ,
			StartMs: start.UnixMilli(), Seconds: int32(length / time.Second), Energy: power.Energy{e}, Cost: price.Cost(e), Price: price,
			SeenMs: length.Milliseconds() / 2, HeldMs: length.Milliseconds(), LastMs: start.Add(length).UnixMilli(), Containers: 1, Revision: 1,
		}
	}
	add := func(list []store.WindowRow, start time.Time, length time.Duration) []store.WindowRow {
		return append(list,
			row("n1", "shop", "deployment", "front end", power.Web, start, length, 100),
			row("n2", "shop", "deployment", "front end", power.Web, start, length, 50),
			row("n2", "lab", "job", "train,1", power.MLTraining, start, length, 300),
			row("n1", "__idle__", "", "__idle__", power.SystemType, start, length, 40))
	}
	d := store.Delivery{FromSeq: 1, ToSeq: 1}
	for m := range 180 {
		d.Windows = add(d.Windows, day0.Add(time.Duration(m)*time.Minute), time.Minute)
	}
	for h := range 3 {
		d.Hours = add(d.Hours, day0.Add(time.Duration(h)*time.Hour), time.Hour)
	}
	return d
}

func TestQueries(t *testing.T) {
	server, err := influxtest.Run(t.Context(), t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	cfg := influx.DefaultConfig()
	cfg.URL, cfg.MinutesRetention = server.URL, 0
	refuse := func(_ context.Context, r influx.Rejected) error { return errors.New(r.Reason) }
	f, err := influx.New(cfg, refuse, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	if err := f.Write(t.Context(), books()); err != nil {
		t.Fatal(err)
	}

	ran := map[string]bool{}
	check := func(name string, wants ...string) {
		t.Helper()
		ran[name] = true
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, bucket, ok := strings.Cut(strings.SplitN(string(text), "\n", 2)[0], "bucket: ")
		if !ok {
			t.Fatalf("%s: the first line names no bucket", name)
		}
		var got string
		if filepath.Ext(name) == ".flux" {
			got = flux(t, server.URL, string(text))
		} else {
			got = influxql(t, server.URL, bucket, string(text))
		}
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s: answer is\n%swant %q in it", name, got, want)
			}
		}
	}
	check("power-now.influxql", "cluster=c1 namespace=shop workload=front end: watts=150\n", "namespace=lab workload=train,1: watts=300\n")
	check("power-now.flux", "namespace=shop workload=front end: _value=150\n", "namespace=lab workload=train,1: _value=300\n")
	check("energy-by-namespace-hourly.influxql", "namespace=shop: time=2025-10-10T01:00:00Z kwh=0.15 cost=0.0489\n", "namespace=__idle__: time=2025-10-10T02:00:00Z kwh=0.04 cost=0.01304\n")
	check("energy-by-namespace-hourly.flux", "namespace=shop: _time=2025-10-10T01:00:00Z kwh=0.15\n")
	check("cost-by-workload.influxql", "cost=0.2934 cluster=c1 namespace=lab workload=train,1\n", "cost=0.1467 cluster=c1 namespace=shop workload=front end\n")
	check("cost-by-workload.flux", "cluster=c1 namespace=lab workload=train,1 cost=0.2934\n", "workload=front end cost=0.1467\n")
	check("idle-share-by-node.influxql", "node=n1: kwh=0.42\n", "node=n2: kwh=1.05\n", "node=n1: idle_kwh=0.12\n")
	check("coverage-by-namespace.influxql", "namespace=shop: coverage=0.5\n")
	check("predictor-series.influxql", "time=2025-10-10T00:05:00Z watts=150\n")
	check("predictor-series.flux", "_time=2025-10-10T00:05:00Z watts=150\n")
	check("workloads-of-type.influxql", "cluster=c1 namespace=lab workload=train,1: kwh=0.9\n")
	for _, pattern := range []string{"*.influxql", "*.flux"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			if !ran[name] {
				t.Errorf("%s is not run", name)
			}
		}
	}
}

// round makes 0.15000000000000002 readable.
func round(text string) string {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		return strconv.FormatFloat(math.Round(v*1e9)/1e9, 'f', -1, 64)
	}
	return text
}

// influxql returns a line for each row: the tags, then the columns. Times of
// rows that stand for the whole range are left out.
func influxql(t *testing.T, server, bucket, text string) string {
	t.Helper()
	params, err := json.Marshal(map[string]string{
		"from": day0.Format(time.RFC3339), "to": day0.Add(3 * time.Hour).Format(time.RFC3339),
		"namespace": "shop", "workload": "front end", "type": "ml_training",
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.PostForm(server+"/query", url.Values{"db": {bucket}, "q": {text}, "params": {string(params)}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Error   string
		Results []struct {
			Error  string
			Series []struct {
				Tags    map[string]string
				Columns []string
				Values  [][]any
			}
		}
	}
	d := json.NewDecoder(res.Body)
	d.UseNumber()
	if err := d.Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("%s: %v %s", text, err, answer.Error)
	}
	var b strings.Builder
	for _, r := range answer.Results {
		if r.Error != "" {
			t.Fatalf("%s: %s", text, r.Error)
		}
		for _, s := range r.Series {
			for _, v := range s.Values {
				var fields []string
				for _, tag := range []string{"cluster", "node", "namespace", "workload"} {
					if value, ok := s.Tags[tag]; ok {
						fields = append(fields, tag+"="+value)
					}
				}
				line := strings.Join(fields, " ") + ": "
				fields = nil
				for i, c := range s.Columns {
					switch n := v[i].(type) {
					case string:
						if c != "time" || n != day0.Format(time.RFC3339) {
							fields = append(fields, c+"="+n)
						}
					case json.Number:
						fields = append(fields, c+"="+round(n.String()))
					}
				}
				b.WriteString(line + strings.Join(fields, " ") + "\n")
			}
		}
	}
	return b.String()
}

// flux returns a line for each row in the same form.
func flux(t *testing.T, server, text string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/api/v2/query", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.flux")
	req.Header.Set("Accept", "application/csv")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v %s %s", text, err, res.Status, body)
	}
	var b strings.Builder
	// Tables with different columns are parted by an empty line.
	for table := range strings.SplitSeq(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n\n") {
		r := csv.NewReader(strings.NewReader(table))
		r.Comment = '#' // annotations
		rows, err := r.ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, row := range rows[min(1, len(rows)):] {
			values := map[string]string{}
			for i, name := range rows[0] {
				values[name] = row[i]
			}
			var tags, fields []string
			for _, name := range []string{"cluster", "namespace", "workload"} {
				if v, ok := values[name]; ok {
					tags = append(tags, name+"="+v)
				}
			}
			for _, name := range []string{"_time", "_value", "kwh", "cost", "watts"} {
				if v, ok := values[name]; ok {
					fields = append(fields, name+"="+round(v))
				}
			}
			part := ": "
			if len(tags) > 0 && values["cost"] != "" {
				part = " "
			}
			b.WriteString(strings.Join(tags, " ") + part + strings.Join(fields, " ") + "\n")
		}
	}
	return b.String()
}
