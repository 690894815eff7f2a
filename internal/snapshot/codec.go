// Package snapshot writes and reads the state of the line for snapshots. One walk
// over a value's fields serves both directions, so what is written and what is
// read cannot drift apart.
//
//	func (a *account) walk(c *snapshot.Codec) {
//		snapshot.Int(c, &a.lastT)
//		snapshot.Uint(c, &a.holder)
//	}
//
// Integers are varints. Reading is safe on any bytes: it ends in an error,
// never in a panic or an allocation that the input does not pay for.
package snapshot

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
)

// ErrMalformed is the error of reading what was not written here.
var ErrMalformed = errors.New("malformed snapshot")

// maxString bounds the strings that are read; see Text for longer ones.
const maxString = 1 << 20

// A Codec writes to or reads from one stream. After an error it does nothing.
type Codec struct {
	Version uint64 // of what is written or read, for those it is shown to

	w   *bufio.Writer
	r   *bufio.Reader
	err error
	buf [binary.MaxVarintLen64]byte
}

// NewWriter returns a Codec that writes what it is shown.
func NewWriter(w io.Writer) *Codec { return &Codec{w: bufio.NewWriterSize(w, 1<<16)} }

// NewReader returns a Codec that fills what it is shown.
func NewReader(r io.Reader) *Codec { return &Codec{r: bufio.NewReaderSize(r, 1<<16)} }

// Reading says whether c fills values.
func (c *Codec) Reading() bool { return c.r != nil }

// Err returns the first error.
func (c *Codec) Err() error { return c.err }

// Fail makes err the error of c unless there is one already.
func (c *Codec) Fail(err error) {
	if c.err == nil && err != nil {
		c.err = err
	}
}

// Close flushes what was written and returns the first error.
func (c *Codec) Close() error {
	if c.w != nil && c.err == nil {
		c.err = c.w.Flush()
	}
	return c.err
}

// Signed and Unsigned are the integers a Codec takes.
type (
	Signed interface {
		~int | ~int8 | ~int16 | ~int32 | ~int64
	}
	Unsigned interface {
		~uint8 | ~uint16 | ~uint32 | ~uint64
	}
)

// Int writes or fills *p.
func Int[T Signed](c *Codec, p *T) {
	if c.err != nil {
		return
	}
	if c.w != nil {
		n := binary.PutVarint(c.buf[:], int64(*p))
		_, c.err = c.w.Write(c.buf[:n])
		return
	}
	v, err := binary.ReadVarint(c.r)
	c.Fail(malformed(err))
	*p = T(v)
	if int64(*p) != v {
		c.Fail(fmt.Errorf("%w: %d out of range", ErrMalformed, v))
	}
}

// Uint writes or fills *p.
func Uint[T Unsigned](c *Codec, p *T) {
	if c.err != nil {
		return
	}
	if c.w != nil {
		n := binary.PutUvarint(c.buf[:], uint64(*p))
		_, c.err = c.w.Write(c.buf[:n])
		return
	}
	v, err := binary.ReadUvarint(c.r)
	c.Fail(malformed(err))
	*p = T(v)
	if uint64(*p) != v {
		c.Fail(fmt.Errorf("%w: %d out of range", ErrMalformed, v))
	}
}

// Bool writes or fills *p.
func Bool(c *Codec, p *bool) {
	var v uint8
	if *p {
		v = 1
	}
	Uint(c, &v)
	*p = v != 0
}

// Float writes or fills *p.
func Float[T ~float32 | ~float64](c *Codec, p *T) {
	v := math.Float64bits(float64(*p))
	Uint(c, &v)
	*p = T(math.Float64frombits(v))
}

// String writes or fills *p.
func String[T ~string](c *Codec, p *T) {
	n := Len(c, len(*p))
	if c.err != nil {
		return
	}
	if c.w != nil {
		_, c.err = c.w.WriteString(string(*p))
		return
	}
	if n > maxString {
		c.Fail(fmt.Errorf("%w: a string of %d bytes", ErrMalformed, n))
		return
	}
	b := make([]byte, n)
	_, err := io.ReadFull(c.r, b)
	c.Fail(malformed(err))
	*p = T(b)
}

// Text writes or fills a string of any length.
func Text(c *Codec, p *string) {
	rest := *p
	n := Len(c, (len(rest)+maxString-1)/maxString)
	var read []byte
	for range n {
		var piece string
		if !c.Reading() {
			piece, rest = rest[:min(len(rest), maxString)], rest[min(len(rest), maxString):]
		}
		String(c, &piece)
		if c.err != nil {
			return
		}
		read = append(read, piece...)
	}
	if c.Reading() {
		*p = string(read)
	}
}

// Len writes n and returns it, or returns the length that was written.
func Len(c *Codec, n int) int {
	v := uint64(n)
	Uint(c, &v)
	if v > math.MaxInt32 {
		c.Fail(fmt.Errorf("%w: a length of %d", ErrMalformed, v))
	}
	if c.err != nil {
		return 0
	}
	return int(v)
}

// Slice writes or fills *s, element by element.
func Slice[T any](c *Codec, s *[]T, each func(*T)) {
	n := Len(c, len(*s))
	if c.w != nil {
		for i := range *s {
			each(&(*s)[i])
		}
		return
	}
	*s = make([]T, 0, min(n, 4096))
	for range n {
		var v T
		each(&v)
		if c.err != nil {
			return
		}
		*s = append(*s, v)
	}
}

// Map writes *m in the order of its keys, or fills it.
func Map[K cmp.Ordered, V any](c *Codec, m *map[K]V, each func(*K, *V)) {
	MapFunc(c, m, cmp.Compare[K], each)
}

// MapFunc is Map for keys in the order of compare.
func MapFunc[K comparable, V any](c *Codec, m *map[K]V, compare func(a, b K) int, each func(*K, *V)) {
	n := Len(c, len(*m))
	if c.w != nil {
		for _, k := range slices.SortedFunc(maps.Keys(*m), compare) {
			v := (*m)[k]
			each(&k, &v)
		}
		return
	}
	*m = make(map[K]V, min(n, 4096))
	for range n {
		var k K
		var v V
		each(&k, &v)
		if c.err != nil {
			return
		}
		(*m)[k] = v
	}
}

func malformed(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}
