package decode

import (
	"math"

	"github.com/wattledger/wattledger/receiver/journal"
)

// A buckets is one side of a native histogram as it is read.
type buckets struct {
	spans    int
	covered  uint64 // buckets that the spans cover
	backward bool   // a span after the first starts before the end of the one before it
	end      int64  // index after the last bucket, counted from the first span's offset
	counted  uint64 // buckets that have a count
	count    float64
	last     int64
	negative bool
	ints     bool // there are integer counts
	floats   bool
}

func (b *buckets) span(offset int32, length uint32) {
	if b.spans > 0 && offset < 0 {
		b.backward = true
	}
	b.spans++
	b.covered += uint64(length)
	b.end += int64(offset) + int64(length)
}

func (b *buckets) delta(v uint64) {
	b.last += int64(v>>1) ^ -int64(v&1)
	b.ints = true
	b.add(float64(b.last))
}

func (b *buckets) float(v float64) {
	b.floats = true
	b.add(v)
}

func (b *buckets) add(v float64) {
	b.counted++
	b.count += v
	if v < 0 {
		b.negative = true
	}
}

func (b *buckets) valid() bool {
	return !b.negative && !b.backward && b.covered == b.counted
}

// histogram reads a Histogram message and reports whether it makes sense. The
// checks are those that Prometheus makes, without building the histogram.
func histogram(b []byte, protocol journal.Protocol) (valid bool, err error) {
	const customSchema = -53
	var (
		schema           int32
		countInt         uint64
		countFloat       float64
		sum              float64
		zero             float64
		isFloat          bool
		positive         buckets
		negative         buckets
		bounds           uint64
		lastBound        = math.Inf(-1)
		boundsRise       = true
		v                uint64
		number, wireType int
		at               int
	)
	for i := 0; i < len(b); {
		if number, wireType, at, err = field(b, i); err != nil {
			return false, err
		}
		switch number {
		case 1:
			countInt, i, err = varintField(b, at, wireType)
			isFloat = false
		case 2:
			v, i, err = fixedField(b, at, wireType)
			countFloat, isFloat = math.Float64frombits(v), true
		case 3:
			v, i, err = fixedField(b, at, wireType)
			sum = math.Float64frombits(v)
		case 4:
			v, i, err = varintField(b, at, wireType)
			schema = zigzag32(v)
		case 5:
			_, i, err = fixedField(b, at, wireType)
		case 6:
			v, i, err = varintField(b, at, wireType)
			zero = float64(v)
		case 7:
			v, i, err = fixedField(b, at, wireType)
			zero = math.Float64frombits(v)
		case 8:
			i, err = bucketSpan(b, at, wireType, &negative)
		case 9:
			i, err = varints(b, at, wireType, negative.delta)
		case 10:
			i, err = doubles(b, at, wireType, negative.float)
		case 11:
			i, err = bucketSpan(b, at, wireType, &positive)
		case 12:
			i, err = varints(b, at, wireType, positive.delta)
		case 13:
			i, err = doubles(b, at, wireType, positive.float)
		case 14, 15:
			_, i, err = varintField(b, at, wireType)
		case 16:
			i, err = doubles(b, at, wireType, func(v float64) {
				bounds++
				boundsRise = boundsRise && v > lastBound && !math.IsInf(v, 1)
				lastBound = v
			})
		case 17:
			if protocol == journal.V2 {
				_, i, err = varintField(b, at, wireType)
			} else {
				i, err = skip(b, at, wireType)
			}
		default:
			i, err = skip(b, at, wireType)
		}
		if err != nil {
			return false, err
		}
	}

	if !positive.valid() || !negative.valid() || zero < 0 || math.IsNaN(zero) {
		return false, nil
	}
	switch {
	case schema == customSchema:
		if !boundsRise || negative.spans > 0 || zero != 0 || positive.end > int64(bounds)+1 {
			return false, nil
		}
	case schema < -4 || schema > 8 || bounds > 0:
		return false, nil
	}
	total := positive.count + negative.count + zero
	if isFloat {
		// Float counts are sums that were rounded.
		return !positive.ints && !negative.ints && (math.IsNaN(countFloat) || countFloat >= 0 && countFloat >= total*(1-1e-9)), nil
	}
	if positive.floats || negative.floats {
		return false, nil
	}
	if math.IsNaN(sum) { // observations of NaN are counted but are in no bucket
		return float64(countInt) >= total, nil
	}
	return float64(countInt) == total, nil
}

func bucketSpan(b []byte, at, wireType int, side *buckets) (next int, err error) {
	start, end, err := bytesField(b, at, wireType)
	if err != nil {
		return 0, err
	}
	var offset int32
	var length uint32
	m := b[start:end]
	for i := 0; i < len(m); {
		number, wireType, at, err := field(m, i)
		if err != nil {
			return 0, err
		}
		var v uint64
		switch number {
		case 1:
			v, i, err = varintField(m, at, wireType)
			offset = zigzag32(v)
		case 2:
			v, i, err = varintField(m, at, wireType)
			length = uint32(v)
		default:
			i, err = skip(m, at, wireType)
		}
		if err != nil {
			return 0, err
		}
	}
	side.span(offset, length)
	return end, nil
}

func zigzag32(v uint64) int32 {
	u := uint32(v)
	return int32(u>>1) ^ -int32(u&1)
}
