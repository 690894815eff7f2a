package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/klauspost/compress/zstd"

	"github.com/wattledger/wattledger/internal/index"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
)

// A Cache knows series by key and books requests. *counter.Cache is the one
// that counts; tests have one that fails.
type Cache interface {
	Lookup(keys []counter.Key, refs []counter.Ref)
	Ignore(keys []counter.Key)
	Apply(r *counter.Request) counter.Outcome
}

// A Mapper is the metric table. Map is a pure function of the labels, safe for
// concurrent use; labels hold __name__, are sorted by name and have no empty
// values. What it maps nothing for is left out.
type Mapper interface {
	Knows(metric []byte) bool
	Map(labels []power.Label) (m metric.Mapping, ok bool)
}

// A decoder turns bodies into what is to be booked. The labels of a known
// series are never parsed: its key is a hash of bytes as they stand in the
// body. It is safe for concurrent use.
type decoder struct {
	limits  Config
	cache   Cache
	mapper  Mapper
	strings *interner
	zstd    *zstd.Decoder

	// Seeds are new in each process, so that nobody can prepare labels that
	// collide, and differ, so that the protocols' keys do.
	seedV1, seedV2 uint64
}

func newDecoder(limits Config, cache Cache, mapper Mapper) (*decoder, error) {
	d := &decoder{
		limits:  limits,
		cache:   cache,
		mapper:  mapper,
		strings: new(interner),
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

// forReplay returns a decoder that takes bodies of any size: they were within
// the limits that held when they were accepted.
func (d *decoder) forReplay() (*decoder, error) {
	r := *d
	r.limits.MaxDecodedBytes = maxOffsetBytes
	r.limits.MaxSeriesPerRequest = math.MaxInt32
	r.limits.MaxSamplesPerRequest = math.MaxInt32
	r.limits.MaxSymbols = math.MaxInt32
	var err error
	r.zstd, err = newZstd(maxOffsetBytes)
	return &r, err
}

// A row is one TimeSeries of a request.
type row struct {
	start, end uint32 // its message in request.raw
	first, n   uint32 // its samples in request.points
	extra      int32  // index into request.extras; -1 when there is nothing to say
	guessed    bool   // the end of its label block is a guess
}

// An extra says what is unusual about a row.
type extra struct {
	why           reason // for which the whole series is rejected
	histograms    int
	badHistograms int
	exemplars     int
	badExemplars  int
}

// A request is the scratch space of one request, reused for others. out is good
// until the next decode.
type request struct {
	whole bool   // the body has been read to its end
	body  []byte // as sent
	raw   []byte // decoded

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
	about     description

	out   counter.Request
	tally tally
	seen  sighting
}

const (
	freshIgnored = -1 // the metric table maps nothing
	freshUnused  = -2 // mapped, but without a sample to book
)

// A sighting is what the new series of a request tell of its sender.
type sighting struct {
	generation string
	prometheus string
	replica    string
	families   []family
}

// A family is what metadata tells of a metric family.
type family struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Unit string `json:"unit,omitempty"`
}

var metricTypes = [...]string{"unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"}

const maxFamilies = 128

func (q *request) addFamily(name []byte, metricType int32, unit []byte) {
	if !bytes.HasPrefix(name, []byte("kepler_")) || len(q.seen.families) >= maxFamilies {
		return
	}
	f := family{Name: clip(string(name), 128), Type: metricTypes[0], Unit: clip(string(unit), 32)}
	if metricType > 0 && int(metricType) < len(metricTypes) {
		f.Type = metricTypes[metricType]
	}
	q.seen.families = append(q.seen.families, f)
}

func (q *request) setExtra(r *row, x extra) {
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

func (q *request) reset() {
	q.whole = false
	q.clusters, q.space = nil, 0
	q.body = emptied(q.body, keepBytes)
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
	clear(q.out.New)
	q.out.New = emptied(q.out.New, keepRows/16)
	q.out.Samples = emptied(q.out.Samples, keepRows)
	q.out.Position, q.out.ArrivalMs = 0, 0
	if q.fresh.Len() > keepRows {
		q.fresh = index.Index{}
	}
	q.fresh.Clear()
	q.looked = false
	q.tally.reset()
	q.seen = sighting{}
}

func emptied[T any](s []T, keep int) []T {
	if cap(s) > keep {
		return nil
	}
	return s[:0]
}

// decode fills q from a body. An error means that the request is refused as a
// whole; q.tally says what of it was rejected otherwise.
func (d *decoder) decode(q *request, protocol journal.Protocol, encoding journal.Encoding, body []byte, arrivalMs int64) error {
	if err := d.decompress(q, encoding, body); err != nil {
		return err
	}
	if err := d.walk(q, protocol); err != nil {
		return err
	}
	if err := d.lookup(q); err != nil {
		return err
	}
	q.out.ArrivalMs = arrivalMs
	return d.assemble(q, protocol, arrivalMs)
}

func (d *decoder) walk(q *request, protocol journal.Protocol) error {
	if protocol == journal.V2 {
		return d.walkV2(q)
	}
	return d.walkV1(q)
}

// lookup finds the refs of all rows. Only if guesses were wrong does it ask the
// cache a second time.
func (d *decoder) lookup(q *request) error {
	q.refs = sized(q.refs, len(q.keys))
	d.cache.Lookup(q.keys, q.refs)
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
		q.tally.samples--
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
	d.cache.Lookup(q.againKeys, q.againRefs)
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

// assemble judges every sample and gathers those to be booked in q.out.
func (d *decoder) assemble(q *request, protocol journal.Protocol, arrivalMs int64) error {
	horizonMs := arrivalMs + d.limits.MaxFuture.Milliseconds()
	newestMs := int64(math.MinInt64)
	samples := sized(q.out.Samples, len(q.points))[:0]
	for i := range q.rows {
		r := &q.rows[i]
		ref := q.refs[i]
		fresh := int32(0)
		if r.extra >= 0 || ref == 0 {
			var why reason
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
			q.tally.filteredSeries++
		} else if r.n > 0 {
			q.tally.usableSeries++
		}
		for k := r.first; k < r.first+r.n; k++ {
			p := &q.points[k]
			if p.tMs > horizonMs {
				q.rejectFuture(d, protocol, r, p.tMs)
				continue
			}
			newestMs = max(newestMs, p.tMs)
			q.tally.samplesWritten++
			if ignored {
				q.tally.filteredSamples++
			} else {
				samples = append(samples, counter.Sample{Ref: ref, New: fresh, TMs: p.tMs, StartMs: p.startMs, Value: p.value})
			}
		}
	}
	q.tally.newestMs = newestMs
	q.out.Samples = samples
	if len(q.ignored) > 0 {
		d.cache.Ignore(q.ignored)
	}
	return nil
}

// judge counts the histograms and exemplars of a row, and the whole row when
// why says so.
func (d *decoder) judge(q *request, protocol journal.Protocol, r *row, why reason) {
	var x extra
	if r.extra >= 0 {
		x = q.extras[r.extra]
	}
	t := &q.tally
	t.histograms += x.histograms
	t.exemplars += x.exemplars
	if x.histograms > 0 && r.n > 0 {
		t.mixedSeries++
	}
	describe := func() string { return d.describe(q, protocol, r) }
	if why != accepted {
		n := int(r.n) + x.histograms + x.exemplars
		if n == 0 {
			t.rejectedSeries++
			n = 1
		}
		t.reject(why, n, describe)
		return
	}
	t.histogramsWritten += x.histograms - x.badHistograms
	t.exemplarsWritten += x.exemplars - x.badExemplars
	if x.badHistograms > 0 {
		t.reject(badHistogram, x.badHistograms, describe)
	}
	if x.badExemplars > 0 {
		t.reject(symbolRef, x.badExemplars, describe)
	}
}

func (q *request) rejectFuture(d *decoder, protocol journal.Protocol, r *row, tMs int64) {
	if q.tally.example == "" {
		q.tally.exampleMs, q.tally.exampleHasTime = tMs, true
	}
	q.tally.reject(futureTimestamp, 1, func() string { return d.describe(q, protocol, r) })
}

// resolve parses the labels of a series that the cache does not know. It
// returns the index of the series in q.out.New, freshIgnored or freshUnused.
func (d *decoder) resolve(q *request, protocol journal.Protocol, i int, horizonMs int64) (int32, reason, error) {
	key := q.keys[i]
	r := &q.rows[i]
	if fresh, ok := q.fresh.Find(uint32(key.Lo), func(n uint32) bool { return q.out.New[n].Key == key }); ok {
		return int32(fresh), accepted, nil
	}
	if err := d.rowLabels(q, protocol, r); err != nil {
		return 0, accepted, err
	}
	labels, why, culprit := q.near.check(&d.limits)
	if why != accepted {
		if why == duplicateLabel && q.tally.duplicateName == "" {
			q.tally.duplicateName = string(culprit)
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
	fresh := int32(len(q.out.New))
	q.fresh.Add(uint32(key.Lo), uint32(fresh))
	s := counter.Series{Key: key, Mapping: mapping}
	if mapping.Role == metric.RoleFact {
		s.Labels = withoutName(owned)
	}
	q.out.New = append(q.out.New, s)
	return fresh, accepted, nil
}

// within reports whether the row has a sample that is not too far ahead.
func (q *request) within(r *row, horizonMs int64) bool {
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
func (d *decoder) rowLabels(q *request, protocol journal.Protocol, r *row) error {
	q.near.begin()
	m := q.raw[r.start:r.end]
	if protocol == journal.V2 {
		return d.labelsV2(q, m)
	}
	return d.labelsV1(&q.near, m)
}

func (d *decoder) describe(q *request, protocol journal.Protocol, r *row) string {
	if err := d.rowLabels(q, protocol, r); err != nil {
		return "?"
	}
	return describe(q.near.next)
}

// look notes what a series that was parsed tells of its sender.
func (q *request) look(mapping *metric.Mapping, ok bool) {
	q.looked = true
	s := &q.seen
	if ok && s.generation == "" {
		s.generation = mapping.Generation
	}
	for _, l := range q.near.owned {
		switch l.Name {
		case "prometheus":
			s.prometheus = l.Value
		case "prometheus_replica", "__replica__":
			s.replica = l.Value
		}
	}
}

// noteFamily notes the metadata that came with the series parsed last.
func (q *request) noteFamily(protocol journal.Protocol, name []byte) {
	if protocol != journal.V2 || q.about.metricType == 0 {
		return
	}
	var unit []byte
	if int(q.about.unit) < len(q.symbols) {
		unit = q.symbol(q.about.unit)
	}
	q.addFamily(name, q.about.metricType, unit)
}

// glance maps one of the known series of a request, to learn about a sender
// whose series all came from another one before.
func (d *decoder) glance(q *request, protocol journal.Protocol) {
	if q.seen.generation != "" || len(q.rows) == 0 {
		return
	}
	begin := rand.IntN(len(q.rows))
	for k := range q.rows {
		i := (begin + k) % len(q.rows)
		if q.refs[i] == 0 || q.refs[i].Ignored() || q.rows[i].extra >= 0 {
			continue
		}
		if err := d.rowLabels(q, protocol, &q.rows[i]); err != nil {
			return
		}
		if labels, why, _ := q.near.check(&d.limits); why == accepted {
			q.noteFamily(protocol, metricName(labels))
			mapping, ok := d.mapper.Map(q.near.own(d.strings))
			q.look(&mapping, ok)
		}
		return
	}
}

// describeNew prints a series of q.out.New, if the body is still there.
func (d *decoder) describeNew(q *request, protocol journal.Protocol, index int) string {
	if len(q.raw) > 0 && index < len(q.out.New) {
		for i := range q.keys {
			if q.keys[i] == q.out.New[index].Key {
				return d.describe(q, protocol, &q.rows[i])
			}
		}
	}
	return "a series not seen before"
}
