package store

import "context"

// A Feed is what followers are fed from. It is asked by one worker for each
// follower, by several at once.
type Feed interface {
	// Deliver returns what the next entries, at most limit, amount to now, and
	// false if there are none yet. ErrLostPlace, wrapped: some are gone.
	Deliver(ctx context.Context, follower string, limit int) (Delivery, bool, error)
	// Done notes that the follower has taken everything up to d.ToSeq.
	Done(ctx context.Context, follower string, d Delivery) error
	// Place tells where the follower is.
	Place(ctx context.Context, follower string) (Place, error)
	// Span tells what there is to send again, and up to which entry it holds:
	// later ones are delivered as usual.
	Span(ctx context.Context, follower string) (Span, error)
	// Stored returns the rows that start at fromMs or up to some time after, as
	// the rows of a delivery, and where the next begin.
	Stored(ctx context.Context, follower string, fromMs int64) (rows Delivery, nextMs int64, err error)
}

// A Place is where a follower is in the outbox.
type Place struct {
	Seq      uint64  // newest entry it has taken
	Lag      uint64  // entries after that
	OldestMs int64   // commit of the oldest of those, Unix milliseconds; 0 if there are none
	Used     float64 // how much of what the outbox may keep they take up, by bytes or age; at 1 the place is lost
}

// A Span is the time that stored rows are sent again for.
type Span struct {
	Seq      uint64
	CommitMs int64
	FromMs   int64 // inclusive, Unix milliseconds
	ToMs     int64 // exclusive
}
