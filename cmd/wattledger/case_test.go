package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/test/casetest"
)

// Every case, played against the whole program: the books say what the counters
// prove. A case in which the program is killed gets a process of its own.
func TestCases(t *testing.T) {
	for _, c := range casetest.All(t, "../../receiver/counter/testdata/cases") {
		t.Run(c.File, func(t *testing.T) {
			start := time.Now().Add(-time.Hour).Truncate(time.Minute)
			for _, s := range c.Steps { // the newest sample of a long case is of the past, too
				for _, x := range s.Samples {
					start = slices.MinFunc([]time.Time{start, time.Now().Add(-time.Minute - time.Duration(x.Second*1e9)).Truncate(time.Minute)}, time.Time.Compare)
				}
			}
			target := newCaseTarget(t, c)
			for _, s := range c.Steps {
				if s.Kill {
					target.kill()
					continue
				}
				postAll(t, target.url, caseBody(t, c, s, start))
			}
			ask := target.url + "/cost/hourly?" + url.Values{
				"start": {start.Add(-24 * time.Hour).Format(time.RFC3339)}, "end": {start.Add(24 * time.Hour).Format(time.RFC3339)},
				"aggregate": {"node,namespace,container,container_id"},
			}.Encode()
			if err := eventually("the books of "+c.Name, func() error { return caseHolds(ask, c) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// A caseTarget is the program that a case is played against.
type caseTarget struct {
	url  string
	kill func()
}

func newCaseTarget(t *testing.T, c casetest.Case) *caseTarget {
	t.Helper()
	if !slices.ContainsFunc(c.Steps, func(s casetest.Step) bool { return s.Kill }) {
		l := startLine(t, t.TempDir(), nil)
		return &caseTarget{url: l.url}
	}
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "wattledger.yaml"), []byte("storage: {flush_interval: 20ms, snapshot_interval: 40ms}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := &caseTarget{}
	start := func() *process {
		p, err := startProcess(home, nil, "--config.file=wattledger.yaml", "--storage.path=data", "--web.listen-address=127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		if err := untilReady(p.url); err != nil {
			t.Fatalf("%v\n%s", err, p.log())
		}
		target.url = p.url
		return p
	}
	p := start()
	target.kill = func() {
		p.kill()
		p = start()
	}
	return target
}

func caseBody(t *testing.T, c casetest.Case, s casetest.Step, start time.Time) body {
	t.Helper()
	var samples []remotewrite.Sample
	for _, x := range s.Samples {
		var labels []cluster.Label
		for _, l := range x.Labels {
			labels = append(labels, cluster.Label(l))
		}
		samples = append(samples, remotewrite.Sample{Labels: labels, TMs: start.UnixMilli() + int64(x.Second*1000+0.5), Value: x.Value})
	}
	format := remotewrite.Format{Version: 1, Encoding: "snappy"}
	header := http.Header{"Content-Encoding": {"snappy"}, "User-Agent": {"case/1"}, "Content-Type": {"application/x-protobuf"}, "X-Prometheus-Remote-Write-Version": {"0.1.0"}}
	if c.Protocol == "2.0" {
		format.Version = 2
		header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	}
	content, err := format.Encode(samples)
	if err != nil {
		t.Fatal(err)
	}
	return body{name: c.File, header: header, content: content}
}

// caseHolds asks for the sums of a case and says which are out of their bounds.
func caseHolds(ask string, c casetest.Case) error {
	status, text, err := get(ask)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("%d %s %v", status, text, err)
	}
	var answer struct {
		Groups []struct {
			Node        string  `json:"node"`
			Namespace   string  `json:"namespace"`
			Container   string  `json:"container"`
			ContainerID string  `json:"container_id"`
			EnergyKWh   float64 `json:"energy_kwh"`
		} `json:"groups"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return err
	}
	for _, e := range c.Expect {
		joules := 0.0
		for _, g := range answer.Groups {
			switch {
			case e.What == "container" && g.ContainerID == e.Name,
				e.What == "named" && g.Container == e.Name,
				e.What == "node" && g.Node == e.Name,
				g.Namespace == "__"+e.What+"__" && g.Node == e.Name:
				joules += g.EnergyKWh * 3.6e6
			}
		}
		if joules < e.Least || joules > e.Most {
			return fmt.Errorf("%s: %.3f J", e, joules)
		}
	}
	return nil
}
