// Package journal keeps every accepted request on disk, as it came, before it
// takes effect. The state of the books is a function of the journal alone.
//
// Local is the engine on local segments. Snapshots of the state live beside it,
// so that a start replays only the tail.
package journal

import (
	"context"
	"errors"
	"fmt"
)

// A Protocol says how a record's body is to be read.
type Protocol uint8

const (
	V1 Protocol = 1 // prometheus.WriteRequest
	V2 Protocol = 2 // io.prometheus.write.v2.Request
)

// An Encoding says how a record's body is compressed.
type Encoding uint8

const (
	Snappy Encoding = 1 // snappy block format
	Zstd   Encoding = 2
)

// A Record is one request. Body is the request body as it came, compressed.
type Record struct {
	Protocol  Protocol
	Encoding  Encoding
	ArrivalMs int64 // Unix milliseconds
	Sender    string
	// Clusters are the only ones whose series are taken from Body; nil for all.
	// Whoever reads the record again must leave out the same series.
	Clusters []string
	Body     []byte
}

// Errors a journal answers with, tested with errors.Is.
var (
	ErrFull     = errors.New("journal is full")    // bounded size reached or no space on the device; try again later
	ErrFailed   = errors.New("journal has failed") // a write or sync failed and could not be undone; restart needed
	ErrClosed   = errors.New("journal is closed")
	ErrTooLarge = errors.New("record is larger than a journal segment") // never fits; do not try again
	ErrReleased = errors.New("records have been released")              // asked to read what the journal was allowed to forget
	ErrCorrupt  = errors.New("damaged")                                 // see CorruptError
)

// A CorruptError names the place of damage that was found in a file. It is
// ErrCorrupt.
type CorruptError struct {
	File   string
	Offset int64 // bytes from the start of File to the first record or chunk that is damaged
	Reason error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %v", e.File, e.Offset, e.Reason)
}

func (e *CorruptError) Unwrap() error        { return e.Reason }
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// A Journal is durable and ordered. Positions start at 1 and have no gaps.
type Journal interface {
	// Append makes r durable and returns its position. It returns nil only
	// after the record would survive a power cut; on an error nothing of r
	// remains. It may be called concurrently; it does not keep r.
	//
	// A context that ends before the record is queued is answered with its
	// error; after that Append waits for the outcome, which must be known.
	Append(ctx context.Context, r *Record) (position uint64, err error)
	// Read calls fn for every record from position from on, in order, until the
	// end, which is the newest record durable when Read was called. The record
	// is good until fn returns. ErrReleased means that from is older than what
	// is kept; ErrCorrupt that a record is damaged, or that from lies beyond
	// the end, so that whoever asks knows of records the journal has lost.
	Read(ctx context.Context, from uint64, fn func(position uint64, r *Record) error) error
	// Release lets the journal forget records up to and including position.
	Release(position uint64) error
	// First and Last return the positions of the oldest and newest record kept;
	// Last is 0 and First is 1 for a journal that has never held one. When all
	// have been released, Last stays and First is Last+1.
	First() uint64
	Last() uint64
}
