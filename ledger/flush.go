package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/wattledger/wattledger/internal/snapshot"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/transform"
)

// A flusher carries what moved from memory to the books, and from time to time
// writes a snapshot so that the log can let go of what is behind it. It is the
// only one that collects, so nothing leaves memory before it is durable.
type flusher struct {
	cfg     Config
	memory  *memory
	books   store.Appender
	log     journal.Journal
	logger  *slog.Logger
	metrics flushMetrics

	balance balance

	flushed  atomic.Uint64 // position of the newest batch that is durable
	mu       sync.Mutex    // held from collecting a batch until it is durable or given up
	pending  *store.Batch  // collected, and not durable yet: memory holds it to be handed over
	released uint64        // position of the newest snapshot; the log keeps what follows the one before
}

func newFlusher(cfg Config, m *memory, books store.Appender, log journal.Journal, logger *slog.Logger, reg prometheus.Registerer) *flusher {
	f := &flusher{cfg: cfg, memory: m, books: books, log: log, logger: logger}
	f.register(reg)
	return f
}

type flushMetrics struct {
	seconds   prometheus.Histogram
	rows      prometheus.Counter
	failures  prometheus.Counter
	success   prometheus.Gauge
	snapshots prometheus.Counter
}

// register makes the metrics of a flusher. How far the books are behind is asked
// when it is read: a store that takes nothing holds every flush up.
func (f *flusher) register(reg prometheus.Registerer) {
	with := promauto.With(reg)
	with.NewGaugeFunc(prometheus.GaugeOpts{Name: "wattledger_flush_behind_records", Help: "Journal records whose charges are not in the store yet."},
		func() float64 { return float64(f.log.Last() - min(f.flushed.Load(), f.log.Last())) })
	f.metrics = flushMetrics{
		seconds: with.NewHistogram(prometheus.HistogramOpts{
			Name: "wattledger_flush_seconds", Help: "Time to collect what moved and make it durable in the store.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		rows:      with.NewCounter(prometheus.CounterOpts{Name: "wattledger_flush_rows_total", Help: "Charges and node windows written to the store."}),
		failures:  with.NewCounter(prometheus.CounterOpts{Name: "wattledger_flush_failures_total", Help: "Batches the store did not take; each is tried again."}),
		success:   with.NewGauge(prometheus.GaugeOpts{Name: "wattledger_flush_last_success_timestamp_seconds", Help: "When the store last had all that memory held, or this process began."}),
		snapshots: with.NewCounter(prometheus.CounterOpts{Name: "wattledger_snapshots_total", Help: "Snapshots of the accounts written."}),
	}
	f.metrics.success.SetToCurrentTime()
}

// run flushes until ctx ends, then once more and writes a snapshot.
func (f *flusher) run(ctx context.Context) error {
	flush := time.NewTicker(f.cfg.FlushInterval)
	defer flush.Stop()
	snapshots := time.NewTicker(f.cfg.SnapshotInterval)
	defer snapshots.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.cfg.StopTime)
			defer cancel()
			if err := f.flush(last); err != nil {
				return err
			}
			return f.snapshot()
		case <-flush.C:
			if err := f.flush(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		case <-snapshots.C:
			if err := f.snapshot(); err != nil {
				f.logger.Error("snapshot not written; the journal keeps growing until one is", "err", err)
			}
		}
	}
}

// flush hands over what moved, and tries for as long as ctx lasts. What was
// collected and could not be handed over is kept for the next flush, which
// begins with it: it is not collected again.
//
// It goes in pieces: at a million series the rows of a minute would be, on their
// way to the disk, more than the counters they come from. The last has the position.
func (f *flusher) flush(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending != nil {
		if err := f.hand(ctx); err != nil {
			return err
		}
	}
	position := f.memory.cache.Position()
	if position == f.flushed.Load() {
		f.metrics.success.SetToCurrentTime()
		return nil
	}
	b := new(store.Batch)
	for shard := range counter.NumShards {
		f.memory.stage.Collect(shard, b)
		last := shard == counter.NumShards-1
		if !last && len(b.Charges) < pieceCharges {
			continue
		}
		if b.More = !last; last {
			b.Position = position
		}
		f.pending = b
		if err := f.hand(ctx); err != nil {
			return err
		}
		b = &store.Batch{Charges: b.Charges[:0]}
	}
	return nil
}

// pieceCharges is how many charges are enough for a transaction.
const pieceCharges = 8192

// nodes says how far each node's windows are; what lies before its open ones is
// in the books.
func (f *flusher) nodes() ([]transform.NodeState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending != nil {
		return nil, errors.New("the books did not take what was collected last; see the log")
	}
	return f.memory.stage.Nodes(), nil
}

// hand makes the pending batch durable.
func (f *flusher) hand(ctx context.Context) error {
	begin := time.Now()
	b := f.pending
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := f.books.Append(ctx, *b)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("flush %d charges: %w", len(b.Charges), err)
		}
		f.metrics.failures.Inc()
		f.logger.Error("store did not take a batch; trying again", "err", err, "charges", len(b.Charges), "position", b.Position, "in", wait)
		select {
		case <-ctx.Done():
			return fmt.Errorf("flush %d charges: %w", len(b.Charges), err)
		case <-time.After(wait):
		}
	}
	f.pending = nil
	if b.Position > 0 { // the last piece of a flush
		f.flushed.Store(b.Position)
		f.metrics.success.SetToCurrentTime()
	}
	f.balance.take(b.Nodes)
	f.metrics.rows.Add(float64(len(b.Charges) + len(b.Nodes)))
	f.metrics.seconds.Observe(time.Since(begin).Seconds())
	return nil
}

// snapshot writes the state of the accounts. It runs between flushes and not
// while a batch is pending, so every window that memory has let go of is durable
// in the store. The journal keeps
// the records since the snapshot before: if the newest turns out damaged, the
// one before is as good.
func (f *flusher) snapshot() error {
	position := f.memory.cache.Position()
	if position == f.released || f.pending != nil {
		return nil
	}
	err := journal.WriteSnapshot(f.cfg.snapshotsDir(), position, func(w io.Writer) error {
		return f.memory.cache.Save(w, f.head, f.beside)
	})
	if err != nil {
		return fmt.Errorf("snapshot at %d: %w", position, err)
	}
	f.metrics.snapshots.Inc()
	if err := f.log.Release(f.released); err != nil {
		return fmt.Errorf("release the journal to %d: %w", f.released, err)
	}
	f.released = position
	return nil
}

// load fills the line from the newest snapshot and returns the position to
// replay from. Everything in memory then counts as not yet flushed.
func (f *flusher) load(ctx context.Context) (from uint64, err error) {
	position, err := journal.ReadSnapshot(f.cfg.snapshotsDir(), func(_ uint64, r io.Reader) error {
		return f.memory.cache.Load(r, f.head, f.beside)
	})
	if err != nil {
		return 0, fmt.Errorf("load the snapshot: %w", err)
	}
	stored, err := f.books.Position(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask the store for its position: %w", err)
	}
	if flushed := f.flushed.Load(); stored < flushed {
		return 0, fmt.Errorf("the store is at record %d and the snapshot at %d: charges between them are in neither; restore the store that belongs to this journal", stored, flushed)
	}
	f.released = position
	f.flushed.Store(0)
	return position + 1, nil
}

// head writes or fills how far the books were when the snapshot was taken.
func (f *flusher) head(c *snapshot.Codec) {
	flushed := f.flushed.Load()
	snapshot.Uint(c, &flushed)
	f.flushed.Store(flushed)
}

// beside writes or fills what belongs to a shard outside the counter cache. The
// directory goes with the first shard, in whose order it learns.
func (f *flusher) beside(shard int, c *snapshot.Codec) {
	if shard == 0 {
		f.memory.directory.Walk(c)
	}
	f.memory.stage.Walk(shard, c)
}
