package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
)

// sent is what send prints when it is done.
type sent struct {
	Samples  int           `json:"samples"`  // acknowledged
	Rejected int           `json:"rejected"` // refused for good
	Requests int           `json:"requests"`
	Retries  int           `json:"retries"`
	Truth    cluster.Truth `json:"truth"`
}

// runSend remote-writes duration of a cluster's life, which ends now, and
// prints the truth. With -rate 0 it goes as fast as the receiver takes it.
func runSend(ctx context.Context, args []string, out io.Writer) error {
	var sim simulation
	fs := flag.NewFlagSet("send", flag.ContinueOnError)
	sim.register(fs)
	url := fs.String("url", "http://127.0.0.1:9201/api/v1/write", "where to send")
	version := fs.Int("protocol", 1, "remote-write version: 1 or 2")
	encoding := fs.String("encoding", "snappy", "snappy or zstd")
	duration := fs.Duration("duration", 10*time.Minute, "how much of the cluster's life to send")
	interval := fs.Duration("interval", 15*time.Second, "time between scrapes")
	batch := fs.Int("batch", 2000, "samples a request")
	rate := fs.Float64("rate", 0, "at most this many samples a second; 0 for no limit")
	replicas := fs.Int("replicas", 1, "2 sends everything from two Prometheus replicas")
	skew := fs.Duration("skew", 2*time.Second, "how much later the second replica scrapes")
	before := fs.Duration("before", 0, "how long before now the sent time ends")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *interval <= 0 || *batch <= 0 || *replicas < 1 || *replicas > 2 || *replicas == 2 && (*skew <= 0 || *skew >= *interval) {
		return errors.New("interval and batch must be positive, replicas 1 or 2, skew below the interval")
	}
	end := time.Now().Add(-*before)
	c, err := sim.build(end.Add(-*duration))
	if err != nil {
		return err
	}
	s := &sender{
		client: remotewrite.Client{URL: *url, UserAgent: "loadgen", HTTP: http.DefaultClient, Format: remotewrite.Format{Version: *version, Encoding: *encoding}},
		batch:  *batch, rate: *rate, started: time.Now(), replicas: make(map[*cluster.Label]map[int][]cluster.Label),
	}
	if err := s.client.Format.Check(); err != nil {
		return err
	}
	for at := c.Now(); !at.After(end) && ctx.Err() == nil; at = at.Add(*interval) {
		for replica := range *replicas {
			c.Advance(at.Add(time.Duration(replica) * *skew))
			name := replica
			if *replicas == 1 {
				name = -1
			}
			if err := s.scrape(ctx, c, name); err != nil {
				return err
			}
		}
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	s.total.Truth = c.Truth()
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s.total)
}

// A sender collects samples into requests and posts them one after the other.
type sender struct {
	client   remotewrite.Client
	batch    int
	rate     float64
	started  time.Time
	pending  []remotewrite.Sample
	replicas map[*cluster.Label]map[int][]cluster.Label // label sets with a replica's label
	total    sent
}

// scrape sends what every target shows now; replica -1 is a Prometheus without replicas.
func (s *sender) scrape(ctx context.Context, c *cluster.Cluster, replica int) error {
	for _, target := range c.Targets() {
		series, _ := target.Scrape() // a target that is down has no series
		for _, one := range series {
			labels := target.Labels(one)
			if replica >= 0 {
				labels = s.withReplica(labels, replica)
			}
			s.pending = append(s.pending, remotewrite.Sample{Labels: labels, TMs: c.Now().UnixMilli(), Value: one.Value})
			if len(s.pending) == s.batch {
				if err := s.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *sender) withReplica(labels []cluster.Label, replica int) []cluster.Label {
	sets := s.replicas[&labels[0]]
	if sets == nil {
		sets = make(map[int][]cluster.Label)
		s.replicas[&labels[0]] = sets
	}
	if sets[replica] == nil {
		sets[replica] = cluster.With(labels, "prometheus_replica", fmt.Sprintf("prometheus-k8s-%d", replica))
	}
	return sets[replica]
}

func (s *sender) flush(ctx context.Context) error {
	if len(s.pending) == 0 {
		return nil
	}
	if s.rate > 0 {
		due := s.started.Add(time.Duration(float64(s.total.Samples+s.total.Rejected) / s.rate * float64(time.Second)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(due)):
		}
	}
	body, err := s.client.Format.Encode(s.pending)
	if err != nil {
		return err
	}
	retries, err := s.client.Post(ctx, body)
	s.total.Requests++
	s.total.Retries += retries
	var rejected *remotewrite.Rejected
	switch {
	case errors.As(err, &rejected) && ctx.Err() == nil:
		s.total.Rejected += len(s.pending)
	case err != nil:
		return err
	default:
		s.total.Samples += len(s.pending)
	}
	s.pending = s.pending[:0]
	return nil
}
