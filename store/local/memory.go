package local

import (
	"context"
	"database/sql"
	"runtime"
	"sync/atomic"
	"time"
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

// show makes rows those that readers will see, and what questions lately asked of
// them with it: the first one after a flush must not pay for the others. s.next is
// about to be memory.
func (s *Store) show(rows recent) {
	for _, st := range rows.starts {
		if st.draft { // the others are readers' already, and must not be written to
			st.draft = false
		}
	}
	s.next.recent = rows
	s.next.power = s.next.power.next(&s.next)
	if time.Since(time.Unix(s.openHoursAsked.Load(), 0)) > askedLately {
		return
	}
	for _, h := range rows.hours {
		if older := h.older.list.Load(); older != nil {
			h.inSpaces(&s.next.dims, *older)
			runtime.Gosched()
		}
	}
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
	for sn == nil && err == nil { // a commit later
		sn, err = s.snapshot(ctx, conn)
	}
	if err != nil {
		return classify(err)
	}
	defer sn.Rollback()
	return classify(f(sn))
}

// snapshot begins a transaction. It returns nil if there have been commits since
// the one that it sees of the file, so that memory is not at it any more.
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
	// The newer one last: meanwhile it may become the other.
	for _, at := range []*atomic.Pointer[memory]{&s.memory, &s.coming} {
		if m := at.Load(); m != nil && m.commit == commit {
			return &snapshot{tx, m}, nil
		}
	}
	return nil, tx.Rollback()
}
