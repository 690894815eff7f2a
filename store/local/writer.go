package local

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// A writer is the connection that writes. It keeps the statements that it has
// run with arguments: they are few, run for every holder or row, and taking one
// apart costs SQLite more than running it. It runs them without database/sql,
// which would copy the hundreds of arguments each time. It belongs to whoever
// holds Store.writing.
type writer struct {
	*sql.Conn
	prepared map[string]driver.Stmt
	args     []driver.NamedValue // of the statement that runs
}

func newWriter(c *sql.Conn) *writer { return &writer{Conn: c, prepared: map[string]driver.Stmt{}} }

// Close lets go of the statements first: SQLite empties and removes its log only
// when the last connection closes without any.
func (w *writer) Close() error {
	var errs []error
	for _, st := range w.prepared {
		errs = append(errs, w.Raw(func(any) error { return st.Close() }))
	}
	return errors.Join(append(errs, w.Conn.Close())...)
}

func (w *writer) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	if len(args) == 0 {
		return w.Conn.ExecContext(ctx, query)
	}
	w.args = w.args[:0]
	for i, a := range args {
		v, err := driver.DefaultParameterConverter.ConvertValue(a)
		if err != nil {
			return nil, err
		}
		w.args = append(w.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	defer func() { clear(w.args) }() // what they point to is the caller's
	err = w.Raw(func(c any) (err error) {
		st := w.prepared[query]
		if st == nil {
			if st, err = c.(driver.ConnPrepareContext).PrepareContext(ctx, query); err != nil {
				return err
			}
			w.prepared[query] = st
		}
		result, err = st.(driver.StmtExecContext).ExecContext(ctx, w.args)
		return err
	})
	return result, err
}
