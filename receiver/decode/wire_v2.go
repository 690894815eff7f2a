package decode

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/zeebo/xxh3"

	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
)

// Fields of io.prometheus.write.v2.Request and its TimeSeries.
const (
	v2Symbols    = 4
	v2Timeseries = 5

	v2LabelRefs  = 1
	v2Samples    = 2
	v2Histograms = 3
	v2Exemplars  = 4
	v2Metadata   = 5
	v2Created    = 6 // reserved since 2.0-rc.4; older senders put the start timestamp here
)

// A symbol is where a string of the symbol table stands in the decoded body.
type symbol struct{ start, end uint32 }

// walkV2 finds every series of a 2.0 request and its key. Symbols may come
// after the series that refer to them, so it goes over the top level twice.
func (d *Decoder) walkV2(q *Request) error {
	raw := q.raw
	for i := 0; i < len(raw); {
		number, wireType, at, err := field(raw, i)
		if err != nil {
			return err
		}
		if wireType != wireBytes && (number == v2Symbols || number == v2Timeseries) {
			return malformed("wire type", at)
		}
		if wireType != wireBytes {
			if i, err = skip(raw, at, wireType); err != nil {
				return err
			}
			continue
		}
		start, end, err := span(raw, at)
		if err != nil {
			return err
		}
		i = end
		switch number {
		case v2Symbols:
			if len(q.symbols) >= d.limits.MaxSymbols {
				return overLimit("max_symbols", d.limits.MaxSymbols)
			}
			q.symbols = append(q.symbols, symbol{uint32(start), uint32(end)})
			h := xxh3.Hash128Seed(raw[start:end], d.seedV2^q.space)
			q.hashes = append(q.hashes, counter.Key{Hi: h.Hi, Lo: h.Lo})
		case v2Timeseries:
			if len(q.rows) >= d.limits.MaxSeriesPerRequest {
				return overLimit("max_series_per_request", d.limits.MaxSeriesPerRequest)
			}
			q.rows = append(q.rows, row{start: uint32(start), end: uint32(end), extra: -1})
		case v1Timeseries, v1Metadata:
			return ErrWrongSchema
		}
	}
	if len(q.symbols) > 0 && q.symbols[0].start != q.symbols[0].end {
		q.Tally.SymbolZero++
	}
	for i := range q.rows {
		r := &q.rows[i]
		m := raw[r.start:r.end]
		if key, p, ok := d.plainV2(q.hashes, m); ok && q.Tally.Samples < d.limits.MaxSamplesPerRequest {
			r.first, r.n = uint32(len(q.points)), 1
			q.Tally.Samples++
			q.points = append(q.points, p)
			q.keys = append(q.keys, key)
			continue
		}
		key, err := d.seriesV2(q, m, r)
		if err != nil {
			return err
		}
		q.keys = append(q.keys, key)
	}
	return nil
}

// addPair adds a label to the key of a series. Half of the name's hash times the
// other half of the value's depends on which is which; the sum of the products
// depends on no order. Two different sets of labels meet in one key with a chance
// of some 2⁻⁶³ for whoever does not know the seed: that is NH, the hash of UMAC
// (RFC 4418), with the hashes of the symbols for its random words.
func addPair(key, name, value *counter.Key) {
	hi, lo := bits.Mul64(name.Lo, value.Hi)
	var carry uint64
	key.Lo, carry = bits.Add64(key.Lo, lo, 0)
	key.Hi, _ = bits.Add64(key.Hi, hi, carry)
}

// plainV2 reads a TimeSeries of the shape that nearly all have: packed label
// references of at most two bytes, one Sample of value and timestamp, and
// metadata, if any, that refers to symbols there are. It leaves all others, and
// all errors, to seriesV2, which does the same at half the speed.
func (d *Decoder) plainV2(hashes []counter.Key, m []byte) (key counter.Key, p point, ok bool) {
	if len(m) < 2+sampleTail || m[0] != 0x0a || m[1] >= 0x80 {
		return key, p, false
	}
	end := 2 + int(m[1])
	if len(m) < end+sampleTail || !plainMetadata(m[end+sampleTail:], len(hashes)) {
		return key, p, false
	}
	tail := m[end : end+sampleTail]
	if tail[0] != 0x12 || tail[1] != 0x10 || tail[2] != 0x09 || tail[11] != 0x10 {
		return key, p, false
	}
	if p.tMs, ok = sixByteVarint(tail[12:]); !ok {
		return key, p, false
	}
	p.value = math.Float64frombits(binary.LittleEndian.Uint64(tail[3:]))

	pairs := 0
	refs := m[2:end]
	for i := 0; i < len(refs); pairs++ {
		name := uint(refs[i])
		i++
		if name >= 0x80 {
			if i >= len(refs) || refs[i] >= 0x80 {
				return key, p, false
			}
			name = name&0x7f | uint(refs[i])<<7
			i++
		}
		if i >= len(refs) {
			return key, p, false
		}
		value := uint(refs[i])
		i++
		if value >= 0x80 {
			if i >= len(refs) || refs[i] >= 0x80 {
				return key, p, false
			}
			value = value&0x7f | uint(refs[i])<<7
			i++
		}
		if name >= uint(len(hashes)) || value >= uint(len(hashes)) {
			return key, p, false
		}
		addPair(&key, &hashes[name], &hashes[value])
	}
	return key, p, pairs <= d.limits.MaxLabelsPerSeries
}

// plainMetadata reports whether b is nothing, or a Metadata message of less than
// 128 bytes whose references are among so many symbols.
func plainMetadata(b []byte, symbols int) bool {
	if len(b) == 0 {
		return true
	}
	if len(b) < 2 || b[0] != v2Metadata<<3|wireBytes || b[1] >= 0x80 || int(b[1]) != len(b)-2 {
		return false
	}
	var about description
	return about.merge(b[2:]) == nil && max(about.help, about.unit) < uint32(symbols)
}

// seriesV2 walks a whole TimeSeries. It fills r, adds the samples to q.points
// and returns the key, which does not depend on the order of the labels.
func (d *Decoder) seriesV2(q *Request, m []byte, r *row) (key counter.Key, err error) {
	r.first = uint32(len(q.points))
	var x extra
	var created int64
	var about description
	refs := 0          // label refs seen
	name := ^uint32(0) // ref of the label whose value comes next
	hashes := q.hashes
	for i := 0; i < len(m); {
		number, wireType, at, err := field(m, i)
		if err != nil {
			return key, err
		}
		switch number {
		case v2LabelRefs:
			end := len(m)
			if wireType == wireBytes {
				if at, end, err = span(m, at); err != nil {
					return key, err
				}
			} else if wireType != wireVarint {
				return key, malformed("wire type", at)
			}
			packed := m[:end]
			for at < end || wireType == wireVarint {
				v, next := uvarint(packed, at)
				if next < 0 {
					if wireType == wireBytes {
						return key, stricter("packed varint", at)
					}
					return key, malformed("varint", at)
				}
				at = next
				ref := uint32(v) // as protobuf narrows it
				switch {
				case int(ref) >= len(hashes):
					x.why = symbolRef
				case refs&1 == 0:
					name = ref
				case int(name) < len(hashes):
					addPair(&key, &hashes[name], &hashes[ref])
				}
				refs++
				if wireType == wireVarint {
					break
				}
			}
			i = at
			continue
		case v2Samples:
			start, end, err := bytesField(m, at, wireType)
			if err != nil {
				return key, err
			}
			p, err := sample(m[start:end], journal.V2)
			if err != nil {
				return key, err
			}
			if q.Tally.Samples >= d.limits.MaxSamplesPerRequest {
				return key, overLimit("max_samples_per_request", d.limits.MaxSamplesPerRequest)
			}
			q.Tally.Samples++
			q.points = append(q.points, p)
			r.n++
			i = end
		case v2Histograms:
			start, end, err := bytesField(m, at, wireType)
			if err != nil {
				return key, err
			}
			valid, err := histogram(m[start:end], journal.V2)
			if err != nil {
				return key, err
			}
			x.histograms++
			if !valid {
				x.badHistograms++
			}
			i = end
		case v2Exemplars:
			start, end, err := bytesField(m, at, wireType)
			if err != nil {
				return key, err
			}
			valid, err := exemplarV2(m[start:end], len(hashes))
			if err != nil {
				return key, err
			}
			x.exemplars++
			if !valid {
				x.badExemplars++
			}
			i = end
		case v2Metadata:
			start, end, err := bytesField(m, at, wireType)
			if err != nil {
				return key, err
			}
			if err := about.merge(m[start:end]); err != nil {
				return key, err
			}
			i = end
		case v2Created:
			if wireType == wireVarint {
				v, next := uvarint(m, at)
				if next < 0 {
					return key, malformed("varint", at)
				}
				created, i = int64(v), next
			} else if i, err = skip(m, at, wireType); err != nil {
				return key, err
			}
		default:
			if i, err = skip(m, at, wireType); err != nil {
				return key, err
			}
		}
	}
	// A symbol table may be empty as long as nothing refers to it.
	if refs&1 != 0 || max(about.help, about.unit) >= uint32(len(hashes)) && max(about.help, about.unit) != 0 {
		x.why = symbolRef
	}
	if x.why == accepted && refs > 2*d.limits.MaxLabelsPerSeries {
		x.why = limitLabels
	}
	if created != 0 {
		for i := range q.points[r.first:] {
			if p := &q.points[int(r.first)+i]; p.startMs == 0 {
				p.startMs = created
			}
		}
	}
	q.setExtra(r, x)
	return key, nil
}

// labelsV2 puts the labels of a TimeSeries that has been walked into
// q.near.next, at most one more than the limit. References out of range are left
// out. It notes the metadata for /debug/senders on the way.
func (d *Decoder) labelsV2(q *Request, m []byte) error {
	q.about = description{}
	near := &q.near
	name, named := uint32(0), false // ref of the label whose value comes next
	for i := 0; i < len(m); {
		number, wireType, at, err := field(m, i)
		if err != nil {
			return err
		}
		switch {
		case number == v2LabelRefs && (wireType == wireBytes || wireType == wireVarint):
			end, pair := len(m), -1 // where the pair begins, if it is in one field
			if wireType == wireBytes {
				if at, end, err = span(m, at); err != nil {
					return err
				}
			}
			for packed := m[:end]; at < end; {
				if len(near.next) > d.limits.MaxLabelsPerSeries {
					return nil
				}
				if !named && wireType == wireBytes {
					if n := near.again(packed[at:]); n > 0 {
						at += n
						continue
					}
					pair = at
				}
				v, next := uvarint(packed, at)
				if next < 0 {
					return malformed("varint", at)
				}
				at = next
				switch ref := uint32(v); {
				case !named:
					name = ref
				case int(name) < len(q.symbols) && int(ref) < len(q.symbols):
					l := rawLabel{name: q.symbol(name), value: q.symbol(ref)}
					if pair >= 0 {
						l.wire = packed[pair:at]
					}
					near.next = append(near.next, l)
				}
				if named = !named; wireType == wireVarint {
					break
				}
			}
			i = at
		case number == v2Metadata:
			start, end, err := bytesField(m, at, wireType)
			if err != nil {
				return err
			}
			if err := q.about.merge(m[start:end]); err != nil {
				return err
			}
			i = end
		default:
			if i, err = skip(m, at, wireType); err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *Request) symbol(ref uint32) []byte {
	s := q.symbols[ref]
	return q.raw[s.start:s.end]
}

// exemplarV2 reads an Exemplar message and reports whether its label
// references make sense.
func exemplarV2(b []byte, symbols int) (valid bool, err error) {
	refs := 0
	valid = true
	for i := 0; i < len(b); {
		number, wireType, at, err := field(b, i)
		if err != nil {
			return false, err
		}
		switch number {
		case 1:
			i, err = varints(b, at, wireType, func(v uint64) {
				refs++
				valid = valid && int(uint32(v)) < symbols
			})
		case 2:
			_, i, err = fixedField(b, at, wireType)
		case 3:
			_, i, err = varintField(b, at, wireType)
		default:
			i, err = skip(b, at, wireType)
		}
		if err != nil {
			return false, err
		}
	}
	return valid && refs&1 == 0, nil
}

// A description is the Metadata message of a series.
type description struct {
	metricType int32
	help, unit uint32 // refs
}

// merge reads a Metadata message into about; of a field that comes twice the
// last one holds.
func (about *description) merge(b []byte) error {
	for i := 0; i < len(b); {
		number, wireType, at, err := field(b, i)
		if err != nil {
			return err
		}
		var v uint64
		switch number {
		case 1:
			v, i, err = varintField(b, at, wireType)
			about.metricType = int32(v)
		case 3:
			v, i, err = varintField(b, at, wireType)
			about.help = uint32(v)
		case 4:
			v, i, err = varintField(b, at, wireType)
			about.unit = uint32(v)
		default:
			i, err = skip(b, at, wireType)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
