package decode

import (
	"github.com/wattledger/wattledger/internal/index"
	"github.com/wattledger/wattledger/receiver/counter"
)

// A row is one TimeSeries of a request.
type row struct {
	start, end uint32 // its message in Request.raw
	first, n   uint32 // its samples in Request.points
	extra      int32  // index into Request.extras; -1 when there is nothing to say
	guessed    bool   // the end of its label block is a guess
}

// An extra says what is unusual about a row.
type extra struct {
	why           Reason // for which the whole series is rejected
	histograms    int
	badHistograms int
	exemplars     int
	badExemplars  int
}

// A Request is the scratch space of one request, reused for others. Out is good
// until the next decode.
type Request struct {
	raw []byte // decoded

	clusters []string // whose series are taken; nil for all
	space    uint64   // of the keys of these clusters' senders, 0 for all

	rows    []row
	points  []point
	extras  []extra
	keys    []counter.Key // of rows
	refs    []counter.Ref // of keys
	symbols []symbol
	hashes  []counter.Key // of symbols

	block     []byte // label fields that do not stand together
	again     []int32
	againKeys []counter.Key
	againRefs []counter.Ref
	near      neighbour
	fresh     index.Index   // out.New by key
	ignored   []counter.Key // series that are new and not mapped
	looked    bool          // at what a new series tells of its sender
	Unknown   bool          // the sender is: one of its known series is looked at too
	about     description

	Out   counter.Request
	Tally Tally
	Seen  Sighting
}

func (q *Request) setExtra(r *row, x extra) {
	if x == (extra{}) {
		r.extra = -1
		return
	}
	r.extra = int32(len(q.extras))
	q.extras = append(q.extras, x)
}

// keepBytes and keepRows bound what an idle request holds on to.
const (
	keepBytes = 4 << 20
	keepRows  = 64 << 10
)

// Reset makes q ready for another body, and lets go of what is large.
func (q *Request) Reset() {
	q.clusters, q.space = nil, 0
	q.raw = emptied(q.raw, keepBytes)
	q.block = emptied(q.block, keepBytes)
	q.rows = emptied(q.rows, keepRows)
	q.points = emptied(q.points, keepRows)
	q.extras = emptied(q.extras, keepRows)
	q.keys = emptied(q.keys, keepRows)
	q.refs = emptied(q.refs, keepRows)
	q.symbols = emptied(q.symbols, keepRows)
	q.hashes = emptied(q.hashes, keepRows)
	q.again = emptied(q.again, keepRows)
	q.againKeys = emptied(q.againKeys, keepRows)
	q.againRefs = emptied(q.againRefs, keepRows)
	q.ignored = emptied(q.ignored, keepRows)
	q.near.reset()
	clear(q.Out.New)
	q.Out.New = emptied(q.Out.New, keepRows/16)
	q.Out.Samples = emptied(q.Out.Samples, keepRows)
	q.Out.Position, q.Out.ArrivalMs = 0, 0
	if q.fresh.Len() > keepRows {
		q.fresh = index.Index{}
	}
	q.fresh.Clear()
	q.looked, q.Unknown = false, false
	q.Tally = Tally{}
	q.Seen = Sighting{}
}

func emptied[T any](s []T, keep int) []T {
	if cap(s) > keep {
		return nil
	}
	return s[:0]
}
