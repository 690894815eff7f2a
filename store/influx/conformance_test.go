package influx

import (
	"context"
	"testing"

	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/test/storetest"
)

// followed is the local engine with InfluxDB behind it: what is appended is fed
// to InfluxDB before it is asked.
type followed struct {
	*Querier
	books *books
}

func (f followed) Append(ctx context.Context, b store.Batch) error {
	return f.books.local.Append(ctx, b)
}

func (f followed) Sum(ctx context.Context, q store.Query) ([]store.Row, error) {
	f.books.take()
	return f.Querier.Sum(ctx, q)
}

func (f followed) Position(ctx context.Context) (uint64, error) { return f.books.local.Position(ctx) }

func (f followed) Settle(ctx context.Context) error {
	return f.books.local.Maintain(ctx)
}

// Holders are exact in whole hours only, which TestBooks looks at.
func (f followed) Rough() (holders, slow bool) { return true, true }

func TestConformance(t *testing.T) {
	open := func(t *testing.T) storetest.Engine {
		b := openBooks(t)
		write(t, b.follower, store.Delivery{}) // makes the buckets
		return followed{b.querier, b}
	}
	storetest.Run(t, open,
		// InfluxDB's own sums wrap around silently, those of a day of more than
		// 2,500 GWh; see TestOverflow for those that are added up here.
		"values near the ends of 64 bits are exact or refused",
		// It has no transactions over several requests.
		"readers see whole batches while batches are written",
	)
}
