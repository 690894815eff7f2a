package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// A DeadLetter is something a follower's backend refused for good: the follower
// went on without it.
type DeadLetter struct {
	ID             int64
	Follower       string
	Bucket         string // where it was to be written
	Key            string // what it is about: a newer letter of the same key takes its place
	Line           string // as it was sent
	Reason         string // in the backend's words
	FromSeq, ToSeq uint64 // the delivery it was in
	AtMs           int64  // when it was refused, Unix milliseconds
}

// KeepDeadLetter keeps a letter until someone retries or drops it. It refuses
// more than MaxDeadLetters: then the follower has to wait.
func (s *Store) KeepDeadLetter(ctx context.Context, d DeadLetter) error {
	err := s.write(ctx, func(ctx context.Context) (func(), error) {
		_, err := s.w.ExecContext(ctx, `INSERT INTO dead_letters (follower, bucket, key, line, reason, from_seq, to_seq, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (follower, bucket, key) DO UPDATE SET line = excluded.line, reason = excluded.reason,
			from_seq = excluded.from_seq, to_seq = excluded.to_seq, at_ms = excluded.at_ms`,
			d.Follower, d.Bucket, d.Key, d.Line, d.Reason, int64(d.FromSeq), int64(d.ToSeq), d.AtMs)
		if err != nil {
			return nil, err
		}
		var n int
		if err := s.w.QueryRowContext(ctx, "SELECT count(*) FROM dead_letters").Scan(&n); err != nil {
			return nil, err
		}
		if n > s.cfg.MaxDeadLetters {
			return nil, fmt.Errorf("%d are kept already (store.max_dead_letters): see wattledger dead-letter list", n-1)
		}
		return nil, nil
	})
	if err != nil {
		return fmt.Errorf("keep a dead letter of %s: %w", d.Follower, err)
	}
	return nil
}

// CountDeadLetters returns how many letters of a follower are kept.
func (s *Store) CountDeadLetters(ctx context.Context, follower string) (n int, err error) {
	err = s.readers.QueryRowContext(ctx, "SELECT count(*) FROM dead_letters WHERE follower = ?", follower).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", classify(err))
	}
	return n, nil
}

// DeadLetters are the letters of a database file that another process may be
// writing to: every step is a short transaction of its own.
type DeadLetters struct{ db *sql.DB }

// OpenDeadLetters opens the letters of the database file at path. The file has
// to be there already, and of the schema of this version.
func OpenDeadLetters(ctx context.Context, path string) (_ *DeadLetters, err error) {
	newest := migrations[len(migrations)-1].version
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if st.Size() == 0 {
		return nil, fmt.Errorf("open %s: %w", path, io.ErrUnexpectedEOF)
	}
	if err := examine(path, newest); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(path, "rw", "synchronous(FULL)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	var version int
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	if err == nil && version != newest {
		err = fmt.Errorf("schema %d, this version wants %d: start wattledger serve once", version, newest)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, classify(err)), db.Close())
	}
	return &DeadLetters{db}, nil
}

// Close closes the file.
func (l *DeadLetters) Close() error { return l.db.Close() }

// List returns the letters of some ids, or all, oldest first.
func (l *DeadLetters) List(ctx context.Context, ids ...int64) ([]DeadLetter, error) {
	where, args := "", []any{}
	if len(ids) > 0 {
		where = " WHERE id IN (" + strings.TrimPrefix(strings.Repeat(", ?", len(ids)), ", ") + ")"
		for _, id := range ids {
			args = append(args, id)
		}
	}
	rows, err := l.db.QueryContext(ctx, "SELECT id, follower, bucket, key, line, reason, from_seq, to_seq, at_ms FROM dead_letters"+where+" ORDER BY id", args...)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", classify(err))
	}
	defer rows.Close()
	var list []DeadLetter
	for rows.Next() {
		var d DeadLetter
		if err := rows.Scan(&d.ID, &d.Follower, &d.Bucket, &d.Key, &d.Line, &d.Reason, &d.FromSeq, &d.ToSeq, &d.AtMs); err != nil {
			return nil, fmt.Errorf("list dead letters: %w", classify(err))
		}
		list = append(list, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list dead letters: %w", classify(err))
	}
	return list, nil
}

// Remove removes a letter, unless a newer one has taken its place since it was
// listed.
func (l *DeadLetters) Remove(ctx context.Context, d DeadLetter) error {
	if _, err := l.db.ExecContext(ctx, "DELETE FROM dead_letters WHERE id = ? AND line = ?", d.ID, d.Line); err != nil {
		return fmt.Errorf("remove dead letter %d: %w", d.ID, classify(err))
	}
	return nil
}
