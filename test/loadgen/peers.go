package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// runPeers measures receivers beside each other: the same bodies, one server at
// a time, in turn, so that a machine whose speed drifts treats all alike.
func runPeers(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	bin := fs.String("bin", "bin,bin/peers", "folders with the programs, separated by commas")
	only := fs.String("only", "", "measure these peers, separated by commas; all by default")
	runs := fs.Int("runs", 3, "how often each is measured")
	raw := fs.String("raw", "dist/bench-peers.jsonl", "file that every single result is added to")
	plan := benchPlan{legacyEvery: 10}
	fs.IntVar(&plan.format.Version, "protocol", 1, "remote-write version: 1 or 2")
	fs.StringVar(&plan.format.Encoding, "encoding", "snappy", "snappy or zstd")
	fs.IntVar(&plan.series, "series", 200_000, "number of series")
	fs.IntVar(&plan.batch, "batch", 2000, "samples a request")
	fs.IntVar(&plan.rounds, "rounds", 11, "samples of each series; the first round is reported apart")
	fs.DurationVar(&plan.interval, "interval", 15*time.Second, "event time between the samples of a series")
	fs.BoolVar(&plan.all, "all-series", true, "also the series that are not booked: watts, pods, processors")
	senders := fs.Int("senders", 4, "connections")
	rate := fs.Float64("rate", 0, "samples a second in an open loop; 0 for a closed loop")
	settle := fs.Duration("settle", 12*time.Second, "how long the server's CPU time is watched after the last answer")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *senders < 1 || *runs < 1 {
		return errors.New("at least one sender and one run")
	}
	if err := plan.check(); err != nil {
		return err
	}
	measured, err := choose(*only, plan.format.Version, strings.Split(*bin, ","))
	if err != nil {
		return err
	}
	load, err := plan.prepare(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(*raw), 0o755); err != nil {
		return err
	}
	kept, err := os.OpenFile(*raw, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer kept.Close()

	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer sink.Close()
	b := &bench{load: load, plan: plan, senders: *senders, rate: *rate, settle: *settle}
	for run := range *runs {
		for i := range measured {
			m := &measured[i]
			result, err := m.measure(ctx, *b, sink.URL)
			if err != nil {
				return fmt.Errorf("%s: %w", m.peer.name, err)
			}
			m.results = append(m.results, result)
			row := struct {
				Peer string    `json:"peer"`
				Run  int       `json:"run"`
				Time time.Time `json:"time"`
				benchResult
			}{m.peer.name, run, time.Now().UTC().Truncate(time.Second), result}
			if err := json.NewEncoder(kept).Encode(row); err != nil {
				return err
			}
		}
	}
	return writePeers(out, measured, *b)
}

// A measured peer has its results, one a run.
type measured struct {
	peer    *peer
	program string
	results []benchResult
}

// choose returns the peers that speak the protocol; those that were asked for by
// name must be there.
func choose(only string, protocol int, folders []string) (list []measured, err error) {
	wanted := strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	for i := range peers {
		p := &peers[i]
		asked := slices.Contains(wanted, p.name)
		if !p.speaks(protocol) || (len(wanted) > 0 && !asked) {
			continue
		}
		program, err := p.file(folders)
		if err != nil {
			if asked {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "loadgen: left out: %v\n", err)
			continue
		}
		list = append(list, measured{peer: p, program: program})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no peer to measure with protocol %d in %v", protocol, folders)
	}
	return list, nil
}

func (m *measured) measure(ctx context.Context, b bench, sink string) (benchResult, error) {
	s, err := m.peer.start(ctx, m.program, sink)
	if err != nil {
		return benchResult{}, err
	}
	defer s.stop()
	b.client = b.clientOf(s.url)
	b.process = process(s.command.Process.Pid)
	return b.run(ctx)
}

// writePeers writes the medians, and how many times the first peer's cost each has.
func writePeers(out io.Writer, list []measured, b bench) error {
	fmt.Fprintf(out, "remote write %d.0, %d series, %d samples a request, %.1f bytes a sample, %d connections, medians of %d runs in turn",
		b.plan.format.Version, b.load.series, b.plan.batch, b.load.bytesPerSample(), b.senders, len(list[0].results))
	if b.rate > 0 {
		fmt.Fprintf(out, ", open loop at %.0f samples/s", b.rate)
	}
	fmt.Fprint(out, "\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| receiver\t| samples/s\t| CPU s a million\t| times ours\t| first sight, CPU s a million\t| ack p50 ms\t| p99 ms\t| resident MiB\t| peak MiB\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	ours := list[0].median(func(r *benchResult) float64 { return r.Steady.CPUPerMillionSamples })
	for i := range list {
		m := &list[i]
		cpu := m.median(func(r *benchResult) float64 { return r.Steady.CPUPerMillionSamples })
		fmt.Fprintf(w, "| %s\t| %.0f\t| %.2f\t| %.1f\t| %.2f\t| %.2f\t| %.2f\t| %.0f\t| %.0f\t|\n", m.peer.name,
			m.median(func(r *benchResult) float64 { return r.Steady.SamplesPerSecond }), cpu, cpu/ours,
			m.median(func(r *benchResult) float64 { return r.FirstSight.CPUPerMillionSamples }),
			m.median(func(r *benchResult) float64 { return r.Steady.P50Ms }),
			m.median(func(r *benchResult) float64 { return r.Steady.P99Ms }),
			m.median(func(r *benchResult) float64 { return float64(r.Steady.ResidentBytes) / (1 << 20) }),
			m.median(func(r *benchResult) float64 { return float64(r.Steady.PeakResidentBytes) / (1 << 20) }))
	}
	fmt.Fprintln(w, "\n| receiver\t| durable before the answer\t| computes\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|")
	for i := range list {
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t|\n", list[i].peer.name, list[i].peer.durable, list[i].peer.computes)
	}
	return w.Flush()
}

// median of a figure over the runs; of an even number, the lower of the two.
func (m *measured) median(figure func(*benchResult) float64) float64 {
	var list []float64
	for i := range m.results {
		list = append(list, figure(&m.results[i]))
	}
	slices.Sort(list)
	return list[(len(list)-1)/2]
}
