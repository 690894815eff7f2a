package store

import (
	"context"

	"github.com/wattledger/wattledger/power"
)

// A WindowRow is what a workload used on one node in one window or hour: what
// followers are fed. Values are absolute: a row for the same node, workload,
// type and start takes the place of an earlier one with a lower revision.
type WindowRow struct {
	Node       string
	Workload   power.Workload
	Type       power.Type
	StartMs    int64 // Unix milliseconds
	Seconds    int32
	Energy     power.Energy
	Idle       power.Microjoules // part of Energy's total
	Cost       power.Cost
	Price      power.Price // one of those it was priced at, if there were several
	SeenMs     int64       // time covered by samples, summed over the holders
	HeldMs     int64       // time their rows stand for; SeenMs/HeldMs is a coverage
	LastMs     int64
	Containers int // holders; 0 if all have moved to another workload since
	Revision   uint64
}

// A Delivery is what some entries of the outbox amount to now.
type Delivery struct {
	FromSeq, ToSeq uint64      // entries, both inclusive; strictly rising from one delivery to the next, equal on replay
	CommitMs       int64       // of the newest entry, Unix milliseconds
	Windows        []WindowRow // windows that were written or restated
	Hours          []WindowRow // hours that closed or were restated
	// Spaces is all that was used in the starts of Hours, by cluster, namespace and
	// type of workload, as Querier.Sum tells it. Only for followers that want it.
	Spaces []Row
	Resync bool // stored rows sent again after the follower lost its place
	// With Resync: of the kind of rows there are, there are no others that start in
	// [FromMs, ToMs).
	FromMs, ToMs int64
}

// A Follower is an engine fed from the local one. Write returns nil only when
// the backend has accepted everything; writing a delivery twice changes
// nothing. On an error the same delivery is written again later.
type Follower interface {
	Name() string
	Write(ctx context.Context, d Delivery) error
}
