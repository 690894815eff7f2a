// Package demo is the simulated cluster that wattledger demo shows, and how it is sent.
package demo

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
)

const (
	past       = 24 * time.Hour
	pastStep   = time.Minute // how far apart the back-dated samples are
	factsEvery = 10 * time.Minute
	liveStep   = 5 * time.Second
	batch      = 5_000 // samples a request
)

// Feed remote-writes a simulated cluster to url: the day before now as fast
// as the receiver takes it, then live until ctx ends.
func Feed(ctx context.Context, url string, now time.Time) error {
	start := now.Truncate(pastStep).Add(-past)
	sim, err := NewCluster(start)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	client := remotewrite.Client{
		URL: url, UserAgent: "wattledger-demo", HTTP: http.DefaultClient,
		Format: remotewrite.Format{Version: 2, Encoding: "snappy"},
	}
	if err := feedPast(ctx, sim, &client, now); err != nil && ctx.Err() == nil {
		return fmt.Errorf("demo: the past day: %w", err)
	}
	ticker := time.NewTicker(liveStep)
	defer ticker.Stop()
	for {
		sim.Advance(time.Now())
		samples := Samples(sim, nil, func(string, []cluster.Label) bool { return true })
		for len(samples) > 0 {
			n := min(len(samples), batch)
			body, err := client.Format.Encode(samples[:n])
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			if _, err := client.Post(ctx, body); err != nil && ctx.Err() == nil {
				return fmt.Errorf("demo: %w", err)
			}
			samples = samples[n:]
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// NewCluster builds the demo's cluster and what goes wrong in its first day.
func NewCluster(start time.Time) (*cluster.Cluster, error) {
	sim, err := cluster.New(cluster.Demo(1, start))
	if err != nil {
		return nil, err
	}
	for _, err := range []error{
		sim.RestartExporter(start.Add(7*time.Hour+20*time.Second), "worker-2", 90*time.Second),
		sim.RestartContainer(start.Add(13*time.Hour+12*time.Second), "shop", "checkout", "checkout"),
		sim.EndGPUProcess(start.Add(17*time.Hour+31*time.Second), "ml-platform", "llama-finetune"),
	} {
		if err != nil {
			return nil, err
		}
	}
	return sim, nil
}

// feedPast sends the day before now. Bodies are made while others are on their way.
func feedPast(ctx context.Context, sim *cluster.Cluster, client *remotewrite.Client, now time.Time) error {
	g, ctx := errgroup.WithContext(ctx)
	bodies := make(chan []byte, 4)
	g.Go(func() error {
		defer close(bodies)
		var samples []remotewrite.Sample
		send := func() error {
			body, err := client.Format.Encode(samples)
			if err != nil {
				return err
			}
			samples = samples[:0]
			select {
			case bodies <- body:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for at := sim.Now().Add(pastStep); !at.After(now); at = at.Add(pastStep) {
			sim.Advance(at)
			facts := at.Truncate(factsEvery).Equal(at) || len(samples) == 0 && at.Sub(now) < -past+factsEvery
			samples = Samples(sim, samples, func(name string, labels []cluster.Label) bool {
				return Needed(name, labels, facts)
			})
			if len(samples) >= batch {
				if err := send(); err != nil {
					return err
				}
			}
		}
		return send()
	})
	g.Go(func() error {
		for body := range bodies {
			if _, err := client.Post(ctx, body); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// Samples scrapes every target that is up and appends the wanted series.
func Samples(sim *cluster.Cluster, samples []remotewrite.Sample, want func(string, []cluster.Label) bool) []remotewrite.Sample {
	at := sim.Now().UnixMilli()
	for _, target := range sim.Targets() {
		series, _ := target.Scrape() // a target that is down has no series
		for _, s := range series {
			if want(s.Name, s.Labels) {
				samples = append(samples, remotewrite.Sample{Labels: target.Labels(s), TMs: at, Value: s.Value})
			}
		}
	}
	return samples
}

// Needed keeps the back-dated day small: counters that are booked, and
// the facts about pods now and then. Live, everything is sent.
func Needed(name string, labels []cluster.Label, facts bool) bool {
	switch {
	case strings.HasPrefix(name, "kube_"):
		return facts
	case strings.HasPrefix(name, "DCGM_"):
		return name == "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
	case name == "kepler_container_gpu_watts":
		return true
	case !strings.HasSuffix(name, "_joules_total"), strings.HasPrefix(name, "kepler_pod_"):
		return false
	case name == "kepler_container_joules_total", strings.Contains(name, "core_joules"), strings.Contains(name, "platform_joules"):
		return false
	}
	for _, l := range labels {
		if l.Name == "zone" && l.Value != "package" && l.Value != "dram" {
			return false
		}
	}
	return true
}
