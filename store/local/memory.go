package local

import (
	"context"
	"database/sql"
)

// memory is what the store keeps beside the file, as of one commit. It never
// changes: the next commit publishes another, which shares what is the same.
// So a question takes no lock while it adds up, and nobody waits for it.
type memory struct {
	dims
	horizons
	stale       []span      // hours whose sums by space are not to be used
	generations []nodeState // by node id
	recent      recent
	power       *powerViews // made of recent and dims
}

// publish shows readers what the running transaction, now durable, has changed;
// s.mu is held.
func (s *Store) publish() {
	m := s.next
	s.memory.Store(&m)
}

// A snapshot is the books as of one commit, file and memory.
type snapshot struct {
	*sql.Tx
	*memory
}

// read runs f on a snapshot.
func (s *Store) read(ctx context.Context, f func(sn *snapshot) error) error {
	conn, err := s.readers.Conn(ctx)
	if err != nil {
		return classify(err)
	}
	defer conn.Close()
	sn, err := s.snapshot(ctx, conn)
	if sn == nil && err == nil {
		// A commit was in the file and not in memory yet, or is by now. With the
		// lock there is none under way.
		s.mu.RLock()
		sn, err = s.snapshot(ctx, conn)
		s.mu.RUnlock()
	}
	if err != nil {
		return classify(err)
	}
	defer sn.Rollback()
	return classify(f(sn))
}

// snapshot begins a transaction. It returns nil if the file is at a commit that
// memory is not at.
func (s *Store) snapshot(ctx context.Context, conn *sql.Conn) (*snapshot, error) {
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	// A deferred transaction sees the file as of its first read.
	var commit uint64
	if err := tx.QueryRowContext(ctx, "SELECT value FROM state WHERE name = 'commit'").Scan(&commit); err != nil {
		tx.Rollback()
		return nil, err
	}
	if m := s.memory.Load(); m.commit == commit {
		return &snapshot{tx, m}, nil
	}
	return nil, tx.Rollback()
}
