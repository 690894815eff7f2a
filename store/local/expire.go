package local

import (
	"context"
	"slices"
	"time"

	"github.com/wattledger/wattledger/internal/index"
	"github.com/wattledger/wattledger/store/local/format"
)

// expire removes single windows and hours that are older than their retention,
// counted back from the newest row, holders that have neither, and outbox
// entries that are too many or too old by now.
func (s *Store) expire(ctx context.Context, now time.Time) error {
	var at horizons
	err := s.write(ctx, func(ctx context.Context) (func(), error) {
		minutes := s.at().newest - int64(s.cfg.MinutesRetention/time.Second)
		hours := s.at().newest - int64(s.cfg.HoursRetention/time.Second)
		// Only closed hours expire: the open ones have no sums yet.
		s.next.minutesFrom = max(s.at().minutesFrom, min(format.HourOf(max(minutes, 0)), s.at().sealedBefore))
		s.next.hoursFrom = max(s.at().hoursFrom, min(format.HourOf(max(hours, 0)), s.next.minutesFrom))
		at = s.next.horizons
		return nil, nil
	})
	if err != nil {
		return err
	}
	// What lies before a horizon is not read any more; it may go in steps.
	for table, before := range map[string]int64{
		"sealed": at.minutesFrom, "sealed_nodes": at.minutesFrom, "hours": at.hoursFrom, "space_hours": at.hoursFrom, "dimension_hours": at.hoursFrom,
	} {
		for more := true; more; {
			err := s.write(ctx, func(ctx context.Context) (func(), error) {
				res, err := s.w.ExecContext(ctx, "DELETE FROM "+table+" WHERE key IN (SELECT key FROM "+table+" WHERE key < ? ORDER BY key LIMIT 2000)", format.Key(before, 0))
				if err != nil {
					return nil, err
				}
				n, err := res.RowsAffected()
				more = n > 0
				return nil, err
			})
			if err != nil {
				return err
			}
		}
	}
	if err := s.forgetHolders(ctx, at.hoursFrom); err != nil {
		return err
	}
	return s.trimOutbox(ctx, now)
}

// forgetHolders removes holders whose last row is before a moment.
func (s *Store) forgetHolders(ctx context.Context, before int64) error {
	return s.write(ctx, func(ctx context.Context) (func(), error) {
		var gone []int32
		for id, h := range s.interns.dims.holders {
			if h != nil && s.last[id].last+format.HourSeconds <= before {
				gone = append(gone, int32(id))
			}
		}
		if len(gone) == 0 {
			return nil, nil
		}
		for _, id := range gone {
			if _, err := s.w.ExecContext(ctx, "DELETE FROM holders WHERE id = ?", id); err != nil {
				return nil, err
			}
		}
		s.next.holders = slices.Clone(s.next.holders)
		all := map[int32]bool{}
		for _, id := range gone {
			s.next.holders[id] = nil
			all[id] = true
		}
		s.next.siblings = s.next.siblings.without(all)
		return func() {
			in := s.interns
			for _, id := range gone {
				in.byKey.Remove(index.Hash(in.holders[id].HolderKey), uint32(id))
			}
			clear(in.byPointer) // the pointers of those that are gone must not be known
			in.dims = s.next.dims
		}, nil
	})
}
