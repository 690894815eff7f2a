package local

import (
	"context"
	"database/sql"
	"errors"
)

// A writer is the connection that writes. It keeps the statements that it has
// run with arguments: they are few, run for every holder or row, and taking one
// apart costs SQLite more than running it. It belongs to whoever holds
// Store.writing.
type writer struct {
	*sql.Conn
	prepared map[string]*sql.Stmt
}

func newWriter(c *sql.Conn) *writer { return &writer{Conn: c, prepared: map[string]*sql.Stmt{}} }

// Close lets go of the statements first: SQLite empties and removes its log only
// when the last connection closes without any.
func (w *writer) Close() error {
	var errs []error
	for _, st := range w.prepared {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, w.Conn.Close())...)
}

func (w *writer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if len(args) == 0 {
		return w.Conn.ExecContext(ctx, query)
	}
	st := w.prepared[query]
	if st == nil {
		var err error
		if st, err = w.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		w.prepared[query] = st
	}
	return st.ExecContext(ctx, args...)
}
