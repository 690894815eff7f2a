package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/receiver"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/transform"
)

// stages are the line from remote write to the books, without what listens and
// what runs by itself.
type stages struct {
	books     *local.Store
	table     *metric.Table
	rules     *transform.Classifier
	tariff    *transform.Tariff
	directory *transform.Directory
	stage     *transform.Stage
	cache     *counter.Cache
	journal   *journal.Local
	ingest    *receiver.Handler
	flush     *flusher
}

// openStages wires the line from its end to its start. The storage is locked.
func openStages(cfg *configs.Config, logger *slog.Logger, reg prometheus.Registerer) (_ *stages, err error) {
	l := &stages{}
	defer func() {
		if err != nil {
			_ = l.close() // the reason it did not open says more
		}
	}()
	cfg.Store.Followers = followerNames(cfg)
	if l.books, err = local.Open(filepath.Join(cfg.Storage.Path, "books.db"), cfg.Store, logger, reg); err != nil {
		return nil, err
	}
	if l.table, l.rules, err = cfg.Tables(); err != nil {
		return nil, err
	}
	if l.tariff, err = transform.NewTariff(cfg.Transform.Cost); err != nil {
		return nil, err
	}
	l.directory = transform.NewDirectory(cfg.Transform, l.rules)
	l.stage = transform.New(cfg.Transform, counter.NumShards, cfg.Accounting.ReorderWindow.Milliseconds(), l.directory, l.tariff)
	l.cache = counter.New(cfg.Accounting, l.stage)
	if l.journal, err = journal.Open(filepath.Join(cfg.Storage.Path, "journal"), cfg.Journal, logger, reg); err != nil {
		return nil, err
	}
	if l.ingest, err = receiver.New(cfg.Receiver, l.cache, l.table, l.journal, logger, reg); err != nil {
		return nil, err
	}
	l.flush = &flusher{
		every: cfg.Storage.FlushInterval, snapshotEvery: cfg.Storage.SnapshotInterval,
		dir: filepath.Join(cfg.Storage.Path, "snapshots"), cache: l.cache, stage: l.stage, directory: l.directory,
		books: l.books, journal: l.journal, logger: logger,
	}
	l.flush.register(reg)
	return l, nil
}

// close closes from the start of the line to its end.
func (l *stages) close() (err error) {
	if l.journal != nil {
		err = l.journal.Close()
	}
	if l.books != nil {
		err = errors.Join(err, l.books.Close())
	}
	return err
}

// replay brings memory to where the journal ends.
func (l *stages) replay(ctx context.Context, logger *slog.Logger) error {
	begin := time.Now()
	from, err := l.flush.load(ctx)
	if err != nil {
		return err
	}
	if first := l.journal.First(); first > from {
		return fmt.Errorf("journal begins at record %d, after record %d that is needed next: the books would miss what lies between", first, from)
	}
	done, err := l.ingest.Replay(ctx, from)
	if err != nil {
		return fmt.Errorf("replay the journal from record %d: %w", from, err)
	}
	if done.Records > 0 || from > 1 {
		logger.Info("books are up to date", "records", done.Records, "samples", done.Samples, "booked", done.Booked, "from", from, "seconds", time.Since(begin).Seconds())
	}
	return nil
}
