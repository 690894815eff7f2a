package local

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// errLostPlace says that entries a follower has not taken are gone: it must take
// the stored rows again and go on from the end.
var errLostPlace = fmt.Errorf("outbox no longer reaches back that far: %w", store.ErrLostPlace)

// An EntryKind says what an outbox entry tells.
type EntryKind uint8

const (
	RowsWritten     EntryKind = iota + 1 // windows were written or restated
	HourClosed                           // an hour closed or, once closed, was restated
	HolderDescribed                      // a holder moved to another workload or type, with all its rows
)

// An Entry refers to what one commit changed; what it is now is asked for with
// Windows and Hours. Entries are numbered without gaps in the order of commits.
type Entry struct {
	Seq      uint64
	CommitMs int64 // never falls from one entry to the next
	Kind     EntryKind
	HourMs   int64 // HourClosed: start of the hour

	keys     []int64     // RowsWritten
	holder   int32       // HolderDescribed
	from, to int64       // its rows, Unix seconds
	was      windowGroup // without the node
}

// newFollower is the place of a follower of books that held something before
// it: it must take the stored rows first.
const newFollower = -1

// A Cursor is how far a follower is in the outbox.
type Cursor struct {
	Name string
	Seq  uint64 // the newest entry it has taken
	Lag  uint64 // entries after that
	New  bool   // it has yet to take what the books held when it was added
}

// postEntry adds an entry to the running transaction.
func (s *Store) postEntry(ctx context.Context, kind EntryKind, data []byte) error {
	res, err := s.w.ExecContext(ctx,
		"INSERT INTO outbox (commit_ms, kind, data) SELECT max(?, coalesce((SELECT commit_ms FROM outbox ORDER BY seq DESC LIMIT 1), 0)), ?, ?",
		time.Now().UnixMilli(), int(kind), data)
	if err != nil {
		return err
	}
	s.next.outboxSeq, err = res.LastInsertId()
	return err
}

func (s *Store) postHour(ctx context.Context, hour int64) error {
	return s.postEntry(ctx, HourClosed, binary.AppendUvarint(nil, uint64(hour)))
}

var sumOfOutbox = tableOf("outbox").sumOf("")

// Next returns up to limit entries after seq, in order, none if there are none
// yet. errLostPlace means that some are gone.
func (s *Store) Next(ctx context.Context, after uint64, limit int) ([]Entry, error) {
	var list []Entry
	err := s.read(ctx, func(sn *snapshot) error {
		newest := uint64(sn.outboxSeq)
		rows, err := sn.QueryContext(ctx, "SELECT seq, commit_ms, kind, data, sum IS "+sumOfOutbox+" FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", int64(after), limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e Entry
			var data sql.RawBytes
			var whole bool
			if err := rows.Scan(&e.Seq, &e.CommitMs, &e.Kind, &data, &whole); err != nil {
				return err
			}
			err := e.decode(data)
			if !whole {
				err = store.ErrCorrupt
			}
			if err != nil {
				return fmt.Errorf("outbox entry %d: %w", e.Seq, err)
			}
			list = append(list, e)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if newest > after && (len(list) == 0 || list[0].Seq != after+1) {
			return errLostPlace
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("next entries: %w", err)
	}
	return list, nil
}

func (e *Entry) decode(b []byte) error {
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b = nil
			return 0
		}
		b = b[n:]
		return v
	}
	text := func() string {
		n := number()
		if n > uint64(len(b)) {
			b = nil
			return ""
		}
		t := string(b[:n])
		b = b[n:]
		return t
	}
	switch e.Kind {
	case RowsWritten:
		n := number()
		if n > uint64(len(b)) {
			return store.ErrCorrupt
		}
		e.keys = make([]int64, n)
		prev := int64(0)
		for i := range e.keys {
			prev += int64(number())
			e.keys[i] = prev
		}
	case HourClosed:
		e.HourMs = int64(number()) * 1000
	case HolderDescribed:
		e.holder, e.from, e.to = int32(number()), int64(number()), int64(number())
		e.was.workload.Namespace, e.was.workload.Kind, e.was.workload.Name = text(), text(), text()
		e.was.typ = power.Type(text())
	default:
		return store.ErrCorrupt
	}
	if len(b) != 0 {
		return store.ErrCorrupt
	}
	return nil
}

// Ack notes that a follower has taken every entry up to seq. It never goes back.
func (s *Store) Ack(ctx context.Context, follower string, seq uint64) error {
	err := s.write(ctx, func(ctx context.Context) (func(), error) {
		res, err := s.w.ExecContext(ctx, "UPDATE followers SET seq = max(seq, ?) WHERE name = ?", int64(seq), follower)
		if err != nil {
			return nil, err
		}
		n, err := res.RowsAffected()
		if err == nil && n == 0 {
			err = errors.New("no such follower")
		}
		return nil, err
	})
	if err != nil {
		return fmt.Errorf("acknowledge entry %d for %s: %w", seq, follower, err)
	}
	return nil
}

// Followers returns the followers there are and where they are, by name.
func (s *Store) Followers(ctx context.Context) ([]Cursor, error) {
	var list []Cursor
	err := s.read(ctx, func(sn *snapshot) error {
		newest := uint64(sn.outboxSeq)
		rows, err := sn.QueryContext(ctx, "SELECT name, seq FROM followers ORDER BY name")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var f Cursor
			var seq int64
			if err := rows.Scan(&f.Name, &seq); err != nil {
				return err
			}
			f.Seq, f.New = uint64(max(seq, 0)), seq == newFollower
			f.Lag = newest - min(f.Seq, newest)
			list = append(list, f)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("followers: %w", err)
	}
	return list, nil
}

func (s *Store) measureFollowers(ctx context.Context) error {
	list, err := s.Followers(ctx)
	if err != nil {
		return err
	}
	for _, f := range list {
		s.metrics.followerLag.WithLabelValues(f.Name).Set(float64(f.Lag))
	}
	return nil
}

// trimOutbox removes the entries every configured follower has taken, and the
// oldest of those that are too many or too old.
func (s *Store) trimOutbox(ctx context.Context, now time.Time) error {
	return s.write(ctx, func(ctx context.Context) (func(), error) {
		taken := int64(0)
		for i, name := range s.cfg.Followers {
			var seq int64
			if err := s.w.QueryRowContext(ctx, "SELECT seq FROM followers WHERE name = ?", name).Scan(&seq); err != nil {
				return nil, err
			}
			if i == 0 || seq < taken {
				taken = seq
			}
		}
		if len(s.cfg.Followers) == 0 {
			_, err := s.w.ExecContext(ctx, "DELETE FROM outbox")
			return nil, err
		}
		_, err := s.w.ExecContext(ctx, "DELETE FROM outbox WHERE seq <= ? OR commit_ms < ?", taken, now.Add(-s.cfg.OutboxMaxAge).UnixMilli())
		if err != nil {
			return nil, err
		}
		// The newest entries that fit stay.
		var kept, from int64
		err = s.w.QueryRowContext(ctx, `SELECT coalesce(max(total), 0), coalesce(min(seq), 0) FROM
			(SELECT seq, sum(length(data) + 16) OVER (ORDER BY seq DESC) AS total FROM outbox) WHERE total <= ?`, s.cfg.OutboxMaxBytes).Scan(&kept, &from)
		if err != nil {
			return nil, err
		}
		if _, err := s.w.ExecContext(ctx, "DELETE FROM outbox WHERE seq < ?", from); err != nil {
			return nil, err
		}
		s.metrics.outboxBytes.Set(float64(kept))
		return nil, nil
	})
}
