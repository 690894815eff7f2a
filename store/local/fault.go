package local

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"

	"github.com/wattledger/wattledger/store"
)

// SQLite's primary result codes that callers must be able to tell apart.
const (
	sqliteBusy     = 5
	sqliteReadOnly = 8
	sqliteIOErr    = 10
	sqliteCorrupt  = 11
	sqliteFull     = 13
	sqliteCantOpen = 14
	sqliteNotADB   = 26
)

// classify joins err with the contract's error for what SQLite reported.
func classify(err error) error {
	var e *sqlite.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqliteFull:
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case sqliteCorrupt, sqliteNotADB:
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	case sqliteBusy, sqliteReadOnly, sqliteIOErr, sqliteCantOpen:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}
