// Package ledger makes the books of one partition from its log, under one
// folder: the log, the memory that counts, the store, and the snapshots that
// save a start from reading the log from its beginning. It is wired here and
// nowhere else.
//
// A Ledger is safe for concurrent use. What is booked is a function of the log:
// the same records give the same rows, however often it was killed in between.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/decode"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/transform"
	"github.com/wattledger/wattledger/transform/classify"
	"github.com/wattledger/wattledger/transform/dimension"
	"github.com/wattledger/wattledger/transform/tariff"
)

// Config is what decides a partition's rows, and where and how often they are
// made durable.
type Config struct {
	Path             string        // the folder
	FlushInterval    time.Duration // between two batches to the store
	SnapshotInterval time.Duration
	StopTime         time.Duration // for the last batch when a ledger is stopped

	Table      *metric.Table
	Rules      *classify.Classifier
	Dimensions *dimension.Rules
	Limits     decode.Limits
	Accounting counter.Config
	Transform  transform.Config
	Journal    journal.Config
	Store      local.Config
}

// Files of a ledger's folder.
func (c *Config) booksFile() string    { return filepath.Join(c.Path, "books.db") }
func (c *Config) journalDir() string   { return filepath.Join(c.Path, "journal") }
func (c *Config) snapshotsDir() string { return filepath.Join(c.Path, "snapshots") }

// HorizonMs is how long after its end a window may still move.
func (c *Config) HorizonMs() int64 {
	return (c.Accounting.ReorderWindow + c.Transform.Window).Milliseconds()
}

// A Ledger makes the books of one partition.
type Ledger struct {
	*memory
	Books *local.Store

	cfg    Config
	log    journal.Journal
	flush  *flusher
	logger *slog.Logger
	close  func() error
}

// Open opens the folder of a partition, which must be locked, and wires its
// ledger from its end to its start. Replay brings memory to where the log ends.
func Open(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Ledger, error) {
	books, err := local.Open(cfg.booksFile(), cfg.Store, logger, reg)
	if err != nil {
		return nil, err
	}
	log, err := journal.Open(cfg.journalDir(), cfg.Journal, logger, reg)
	if err != nil {
		return nil, errors.Join(err, books.Close())
	}
	l, err := newLedger(cfg, log, books, logger, reg)
	if err != nil {
		return nil, errors.Join(err, log.Close(), books.Close())
	}
	l.close = func() error { return errors.Join(log.Close(), books.Close()) }
	if err := reg.Register(newMemoryMetrics(l.memory)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// newLedger makes one without a past, beside a log and books that are open.
func newLedger(cfg Config, log journal.Journal, books *local.Store, logger *slog.Logger, reg prometheus.Registerer) (*Ledger, error) {
	prices, err := tariff.New(cfg.Transform.Cost)
	if err != nil {
		return nil, err
	}
	m, err := newMemory(cfg, prices)
	if err != nil {
		return nil, err
	}
	m.directory.WarnOverflow(func(t power.Tag) {
		logger.Warn("a label has too many values, or one that is too long; further ones are kept as __overflow__",
			"label", t.Name, "max_values", cfg.Dimensions.MaxValues(), "fix", "raise labels.max_values, or add the label to labels.drop")
	})
	return &Ledger{
		memory: m, Books: books, cfg: cfg, log: log, logger: logger,
		flush: newFlusher(cfg, m, books, log, logger, reg),
		close: func() error { return nil },
	}, nil
}

// Close closes the ledger from its start to its end.
func (l *Ledger) Close() error {
	l.decoder.Close()
	return l.close()
}

// Run carries what moved to the books until ctx ends, then once more, and writes
// a snapshot.
func (l *Ledger) Run(ctx context.Context) error { return l.flush.run(ctx) }

// Flush makes durable in the books what moved.
func (l *Ledger) Flush(ctx context.Context) error { return l.flush.flush(ctx) }

// Snapshot writes the state of memory, so that the log can let go of what is
// behind it.
func (l *Ledger) Snapshot() error { return l.flush.snapshot() }

// Nodes says how far each node's windows are in memory.
func (l *Ledger) Nodes() []transform.NodeState { return l.stage.Nodes() }

// Settled says the same when what lies before the open windows is in the books;
// an error says that the store did not take it.
func (l *Ledger) Settled() ([]transform.NodeState, error) { return l.flush.nodes() }

// NewestMs is the time of the newest sample that was booked, 0 if there is none.
func (l *Ledger) NewestMs() (ms int64) {
	for _, n := range l.stage.Nodes() {
		ms = max(ms, n.NewestMs)
	}
	return ms
}

// Config returns the configuration in force.
func (l *Ledger) Config() *Config { return &l.cfg }

// Decoder decodes bodies by what the ledger knows of their series.
func (l *Ledger) Decoder() *decode.Decoder { return l.decoder }

// Quarantine returns the newest samples that were set aside.
func (l *Ledger) Quarantine() []counter.Quarantined { return l.cache.Quarantine() }

// Table says what the series of a metric mean.
func (l *Ledger) Table() *metric.Table { return l.table }

// Findings says which setups of senders needed a rule to be booked right, and which
// nodes have not added up for minutes.
func (l *Ledger) Findings() []counter.Finding {
	return append(l.cache.Findings(), l.flush.balance.findings(l.cfg.Transform.Window)...)
}

// Tariff says what energy costs.
func (l *Ledger) Tariff() *tariff.Tariff { return l.tariff }

// Book makes a request durable and counts it. An error means that nothing of it
// took effect. A position that was taken must be counted, for all that come
// after wait for it: so a panic in between ends the process, and the next start
// counts the request from the log.
func (l *Ledger) Book(ctx context.Context, r *journal.Record, q *counter.Request) (counter.Outcome, error) {
	position, err := l.log.Append(ctx, r)
	if err != nil {
		return counter.Outcome{}, err
	}
	q.Position = position
	defer endOnPanic()
	return l.cache.Apply(q), nil
}

// endOnPanic ends the process when the goroutine panics, even where somebody up
// the stack would recover.
func endOnPanic() {
	if p := recover(); p != nil {
		stack := debug.Stack()
		go panic(fmt.Sprintf("booking: %v\n\n%s", p, stack))
		select {}
	}
}

// Take makes a record durable and books it as a sender's request, at the
// record's own time of arrival and whether or not requests are taken. Samples
// counts those that mean something; without any nothing is kept.
func (l *Ledger) Take(ctx context.Context, r *journal.Record) (samples int, err error) {
	d, err := l.decoder.ForReplay()
	if err != nil {
		return 0, err
	}
	defer d.Close()
	q := new(decode.Request)
	d.Confine(q, r.Clusters)
	if err := d.Decode(q, r.Protocol, r.Encoding, r.Body, r.ArrivalMs); err != nil {
		return 0, err
	}
	if len(q.Out.Samples) == 0 {
		return 0, nil
	}
	if _, err = l.Book(context.WithoutCancel(ctx), r, &q.Out); err != nil {
		return 0, err
	}
	return len(q.Out.Samples), nil
}
