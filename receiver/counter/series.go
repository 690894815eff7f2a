package counter

import (
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// A Key is the 128-bit hash of a label set as it stood on the wire. Two keys
// may name one series (the two protocols hash differently); one key never
// names two.
type Key struct{ Hi, Lo uint64 }

// A Ref is where the samples of a known series go. The zero Ref is unknown.
type Ref uint64

// The bits of a Ref: what it refers to, whether the series is the end of a
// terminated holder, its origin among those of its node, and the account in its shard.
const (
	refIgnored    Ref = 1
	refAccount    Ref = 1 << 63
	refFact       Ref = 1 << 62
	refTerminated Ref = 1 << 61
	refPod        Ref = 1 << 60 // a fact whose series counts a pod's energy; the shard is its node's

	refOriginShift = 45 // 15 bits
	refShardShift  = 32 // 13 bits
	maxShards      = 1 << 13
)

// Ignored says that the metric table maps nothing for this series.
func (r Ref) Ignored() bool { return r == refIgnored }

func (r Ref) terminated() bool { return r&refTerminated != 0 }
func (r Ref) origin() uint16   { return uint16(r>>refOriginShift) & (1<<15 - 1) }
func (r Ref) shard() int       { return int(r >> refShardShift & (maxShards - 1)) }
func (r Ref) account() uint32  { return uint32(r) }

// A Series is a label set seen for the first time in a request.
type Series struct {
	Key     Key
	Mapping metric.Mapping
	Labels  []power.Label // of a fact, without __name__; nil otherwise
}

// A Sample is one value on its way to its account.
type Sample struct {
	Ref     Ref     // of a known series; 0 when New says which new one it is
	New     int32   // index into Request.New when Ref is 0
	TMs     int64   // Unix milliseconds
	StartMs int64   // start timestamp of the counter, Unix milliseconds; 0 for none
	Value   float64 // may be a staleness marker or any other NaN
}

// A Request is what is left of one remote-write request once it is parsed: the
// samples the metric table maps, in the order of the wire. The Cache keeps
// nothing of it after Apply, so its slices may be reused.
type Request struct {
	Position  uint64 // in the journal; requests are applied in this order, without gaps
	ArrivalMs int64  // when the receiver took it, Unix milliseconds
	Samples   []Sample
	New       []Series
}

// An Outcome counts what became of a request's samples. Booked, Duplicate and
// the rest add up to len(Request.Samples).
type Outcome struct {
	Booked      int // moved an account
	Duplicate   int // told nothing new: already seen, or from a replica that is not elected
	Late        int // older than the account's newest sample
	Conflict    int // same time, another value: the first wins
	Resets      int // booked samples that showed a counter reset
	Stale       int // staleness markers
	NotNumbers  int // NaN and infinities
	Quarantined int // impossible; kept aside with their raw values
	Facts       int
	// OverLimit samples belong to new series beyond the limit; the request must
	// be answered as partly rejected. OverLimitSeries is one of them, as an
	// index into Request.New.
	OverLimit       int
	OverLimitSeries int
}
