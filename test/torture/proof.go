package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/test/faultproxy"
)

// A proof is a bounded part of a run that shows one thing, for the report.
type proof struct {
	title   string
	text    string
	totals  totals
	defects int
	took    time.Duration
}

// outage is load during which InfluxDB is down for a third of the time and
// Redis is killed and comes back empty; then the server is killed as well, at
// random moments.
func (r *run) outage(ctx context.Context, lasts time.Duration, kills int) (proof, error) {
	began, before := time.Now(), len(r.defects)
	list := []planned{
		{fault: fault{"influxdb-kill", onInflux, "", func(ctx context.Context, r *run, _ *rand.Rand) error {
			r.rig.influx.kill()
			r.killed("influxdb")
			pause(ctx, lasts/3)
			return r.rig.influx.start()
		}}, at: lasts / 6},
		{fault: fault{"redis-kill", onRedis, "", killRedis}, at: lasts / 3},
	}
	// In the order of time, as all faults of a lane.
	at := time.Duration(0)
	for i := range kills {
		at += time.Duration(r.random.Int64N(2 * int64(lasts-at) / int64(kills-i+1)))
		list = append(list, planned{fault: serverFaults[0], at: at, seed: r.random.Uint64()})
	}
	if err := r.round(ctx, lasts, list, 2); err != nil {
		return proof{}, err
	}
	t := r.totals
	p := proof{totals: t, defects: len(r.defects) - before, took: time.Since(began)}
	p.title = fmt.Sprintf("%v of load, InfluxDB down for %v, Redis killed and empty", lasts, lasts/3)
	if kills > 0 {
		p.title += fmt.Sprintf(", the server killed %d times", kills)
	}
	return p, nil
}

// away is an hour of simulated time during which no follower can be reached,
// and then they can.
func away(ctx context.Context, o options, speed float64, say func(string, ...any)) (p proof, err error) {
	began := time.Now()
	o.span, o.speed = 3*time.Hour, speed
	r, err := newRun(ctx, o, io.Discard)
	if err != nil {
		return p, err
	}
	defer r.close()
	w, err := bigWorld(o, r.worlds[0].client.URL)
	if err != nil {
		return p, err
	}
	r.worlds = []*world{w}
	r.rig.toRedis.Set(faultproxy.Fault{Refuse: true})
	r.rig.toInflux.Set(faultproxy.Fault{Refuse: true})

	const hour = time.Hour
	lasts := time.Duration(float64(hour) / speed)
	c := &clock{from: w.sim.Now(), began: time.Now(), lasts: lasts, speed: speed}
	played := make(chan error, 1)
	go func() { played <- w.play(ctx, c) }()
	var at [4]int64 // resident at each quarter
	for i := range at {
		if !pause(ctx, time.Until(c.began.Add(lasts*time.Duration(i+1)/4))) {
			return p, ctx.Err()
		}
		if at[i], _, err = r.rig.server.resident(); err != nil {
			return p, err
		}
	}
	if err := <-played; err != nil {
		return p, err
	}
	m, err := r.rig.metrics()
	if err != nil {
		return p, err
	}
	_, peak, err := r.rig.server.resident()
	if err != nil {
		return p, err
	}
	waiting := sumOf(m, "wattledger_follower_lag_entries")
	if waiting == 0 {
		return p, fmt.Errorf("nothing waits for the followers: were they away?")
	}
	r.heal()
	if err := r.look(ctx); err != nil {
		return p, err
	}
	p.title = fmt.Sprintf("An hour without the followers, at %v times its speed", speed)
	p.text = fmt.Sprintf("%d containers on %d nodes, %d samples. Resident after 15, 30, 45 and 60 minutes: %.0f, %.0f, %.0f, %.0f MiB; at most %.0f MiB. %v outbox entries waited; the store had %.1f MiB on disk.",
		len(w.nodes)*bigContainers, len(w.nodes), w.oracle.samples, mib(at[0]), mib(at[1]), mib(at[2]), mib(at[3]), mib(peak), waiting, mib(r.totals.booksBytes))
	p.totals, p.defects, p.took = r.totals, len(r.defects), time.Since(began)
	for _, d := range r.defects {
		say("DEFECT %s", d)
	}
	if mib(peak) > awayLimitMiB {
		p.defects++
		say("DEFECT the server took %.0f MiB, more than %d", mib(peak), awayLimitMiB)
	}
	return p, nil
}

const (
	bigContainers = 50
	awayLimitMiB  = 256
)

// bigWorld is one cluster that is as large as the simulation can go at that speed.
func bigWorld(o options, url string) (*world, error) {
	start := time.Now().Add(-o.span).Truncate(time.Minute)
	config := cluster.Sized("big", o.seed, start, 4, bigContainers, 0, 4e6)
	sim, err := cluster.New(config)
	if err != nil {
		return nil, err
	}
	w := &world{
		name: config.Name, sim: sim, oracle: newOracle(), random: rand.New(rand.NewPCG(o.seed, 99)), replicas: 1, inOrder: true,
		next: start.Add(time.Second), relabels: map[*cluster.Label][2][]cluster.Label{},
		client: remotewrite.Client{URL: url, UserAgent: "torture-big", Format: remotewrite.Format{Version: 2, Encoding: "snappy"}, HTTP: &http.Client{
			Timeout: 6 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 2, IdleConnTimeout: 5 * time.Second},
		}},
	}
	for _, n := range config.Nodes {
		w.nodes = append(w.nodes, n.Name)
	}
	return w, nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
