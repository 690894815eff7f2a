package decode

import (
	"testing"
	"time"

	"github.com/wattledger/wattledger/test/wire"
)

// limits are those of an installation that sets none.
var limits = Limits{
	MaxDecodedBytes:      32 << 20,
	MaxSeriesPerRequest:  100_000,
	MaxSamplesPerRequest: 500_000,
	MaxSymbols:           300_000,
	MaxLabelsPerSeries:   64,
	MaxLabelNameBytes:    1 << 10,
	MaxLabelValueBytes:   16 << 10,
	MaxLabelSetBytes:     64 << 10,
	MaxFuture:            10 * time.Minute,
}

func newTestDecoder(t testing.TB, s Series, m Mapper) *Decoder {
	t.Helper()
	d, err := New(limits, s, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// The words of these tests.
var (
	labels = wire.Labels
	one    = wire.One
	asV2   = wire.AsV2
	bodyV1 = wire.BodyV1
	bodyV2 = wire.BodyV2
	snap   = wire.Snap
)
