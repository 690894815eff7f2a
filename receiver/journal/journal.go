// Package journal keeps every accepted request on disk, as it came, before it
// takes effect. The state of the books is a function of the journal alone.
package journal

import (
	"context"
	"errors"
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
	Body      []byte
}

// Errors a journal answers with, tested with errors.Is.
var (
	ErrFull   = errors.New("journal is full")    // bounded size reached; try again later
	ErrFailed = errors.New("journal has failed") // a write or sync failed and could not be undone; restart needed
	ErrClosed = errors.New("journal is closed")
)

// A Journal is durable and ordered. Positions start at 1 and have no gaps.
type Journal interface {
	// Append makes r durable and returns its position. It returns nil only
	// after the record would survive a power cut; on an error nothing of r
	// remains. It may be called concurrently; it does not keep r.
	Append(ctx context.Context, r *Record) (position uint64, err error)
	// Read calls fn for every record from position from on, in order, until the
	// end. The record is good until fn returns.
	Read(ctx context.Context, from uint64, fn func(position uint64, r *Record) error) error
	// Release lets the journal forget records up to and including position.
	Release(position uint64) error
	// First and Last return the positions of the oldest and newest record kept;
	// Last is 0 and First is 1 for a journal that has never held one.
	First() uint64
	Last() uint64
}
