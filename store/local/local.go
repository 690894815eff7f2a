// Package local keeps the books in one SQLite file: rows of open hours as they
// are written, closed hours sealed into checksummed blobs, and sums by hour
// that are always made from them. Other engines are fed from its outbox.
//
// The newest facts are few and change often, the old are many and hardly
// change; everything here follows from that. An hour is open until the newest
// row is some time past its end. Then it is sealed in small steps that no query
// can see, and from one commit on its rows are read from their new place.
package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

var (
	_ store.Appender = (*Store)(nil)
	_ store.Querier  = (*Store)(nil)
)

// A Store is a local engine. It is safe for concurrent use.
type Store struct {
	path    string
	cfg     Config
	log     *slog.Logger
	metrics *metrics

	readers *sql.DB // read-only
	db      *sql.DB // one connection, the writer
	w       *writer

	// writing is held for a whole write transaction.
	writing sync.Mutex
	interns *interns  // guarded by writing
	next    memory    // guarded by writing: as of the running transaction
	sealing *sealPass // guarded by writing: what Append must tell a running seal

	recent recent // guarded by writing: as of the newest commit; readers' may be of the flush before

	memory atomic.Pointer[memory] // as of the newest commit
	coming atomic.Pointer[memory] // as of the commit that is under way, or was last

	openHoursAsked atomic.Int64 // Unix seconds: when a question was last about sums of open hours by space

	lives sync.RWMutex
	last  []lifetime // guarded by lives, and only changed with writing: first and last row by holder id

	wake chan struct{} // Append tells Run that an hour may have closed
}

// at is what the store keeps in memory as of the newest commit.
func (s *Store) at() *memory { return s.memory.Load() }

// horizons are the moments, in Unix seconds, that say where rows are.
type horizons struct {
	commit       uint64 // counts the commits, so that file and memory can be told to be at the same
	position     uint64
	sealedBefore int64 // rows that start before are sealed
	minutesFrom  int64 // rows that start before are gone, only hours are left
	hoursFrom    int64 // hours before are gone
	newest       int64 // start of the newest row
	oldest       int64 // start of the oldest row there ever was; not written, holders know
	holderSeq    int64 // the newest holder id and outbox entry there ever were; SQLite
	outboxSeq    int64 // keeps them too, but without a checksum
}

type lifetime struct{ first, last int64 } // Unix seconds

// A span is a stretch of time in Unix seconds, half open.
type span struct{ from, to int64 }

// How many pages of 16 KiB a connection keeps; each takes some 20 KiB outside the Go
// heap, where no limit of it counts them. One that is not kept is nearly always in the
// operating system's cache and costs a copy.
const (
	writerPages = 1024
	readerPages = 512
)

// cacheSize counts pages. SQLite takes what is said in KiB for pages of 4 KiB: it
// works out how many there are before it knows how large those of the file are, and
// would keep four times as much.
func cacheSize(pages int) string { return fmt.Sprintf("cache_size(%d)", pages) }

// Open opens the database file at path, makes it if there is none, and brings
// it to the newest schema. It starts nothing. Errors name the path; those of a
// file that is not ours, damaged or newer leave it untouched.
func Open(path string, cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	return open(path, cfg, logger, reg, migrations)
}

func open(path string, cfg Config, logger *slog.Logger, reg prometheus.Registerer, ms []migration) (_ *Store, err error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if err := examine(path, ms[len(ms)-1].version); err != nil {
		return nil, err
	}
	if torn, err := examineDeeper(path); err != nil {
		return nil, fmt.Errorf("open %w", err)
	} else if torn != nil {
		logger.Warn("the database's log ends in a commit that was not finished, or that is damaged; without it the books are at an earlier record",
			"file", path+"-wal", "offset", torn.off, "reason", torn.text)
	}
	s := &Store{
		path: path, cfg: cfg, log: logger,
		wake: make(chan struct{}, 1),
	}
	defer func() {
		if err != nil {
			s.Close()
			err = fmt.Errorf("open %s: %w", path, classify(err))
		}
	}()
	ctx := context.Background()
	s.db, err = sql.Open("sqlite", dsn(path, "rwc",
		"page_size(16384)", "synchronous(FULL)", cacheSize(writerPages),
		"wal_autocheckpoint(2000)", "journal_size_limit(67108864)", "temp_store(MEMORY)"))
	if err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(1)
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s.w = newWriter(conn)
	// Not among the pragmas above: the driver would run it before page_size
	// (it sorts them),
	// and from then on the size of pages cannot change.
	if _, err = s.w.ExecContext(ctx, "PRAGMA journal_mode=WAL"); err != nil {
		return nil, err
	}
	if err = migrate(ctx, conn, path, ms); err != nil {
		return nil, err
	}
	s.readers, err = sql.Open("sqlite", dsn(path, "ro", "query_only(1)", cacheSize(readerPages)))
	if err != nil {
		return nil, err
	}
	s.readers.SetMaxOpenConns(cfg.Readers)
	s.readers.SetMaxIdleConns(cfg.Readers)
	if err = s.load(ctx); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(reg)
	return s, nil
}

// load reads what the store keeps in memory.
func (s *Store) load(ctx context.Context) error {
	for _, t := range checkedTables {
		if t.name == "outbox" { // as large as it may be, and checked when it is read
			continue
		}
		if err := t.check(ctx, s.w, func(key any) error {
			return fmt.Errorf("row %v of %s does not fit its checksum: %w", key, t.name, store.ErrCorrupt)
		}); err != nil {
			return err
		}
	}
	var err error
	if s.interns, err = loadInterns(ctx, s.w); err != nil {
		return err
	}
	// Books that an older version made do not count their commits.
	if _, err = s.w.ExecContext(ctx, "INSERT OR IGNORE INTO state (name, value) VALUES (?, ?)", "commit", 0); err != nil {
		return err
	}
	m := &memory{dims: s.interns.dims, power: new(powerViews)}
	if m.horizons, err = readHorizons(ctx, s.w); err != nil {
		return err
	}
	s.interns.holderSeq, m.oldest = m.holderSeq, math.MaxInt64
	if m.stale, err = readStale(ctx, s.w); err != nil {
		return err
	}
	err = eachRow(ctx, s.w, "SELECT id, first, last FROM holders", func(rows *sql.Rows) error {
		var id int32
		var l lifetime
		err := rows.Scan(&id, &l.first, &l.last)
		s.last = put(s.last, id, l)
		m.oldest = min(m.oldest, l.first)
		return err
	})
	if err != nil {
		return err
	}
	err = eachRow(ctx, s.w, "SELECT min(key) >> 31 FROM node_minutes UNION ALL SELECT min(key) >> 31 FROM sealed_nodes", func(rows *sql.Rows) error {
		var start sql.NullInt64
		err := rows.Scan(&start)
		if start.Valid {
			m.oldest = min(m.oldest, start.Int64)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = eachRow(ctx, s.w, "SELECT key & 2147483647, max(key >> 31) FROM minutes GROUP BY 1", func(rows *sql.Rows) error {
		var id int32
		var start int64
		err := rows.Scan(&id, &start)
		if int(id) < len(s.last) {
			s.last[id].last = max(s.last[id].last, start)
		}
		return err
	})
	if err != nil {
		return err
	}
	if m.recent, err = s.loadRecent(ctx, &m.horizons); err != nil {
		return err
	}
	s.recent = m.recent
	m.generations = make([]nodeState, len(m.dims.nodes))
	err = scanNodes(ctx, s.w, m.newest-format.HourSeconds, m.newest+1, func(r *format.NodeRow) error {
		noteNode(m.generations, r)
		return nil
	})
	if err != nil {
		return err
	}
	s.memory.Store(m)
	// One that was given up misses what is written from now on. Should it come
	// back, it is new.
	gone := "DELETE FROM followers WHERE name NOT IN (''" + strings.Repeat(", ?", len(s.cfg.Followers)) + ")"
	var names []any
	for _, name := range s.cfg.Followers {
		names = append(names, name)
	}
	if _, err := s.w.ExecContext(ctx, gone, names...); err != nil {
		return err
	}
	for _, name := range s.cfg.Followers {
		place := 0
		if len(s.last) > 0 {
			place = newFollower
		}
		if _, err := s.w.ExecContext(ctx, "INSERT OR IGNORE INTO followers (name, seq) VALUES (?, ?)", name, place); err != nil {
			return err
		}
	}
	return nil
}

func readHorizons(ctx context.Context, w querier) (h horizons, err error) {
	rows, err := w.QueryContext(ctx, "SELECT name, value FROM state")
	if err != nil {
		return h, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var v int64
		if err := rows.Scan(&name, &v); err != nil {
			return h, err
		}
		switch name {
		case "commit":
			h.commit = uint64(v)
		case "position":
			h.position = uint64(v)
		case "sealed_before":
			h.sealedBefore = v
		case "minutes_from":
			h.minutesFrom = v
		case "hours_from":
			h.hoursFrom = v
		case "newest":
			h.newest = v
		case "holder_seq":
			h.holderSeq = v
		case "outbox_seq":
			h.outboxSeq = v
		}
	}
	return h, rows.Err()
}

// writeHorizons writes those that the transaction has moved.
func (s *Store) writeHorizons(ctx context.Context) error {
	at := s.at()
	for _, v := range []struct {
		name     string
		old, new int64
	}{
		{"commit", int64(at.commit), int64(s.next.commit)},
		{"position", int64(at.position), int64(s.next.position)},
		{"sealed_before", at.sealedBefore, s.next.sealedBefore},
		{"minutes_from", at.minutesFrom, s.next.minutesFrom},
		{"hours_from", at.hoursFrom, s.next.hoursFrom},
		{"newest", at.newest, s.next.newest},
		{"holder_seq", at.holderSeq, s.next.holderSeq},
		{"outbox_seq", at.outboxSeq, s.next.outboxSeq},
	} {
		if v.old == v.new {
			continue
		}
		if _, err := s.w.ExecContext(ctx, "UPDATE state SET value = ? WHERE name = ?", v.new, v.name); err != nil {
			return err
		}
	}
	return nil
}

// querier is what a connection and a transaction have in common.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// write runs f in a write transaction and, once that is durable, what f
// returned; without that, memory has changed in its horizons at most. Readers see
// the commit with what f made of s.next as soon as the file has it, and do not
// wait for what it takes to get there. A caller may give up waiting for its turn,
// but not in the middle.
func (s *Store) write(ctx context.Context, f func(ctx context.Context) (committed func(), err error)) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := s.w.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return classify(err)
	}
	s.next = *s.at()
	committed, err := f(ctx)
	if err == nil {
		if committed != nil || s.next.horizons != s.at().horizons { // else memory is good for the file before and after
			s.next.commit++
		}
		err = s.writeHorizons(ctx)
	}
	if err == nil {
		coming := s.next
		s.coming.Store(&coming)
		if _, err = s.w.ExecContext(ctx, "COMMIT"); err == nil {
			if committed != nil {
				committed()
			}
			now := s.next
			s.memory.Store(&now)
			s.coming.Store(&now) // lets go of what readers saw before
			return nil
		}
	}
	// SQLite may have rolled back by itself, and then this has nothing to do.
	_, _ = s.w.ExecContext(ctx, "ROLLBACK")
	err = classify(err)
	if errors.Is(err, store.ErrFull) {
		// Once what is in the log is in the file too, the log begins again in
		// the room it already has. If that fails, the next attempt fails as this did.
		_, _ = s.w.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
	}
	return err
}

// Position returns the journal position of the last batch made durable.
func (s *Store) Position(context.Context) (uint64, error) {
	return s.at().position, nil
}

// Close closes the file. Run must have returned.
func (s *Store) Close() error {
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.w != nil {
		errs = append(errs, s.w.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// Run seals hours as they close, mends sums, and removes what is too old,
// until ctx ends. It returns when all of that has stopped.
func (s *Store) Run(ctx context.Context) error {
	if err := s.readOpenHours(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("sums of open hours not read; the first question about them will", "err", err)
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := s.Maintain(ctx); err != nil && ctx.Err() == nil {
			s.metrics.maintenanceFailures.Inc()
			s.log.Error("store maintenance stopped, will be tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// Maintain does once what Run does again and again.
func (s *Store) Maintain(ctx context.Context) error {
	if err := s.Seal(ctx); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if err := s.mend(ctx); err != nil {
		return fmt.Errorf("mend hourly sums: %w", err)
	}
	if err := s.expire(ctx, time.Now()); err != nil {
		return fmt.Errorf("expire: %w", err)
	}
	return s.measure(ctx)
}
