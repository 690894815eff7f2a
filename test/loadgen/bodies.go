package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
)

// containersPerNode is what a full node of 110 pods holds.
const containersPerNode = 225

// A benchPlan says what load to prepare.
type benchPlan struct {
	format      remotewrite.Format
	series      int
	batch       int
	rounds      int
	interval    time.Duration
	legacyEvery int
	all         bool
	ahead       time.Duration
}

func (p benchPlan) check() error {
	if p.series < 1 || p.batch < 1 || p.rounds < 2 || p.interval < time.Second || p.legacyEvery < 0 || p.ahead < 0 {
		return errors.New("series and batch must be positive, rounds at least 2, interval at least 1s, legacy-every and ahead not negative")
	}
	return p.format.Check()
}

// A request is one prepared body.
type request struct {
	body    []byte
	samples int
}

// A load is every request of a run. The requests of a round hold one sample of
// each series, and the same number in each round the same series.
type load struct {
	series int
	rounds [][]request
	start  time.Time // of its first samples
}

func (l *load) requests() int {
	n := 0
	for _, round := range l.rounds {
		n += len(round)
	}
	return n
}

func (l *load) bytesPerSample() float64 {
	bytes, samples := 0, 0
	for _, round := range l.rounds {
		for _, r := range round {
			bytes += len(r.body)
			samples += r.samples
		}
	}
	return float64(bytes) / float64(samples)
}

// prepare simulates one node after the other and keeps only the bodies, so the
// memory it takes does not depend on how long label sets are. The last round is
// of now, unless the first is to be ahead; every fifth exporter restarts once on
// the way, so values are reset too.
func (p benchPlan) prepare(ctx context.Context) (*load, error) {
	start := time.Now().Add(-time.Duration(p.rounds) * p.interval)
	if p.ahead > 0 {
		start = time.Now().Add(p.ahead - p.interval)
	}
	l := &load{rounds: make([][]request, p.rounds), start: start.Add(p.interval)}
	pending := make([][]remotewrite.Sample, p.rounds)
	for node := 0; l.series < p.series; node++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := p.node(node, start, pending, p.series-l.series)
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", node, err)
		}
		l.series += n
		for len(pending[0]) >= p.batch {
			if err := p.cut(l, pending, p.batch); err != nil {
				return nil, err
			}
		}
	}
	if len(pending[0]) > 0 {
		return l, p.cut(l, pending, len(pending[0]))
	}
	return l, nil
}

// cut makes the first n samples of every round into a request of that round.
func (p benchPlan) cut(l *load, pending [][]remotewrite.Sample, n int) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for round := range pending {
		g.Go(func() error {
			body, err := p.format.Encode(pending[round][:n])
			if err != nil {
				return err
			}
			l.rounds[round] = append(l.rounds[round], request{body, n})
			pending[round] = append([]remotewrite.Sample(nil), pending[round][n:]...)
			return nil
		})
	}
	return g.Wait()
}

// node appends the samples of one simulated node to each round, at most limit
// series of it, and returns how many series it has.
func (p benchPlan) node(index int, start time.Time, pending [][]remotewrite.Sample, limit int) (int, error) {
	legacyEvery := 0
	if p.legacyEvery > 0 && index%p.legacyEvery == p.legacyEvery-1 {
		legacyEvery = 1
	}
	config := cluster.Sized("bench", uint64(index+1), start, 1, containersPerNode, legacyEvery, 0)
	config.Tick = p.interval
	name := fmt.Sprintf("node-%05d", index)
	config.Nodes[0].Name = name
	for i := range config.Workloads {
		w := &config.Workloads[i]
		w.Nodes = []string{name}
		if w.Kind == "StatefulSet" { // whose pods have the same name on no two nodes
			w.Name = fmt.Sprintf("%s-%05d", w.Name, index)
		}
	}
	c, err := cluster.New(config)
	if err != nil {
		return 0, err
	}
	if index%5 == 0 {
		restart := start.Add(time.Duration(1+index/5%p.rounds)*p.interval + p.interval/3)
		if err := c.RestartExporter(restart, name, p.interval/3); err != nil {
			return 0, err
		}
	}
	exporter := c.Targets()[0]
	n := 0
	for round := range pending {
		at := start.Add(time.Duration(round+1) * p.interval)
		c.Advance(at)
		series, ok := exporter.Scrape()
		if !ok {
			return 0, errors.New("its exporter is down at a scrape")
		}
		n = 0
		for _, s := range series {
			if n == limit {
				break
			}
			if p.all || strings.HasSuffix(s.Name, "_joules_total") && !strings.HasPrefix(s.Name, "kepler_pod_") {
				pending[round] = append(pending[round], remotewrite.Sample{Labels: exporter.Labels(s), TMs: at.UnixMilli(), Value: s.Value})
				n++
			}
		}
	}
	return n, nil
}
