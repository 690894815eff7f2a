package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
)

// A Backfill books what a Prometheus has stored and a ledger lacks.
type Backfill struct {
	cfg    *ledger.Config
	l      *ledger.Ledger
	source *Source
	tell   func(Event)
}

// ErrNoPrometheus says that there is nothing to read from.
var ErrNoPrometheus = errors.New("kepler.prometheus_url is not set: give the URL of the Prometheus that sends, in KEPLER_PROMETHEUS_URL or the configuration")

// New returns a backfill of a ledger, which has been replayed, from the
// Prometheus at a URL.
func New(l *ledger.Ledger, prometheusURL string, tell func(Event)) (*Backfill, error) {
	if prometheusURL == "" {
		return nil, ErrNoPrometheus
	}
	source, err := NewSource(prometheusURL, l.Table().Metrics())
	if err != nil {
		return nil, err
	}
	return &Backfill{cfg: l.Config(), l: l, source: source, tell: tell}, nil
}

// Idle works on a ledger that nobody else uses. What came after the newest
// sample is fed to the ledger itself: it goes on from there as if nothing had
// happened. What came before is restated.
func (b *Backfill) Idle(ctx context.Context, from, to time.Time, dry bool) error {
	fromMs, toMs := b.wholeWindows(from, to)
	if _, err := unfinished(b.cfg.Path, fromMs, toMs); err != nil {
		return err
	}
	newestMs := b.l.NewestMs()
	if toMs > newestMs && !dry {
		if newestMs == 0 {
			newestMs = fromMs
		}
		if err := b.catchUp(ctx, newestMs, toMs); err != nil {
			return err
		}
	}
	if err := b.restate(ctx, fromMs, min(toMs, newestMs), dry); err != nil {
		return err
	}
	return b.l.Books.Maintain(ctx)
}

// Serving works on a ledger that takes requests meanwhile, on what it has left behind.
func (b *Backfill) Serving(ctx context.Context, from, to time.Time, dry bool) error {
	fromMs, toMs := b.wholeWindows(from, to)
	if err := b.awaitClosed(ctx, toMs); err != nil {
		return err
	}
	if newest := b.l.NewestMs(); toMs > newest-b.cfg.HorizonMs() {
		toMs = newest - b.cfg.HorizonMs()
		b.tell(Event{Text: "what came after " + clock(toMs) + " may still move in memory: the backfill ends there"})
	}
	return b.restate(ctx, fromMs, toMs, dry)
}

// wholeWindows returns the windows that begin in a range.
func (b *Backfill) wholeWindows(from, to time.Time) (fromMs, toMs int64) {
	windowMs := b.cfg.Transform.Window.Milliseconds()
	up := func(ms int64) int64 { return ms + (windowMs-ms%windowMs)%windowMs }
	return up(from.UnixMilli()), up(to.UnixMilli())
}

// snapshotEvery is after how many chunks of a catch-up memory is written out, so
// that the journal can let go of what is behind it.
const snapshotEvery = 8

// catchUp feeds the line with what came after fromMs, its newest sample, up to
// toMs. It must not take anything else meanwhile: samples have to come in order.
// Interrupted, it goes on from the newest sample that the line then has.
func (b *Backfill) catchUp(ctx context.Context, fromMs, toMs int64) error {
	b.tell(Event{Text: fmt.Sprintf("booking what came from %s to %s", clock(fromMs), clock(toMs))})
	// Accounts have their newest samples at different times. Samples that were
	// booked already change nothing.
	begin := fromMs
	if b.l.NewestMs() > 0 {
		begin -= b.cfg.Accounting.ReorderWindow.Milliseconds()
	}
	if err := b.sameClusters(ctx, begin, fromMs+1); err != nil {
		return err
	}
	chunk, total := firstChunk, 0
	for at, i := begin, 1; at < toMs; i++ {
		to := min(at+time.Duration(chunk).Milliseconds(), toMs)
		n, err := eachRecord(ctx, b.source, at, to, func(r *journal.Record) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			_, err := b.l.Take(ctx, r)
			return err
		})
		if err == nil {
			err = b.l.Flush(ctx)
		}
		if err == nil && (i%snapshotEvery == 0 || to == toMs) {
			if err = b.l.Snapshot(); err == nil {
				err = b.l.Books.Maintain(ctx)
			}
		}
		if err != nil {
			return fmt.Errorf("catch up from %s: %w", clock(at), err)
		}
		total += n
		chunk.next(n)
		at = to
		b.tell(Event{Progress: &Progress{At: time.UnixMilli(at).UTC(), Share: float64(at-begin) / float64(toMs-begin), Samples: total}})
	}
	return nil
}

// sameClusters looks whether a Prometheus names the clusters of nodes as the one
// does that sends. Where it does not, every joule would be booked again, of a
// node nobody knew.
func (b *Backfill) sameClusters(ctx context.Context, fromMs, toMs int64) error {
	known, elsewhere := map[nodeKey]bool{}, map[string]string{}
	for _, n := range b.l.Nodes() {
		known[nodeKey{n.Cluster, n.Node}] = true
		elsewhere[n.Node] = n.Cluster
	}
	if len(known) == 0 {
		return nil
	}
	list, err := b.source.Series(ctx, fromMs, toMs)
	if err != nil {
		return err
	}
	for _, ts := range list {
		labels := make([]power.Label, len(ts.Labels))
		for i, x := range ts.Labels {
			labels[i] = power.Label{Name: x.Name, Value: x.Value}
		}
		m, ok := b.l.Table().Map(labels)
		if !ok || m.Role == metric.RoleFact {
			continue
		}
		if k := (nodeKey{m.Holder.Cluster, m.Holder.Node}); !known[k] && elsewhere[k.node] != "" {
			return fmt.Errorf("%s has node %s in cluster %s, and the books have it in cluster %s: does external_labels name the cluster, or metrics.default_cluster?",
				b.source.Name(), k.node, k.cluster, elsewhere[k.node])
		}
	}
	return nil
}

// restate restates what the line has left behind.
func (b *Backfill) restate(ctx context.Context, fromMs, toMs int64, dry bool) error {
	windowMs := b.cfg.Transform.Window.Milliseconds()
	toMs -= toMs % windowMs
	if kept := b.l.Books.MinutesFromMs(); fromMs < kept {
		b.tell(Event{Text: "minutes before " + clock(kept) + " are older than store.minutes_retention: the backfill begins there"})
		fromMs = kept
	}
	if fromMs >= toMs {
		b.tell(Event{Result: (&plan{}).result(dry, 0)})
		return nil
	}
	nodes, err := b.l.Settled()
	if err != nil {
		return err
	}
	newest := int64(0)
	open := map[nodeKey]int64{}
	for _, n := range nodes {
		newest = max(newest, n.NewestMs)
	}
	for _, n := range nodes {
		if n.NewestMs > newest-2*b.cfg.HorizonMs() { // a silent node's windows stay as they are
			open[nodeKey{n.Cluster, n.Node}] = n.OpenMs
		}
	}
	r := &restater{cfg: b.cfg, l: b.l, source: b.source, tell: b.tell}
	p, err := r.restate(ctx, fromMs, toMs, dry, func(k nodeKey) int64 {
		if ms, ok := open[k]; ok {
			return ms
		}
		return 1<<63 - 1
	})
	if err != nil {
		return err
	}
	b.tell(Event{Result: p.result(dry, r.samples)})
	return nil
}

// awaitClosed waits until the windows of nodes that are heard are closed up to
// toMs. After an outage they are all open: what was booked over it has just moved them.
func (b *Backfill) awaitClosed(ctx context.Context, toMs int64) error {
	toMs = min(toMs, b.l.NewestMs()-b.cfg.HorizonMs()) // what is newer is not waited for
	toMs -= toMs % b.cfg.Transform.Window.Milliseconds()
	deadline := time.Now().Add(time.Duration(b.cfg.HorizonMs())*time.Millisecond + time.Minute)
	tick := time.NewTicker(min(time.Second, b.cfg.FlushInterval))
	defer tick.Stop()
	for told := false; ; {
		nodes, err := b.l.Settled()
		if err != nil {
			return err
		}
		open, newest := 0, b.l.NewestMs()
		for _, n := range nodes {
			if n.OpenMs < toMs && n.NewestMs > newest-2*b.cfg.HorizonMs() {
				open++
			}
		}
		if open == 0 || time.Now().After(deadline) {
			return nil
		}
		if !told {
			told = true
			b.tell(Event{Text: fmt.Sprintf("waiting until what %d nodes were booked of that time is closed, %v at most", open, time.Until(deadline).Round(time.Second))})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
