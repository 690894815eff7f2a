package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
)

// A benchResult is one line of a table of receivers.
type benchResult struct {
	URL            string  `json:"url"`
	Protocol       int     `json:"protocol"`
	Encoding       string  `json:"encoding"`
	Series         int     `json:"series"`
	Batch          int     `json:"batch"`
	Senders        int     `json:"senders"`
	OfferedRate    float64 `json:"offered_samples_per_second,omitempty"` // open loop only
	BytesPerSample float64 `json:"bytes_per_sample"`
	FirstSight     phase   `json:"first_sight"` // the round in which every series is new
	Steady         phase   `json:"steady"`

	Queries []queryResult `json:"queries,omitempty"` // asked during the steady rounds
}

// A phase is what was measured between two moments.
type phase struct {
	Samples              int     `json:"samples"`
	Seconds              float64 `json:"seconds"`
	SamplesPerSecond     float64 `json:"samples_per_second"`
	CPUSeconds           float64 `json:"cpu_seconds,omitempty"` // of the server, until it had settled
	CPUPerMillionSamples float64 `json:"cpu_seconds_per_million_samples,omitempty"`
	P50Ms                float64 `json:"ack_p50_ms"`
	P99Ms                float64 `json:"ack_p99_ms"`
	P999Ms               float64 `json:"ack_p999_ms"`
	Retries              int     `json:"retries"`
	ResidentBytes        int64   `json:"resident_bytes,omitempty"`
	PeakResidentBytes    int64   `json:"peak_resident_bytes,omitempty"`
}

// runBench measures a receiver with bodies that are all made beforehand, so
// that the sender costs next to nothing while it runs. The loop is closed (each
// sender posts as soon as it has an answer) unless -rate opens it: then requests
// are due at fixed times, and an acknowledgement's latency counts from when its
// request was due, so that a stall is charged to every request it delays.
func runBench(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	url := fs.String("url", "http://127.0.0.1:9201/api/v1/write", "where to send")
	pid := fs.Int("pid", 0, "process id of the server, for its CPU time and memory; 0 for none")
	var plan benchPlan
	fs.IntVar(&plan.format.Version, "protocol", 1, "remote-write version: 1 or 2")
	fs.StringVar(&plan.format.Encoding, "encoding", "snappy", "snappy or zstd")
	fs.IntVar(&plan.series, "series", 200_000, "number of series")
	fs.IntVar(&plan.batch, "batch", 2000, "samples a request")
	fs.IntVar(&plan.rounds, "rounds", 11, "samples of each series; the first round is reported apart")
	fs.DurationVar(&plan.interval, "interval", 15*time.Second, "event time between the samples of a series")
	fs.IntVar(&plan.legacyEvery, "legacy-every", 10, "every how manyth node has a Kepler before 0.10; 0 for none")
	fs.BoolVar(&plan.all, "all-series", false, "also the series that are not booked: watts, pods, processors")
	fs.DurationVar(&plan.ahead, "ahead", 0, "send the first samples so long after the start, which leaves time to prepare, and make them of then; with a rate of series/interval all are sent when they are of. 0: the last samples are of the start")
	senders := fs.Int("senders", 4, "connections")
	rate := fs.Float64("rate", 0, "samples a second in an open loop; 0 for a closed loop")
	settle := fs.Duration("settle", 3*time.Second, "how long the server's CPU time is watched after the last answer")
	queries := fs.Float64("queries", 0, "how many times a second to ask each of a few questions during the steady rounds")
	asJSON := fs.Bool("json", false, "print one JSON object instead of text")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *senders < 1 {
		return errors.New("at least one sender")
	}
	if err := plan.check(); err != nil {
		return err
	}
	started := time.Now()
	load, err := plan.prepare(ctx)
	if err != nil {
		return err
	}
	if !*asJSON {
		fmt.Fprintf(out, "prepared %d requests of %d series in %v\n", load.requests(), load.series, time.Since(started).Round(time.Millisecond))
	}
	if plan.ahead > 0 {
		if time.Now().After(load.start) {
			return fmt.Errorf("preparing took %v: raise -ahead (%v)", time.Since(started).Round(time.Millisecond), plan.ahead)
		}
		if !wait(ctx, time.Until(load.start)) {
			return ctx.Err()
		}
	}
	b := &bench{load: load, plan: plan, senders: *senders, rate: *rate, queries: *queries, process: process(*pid), settle: *settle}
	b.client = b.clientOf(*url)
	result, err := b.run(ctx)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(out).Encode(result)
	}
	result.write(out)
	return nil
}

func (r benchResult) write(out io.Writer) {
	fmt.Fprintf(out, "protocol %d, %s, %d series, %d samples a request, %.1f bytes a sample, %d senders", r.Protocol, r.Encoding, r.Series, r.Batch, r.BytesPerSample, r.Senders)
	if r.OfferedRate > 0 {
		fmt.Fprintf(out, ", open loop at %.0f samples/s", r.OfferedRate)
	}
	fmt.Fprintln(out)
	line := func(name string, p phase) {
		fmt.Fprintf(out, "%-12s %9.0f samples/s  %6.3f CPU s/million  ack p50 %.2f ms  p99 %.2f ms  p99.9 %.2f ms  RSS %.1f MiB (peak %.1f)  %d retries\n", name,
			p.SamplesPerSecond, p.CPUPerMillionSamples, p.P50Ms, p.P99Ms, p.P999Ms, float64(p.ResidentBytes)/(1<<20), float64(p.PeakResidentBytes)/(1<<20), p.Retries)
	}
	line("first sight", r.FirstSight)
	line("steady", r.Steady)
	for _, q := range r.Queries {
		fmt.Fprintf(out, "%-55s %5d times  %7d bytes  p50 %.2f ms  p99 %.2f ms  worst %.2f ms\n", q.Path, q.Count, q.Bytes, q.P50Ms, q.P99Ms, q.WorstMs)
	}
}

type bench struct {
	load    *load
	plan    benchPlan
	client  remotewrite.Client
	senders int
	rate    float64
	queries float64
	process process
	settle  time.Duration
}

func (b *bench) clientOf(url string) remotewrite.Client {
	return remotewrite.Client{URL: url, UserAgent: "loadgen", Format: b.plan.format, HTTP: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: b.senders},
	}}
}

// run sends the first round, then the others.
func (b *bench) run(ctx context.Context) (r benchResult, err error) {
	r = benchResult{
		URL: b.client.URL, Protocol: b.plan.format.Version, Encoding: b.plan.format.Encoding, Series: b.load.series,
		Batch: b.plan.batch, Senders: b.senders, OfferedRate: b.rate, BytesPerSample: b.load.bytesPerSample(),
	}
	if r.FirstSight, err = b.measure(ctx, 0, 1); err != nil {
		return r, fmt.Errorf("first round: %w", err)
	}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var questions errgroup.Group
	if b.queries > 0 {
		b.settle = 0 // while nothing comes in, answers are quick
		base := strings.TrimSuffix(b.client.URL, "/api/v1/write")
		questions.Go(func() (err error) {
			r.Queries, err = ask(asking, base, b.queries)
			return err
		})
	}
	if r.Steady, err = b.measure(ctx, 1, b.plan.rounds); err != nil {
		return r, fmt.Errorf("steady rounds: %w", err)
	}
	stop()
	return r, questions.Wait()
}

// measure sends the rounds [from, to). A request's number decides its sender,
// so the samples of one series stay in order, as in Prometheus's shards.
func (b *bench) measure(ctx context.Context, from, to int) (phase, error) {
	cpu, err := b.process.cpuSeconds()
	if err != nil {
		return phase{}, err
	}
	acks := make([][]time.Duration, b.senders)
	retries := make([]int, b.senders)
	started := time.Now()
	g, sending := errgroup.WithContext(ctx)
	for sender := range b.senders {
		g.Go(func() error {
			sentBefore := 0 // samples of all requests before this one, whoever sends them
			for round := from; round < to; round++ {
				for i, request := range b.load.rounds[round] {
					due := time.Now()
					if b.rate > 0 {
						due = started.Add(time.Duration(float64(sentBefore) / b.rate * float64(time.Second)))
					}
					sentBefore += request.samples
					if i%b.senders != sender {
						continue
					}
					if b.rate > 0 && !wait(sending, time.Until(due)) {
						return sending.Err()
					}
					n, err := b.client.Post(sending, request.body)
					if err != nil {
						return fmt.Errorf("request %d of round %d: %w", i, round, err)
					}
					acks[sender] = append(acks[sender], time.Since(due))
					retries[sender] += n
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return phase{}, err
	}
	p := phase{Seconds: time.Since(started).Seconds()}
	for _, round := range b.load.rounds[from:to] {
		for _, request := range round {
			p.Samples += request.samples
		}
	}
	p.SamplesPerSecond = float64(p.Samples) / p.Seconds
	for _, n := range retries {
		p.Retries += n
	}
	all := slices.Concat(acks...)
	slices.Sort(all)
	p.P50Ms, p.P99Ms, p.P999Ms = percentile(all, 0.5), percentile(all, 0.99), percentile(all, 0.999)
	if b.process == 0 {
		return p, nil
	}
	// Work that the server put off until after its answers is its cost too.
	if !wait(ctx, b.settle) {
		return phase{}, ctx.Err()
	}
	after, err := b.process.cpuSeconds()
	if err != nil {
		return phase{}, err
	}
	p.CPUSeconds = after - cpu
	p.CPUPerMillionSamples = p.CPUSeconds / float64(p.Samples) * 1e6
	p.ResidentBytes, p.PeakResidentBytes, err = b.process.memory()
	return p, err
}

// wait waits for d, or until ctx ends, and then reports false.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// percentile returns the q-quantile in milliseconds of sorted durations.
func percentile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i]) / float64(time.Millisecond)
}
