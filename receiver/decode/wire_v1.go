package decode

import (
	"encoding/binary"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
)

// Fields of prometheus.WriteRequest and its TimeSeries.
const (
	v1Timeseries = 1
	v1Metadata   = 3

	v1Labels     = 1
	v1Samples    = 2
	v1Exemplars  = 3
	v1Histograms = 4
)

// Nearly every TimeSeries on the wire is its labels and then one Sample, whose
// encoding ends the message: tag and length, the value (left out when it is 0),
// and a timestamp of the years 2004 to 2109, which is a varint of six bytes.
const (
	sampleTail     = 18 // 12 10 09 vvvvvvvv 10 tttttt
	zeroSampleTail = 9  // 12 07 10 tttttt
)

// guess reads the sample that m seems to end in. It cannot know where the
// labels end without parsing them, so what it says holds only if the bytes
// before the tail turn out to be the label block of a known series; then they
// are a whole number of fields, and the tail is the sample that it looks like.
func guess(m []byte) (p point, tail int) {
	n := len(m)
	if n < zeroSampleTail+1 {
		return p, 0
	}
	if n > sampleTail {
		s := m[n-sampleTail:]
		if s[0] == 0x12 && s[1] == 0x10 && s[2] == 0x09 && s[11] == 0x10 {
			if t, ok := sixByteVarint(s[12:]); ok {
				// Two samples of one series in a message are a resend or a backfill.
				if n > 2*sampleTail && m[n-2*sampleTail] == 0x12 && m[n-2*sampleTail+1] == 0x10 && m[n-2*sampleTail+2] == 0x09 {
					return p, 0
				}
				p.tMs = t
				p.value = math.Float64frombits(binary.LittleEndian.Uint64(s[3:]))
				return p, sampleTail
			}
		}
	}
	s := m[n-zeroSampleTail:]
	if s[0] == 0x12 && s[1] == 0x07 && s[2] == 0x10 {
		if t, ok := sixByteVarint(s[3:]); ok {
			p.tMs = t
			return p, zeroSampleTail
		}
	}
	return p, 0
}

func sixByteVarint(b []byte) (v int64, ok bool) {
	_ = b[5]
	lo := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32
	if lo&0x8080808080 != 0x8080808080 || b[5] >= 0x80 {
		return 0, false
	}
	return int64(lo&0x7f | lo&0x7f00>>1 | lo&0x7f0000>>2 | lo&0x7f000000>>3 | lo&0x7f00000000>>4 | uint64(b[5])<<35), true
}

// walkV1 finds every series of a 1.0 request and its key.
func (d *Decoder) walkV1(q *Request) error {
	raw := q.raw
	for i := 0; i < len(raw); {
		number, wireType, at, err := field(raw, i)
		if err != nil {
			return err
		}
		if wireType != wireBytes && (number == v1Timeseries || number == v1Metadata) {
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
		case v1Timeseries:
			if len(q.rows) >= d.limits.MaxSeriesPerRequest {
				return overLimit("max_series_per_request", d.limits.MaxSeriesPerRequest)
			}
			r := row{start: uint32(start), end: uint32(end), first: uint32(len(q.points)), extra: -1}
			m := raw[start:end]
			p, tail := guess(m)
			if tail > 0 {
				r.guessed, r.n = true, 1
				q.points = append(q.points, p)
				q.Tally.Samples++
				q.keys = append(q.keys, d.keyV1(q, m[:len(m)-tail]))
			} else {
				key, err := d.seriesV1(q, m, &r)
				if err != nil {
					return err
				}
				q.keys = append(q.keys, key)
			}
			q.rows = append(q.rows, r)
			if q.Tally.Samples > d.limits.MaxSamplesPerRequest {
				return overLimit("max_samples_per_request", d.limits.MaxSamplesPerRequest)
			}
		case v1Metadata:
			if err := d.metadataV1(q, raw[start:end]); err != nil {
				return err
			}
		case v2Symbols, v2Timeseries:
			return ErrWrongSchema
		}
	}
	return nil
}

// keyV1 is the key of a block of label fields as they stand on the wire.
func (d *Decoder) keyV1(q *Request, block []byte) counter.Key {
	h := xxh3.Hash128Seed(block, d.seedV1^q.space)
	return counter.Key{Hi: h.Hi, Lo: h.Lo}
}

// guessedRight reports whether m is what guess took it for: labels in the plain
// shape, no more than the limit, and then the sample. It leaves all others, and
// all errors, to seriesV1.
func (d *Decoder) guessedRight(m []byte) bool {
	_, tail := guess(m)
	m = m[:len(m)-tail]
	labels := 0
	for ; len(m) > 0; labels++ {
		n := plainFieldV1(m)
		if n == 0 {
			return false
		}
		m = m[n:]
	}
	return tail > 0 && labels <= d.limits.MaxLabelsPerSeries
}

// plainFieldV1 returns the length of the label field at the front of m if it has
// the shape that nearly all have: a name, then a value, each shorter than 128
// bytes. It returns 0 for all others, and all errors: labelV1 reads them.
func plainFieldV1(m []byte) int {
	if len(m) < 6 || m[0] != 0x0a || m[1] >= 0x80 || m[2] != 0x0a || m[3] >= 0x80 {
		return 0
	}
	end, v := 2+int(m[1]), 4+int(m[3])
	if end > len(m) || v+2 > end || m[v] != 0x12 || m[v+1] >= 0x80 || v+2+int(m[v+1]) != end {
		return 0
	}
	return end
}

// seriesV1 walks a whole TimeSeries. It fills r, adds the samples to q.points
// and returns the key of the label fields, taken together if they are scattered.
func (d *Decoder) seriesV1(q *Request, m []byte, r *row) (key counter.Key, err error) {
	r.first, r.n = uint32(len(q.points)), 0
	blockStart, blockEnd, labels := 0, 0, 0
	scattered := false
	var x extra
	for i := 0; i < len(m); {
		number, wireType, at, err := field(m, i)
		if err != nil {
			return key, err
		}
		if number > v1Histograms {
			if i, err = skip(m, at, wireType); err != nil {
				return key, err
			}
			continue
		}
		start, end, err := bytesField(m, at, wireType)
		if err != nil {
			return key, err
		}
		switch number {
		case v1Labels:
			if plainFieldV1(m[i:]) == 0 {
				if _, err := labelV1(m[start:end]); err != nil {
					return key, err
				}
			}
			switch {
			case labels == 0:
				blockStart = i
			case blockEnd != i && !scattered:
				scattered = true
				q.block = append(q.block[:0], m[blockStart:blockEnd]...)
			}
			if scattered {
				q.block = append(q.block, m[i:end]...)
			}
			blockEnd = end
			labels++
		case v1Samples:
			p, err := sample(m[start:end], journal.V1)
			if err != nil {
				return key, err
			}
			if q.Tally.Samples >= d.limits.MaxSamplesPerRequest {
				return key, overLimit("max_samples_per_request", d.limits.MaxSamplesPerRequest)
			}
			q.Tally.Samples++
			q.points = append(q.points, p)
			r.n++
		case v1Exemplars:
			if err := exemplarV1(m[start:end]); err != nil {
				return key, err
			}
			x.exemplars++
		case v1Histograms:
			valid, err := histogram(m[start:end], journal.V1)
			if err != nil {
				return key, err
			}
			x.histograms++
			if !valid {
				x.badHistograms++
			}
		}
		i = end
	}
	if labels > d.limits.MaxLabelsPerSeries {
		x.why = limitLabels
	}
	q.setExtra(r, x)
	if scattered {
		return d.keyV1(q, q.block), nil
	}
	return d.keyV1(q, m[blockStart:blockEnd]), nil
}

// labelV1 reads a Label message.
func labelV1(b []byte) (l rawLabel, err error) {
	for i := 0; i < len(b); {
		number, wireType, at, err := field(b, i)
		if err != nil {
			return l, err
		}
		if number != 1 && number != 2 {
			if i, err = skip(b, at, wireType); err != nil {
				return l, err
			}
			continue
		}
		start, end, err := bytesField(b, at, wireType)
		if err != nil {
			return l, err
		}
		if number == 1 {
			l.name = b[start:end]
		} else {
			l.value = b[start:end]
		}
		i = end
	}
	return l, nil
}

// labelsV1 puts the labels of a TimeSeries that has been walked into near.next,
// at most one more than the limit.
func (d *Decoder) labelsV1(near *neighbour, m []byte) error {
	i := 0
	for i < len(m) {
		n := near.again(m[i:])
		if n == 0 {
			if n = plainFieldV1(m[i:]); n == 0 {
				break
			}
			v := i + 4 + int(m[i+3])
			near.next = append(near.next, rawLabel{name: m[i+4 : v], value: m[v+2 : i+n], wire: m[i : i+n]})
		}
		if i += n; len(near.next) > d.limits.MaxLabelsPerSeries {
			return nil
		}
	}
	for i < len(m) {
		number, wireType, at, err := field(m, i)
		if err != nil {
			return err
		}
		if number != v1Labels {
			if i, err = skip(m, at, wireType); err != nil {
				return err
			}
			continue
		}
		start, end, err := bytesField(m, at, wireType)
		if err != nil {
			return err
		}
		l, err := labelV1(m[start:end])
		if err != nil {
			return err
		}
		l.wire = m[i:end]
		if near.next = append(near.next, l); len(near.next) > d.limits.MaxLabelsPerSeries {
			return nil
		}
		i = end
	}
	return nil
}

// exemplarV1 checks that an Exemplar message can be read.
func exemplarV1(b []byte) error {
	for i := 0; i < len(b); {
		number, wireType, at, err := field(b, i)
		if err != nil {
			return err
		}
		switch number {
		case 1:
			var start, end int
			if start, end, err = bytesField(b, at, wireType); err == nil {
				_, err = labelV1(b[start:end])
				i = end
			}
		case 2:
			_, i, err = fixedField(b, at, wireType)
		case 3:
			_, i, err = varintField(b, at, wireType)
		default:
			i, err = skip(b, at, wireType)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// metadataV1 reads a MetricMetadata message. Only those of Kepler's families
// are kept, for /debug/senders.
func (d *Decoder) metadataV1(q *Request, b []byte) error {
	var metricType uint64
	var family, unit []byte
	for i := 0; i < len(b); {
		number, wireType, at, err := field(b, i)
		if err != nil {
			return err
		}
		switch number {
		case 1:
			metricType, i, err = varintField(b, at, wireType)
		case 2, 4, 5:
			var start, end int
			if start, end, err = bytesField(b, at, wireType); err == nil {
				switch number {
				case 2:
					family = b[start:end]
				case 5:
					unit = b[start:end]
				}
				i = end
			}
		default:
			i, err = skip(b, at, wireType)
		}
		if err != nil {
			return err
		}
	}
	q.addFamily(family, int32(metricType), unit)
	return nil
}
