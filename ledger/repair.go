package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/transform/tariff"
)

// lossFile is where a repair writes what was lost, in the folder of what it set aside.
const lossFile = "lost.txt"

// Repair keeps what is good of a ledger's folder, which must be locked, and sets
// aside what is not. It returns what is lost and where the damaged is; no folder
// if nothing was damaged.
func Repair(ctx context.Context, cfg Config, logger *slog.Logger) (lost []string, aside string, err error) {
	path := cfg.Path
	v, err := Verify(ctx, path, false)
	if err != nil {
		return nil, "", err
	}
	if len(v.Findings(path)) == 0 {
		return nil, "", nil
	}
	aside = filepath.Join(path, "damaged-"+time.Now().UTC().Format("20060102T150405.000Z"))
	if err := os.MkdirAll(aside, 0o750); err != nil {
		return nil, "", err
	}
	snapshots := cfg.snapshotsDir()
	newest := uint64(0)
	if list, err := journal.Snapshots(snapshots); err == nil && len(list) > 0 {
		newest = list[0]
	}
	for _, position := range v.Snapshots.BadSnapshots(snapshots) {
		if err := journal.RemoveSnapshot(snapshots, position, filepath.Join(aside, "snapshots")); err != nil {
			return nil, "", err
		}
	}
	prices, err := tariff.New(cfg.Transform.Cost)
	if err != nil {
		return nil, "", err
	}
	if len(v.Books.Problems) > 0 {
		lines, err := local.Repair(ctx, cfg.booksFile(), aside, *prices.At(time.Now().UnixMilli()), newest)
		if err != nil {
			return nil, "", err
		}
		lost = append(lost, lines...)
	}
	books, err := local.Open(cfg.booksFile(), cfg.Store, logger, prometheus.NewRegistry())
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, books.Close()) }()
	stored, err := books.Position(ctx)
	if err != nil {
		return nil, "", err
	}
	gaps := false // in what is to be replayed
	if len(v.Journal.Problems) > 0 {
		losses, err := journal.Repair(cfg.journalDir(), aside, max(newest, stored))
		if err != nil {
			return nil, "", err
		}
		for _, l := range losses {
			lost = append(lost, lossOf(l))
		}
		gaps = len(losses) > 0
	}
	lines, err := reconcile(ctx, cfg, books, aside, gaps, logger)
	if err != nil {
		return nil, "", err
	}
	lost = append(lost, lines...)
	report := strings.Join(append(slices.Clone(lost), ""), "\n")
	return lost, aside, os.WriteFile(filepath.Join(aside, lossFile), []byte(report), 0o640)
}

func lossOf(l journal.Loss) string {
	at := func(ms int64) string {
		if ms == 0 {
			return "an unknown time"
		}
		return time.UnixMilli(ms).UTC().Format(time.RFC3339)
	}
	text := fmt.Sprintf("journal: requests %d to %d", l.From, l.To)
	switch {
	case l.Beyond:
		text += ", the newest, that came after " + at(l.SinceMs)
	case l.SinceMs != 0 && l.UntilMs != 0:
		text += fmt.Sprintf(", %.1f minutes between %s and %s", float64(l.UntilMs-l.SinceMs)/60_000, at(l.SinceMs), at(l.UntilMs))
	default:
		text += fmt.Sprintf(", between %s and %s", at(l.SinceMs), at(l.UntilMs))
	}
	return text + "; a counter that goes on brings its energy with its next sample, 0 J of it are lost; what began or ended in between cannot be known"
}

// reconcile leaves a snapshot that fits the journal and the books, so that a
// start finds memory as it was. Where the newest does, that is all. Otherwise,
// or where requests are lost behind it, it replays what there is and writes one:
// a start would write every window again that the replay touches, and those that
// the books have whole would lack what is lost.
func reconcile(ctx context.Context, cfg Config, books *local.Store, aside string, gaps bool, logger *slog.Logger) (lost []string, err error) {
	log, err := journal.Open(cfg.journalDir(), cfg.Journal, logger, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	dir := cfg.snapshotsDir()
	positions, err := journal.Snapshots(dir)
	if err != nil {
		return nil, err
	}
	for _, position := range positions {
		l, err := newLedger(cfg, log, books, logger, prometheus.NewRegistry())
		if err != nil {
			return nil, err
		}
		from, err := l.flush.load(ctx)
		if err == nil && log.First() <= from && from <= log.Last()+1 {
			if !gaps || from > log.Last() {
				return nil, nil
			}
			return nil, l.settle(ctx, from, 0)
		}
		logger.Warn("a snapshot does not fit what is left of the books and the journal; it is set aside", "position", position, "err", err)
		if err := journal.RemoveSnapshot(dir, position, filepath.Join(aside, "snapshots")); err != nil {
			return nil, err
		}
	}
	l, err := newLedger(cfg, log, books, logger, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	switch {
	case log.Last() < log.First(): // no request at all
		return nil, nil
	case log.First() == 1 && !gaps: // a start replays everything there ever was
		return nil, nil
	case log.First() == 1:
		return nil, l.settle(ctx, 1, 0)
	}
	beginMs, err := arrivalOf(ctx, log, log.First())
	if err != nil {
		return nil, err
	}
	l.cache.Start(log.First())
	l.cache.Booked(books.HoldersBefore(beginMs), time.Now().UnixMilli())
	stored, err := books.Position(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.settle(ctx, log.First(), 2*cfg.Transform.Window); err != nil {
		return nil, err
	}
	lost = []string{"snapshots: none fits; memory was made again from the journal, which begins with request " + fmt.Sprint(log.First()) +
		": 0 J of counters that it has samples of; what a counter gained between its last sample before and its first in it, or the first that comes if it was silent all the while, cannot be known; what is known of pods comes with the next scrape of kube-state-metrics"}
	if stored+1 < log.First() {
		lost = append(lost, fmt.Sprintf("journal and books: requests %d to %d are in neither; what they would have booked cannot be known", stored+1, log.First()-1))
	}
	return lost, nil
}

// arrivalOf returns when a record came.
func arrivalOf(ctx context.Context, log journal.Journal, position uint64) (ms int64, err error) {
	found := errors.New("found")
	err = log.Read(ctx, position, func(_ uint64, r *journal.Record) error {
		ms = r.ArrivalMs
		return found
	})
	if errors.Is(err, found) {
		err = nil
	}
	return ms, err
}

// settle replays the journal from a record on, adds to the books what they do
// not have, and writes a snapshot. The first windows, as long as partial, lack
// what came before: the books' own are better.
func (l *Ledger) settle(ctx context.Context, from uint64, partial time.Duration) error {
	if _, err := Replay(ctx, l.log, from, l.decoder, l.cache); err != nil {
		return err
	}
	stored, err := l.Books.Position(ctx)
	if err != nil {
		return err
	}
	b := l.stage.CollectAll()
	oldest := int64(math.MaxInt64)
	for i := range b.Charges {
		oldest = min(oldest, b.Charges[i].StartMs)
	}
	known := func(startMs int64, revision uint64) bool {
		return revision <= stored || partial > 0 && startMs < oldest+partial.Milliseconds() && stored >= from
	}
	b.Charges = slices.DeleteFunc(b.Charges, func(c power.Charge) bool { return known(c.StartMs, c.Revision) })
	b.Nodes = slices.DeleteFunc(b.Nodes, func(n power.NodeWindow) bool { return known(n.StartMs, n.Revision) })
	if partial > 0 {
		b.Holders = nil // the books know better who they are
	}
	b.Position = l.cache.Position()
	if err := l.Books.Append(ctx, b); err != nil {
		return err
	}
	l.flush.flushed.Store(b.Position)
	return l.flush.snapshot()
}

// pastRepairs logs what repairs of a storage path lost, for as long as their
// folders are kept, and returns how many they are.
func pastRepairs(path string, logger *slog.Logger) (n int) {
	reports, err := filepath.Glob(filepath.Join(path, "damaged-*", lossFile))
	if err != nil {
		return 0 // only a malformed pattern is an error
	}
	for _, name := range reports {
		text, err := os.ReadFile(name)
		if err != nil {
			logger.Warn("the report of a repair cannot be read", "err", err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		for _, line := range lines[:min(len(lines), findingsLogged)] {
			logger.Warn("the books have been repaired", "lost", line, "report", name)
		}
		n++
	}
	return n
}
