package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/backfill"
	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
)

var backfillCommand = taskCommand{name: "backfill", route: "/-/backfill", here: backfillHere, result: printBackfilled}

// newSource returns the Prometheus that the configuration names.
func newSource(cfg *configs.Config, l *stages) (*backfill.Source, error) {
	if cfg.Kepler.PrometheusURL == "" {
		return nil, httpapi.CannotBegin("kepler.prometheus_url is not set: give the URL of the Prometheus that sends, in KEPLER_PROMETHEUS_URL or the configuration")
	}
	return backfill.New(cfg.Kepler.PrometheusURL, l.table.Metrics())
}

// backfillHere works on a storage that nobody uses. What came after the newest
// sample of the line is fed to the line itself: it goes on from there as if
// nothing had happened. What came before is restated.
func backfillHere(ctx context.Context, cfg *configs.Config, r httpapi.TaskRange, logger *slog.Logger, tell func(httpapi.Event)) (err error) {
	l, err := openStages(cfg, logger, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	source, err := newSource(cfg, l)
	if err != nil {
		return err
	}
	if err := l.replay(ctx, logger); err != nil {
		return err
	}
	fromMs, toMs := wholeWindows(cfg, r)
	if _, err := unfinished(cfg.Storage.Path, fromMs, toMs); err != nil {
		return err
	}
	newestMs := l.newestMs()
	if toMs > newestMs && !r.DryRun {
		if newestMs == 0 {
			newestMs = fromMs
		}
		if err := l.catchUp(ctx, cfg, source, newestMs, toMs, tell); err != nil {
			return err
		}
	}
	if err := backfillStored(ctx, cfg, l, source, fromMs, min(toMs, newestMs), r.DryRun, logger, tell); err != nil {
		return err
	}
	return l.books.Maintain(ctx)
}

// wholeWindows returns the windows that begin in a range.
func wholeWindows(cfg *configs.Config, r httpapi.TaskRange) (fromMs, toMs int64) {
	windowMs := cfg.Transform.Window.Milliseconds()
	up := func(ms int64) int64 { return ms + (windowMs-ms%windowMs)%windowMs }
	return up(r.From.UnixMilli()), up(r.To.UnixMilli())
}

// newestMs is the time of the newest sample that the line has booked, 0 if there is none.
func (l *stages) newestMs() (ms int64) {
	for _, n := range l.stage.Nodes() {
		ms = max(ms, n.NewestMs)
	}
	return ms
}

// snapshotEvery is after how many chunks of a catch-up memory is written out, so
// that the journal can let go of what is behind it.
const snapshotEvery = 8

// catchUp feeds the line with what came after fromMs, its newest sample, up to
// toMs. It must not take anything else meanwhile: samples have to come in order.
// Interrupted, it goes on from the newest sample that the line then has.
func (l *stages) catchUp(ctx context.Context, cfg *configs.Config, source *backfill.Source, fromMs, toMs int64, tell func(httpapi.Event)) error {
	tell(httpapi.Event{Text: fmt.Sprintf("booking what came from %s to %s", clock(fromMs), clock(toMs))})
	// Accounts have their newest samples at different times. Samples that were
	// booked already change nothing.
	begin := fromMs
	if l.newestMs() > 0 {
		begin -= cfg.Accounting.ReorderWindow.Milliseconds()
	}
	if err := l.sameClusters(ctx, source, begin, fromMs+1); err != nil {
		return err
	}
	chunk, total := firstChunk, 0
	for at, i := begin, 1; at < toMs; i++ {
		to := min(at+time.Duration(chunk).Milliseconds(), toMs)
		n, err := eachRecord(ctx, source, at, to, func(r *journal.Record) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			_, err := l.ingest.Take(ctx, r)
			return err
		})
		if err == nil {
			err = l.flush.flush(ctx)
		}
		if err == nil && (i%snapshotEvery == 0 || to == toMs) {
			if err = l.flush.snapshot(); err == nil {
				err = l.books.Maintain(ctx)
			}
		}
		if err != nil {
			return fmt.Errorf("catch up from %s: %w", clock(at), err)
		}
		total += n
		chunk.next(n)
		at = to
		tell(httpapi.Event{Progress: &httpapi.Progress{At: time.UnixMilli(at).UTC(), Share: float64(at-begin) / float64(toMs-begin), Samples: total}})
	}
	return nil
}

// sameClusters looks whether a Prometheus names the clusters of nodes as the one
// does that sends. Where it does not, every joule would be booked again, of a
// node nobody knew.
func (l *stages) sameClusters(ctx context.Context, source *backfill.Source, fromMs, toMs int64) error {
	known, elsewhere := map[nodeKey]bool{}, map[string]string{}
	for _, n := range l.stage.Nodes() {
		known[nodeKey{n.Cluster, n.Node}] = true
		elsewhere[n.Node] = n.Cluster
	}
	if len(known) == 0 {
		return nil
	}
	list, err := source.Series(ctx, fromMs, toMs)
	if err != nil {
		return err
	}
	for _, ts := range list {
		labels := make([]power.Label, len(ts.Labels))
		for i, x := range ts.Labels {
			labels[i] = power.Label{Name: x.Name, Value: x.Value}
		}
		m, ok := l.table.Map(labels)
		if !ok || m.Role == metric.RoleFact {
			continue
		}
		if k := (nodeKey{m.Holder.Cluster, m.Holder.Node}); !known[k] && elsewhere[k.node] != "" {
			return fmt.Errorf("%s has node %s in cluster %s, and the books have it in cluster %s: does external_labels name the cluster, or metrics.default_cluster?",
				source.Name(), k.node, k.cluster, elsewhere[k.node])
		}
	}
	return nil
}

// backfillStored restates what the line has left behind.
func backfillStored(ctx context.Context, cfg *configs.Config, l *stages, source *backfill.Source, fromMs, toMs int64, dry bool, logger *slog.Logger, tell func(httpapi.Event)) error {
	windowMs := cfg.Transform.Window.Milliseconds()
	toMs -= toMs % windowMs
	if kept := l.books.MinutesFromMs(); fromMs < kept {
		tell(httpapi.Event{Text: "minutes before " + clock(kept) + " are older than store.minutes_retention: the backfill begins there"})
		fromMs = kept
	}
	if fromMs >= toMs {
		tell(httpapi.Event{Backfilled: (&plan{}).result(dry, 0)})
		return nil
	}
	nodes, err := l.flush.nodes()
	if err != nil {
		return err
	}
	newest := int64(0)
	open := map[nodeKey]int64{}
	for _, n := range nodes {
		newest = max(newest, n.NewestMs)
	}
	for _, n := range nodes {
		if n.NewestMs > newest-2*horizonMs(cfg) { // a silent node's windows stay as they are
			open[nodeKey{n.Cluster, n.Node}] = n.OpenMs
		}
	}
	b := &restater{cfg: cfg, l: l, source: source, logger: logger, tell: tell, described: map[*power.Holder]*power.Holder{}}
	p, err := b.restate(ctx, fromMs, toMs, dry, func(k nodeKey) int64 {
		if ms, ok := open[k]; ok {
			return ms
		}
		return 1<<63 - 1
	})
	if err != nil {
		return err
	}
	tell(httpapi.Event{Backfilled: p.result(dry, b.samples)})
	return nil
}

// backfillServing works inside the service, on what its line has left behind.
func backfillServing(ctx context.Context, cfg *configs.Config, l *stages, r httpapi.TaskRange, logger *slog.Logger, tell func(httpapi.Event)) error {
	source, err := newSource(cfg, l)
	if err != nil {
		return err
	}
	fromMs, toMs := wholeWindows(cfg, r)
	if err := l.awaitClosed(ctx, cfg, toMs, tell); err != nil {
		return err
	}
	if newest := l.newestMs(); toMs > newest-horizonMs(cfg) {
		toMs = newest - horizonMs(cfg)
		tell(httpapi.Event{Text: "what came after " + clock(toMs) + " may still move in memory: the backfill ends there"})
	}
	return backfillStored(ctx, cfg, l, source, fromMs, toMs, r.DryRun, logger, tell)
}

// awaitClosed waits until the windows of nodes that are heard are closed up to
// toMs. After an outage they are all open: what was booked over it has just moved them.
func (l *stages) awaitClosed(ctx context.Context, cfg *configs.Config, toMs int64, tell func(httpapi.Event)) error {
	toMs = min(toMs, l.newestMs()-horizonMs(cfg)) // what is newer is not waited for
	toMs -= toMs % cfg.Transform.Window.Milliseconds()
	deadline := time.Now().Add(time.Duration(horizonMs(cfg))*time.Millisecond + time.Minute)
	tick := time.NewTicker(min(time.Second, cfg.Storage.FlushInterval))
	defer tick.Stop()
	for told := false; ; {
		nodes, err := l.flush.nodes()
		if err != nil {
			return err
		}
		open, newest := 0, l.newestMs()
		for _, n := range nodes {
			if n.OpenMs < toMs && n.NewestMs > newest-2*horizonMs(cfg) {
				open++
			}
		}
		if open == 0 || time.Now().After(deadline) {
			return nil
		}
		if !told {
			told = true
			tell(httpapi.Event{Text: fmt.Sprintf("waiting until what %d nodes were booked of that time is closed, %v at most", open, time.Until(deadline).Round(time.Second))})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// printBackfilled prints what was done, node by node.
func printBackfilled(w io.Writer, e httpapi.Event) (bool, error) {
	r := e.Backfilled
	if r == nil {
		return false, nil
	}
	windows := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "cluster\tnode\tfrom\tto\tminutes restated\tgained kWh\t")
	for _, n := range r.Nodes {
		if n.Skipped != "" {
			fmt.Fprintf(t, "%s\t%s\tleft as it is: %s\n", n.Cluster, n.Node, n.Skipped)
			continue
		}
		windows += n.Windows
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%.6f\t\n", n.Cluster, n.Node, n.From.Format(time.RFC3339), n.To.Format(time.RFC3339), n.Windows, n.GainedKWh)
	}
	if len(r.Nodes) > 0 {
		if err := t.Flush(); err != nil {
			return true, err
		}
	}
	verb := "restated"
	if r.DryRun {
		verb = "would be restated"
	}
	_, err := fmt.Fprintf(w, "%d windows of nodes %s, from %d samples\n", windows, verb, r.Samples)
	return true, err
}
