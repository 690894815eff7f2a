// Package report answers questions about the books with money, coverage and
// remainders. Every face of the product asks through it, so that all of them
// show the same totals; what is a fact of the books and not of a face is known
// here alone.
//
// Energy stays in whole microjoules, apart for each price, until a face asks
// for money.
package report

import (
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// Reports answers from some books. It may be used concurrently and keeps
// nothing between questions.
type Reports struct {
	books store.Querier
	price func(atMs int64) power.Price
}

// New reports on books. The price in force at a time in Unix milliseconds is
// told for answers without a row that would tell; nil means that it is unknown.
func New(books store.Querier, price func(atMs int64) power.Price) *Reports {
	return &Reports{books, price}
}

// A Step is one stretch of an answer, and the part of it that was asked for and
// has happened. Times are Unix milliseconds.
type Step struct {
	StartMs int64 // of the whole stretch
	FromMs  int64 // max(StartMs, the start asked for)
	ToMs    int64 // min(EndMs, the end asked for)
	EndMs   int64
}

// Whole says that the step was asked for from its start to its end.
func (s Step) Whole() bool { return s.FromMs == s.StartMs && s.ToMs == s.EndMs }

// Even cuts a range into steps aligned to multiples of their length.
func Even(from, to time.Time, length time.Duration) []Step {
	fromMs, toMs, stepMs := from.UnixMilli(), to.UnixMilli(), length.Milliseconds()
	var steps []Step
	for s := fromMs - fromMs%stepMs; s < toMs; s += stepMs {
		steps = append(steps, Step{StartMs: s, FromMs: max(s, fromMs), ToMs: min(s+stepMs, toMs), EndMs: s + stepMs})
	}
	return steps
}

// Cut cuts a range at edges, which rise and reach over it on both sides: days
// and months of a calendar, which differ in length.
func Cut(from, to time.Time, edges []time.Time) []Step {
	fromMs, toMs := from.UnixMilli(), to.UnixMilli()
	var steps []Step
	for i := 1; i < len(edges); i++ {
		start, end := edges[i-1].UnixMilli(), edges[i].UnixMilli()
		if end > fromMs && start < toMs {
			steps = append(steps, Step{StartMs: start, FromMs: max(start, fromMs), ToMs: min(end, toMs), EndMs: end})
		}
	}
	return steps
}

// lengthOf returns the length that all steps have, or 0 where they differ or do
// not begin at multiples of it.
func lengthOf(steps []Step) int64 {
	length := steps[0].EndMs - steps[0].StartMs
	for _, s := range steps {
		if s.EndMs-s.StartMs != length || s.StartMs%length != 0 {
			return 0
		}
	}
	return length
}
