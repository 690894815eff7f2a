package counter

import "encoding/binary"

// A track is points in the order of their times, packed: from one to the next
// takes some 8 bytes, where a point takes 32. Nearly all points are added at the
// end and taken away at the front, which costs no unpacking.
type track struct {
	t, v, start int64 // of the last point
	tail        bool  // likewise
	origin      uint16
	n           int32
	rest        []byte // all points, each as its difference to the one before; empty while there is one
}

// A step from one point to the next is a byte of these bits, then the
// differences of time, value and, if it says so, start. The first is a step from
// the zero point.
const (
	stepTail   = 1 << iota // the next point is a tail
	stepStart              // its start differs, and comes after the value
	stepOrigin             // its origin differs, and comes last

	maxStep = 1 + 3*binary.MaxVarintLen64 + binary.MaxVarintLen16
)

func (t *track) last() point { return point{t.t, t.v, t.start, t.tail, t.origin} }

func (t *track) head() point {
	if t.n == 1 {
		return t.last()
	}
	p, _ := point{}.next(t.rest)
	return p
}

func (t *track) add(p point) {
	var room [2 * maxStep]byte
	more := room[:0]
	switch last := t.last(); {
	case t.n == 0:
		t.rest = t.rest[:0]
	case t.n == 1:
		more = p.step(last.step(more, point{}), last)
	default:
		more = p.step(more, last)
	}
	if free := cap(t.rest) - len(t.rest); free < len(more) {
		// Doubling would leave half of it empty, at a million series.
		t.rest = append(make([]byte, 0, len(t.rest)+len(more)+24), t.rest...)
	}
	t.rest = append(t.rest, more...)
	t.t, t.v, t.start, t.tail, t.origin = p.t, p.v, p.start, p.tail, p.origin
	t.n++
}

// step appends the step from before to p.
func (p point) step(dst []byte, before point) []byte {
	bits := byte(0)
	if p.tail {
		bits |= stepTail
	}
	if p.start != before.start {
		bits |= stepStart
	}
	if p.origin != before.origin {
		bits |= stepOrigin
	}
	dst = append(dst, bits)
	dst = binary.AppendUvarint(dst, uint64(p.t-before.t)) // and back again it wraps the same way
	dst = binary.AppendVarint(dst, p.v-before.v)
	if p.start != before.start {
		dst = binary.AppendVarint(dst, p.start-before.start)
	}
	if p.origin != before.origin {
		dst = binary.AppendUvarint(dst, uint64(p.origin))
	}
	return dst
}

// next returns the point after p, whose step is at the front of rest, and how
// long the step is.
func (p point) next(rest []byte) (point, int) {
	bits, n := rest[0], 1
	later, k := binary.Uvarint(rest[n:])
	n += k
	diff, k := binary.Varint(rest[n:])
	n += k
	p.t += int64(later)
	p.v += diff
	p.tail = bits&stepTail != 0
	if bits&stepStart != 0 {
		diff, k = binary.Varint(rest[n:])
		n += k
		p.start += diff
	}
	if bits&stepOrigin != 0 {
		origin, k := binary.Uvarint(rest[n:])
		n += k
		p.origin = uint16(origin)
	}
	return p, n
}

// drop takes the points away that have another one at or before ms after them, up
// to a gap of more than gapMs: what is told late of it needs both its edges.
func (t *track) drop(ms, gapMs int64) (dropped bool) {
	if t.n <= 1 {
		return false
	}
	head, at := point{}.next(t.rest)
	for ; t.n > 1; t.n-- {
		second, k := head.next(t.rest[at:])
		if second.t > ms || second.t-head.t > gapMs {
			break
		}
		head, dropped = second, true
		at += k
	}
	switch {
	case t.n == 1:
		t.rest = t.rest[:0]
	case dropped: // what is now the first takes no more room than it and those before did
		first := head.step(make([]byte, 0, maxStep), point{})
		t.rest = t.rest[at-len(first):]
		copy(t.rest, first)
	}
	return dropped
}

// points appends all points to dst.
func (t *track) points(dst []point) []point {
	if t.n == 1 {
		return append(dst, t.last())
	}
	var p point
	for rest := t.rest; len(rest) > 0; {
		var k int
		p, k = p.next(rest)
		rest = rest[k:]
		dst = append(dst, p)
	}
	return dst
}

// set puts points in the place of all.
func (t *track) set(points []point) {
	t.n = 0
	for _, p := range points {
		t.add(p)
	}
}
