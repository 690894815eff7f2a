package counter

import "encoding/binary"

// A track is points in the order of their times, packed: from one to the next
// takes some 8 bytes, where a point takes 32. Nearly all points are added at the
// end and taken away at the front, which costs no unpacking.
type track struct {
	head, last point
	n          int
	rest       []byte // the points after head, each as its difference to the one before
}

// A step from one point to the next is a byte of these bits, then the
// differences of time, value and, if it says so, start.
const (
	stepTail  = 1 << iota // the next point is a tail
	stepStart             // its start differs, and comes last
)

func (t *track) add(p point) {
	t.n++
	if t.n == 1 {
		t.head, t.last = p, p
		return
	}
	if cap(t.rest)-len(t.rest) < 1+3*binary.MaxVarintLen64 {
		// Doubling would leave half of it empty, at a million series.
		t.rest = append(make([]byte, 0, len(t.rest)+64), t.rest...)
	}
	step := byte(0)
	if p.tail {
		step |= stepTail
	}
	if p.start != t.last.start {
		step |= stepStart
	}
	t.rest = append(t.rest, step)
	t.rest = binary.AppendUvarint(t.rest, uint64(p.t-t.last.t)) // and back again it wraps the same way
	t.rest = binary.AppendVarint(t.rest, p.v-t.last.v)
	if p.start != t.last.start {
		t.rest = binary.AppendVarint(t.rest, p.start-t.last.start)
	}
	t.last = p
}

// next returns the point after p, whose step is at the front of rest, and how
// long the step is.
func (p point) next(rest []byte) (point, int) {
	step, n := rest[0], 1
	later, k := binary.Uvarint(rest[n:])
	n += k
	diff, k := binary.Varint(rest[n:])
	n += k
	p.t += int64(later)
	p.v += diff
	p.tail = step&stepTail != 0
	if step&stepStart != 0 {
		diff, k = binary.Varint(rest[n:])
		n += k
		p.start += diff
	}
	return p, n
}

// drop takes the points away that have another one at or before ms after them.
func (t *track) drop(ms int64) (dropped bool) {
	for t.n > 1 {
		second, k := t.head.next(t.rest)
		if second.t > ms {
			break
		}
		t.head, t.rest = second, t.rest[k:]
		t.n--
		dropped = true
	}
	return dropped
}

// points appends all points to dst.
func (t *track) points(dst []point) []point {
	if t.n == 0 {
		return dst
	}
	dst = append(dst, t.head)
	p, rest := t.head, t.rest
	for range t.n - 1 {
		var k int
		p, k = p.next(rest)
		rest = rest[k:]
		dst = append(dst, p)
	}
	return dst
}

// set puts points in the place of all.
func (t *track) set(points []point) {
	t.n, t.rest = 0, t.rest[:0]
	for _, p := range points {
		t.add(p)
	}
}
