package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wattledger/wattledger/internal/cluster"
)

// clock maps wall time to simulated time. The simulated clock stands still
// until the first scrape, so that no energy is used that nobody could have
// seen; then it runs speed times as fast as the wall, and stops after duration.
type clock struct {
	begin    time.Time // simulated
	speed    float64
	duration time.Duration // simulated; 0 for no end
	started  time.Time     // wall; zero before the first scrape
}

func (c *clock) at(wall time.Time) (simulated time.Time, finished bool) {
	if c.started.IsZero() {
		return c.begin, false
	}
	passed := time.Duration(float64(wall.Sub(c.started)) * c.speed)
	if c.duration > 0 && passed >= c.duration {
		return c.begin.Add(c.duration), true
	}
	return c.begin.Add(passed), false
}

// exporterServer serves the targets of one cluster.
type exporterServer struct {
	mu    sync.Mutex // held while the simulation moves or is read
	sim   *cluster.Cluster
	clock clock
	now   func() time.Time
	final map[*cluster.Target]bool // targets scraped since the clock stopped; guarded by mu
}

func newExporterServer(sim *cluster.Cluster, clock clock, now func() time.Time) *exporterServer {
	return &exporterServer{sim: sim, clock: clock, now: now, final: make(map[*cluster.Target]bool)}
}

// Status is what /truth answers.
type Status struct {
	cluster.Truth
	Elapsed  float64 `json:"elapsed_seconds"` // simulated, since the first scrape
	Finished bool    `json:"finished"`        // the simulated clock has stopped
	Settled  bool    `json:"settled"`         // and every target has been scraped since: the truth will not change
}

func (s *exporterServer) handler() http.Handler {
	mux := http.NewServeMux()
	for _, target := range s.sim.Targets() {
		mux.HandleFunc("GET "+target.Path, func(w http.ResponseWriter, _ *http.Request) { s.scrape(w, target) })
	}
	mux.HandleFunc("GET /truth", s.truth)
	mux.HandleFunc("GET /targets", s.targets)
	return mux
}

func (s *exporterServer) scrape(w http.ResponseWriter, target *cluster.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clock.started.IsZero() {
		s.clock.started = s.now()
	}
	simulated, finished := s.clock.at(s.now())
	s.sim.Advance(simulated)
	series, ok := target.Scrape()
	if !ok {
		http.Error(w, "the exporter is down", http.StatusServiceUnavailable)
		return
	}
	if finished {
		s.final[target] = true
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_ = cluster.WriteText(w, series) // a scraper that hangs up hears of it itself
}

// truth answers without moving the clock on: what it says is as old as the
// newest scrape, and complete once Finished.
func (s *exporterServer) truth(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	simulated, finished := s.clock.at(s.now())
	if finished {
		s.sim.Advance(simulated)
	}
	status := Status{Truth: s.sim.Truth(), Elapsed: simulated.Sub(s.clock.begin).Seconds(), Finished: finished, Settled: finished}
	for _, target := range s.sim.Targets() {
		status.Settled = status.Settled && s.final[target]
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(status)
}

// targets answers Prometheus's HTTP service discovery.
func (s *exporterServer) targets(w http.ResponseWriter, r *http.Request) {
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	groups := []group{}
	for _, t := range s.sim.Targets() {
		groups = append(groups, group{[]string{r.Host}, map[string]string{
			"__metrics_path__": t.Path, "job": t.Job, "instance": instance(t),
		}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(groups)
}

func instance(t *cluster.Target) string {
	if t.Node == "" {
		return t.Job
	}
	return t.Node
}

func runExporter(ctx context.Context, args []string, out io.Writer) error {
	var sim simulation
	fs := flag.NewFlagSet("exporter", flag.ContinueOnError)
	sim.register(fs)
	listen := fs.String("listen", "127.0.0.1:9102", "address to serve on; port 0 picks a free one")
	speed := fs.Float64("speed", 1, "how much faster than the wall clock the simulation runs")
	duration := fs.Duration("duration", 0, "simulated time after which the clock stops and counters stand still; 0 for never")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *speed <= 0 {
		return fmt.Errorf("speed %v is not positive", *speed)
	}
	begin := time.Now()
	c, err := sim.build(begin)
	if err != nil {
		return err
	}
	s := newExporterServer(c, clock{begin: begin, speed: *speed, duration: *duration}, time.Now)
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on http://%s\n", ln.Addr())
	for _, t := range c.Targets() {
		fmt.Fprintf(out, "%s %s\n", t.Job, t.Path)
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
