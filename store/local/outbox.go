package local

import (
	"context"
	"fmt"
	"math"
	"time"
)

// OldestMs returns the start of the oldest row there ever was, in Unix
// milliseconds; the end of time if there is none.
func (s *Store) OldestMs() int64 {
	if s.at().oldest == math.MaxInt64 {
		return math.MaxInt64
	}
	return s.at().oldest * 1000
}

// waiting says how much of what the outbox may keep the entries after seq take
// up, by bytes or by age, whichever is more, and when the oldest of them was
// committed, in Unix milliseconds; 0 if there are none. At 1 they begin to go.
func (s *Store) waiting(ctx context.Context, seq uint64) (used float64, oldestMs int64, err error) {
	var bytes int64
	err = s.read(ctx, func(sn *snapshot) error {
		return sn.QueryRowContext(ctx, "SELECT coalesce(sum(length(data) + 16), 0), coalesce(min(commit_ms), 0) FROM outbox WHERE seq > ?", int64(seq)).Scan(&bytes, &oldestMs)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("outbox after entry %d: %w", seq, err)
	}
	if oldestMs > 0 {
		used = max(float64(bytes)/float64(s.cfg.OutboxMaxBytes), float64(time.Since(time.UnixMilli(oldestMs)))/float64(s.cfg.OutboxMaxAge))
	}
	return used, oldestMs, nil
}
