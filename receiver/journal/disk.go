package journal

import (
	"errors"
	"log/slog"
	"os"
	"syscall"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/wattledger/wattledger/internal/durable"
)

// A log is what the journal writes through: *wlog.WL.
type log interface {
	Log(records ...[]byte) error
	Sync() error
	NextSegmentSync() (int, error)
	Close() error
}

// disk is everything the journal does to its directory. Tests make each step
// fail, before or after it has taken effect.
type disk struct {
	open     func(dir string, segmentBytes int) (log, error) // on a new segment after the last
	truncate func(name string, size int64) error             // durable when it returns nil
	remove   func(name string) error
	syncDir  func(dir string) error
}

func localDisk(logger *slog.Logger) disk {
	return disk{
		open: func(dir string, segmentBytes int) (log, error) {
			l, err := wlog.NewSize(logger, nil, dir, segmentBytes, compression.None)
			if err != nil {
				return nil, err // not a nil *WL in an interface
			}
			return l, nil
		},
		truncate: truncate,
		remove:   os.Remove,
		syncDir:  durable.SyncDir,
	}
}

func truncate(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// noSpace reports whether err goes away when somebody makes room.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
