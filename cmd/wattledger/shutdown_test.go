package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/power"
)

// TestShutdownUnderLoad tells the program to stop while senders post as fast as
// they can. It ends well within 10 s, refuses nothing that it has let in, and
// what it acknowledged is in the books.
func TestShutdownUnderLoad(t *testing.T) {
	const (
		senders    = 4
		containers = 300
		joules     = 10 // of each container, from one scrape to the next
		stepMs     = 5000
	)
	home := t.TempDir()
	p, err := startProcess(home, nil, "--storage.path=data", "--web.listen-address=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if err := untilReady(p.url); err != nil {
		t.Fatal(err)
	}
	header := http.Header{
		"Content-Encoding": {"snappy"}, "Content-Type": {"application/x-protobuf"}, "X-Prometheus-Remote-Write-Version": {"0.1.0"},
	}
	startMs := time.Now().Add(-6 * time.Hour).Truncate(time.Minute).UnixMilli()
	encode := func(sender, scrape int) (body, error) {
		samples := make([]remotewrite.Sample, containers)
		for i := range samples {
			node := fmt.Sprintf("node-%d", sender)
			samples[i] = remotewrite.Sample{
				Labels: []cluster.Label{
					{Name: "__name__", Value: "kepler_container_cpu_joules_total"}, {Name: "container_id", Value: fmt.Sprintf("%s-%d", node, i)},
					{Name: "container_name", Value: "c"}, {Name: "node_name", Value: node}, {Name: "zone", Value: "package"},
				},
				TMs: startMs + int64(scrape)*stepMs, Value: float64(1000 + scrape*joules),
			}
		}
		data, err := remotewrite.Format{Version: 1, Encoding: "snappy"}.Encode(samples)
		return body{name: fmt.Sprintf("scrape %d of node %d", scrape, sender), header: header, content: data}, err
	}

	acknowledged, unanswered := make([]int, senders), make([]bool, senders)
	var group errgroup.Group
	for sender := range senders {
		group.Go(func() error {
			for {
				b, err := encode(sender, acknowledged[sender])
				if err != nil {
					return err
				}
				status, reason, err := post(t.Context(), p.url, b)
				switch {
				case err != nil: // it no longer listens, or the answer did not come
					unanswered[sender] = true
					return nil
				case status == http.StatusServiceUnavailable:
					return nil
				case status != http.StatusNoContent:
					return fmt.Errorf("%s: %d %s", b.name, status, reason)
				}
				acknowledged[sender]++
			}
		})
	}
	err = eventually("load", func() error {
		_, text, err := get(p.url + "/metrics")
		m := journalLast.FindStringSubmatch(text)
		if err != nil || m == nil {
			return fmt.Errorf("no position of the journal: %v", err)
		}
		if n, err := strconv.Atoi(m[1]); err != nil || n < 500 {
			return fmt.Errorf("%s requests, %v", m[1], err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.terminate(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}

	got := readBooks(t, filepath.Join(home, "data"), startMs, time.Now().UnixMilli())
	for sender, n := range acknowledged {
		if n < 10 {
			t.Errorf("sender %d: only %d requests before the end", sender, n)
		}
		// A request without an answer may be in the books or not.
		want := power.Microjoules(n-1) * joules * 1e6
		id := fmt.Sprintf("node-%d-%d", sender, containers-1)
		if e := got.totals[id].Total(); e != want && (!unanswered[sender] || e != want+joules*1e6) {
			t.Errorf("%s: booked %d µJ, acknowledged %d", id, e, want)
		}
	}
	t.Logf("acknowledged %v requests of %d samples", acknowledged, containers)
}
