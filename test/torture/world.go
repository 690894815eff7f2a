package main

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
)

const (
	scrapeEvery  = 15 * time.Second
	replicaSkew  = 2 * time.Second
	batchSamples = 800
	// What minutes used within a fraction of a second would be set aside as more
	// than a machine can draw.
	atLeastApart = 5 * time.Second
	recentKept   = 24                  // batches that may be sent again
	impossibleUj = 4_000_000_000_000_0 // 40 MJ: more than a container here ever uses
)

// A world is one cluster and the Prometheus, or the pair of them, that sends
// what it shows. It belongs to one goroutine.
type world struct {
	name     string
	sim      *cluster.Cluster
	oracle   *oracle
	client   remotewrite.Client
	random   *rand.Rand
	replicas int
	label    string // tells the replicas apart; empty where nothing does
	shuffled bool   // batches of a minute come in any order
	inOrder  bool   // one replica, in order: minutes are known exactly, too
	births   bool   // containers come and go
	second   second // another exporter of the same nodes
	nodes    []string

	next     time.Time // of the next scrape
	scrapes  int
	held     []batch // of a shuffled world, not sent yet
	recent   []batch
	jobs     int
	silent   [2]time.Time                          // until when a replica is away
	skipTo   time.Time                             // the sender's clock was set back: nothing is taken before
	step     time.Duration                         // by how much the sender's clock is ahead
	stepTo   time.Time                             // until when
	outlier  bool                                  // one value of the next scrape is impossible
	relabels map[*cluster.Label][2][]cluster.Label // label sets with a replica's label

	again     atomic.Int32 // batches to be sent twice
	retries   int
	refused   int      // samples refused for good, as they had to be
	surprises []string // refusals that had no reason
}

type batch struct {
	samples []remotewrite.Sample // those whose energy is to be booked
	body    []byte
	future  bool // must be refused
}

// worlds returns the clusters of a run, all of which begin at start.
func newWorlds(seed uint64, start time.Time, url string) ([]*world, error) {
	kinds := []struct {
		name               string
		nodes, legacyEvery int
		register           float64
		replicas           int
		label              string
		shuffled, births   bool
		format             remotewrite.Format
		second             second
	}{
		{"plain", 2, 0, 4e6, 1, "", false, true, remotewrite.Format{Version: 2, Encoding: "snappy"}, nil},
		{"wrapping", 1, 0, 6000, 1, "", false, false, remotewrite.Format{Version: 1, Encoding: "snappy"}, nil},
		{"legacy", 1, 1, 0, 1, "", false, true, remotewrite.Format{Version: 1, Encoding: "zstd"}, nil},
		{"shuffled", 1, 0, 4e6, 1, "", true, true, remotewrite.Format{Version: 2, Encoding: "zstd"}, nil},
		{"pair", 1, 0, 4e6, 2, "prometheus_replica", false, true, remotewrite.Format{Version: 1, Encoding: "snappy"}, nil},
		{"unnamed", 1, 0, 4e6, 2, "dc", false, true, remotewrite.Format{Version: 1, Encoding: "snappy"}, nil},
		{"twins", 1, 0, 4e6, 2, "", false, true, remotewrite.Format{Version: 2, Encoding: "snappy"}, nil},
		{"clock", 1, 0, 4e6, 1, "", false, false, remotewrite.Format{Version: 2, Encoding: "snappy"}, nil},
		{"agent", 1, 0, 4e6, 1, "", false, false, remotewrite.Format{Version: 2, Encoding: "snappy"}, nil},
		{"double", 1, 0, 4e6, 1, "", false, false, remotewrite.Format{Version: 1, Encoding: "snappy"}, otherExporter},
		{"upgrade", 1, 0, 4e6, 1, "", false, false, remotewrite.Format{Version: 1, Encoding: "snappy"}, olderKepler},
		{"gpu", 1, 0, 4e6, 1, "", false, false, remotewrite.Format{Version: 2, Encoding: "snappy"}, nil},
	}
	var list []*world
	for i, k := range kinds {
		config := cluster.Sized(k.name, seed*100+uint64(i), start, k.nodes, 8, k.legacyEvery, k.register)
		config.LabelDelay = 20 * time.Second // a new container is first shown without its pod
		if k.name == "gpu" {
			// Their power is steady: where it swings by half between two scrapes, what a
			// process that ended unseen had used is an estimate from the gauge.
			config.Nodes[0].GPUs = 2
			for j := range config.Workloads {
				if config.Workloads[j].Type == "ml_training" {
					w := &config.Workloads[j]
					w.Replicas, w.GPUs, w.Containers = 2, 1, slices.Clone(w.Containers)
					w.Containers[0].GPUWatts, w.Containers[0].Shape = 300, cluster.Steady
				}
			}
		}
		sim, err := cluster.New(config)
		if err != nil {
			return nil, err
		}
		w := &world{
			name: k.name, sim: sim, oracle: newOracle(), random: rand.New(rand.NewPCG(seed, uint64(i)+1000)),
			replicas: k.replicas, label: k.label, shuffled: k.shuffled, inOrder: k.replicas == 1 && !k.shuffled && k.name != "clock" && k.name != "agent", births: k.births,
			second: k.second,
			next:   start.Add(time.Second), relabels: map[*cluster.Label][2][]cluster.Label{},
			client: remotewrite.Client{URL: url, UserAgent: "torture-" + k.name, Format: k.format, HTTP: &http.Client{
				Timeout: 6 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 2, IdleConnTimeout: 5 * time.Second},
			}},
		}
		w.oracle.arrival = k.name == "agent"
		for _, n := range config.Nodes {
			w.nodes = append(w.nodes, n.Name)
		}
		list = append(list, w)
	}
	return list, nil
}

// play scrapes and sends until the clock stops. It catches up after an outage.
func (w *world) play(ctx context.Context, c *clock) error {
	for {
		at, running := c.now()
		for !w.next.After(at) {
			if err := w.scrape(ctx); err != nil {
				return err
			}
		}
		if !running {
			return w.finish(ctx)
		}
		if !pause(ctx, max(time.Millisecond, c.until(w.next))) {
			return ctx.Err()
		}
	}
}

// scrape is one scrape by every replica that is there.
func (w *world) scrape(ctx context.Context) error {
	at := w.next
	w.next = at.Add(scrapeEvery)
	skew := replicaSkew
	if w.scrapes == 0 {
		skew = 100 * time.Millisecond // both must know the node from the same values
	}
	w.scrapes++
	for replica := range w.replicas {
		now := at.Add(time.Duration(replica) * skew)
		w.sim.Advance(now)
		if now.Before(w.silent[replica]) {
			continue
		}
		if err := w.take(ctx, replica, now); err != nil {
			return err
		}
	}
	if w.shuffled && w.scrapes%4 == 0 {
		return w.release(ctx)
	}
	return nil
}

// finish delivers everything that the counters show now.
func (w *world) finish(ctx context.Context) error {
	if w.stepTo.After(w.sim.Now()) || w.skipTo.Add(atLeastApart).After(w.sim.Now()) {
		// The sender's clock is right again, and it has passed what it sent.
		w.sim.Advance(later(w.stepTo, w.skipTo).Add(atLeastApart + time.Second))
	}
	for up := false; !up; {
		up = true
		for _, t := range w.sim.Targets() {
			up = up && t.Up()
		}
		if !up {
			w.sim.Advance(w.sim.Now().Add(time.Second))
		}
	}
	w.sim.Advance(w.sim.Now().Add(3 * time.Second))
	w.silent = [2]time.Time{}
	for replica := range w.replicas {
		w.sim.Advance(w.sim.Now().Add(100 * time.Millisecond)) // too soon for new values
		if err := w.take(ctx, replica, w.sim.Now()); err != nil {
			return err
		}
	}
	w.next = later(w.next, w.sim.Now().Add(time.Second))
	return w.release(ctx)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// take scrapes every target and sends what it shows.
func (w *world) take(ctx context.Context, replica int, now time.Time) error {
	stamp := now
	future := false
	if now.Before(w.stepTo) {
		stamp = now.Add(w.step)
		if future = time.Until(stamp) > 10*time.Minute; !future {
			w.skipTo = stamp
		}
	} else if w.name != "agent" && !now.After(w.skipTo.Add(atLeastApart)) {
		return nil // Prometheus takes no sample that is older than the newest, and an agent does
	}
	var samples []remotewrite.Sample
	repeats := map[int]bool{} // samples of the second exporter
	for _, t := range w.sim.Targets() {
		if t.Job == "kube-state-metrics" && w.scrapes%4 != 1 {
			continue
		}
		series, _ := t.Scrape() // a target that is down has no series
		for _, s := range series {
			l := t.Labels(s)
			if w.label != "" {
				l = w.withReplica(l, replica)
			}
			value := s.Value
			if w.outlier && s.Name == "kepler_container_cpu_joules_total" {
				value, w.outlier = value+impossibleUj/1e6, false
			}
			samples = append(samples, remotewrite.Sample{Labels: l, TMs: stamp.UnixMilli(), Value: value})
			if w.second == nil || t.Job != "kepler" {
				continue
			}
			if l, value, ok := w.second(w, l, s); ok {
				repeats[len(samples)] = true
				samples = append(samples, remotewrite.Sample{Labels: l, TMs: stamp.UnixMilli(), Value: value})
			}
		}
	}
	at := 0
	for len(samples) > 0 {
		n := min(batchSamples, len(samples))
		body, err := w.client.Format.Encode(samples[:n])
		if err != nil {
			return err
		}
		b := batch{body: body, future: future}
		for _, s := range samples[:n] {
			if !repeats[at] {
				b.samples = append(b.samples, s)
			}
			at++
		}
		samples = samples[n:]
		if w.shuffled {
			w.held = append(w.held, b)
		} else if err := w.send(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) withReplica(l []cluster.Label, replica int) []cluster.Label {
	sets, ok := w.relabels[&l[0]]
	if !ok {
		for i := range sets {
			sets[i] = cluster.With(l, w.label, fmt.Sprintf("prometheus-k8s-%d", i))
		}
		w.relabels[&l[0]] = sets
	}
	return sets[replica]
}

// A second is another exporter on the node of a first: it makes a series of its own
// of one of the first's, false for none.
type second func(w *world, l []cluster.Label, s cluster.Series) ([]cluster.Label, float64, bool)

// relabelled returns l with other values of some labels, which go where that is
// nothing.
func (w *world) relabelled(l []cluster.Label, pairs ...string) []cluster.Label {
	sets, ok := w.relabels[&l[0]]
	if !ok {
		kept := slices.DeleteFunc(slices.Clone(l), func(x cluster.Label) bool {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == x.Name {
					return true
				}
			}
			return false
		})
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				kept = append(kept, cluster.Label{Name: pairs[i], Value: pairs[i+1]})
			}
		}
		sets[0] = cluster.With(kept) // sorted
		w.relabels[&l[0]] = sets
	}
	return sets[0]
}

// otherExporter runs in a pod of its own and has counted from another moment on.
func otherExporter(w *world, l []cluster.Label, s cluster.Series) ([]cluster.Label, float64, bool) {
	value := s.Value
	if strings.HasSuffix(s.Name, "_joules_total") {
		value += 1000
	}
	return w.relabelled(l, "instance", "10.244.9.9:9102", "job", "kepler-again", "pod", "kepler-again-x2x4q"), value, true
}

// olderKepler is there for forty scrapes, gone for forty, and there again. It shows
// the same energy under the old names.
func olderKepler(w *world, l []cluster.Label, s cluster.Series) ([]cluster.Label, float64, bool) {
	if w.scrapes/40%2 == 1 {
		return nil, 0, false
	}
	label := func(name string) string {
		i := slices.IndexFunc(l, func(x cluster.Label) bool { return x.Name == name })
		if i < 0 {
			return ""
		}
		return l[i].Value
	}
	zone := label("zone")
	if zone != "package" && zone != "dram" {
		return nil, 0, false
	}
	node := []string{"instance", label("node_name"), "job", "kepler-old", "node_name", "", "zone", "", "path", ""}
	switch s.Name {
	case "kepler_container_cpu_joules_total":
		return w.relabelled(l, append(node, "__name__", "kepler_container_"+zone+"_joules_total", "mode", "dynamic",
			"container_namespace", "shop", "pod_name", label("pod_name"))...), s.Value, true
	case "kepler_node_cpu_active_joules_total":
		return w.relabelled(l, append(node, "__name__", "kepler_node_"+zone+"_joules_total", "mode", "dynamic")...), s.Value, true
	case "kepler_node_cpu_idle_joules_total":
		return w.relabelled(l, append(node, "__name__", "kepler_node_"+zone+"_joules_total", "mode", "idle")...), s.Value, true
	}
	return nil, 0, false
}

// release sends what was held back, in any order.
func (w *world) release(ctx context.Context) error {
	w.random.Shuffle(len(w.held), func(i, j int) { w.held[i], w.held[j] = w.held[j], w.held[i] })
	for _, b := range w.held {
		if err := w.send(ctx, b); err != nil {
			return err
		}
	}
	w.held = nil
	return nil
}

// send posts a batch until it is acknowledged, and sometimes an old one again.
func (w *world) send(ctx context.Context, b batch) error {
	if err := w.post(ctx, b); err != nil {
		return err
	}
	if !b.future {
		w.oracle.deliver(b.samples)
		if w.recent = append(w.recent, b); len(w.recent) > recentKept {
			w.recent = w.recent[1:]
		}
	}
	for len(w.recent) > 0 && w.again.Add(-1) >= 0 {
		if err := w.post(ctx, w.recent[w.random.IntN(len(w.recent))]); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) post(ctx context.Context, b batch) error {
	n, err := w.client.Post(ctx, b.body)
	w.retries += n
	var refused *remotewrite.Rejected
	switch {
	case errors.As(err, &refused) && b.future && refused.Status == http.StatusBadRequest:
		w.refused += len(b.samples)
		return nil
	case errors.As(err, &refused):
		w.surprises = append(w.surprises, fmt.Sprintf("%s: %d samples were refused: %v", w.name, len(b.samples), err))
		return nil
	case err == nil && b.future:
		w.surprises = append(w.surprises, fmt.Sprintf("%s: %d samples of the future were taken", w.name, len(b.samples)))
	}
	return err
}

// mulDiv returns a·b/c without overflow.
func mulDiv(a, b, c int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	q, _ := bits.Div64(hi, lo, uint64(c))
	return int64(q)
}

// A clock runs the simulated time of a round, faster than the wall's.
type clock struct {
	from  time.Time // simulated
	began time.Time
	lasts time.Duration // of the wall
	speed float64
}

func (c *clock) now() (at time.Time, running bool) {
	d := time.Since(c.began)
	running = d < c.lasts
	return c.from.Add(time.Duration(float64(min(d, c.lasts)) * c.speed)), running
}

// until returns how long the wall's clock takes to a simulated moment.
func (c *clock) until(at time.Time) time.Duration {
	due := c.began.Add(time.Duration(float64(at.Sub(c.from)) / c.speed))
	end := c.began.Add(c.lasts)
	if due.After(end) {
		due = end
	}
	return time.Until(due)
}
