package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/test/loopback"
	"github.com/wattledger/wattledger/test/promtest"
)

const (
	e2eSpeed    = 4 // simulated seconds a second
	e2eDuration = 120 * time.Second
	e2eKillAt   = 66               // simulated seconds: after the container's restart, before the job
	e2ePatience = 90 * time.Second // a minute's window must end, too
)

// TestPrometheusToBooks tells the whole story with real parts: Prometheus
// scrapes the exporters and remote-writes to the server through a gate that
// remembers what was acknowledged. On the way a register wraps, an exporter and
// a container restart, a job starts and ends, and the server is killed.
func TestPrometheusToBooks(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	dir := t.TempDir()
	binary := buildServer(ctx, t, dir)

	exporter := startExporter(ctx, t)
	storage := filepath.Join(dir, "storage")
	server := startServer(ctx, t, binary, storage)
	g := newGate()
	g.open(server.url)
	proxy := serve(t, g)
	startPrometheus(t, exporter, proxy)

	t.Log("half the counters are written")
	await(ctx, t, "the simulated clock to reach the kill", func() error {
		if s := exporter.status(ctx, t); s.Elapsed < e2eKillAt {
			return fmt.Errorf("at %.0f of %d s; %s", s.Elapsed, e2eKillAt, g.describe())
		}
		return nil
	})
	server.kill(t)
	g.close()
	acknowledged := g.joules()
	if len(acknowledged) < 20 {
		t.Fatalf("only %d containers were acknowledged before the kill: %s", len(acknowledged), g.describe())
	}

	t.Log("started again, it still has all it acknowledged, and nobody tells it anything")
	server = startServer(ctx, t, binary, storage)
	await(ctx, t, "the acknowledged energy after the restart", func() error {
		booked, err := server.energies(ctx, "container_id")
		if err != nil {
			return err
		}
		for id, want := range acknowledged {
			if got := booked[id]; got < want-tolerance(want) {
				return fmt.Errorf("container %.12s: %.3f J were acknowledged before the kill, %.3f J are booked", id, want, got)
			}
		}
		return nil
	})

	t.Log("the other half arrives, and the books say what the counters said")
	g.open(server.url)
	await(ctx, t, "the last scrapes", func() error {
		if s := exporter.status(ctx, t); !s.Settled {
			return fmt.Errorf("at %.0f of %.0f s, finished %v", s.Elapsed, e2eDuration.Seconds(), s.Finished)
		}
		return nil
	})
	await(ctx, t, "the books to say what the counters said", func() error {
		return compare(ctx, server, exporter.status(ctx, t))
	})
	await(ctx, t, "a whole minute of each node", func() error { return nodesClose(ctx, server) })
	if n := g.wraps(); n == 0 {
		t.Error("no register wrapped: the test did not test it")
	}
	if rejected := g.rejections(); len(rejected) > 0 {
		t.Errorf("requests were refused for good: %s", strings.Join(rejected, "; "))
	}
}

// tolerance is what a figure may be off by: a thousandth.
func tolerance(joules float64) float64 { return math.Abs(joules)/1000 + 0.002 }

// compare holds every container and node against the truth.
func compare(ctx context.Context, server *server, truth Status) error {
	containers, err := server.energies(ctx, "container_id")
	if err != nil {
		return err
	}
	nodes, err := server.energies(ctx, "node")
	if err != nil {
		return err
	}
	wantContainers, wantNodes := make(map[string]float64), make(map[string]float64)
	names := make(map[string]string)
	for _, a := range truth.Accounts {
		if a.Zone != "package" && a.Zone != "dram" {
			continue
		}
		switch a.Kind {
		case "container":
			wantContainers[a.ID] += float64(a.ReportedMicrojoules+a.AllottedMicrojoules) / 1e6
			names[a.ID] = fmt.Sprintf("%s %s/%s (ended: %v)", a.Node, a.Pod, a.Name, a.Ended)
		case "node":
			wantNodes[a.Node] += float64(a.ReportedMicrojoules) / 1e6
		}
	}
	if len(wantContainers) < 20 || len(wantNodes) != 2 {
		return fmt.Errorf("the truth has %d containers on %d nodes", len(wantContainers), len(wantNodes))
	}
	var wrong []string
	check := func(what string, got, want float64) {
		if math.Abs(got-want) > tolerance(want) {
			wrong = append(wrong, fmt.Sprintf("%s: %.3f J booked, the counters reported %.3f J (%+.2f %%)", what, got, want, 100*(got-want)/want))
		}
	}
	for id, want := range wantContainers {
		check(names[id], containers[id], want)
	}
	for node, want := range wantNodes {
		check("node "+node, nodes[node], want)
	}
	for id := range containers {
		if _, ok := wantContainers[id]; !ok && !strings.HasPrefix(id, "__") {
			wrong = append(wrong, fmt.Sprintf("container %q is booked and does not exist", id))
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}

// nodesClose checks that the newest window of every node closes.
func nodesClose(ctx context.Context, server *server) error {
	var answer struct {
		Nodes []struct {
			Node     string `json:"node"`
			Identity struct {
				Node         float64 `json:"node_joules"`
				Containers   float64 `json:"containers_joules"`
				VMs          float64 `json:"vms_joules"`
				System       float64 `json:"system_joules"`
				Idle         float64 `json:"idle_joules"`
				Unattributed float64 `json:"unattributed_joules"`
			} `json:"identity"`
		} `json:"nodes"`
	}
	if err := server.get(ctx, "/power/nodes", &answer); err != nil {
		return err
	}
	if len(answer.Nodes) != 2 {
		return fmt.Errorf("/power/nodes has %d nodes", len(answer.Nodes))
	}
	for _, n := range answer.Nodes {
		i := n.Identity
		if parts := i.Containers + i.VMs + i.System + i.Idle + i.Unattributed; math.Abs(parts-i.Node) > 1e-9*i.Node+1e-6 {
			return fmt.Errorf("node %s used %v J, its parts %v J", n.Node, i.Node, parts)
		}
	}
	return nil
}

// await asks done again and again until it is content.
func await(ctx context.Context, t *testing.T, what string, done func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, e2ePatience)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("gave up waiting for %s: %v", what, err)
		case <-ticker.C:
		}
	}
}

// An e2eExporter is the exporter command, run as main runs it.
type e2eExporter struct {
	address string
	targets []string // job and path
}

func startExporter(ctx context.Context, t *testing.T) *e2eExporter {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := runExporter(ctx, []string{
			"-listen", "127.0.0.1:0", "-speed", fmt.Sprint(e2eSpeed), "-duration", e2eDuration.String(),
			"-nodes", "2", "-containers", "12", "-legacy-every", "2", "-register-joules", "6000", "-seed", "8",
			"-fault", "exporter-restart@30s:node-1:6s",
			"-fault", "container-restart@58s:shop/web-1/nginx",
			"-fault", "job@80s:node-1:40:12s",
		}, w)
		w.CloseWithError(fmt.Errorf("the exporter ended: %w", err))
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("exporter: %v", err)
		}
	})
	e := &e2eExporter{}
	lines := bufio.NewScanner(r)
	for len(e.targets) < 3 && lines.Scan() {
		line := lines.Text()
		if address, ok := strings.CutPrefix(line, "listening on http://"); ok {
			e.address = address
		} else {
			e.targets = append(e.targets, line)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *e2eExporter) status(ctx context.Context, t *testing.T) (s Status) {
	t.Helper()
	if err := getJSON(ctx, "http://"+e.address+"/truth", &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// startPrometheus runs Debian's prometheus with the exporter as its only source.
func startPrometheus(t *testing.T, e *e2eExporter, writeURL string) {
	t.Helper()
	var config strings.Builder
	fmt.Fprintf(&config, "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  external_labels: {cluster: e2e, prometheus: monitoring/k8s, prometheus_replica: prometheus-0}\nscrape_configs:\n")
	for i, target := range e.targets {
		job, path, _ := strings.Cut(target, " ")
		node := path[strings.LastIndexByte(path, '/')+1:]
		fmt.Fprintf(&config, "- job_name: %s-%d\n  honor_labels: %v\n  metrics_path: %s\n  static_configs:\n  - {targets: [%q], labels: {job: %s, instance: %s}}\n",
			job, i, job == "kube-state-metrics", path, e.address, job, node)
	}
	fmt.Fprintf(&config, "remote_write:\n- url: %s\n  queue_config: {batch_send_deadline: 500ms, min_backoff: 100ms, max_backoff: 1s}\n  write_relabel_configs:\n  - {source_labels: [__name__], regex: 'kepler_.*|kube_.*', action: keep}\n", writeURL)
	promtest.Run(t, config.String())
}

// A server is one life of the real binary.
type server struct {
	cmd *exec.Cmd
	url string
}

func buildServer(ctx context.Context, t *testing.T, dir string) string {
	t.Helper()
	binary := filepath.Join(dir, "wattledger")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/wattledger/wattledger/cmd/wattledger").CombinedOutput()
	if err != nil {
		t.Fatalf("build the server: %v\n%s", err, out)
	}
	return binary
}

func startServer(ctx context.Context, t *testing.T, binary, storage string) *server {
	t.Helper()
	address, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{url: "http://" + address}
	s.cmd = start(ctx, t, binary, "--storage.path="+storage, "--web.listen-address="+address, "--log.level=warn")
	await(ctx, t, "the server to be ready", func() error { return s.get(ctx, "/-/ready", nil) })
	return s
}

func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err == nil {
		t.Fatal("the killed server ended well")
	}
}

// energies returns the joules booked so far by value of a dimension.
func (s *server) energies(ctx context.Context, dimension string) (map[string]float64, error) {
	query := url.Values{"start": {"now-2h"}, "aggregate": {dimension}}
	var answer struct {
		Groups []struct {
			Name      string   `json:"name"`
			EnergyKWh *float64 `json:"energy_kwh"`
		} `json:"groups"`
	}
	if err := s.get(ctx, "/cost/hourly?"+query.Encode(), &answer); err != nil {
		return nil, err
	}
	energies := make(map[string]float64)
	for _, g := range answer.Groups {
		if g.EnergyKWh != nil {
			energies[g.Name] += *g.EnergyKWh * 3.6e6
		}
	}
	return energies, nil
}

func (s *server) get(ctx context.Context, path string, answer any) error {
	return getJSON(ctx, s.url+path, answer)
}

// getJSON asks for url; answer may be nil.
func getJSON(ctx context.Context, url string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %.300s", url, resp.Status, body)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("GET %s: %w: %.300s", url, err, body)
	}
	return nil
}

// start runs a program until the test ends; what it says goes to the test's log
// when the test has failed.
func start(ctx context.Context, t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	logFile, err := os.CreateTemp(t.TempDir(), filepath.Base(path)+"*.log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended already
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(logFile.Name())
			t.Logf("%s said:\n%.8000s", filepath.Base(path), said)
		}
		logFile.Close()
	})
	return cmd
}
