package decode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
)

// A Series knows by a key what became of a series.
type Series interface {
	// Lookup writes the ref of each key into refs, 0 where the key is unknown.
	Lookup(keys []counter.Key, refs []counter.Ref)
	// Ignore remembers that the metric table maps nothing for keys.
	Ignore(keys []counter.Key)
}

// A Mapper is the metric table. Map is a pure function of the labels, safe for
// concurrent use; labels hold __name__, are sorted by name and have no empty
// values. What it maps nothing for is left out.
type Mapper interface {
	Metrics() []string // that it has rows for
	Knows(metric []byte) bool
	Map(labels []power.Label) (m metric.Mapping, ok bool)
}

// A Decoder turns bodies into what is to be booked. The labels of a known
// series are never parsed: its key is a hash of bytes as they stand in the
// body. It is safe for concurrent use.
type Decoder struct {
	limits  Limits
	series  Series
	mapper  Mapper
	strings *interner
	zstd    *zstd.Decoder
	turns   *semaphore.Weighted // of decoded bytes; see DecodeInTurn
	large   sync.Pool           // of *[]byte, for bodies that a Request does not hold on to when it is idle

	// Seeds are new in each process, so that nobody can prepare labels that
	// collide, and differ, so that the protocols' keys do.
	seedV1, seedV2 uint64
}

// New returns a decoder of bodies within limits.
func New(limits Limits, series Series, mapper Mapper) (*Decoder, error) {
	d := &Decoder{
		limits:  limits,
		series:  series,
		mapper:  mapper,
		strings: new(interner),
		turns:   semaphore.NewWeighted(int64(limits.MaxDecodedBytes)),
		seedV1:  rand.Uint64(),
		seedV2:  rand.Uint64(),
	}
	var err error
	d.zstd, err = newZstd(limits.MaxDecodedBytes)
	return d, err
}

func newZstd(maxDecodedBytes int) (*zstd.Decoder, error) {
	z, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(uint64(maxDecodedBytes)))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	return z, nil
}

func isZstdTooLarge(err error) bool {
	return errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded)
}

// Metrics are those that the metric table has rows for.
func (d *Decoder) Metrics() []string { return d.mapper.Metrics() }

// Close lets go of what the decoder holds.
func (d *Decoder) Close() { d.zstd.Close() }

// ForReplay returns a decoder that takes bodies of any size: they were within
// the limits that held when they were accepted.
func (d *Decoder) ForReplay() (*Decoder, error) {
	r := &Decoder{limits: d.limits, series: d.series, mapper: d.mapper, strings: d.strings, seedV1: d.seedV1, seedV2: d.seedV2}
	r.limits.MaxDecodedBytes = MaxOffsetBytes
	r.limits.MaxSeriesPerRequest = math.MaxInt32
	r.limits.MaxSamplesPerRequest = math.MaxInt32
	r.limits.MaxSymbols = math.MaxInt32
	var err error
	r.zstd, err = newZstd(MaxOffsetBytes)
	return r, err
}

// DecodeInTurn decodes when it is the body's turn. One body of the largest size is
// decoded at a time, of small ones two for each processor: neither bombs nor a
// machine of many processors make decoded bytes more than these.
func (d *Decoder) DecodeInTurn(ctx context.Context, q *Request, protocol journal.Protocol, encoding journal.Encoding, body []byte, arrivalMs int64) error {
	share := int64(max(d.decodedLen(encoding, body), d.limits.MaxDecodedBytes/(2*runtime.GOMAXPROCS(0))))
	if err := d.turns.Acquire(ctx, share); err != nil {
		return fmt.Errorf("wait to be decoded: %w", err)
	}
	defer d.turns.Release(share)
	if share > keepBytes {
		if b, ok := d.large.Get().(*[]byte); ok {
			q.raw = *b
		}
	}
	err := d.Decode(q, protocol, encoding, body, arrivalMs)
	if err == nil && q.Unknown {
		d.glance(q, protocol)
	}
	if err == nil {
		d.who(q, protocol)
	}
	if cap(q.raw) > keepBytes {
		raw := q.raw // not needed while the journal is waited for
		q.raw = nil
		d.large.Put(&raw)
	}
	return err
}

const (
	freshIgnored = -1 // the metric table maps nothing
	freshUnused  = -2 // mapped, but without a sample to book
)

// Decode fills q from a body. An error means that the request is refused as a
// whole; q.Tally says what of it was rejected otherwise.
func (d *Decoder) Decode(q *Request, protocol journal.Protocol, encoding journal.Encoding, body []byte, arrivalMs int64) error {
	if err := d.decompress(q, encoding, body); err != nil {
		return err
	}
	if err := d.walk(q, protocol); err != nil {
		return err
	}
	if err := d.lookup(q); err != nil {
		return err
	}
	q.Out.ArrivalMs = arrivalMs
	return d.assemble(q, protocol, arrivalMs)
}

func (d *Decoder) walk(q *Request, protocol journal.Protocol) error {
	if protocol == journal.V2 {
		return d.walkV2(q)
	}
	return d.walkV1(q)
}

// lookup finds the refs of all rows. Only if guesses were wrong does it ask the
// cache a second time.
func (d *Decoder) lookup(q *Request) error {
	q.refs = sized(q.refs, len(q.keys))
	d.series.Lookup(q.keys, q.refs)
	for i := range q.rows {
		r := &q.rows[i]
		if !r.guessed || q.refs[i] != 0 {
			continue
		}
		m := q.raw[r.start:r.end]
		if d.guessedRight(m) {
			r.guessed = false
			continue
		}
		guessedAt := r.first
		q.Tally.Samples--
		key, err := d.seriesV1(q, m, r)
		if err != nil {
			return err
		}
		if r.n == 1 { // as guessed, so that a request of new series takes no extra room
			q.points[guessedAt] = q.points[r.first]
			q.points = q.points[:r.first]
			r.first = guessedAt
		}
		r.guessed = false
		if key != q.keys[i] {
			q.keys[i] = key
			q.again = append(q.again, int32(i))
			q.againKeys = append(q.againKeys, key)
		}
	}
	if len(q.again) == 0 {
		return nil
	}
	q.againRefs = sized(q.againRefs, len(q.again))
	d.series.Lookup(q.againKeys, q.againRefs)
	for i, at := range q.again {
		q.refs[at] = q.againRefs[i]
	}
	return nil
}

// sized returns s with length n.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// assemble judges every sample and gathers those to be booked in q.Out.
func (d *Decoder) assemble(q *Request, protocol journal.Protocol, arrivalMs int64) error {
	horizonMs := arrivalMs + d.limits.MaxFuture.Milliseconds()
	newestMs := int64(math.MinInt64)
	samples := sized(q.Out.Samples, len(q.points))[:0]
	for i := range q.rows {
		r := &q.rows[i]
		ref := q.refs[i]
		fresh := int32(0)
		if r.extra >= 0 || ref == 0 {
			var why Reason
			var err error
			if r.extra >= 0 {
				why = q.extras[r.extra].why
			}
			if why == accepted && ref == 0 {
				if fresh, why, err = d.resolve(q, protocol, i, horizonMs); err != nil {
					return err
				}
			}
			if r.extra >= 0 || why != accepted {
				d.judge(q, protocol, r, why)
			}
			if why != accepted {
				continue
			}
		}
		ignored := ref.Ignored() || ref == 0 && fresh == freshIgnored
		if ignored {
			q.Tally.FilteredSeries++
		} else if r.n > 0 {
			q.Tally.UsableSeries++
		}
		for k := r.first; k < r.first+r.n; k++ {
			p := &q.points[k]
			if p.tMs > horizonMs {
				q.rejectFuture(d, protocol, r, p.tMs)
				continue
			}
			newestMs = max(newestMs, p.tMs)
			q.Tally.SamplesWritten++
			if ignored {
				q.Tally.FilteredSamples++
			} else {
				samples = append(samples, counter.Sample{Ref: ref, New: fresh, TMs: p.tMs, StartMs: p.startMs, Value: p.value})
			}
		}
	}
	q.Tally.NewestMs = newestMs
	q.Out.Samples = samples
	if len(q.ignored) > 0 {
		d.series.Ignore(q.ignored)
	}
	return nil
}

// judge counts the histograms and exemplars of a row, and the whole row when
// why says so.
func (d *Decoder) judge(q *Request, protocol journal.Protocol, r *row, why Reason) {
	var x extra
	if r.extra >= 0 {
		x = q.extras[r.extra]
	}
	t := &q.Tally
	t.Histograms += x.histograms
	t.Exemplars += x.exemplars
	if x.histograms > 0 && r.n > 0 {
		t.MixedSeries++
	}
	describe := func() string { return d.describe(q, protocol, r) }
	if why != accepted {
		n := int(r.n) + x.histograms + x.exemplars
		if n == 0 {
			t.rejectedSeries++
			n = 1
		}
		t.Reject(why, n, describe)
		return
	}
	t.HistogramsWritten += x.histograms - x.badHistograms
	t.ExemplarsWritten += x.exemplars - x.badExemplars
	if x.badHistograms > 0 {
		t.Reject(badHistogram, x.badHistograms, describe)
	}
	if x.badExemplars > 0 {
		t.Reject(symbolRef, x.badExemplars, describe)
	}
}

func (q *Request) rejectFuture(d *Decoder, protocol journal.Protocol, r *row, tMs int64) {
	if q.Tally.example == "" {
		q.Tally.ExampleMs, q.Tally.ExampleHasTime = tMs, true
	}
	q.Tally.Reject(FutureTimestamp, 1, func() string { return d.describe(q, protocol, r) })
}

// resolve parses the labels of a series that the cache does not know. It
// returns the index of the series in q.Out.New, freshIgnored or freshUnused.
func (d *Decoder) resolve(q *Request, protocol journal.Protocol, i int, horizonMs int64) (int32, Reason, error) {
	key := q.keys[i]
	r := &q.rows[i]
	if fresh, ok := q.fresh.Find(uint32(key.Lo), func(n uint32) bool { return q.Out.New[n].Key == key }); ok {
		return int32(fresh), accepted, nil
	}
	if err := d.rowLabels(q, protocol, r); err != nil {
		return 0, accepted, err
	}
	labels, why, culprit := q.near.check(&d.limits)
	if why != accepted {
		if why == duplicateLabel && q.Tally.duplicateName == "" {
			q.Tally.duplicateName = string(culprit)
		}
		return 0, why, nil
	}
	// The first new series is looked at whatever it is, for what it tells of its sender.
	name := metricName(labels)
	q.noteFamily(protocol, name)
	if q.looked && !d.mapper.Knows(name) {
		q.ignored = append(q.ignored, key)
		return freshIgnored, accepted, nil
	}
	owned := q.near.own(d.strings)
	mapping, ok := d.mapper.Map(owned)
	if ok && !q.claim(&mapping) {
		return 0, otherCluster, nil
	}
	q.look(&mapping, ok)
	if !ok {
		q.ignored = append(q.ignored, key)
		return freshIgnored, accepted, nil
	}
	if !q.within(r, horizonMs) {
		return freshUnused, accepted, nil
	}
	fresh := int32(len(q.Out.New))
	q.fresh.Add(uint32(key.Lo), uint32(fresh))
	s := counter.Series{Key: key, Mapping: mapping}
	if mapping.Role == metric.RoleFact {
		s.Labels = withoutName(owned)
	}
	q.Out.New = append(q.Out.New, s)
	return fresh, accepted, nil
}

// within reports whether the row has a sample that is not too far ahead.
func (q *Request) within(r *row, horizonMs int64) bool {
	for _, p := range q.points[r.first : r.first+r.n] {
		if p.tMs <= horizonMs {
			return true
		}
	}
	return false
}

func withoutName(labels []power.Label) []power.Label {
	kept := make([]power.Label, 0, len(labels)-1)
	for _, l := range labels {
		if l.Name != "__name__" {
			kept = append(kept, l)
		}
	}
	return kept
}

// rowLabels parses the labels of a row into q.near.next.
func (d *Decoder) rowLabels(q *Request, protocol journal.Protocol, r *row) error {
	q.near.begin()
	m := q.raw[r.start:r.end]
	if protocol == journal.V2 {
		return d.labelsV2(q, m)
	}
	return d.labelsV1(&q.near, m)
}

// describe names a series so that a person can find it: by its labels, or by
// where it stands in its request when it has none to speak of.
func (d *Decoder) describe(q *Request, protocol journal.Protocol, r *row) string {
	if err := d.rowLabels(q, protocol, r); err == nil {
		if text := describe(q.near.next); text != "" {
			return text
		}
	}
	at := slices.IndexFunc(q.rows, func(other row) bool { return other.start == r.start })
	return fmt.Sprintf("series %d of the request's %d, with %d labels and none of a name and a value", at+1, len(q.rows), len(q.near.next))
}

// describeNew prints a series of q.Out.New, if the body is still there.
func (d *Decoder) DescribeNew(q *Request, protocol journal.Protocol, index int) string {
	if len(q.raw) > 0 && index < len(q.Out.New) {
		for i := range q.keys {
			if q.keys[i] == q.Out.New[index].Key {
				return d.describe(q, protocol, &q.rows[i])
			}
		}
	}
	return "a series not seen before"
}
