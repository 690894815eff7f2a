package format

import (
	"encoding/binary"
	"math/bits"

	"github.com/wattledger/wattledger/store"
)

// Sealed rows and hourly sums are kept column by column, each column as whole
// numbers of equal width above a common base: either the values themselves or
// their differences, whichever is narrower. A column that is constant or
// rises by equal steps takes no bits at all. Against varints this saves about
// four bits a value, and a damaged length cannot run away.
//
//	column = method and width (1 byte), base, [first], width bits for each value
//
// All arithmetic wraps at 64 bits, so every int64 survives.

const (
	methodValues      = 0
	methodDifferences = 0x80
)

// appendColumn encodes v.
func appendColumn(dst []byte, v []int64) []byte {
	if len(v) == 0 {
		return dst
	}
	base, width := frame(v)
	if width == 0 || len(v) < 3 {
		dst = append(dst, methodValues|byte(width))
		dst = binary.AppendVarint(dst, base)
		return appendBits(dst, v, base, width, 0)
	}
	d := make([]int64, len(v))
	for i := 1; i < len(v); i++ {
		d[i] = v[i] - v[i-1]
	}
	dBase, dWidth := frame(d[1:])
	if dWidth >= width {
		dst = append(dst, methodValues|byte(width))
		dst = binary.AppendVarint(dst, base)
		return appendBits(dst, v, base, width, 0)
	}
	dst = append(dst, methodDifferences|byte(dWidth))
	dst = binary.AppendVarint(dst, dBase)
	dst = binary.AppendVarint(dst, v[0])
	return appendBits(dst, d, dBase, dWidth, 1)
}

// frame returns the least value of v and how many bits any value lies above it.
func frame(v []int64) (base int64, width int) {
	base = v[0]
	top := v[0]
	for _, x := range v {
		base = min(base, x)
		top = max(top, x)
	}
	return base, bits.Len64(uint64(top) - uint64(base))
}

func appendBits(dst []byte, v []int64, base int64, width, from int) []byte {
	if width == 0 {
		return dst
	}
	var acc uint64
	n := 0 // bits in acc
	for _, x := range v[from:] {
		u := uint64(x) - uint64(base)
		acc |= u << n
		if n+width < 64 {
			n += width
			continue
		}
		dst = binary.LittleEndian.AppendUint64(dst, acc)
		used := 64 - n
		n = width - used
		acc = 0
		if used < 64 {
			acc = u >> used
		}
	}
	for ; n > 0; n -= 8 {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	return dst
}

// readColumn decodes n values into out, which has room for them, and returns
// what follows the column.
func readColumn(b []byte, out []int64) ([]byte, error) {
	if len(out) == 0 {
		return b, nil
	}
	if len(b) == 0 {
		return nil, store.ErrCorrupt
	}
	method, width := b[0]&0x80, int(b[0]&0x7f)
	if width > 64 {
		return nil, store.ErrCorrupt
	}
	in := varints{b: b[1:]}
	base := in.next()
	vals := out
	if method == methodDifferences {
		out[0] = in.next()
		vals = out[1:]
	}
	if in.bad {
		return nil, store.ErrCorrupt
	}
	b = in.b
	size := (len(vals)*width + 7) / 8
	if len(b) < size {
		return nil, store.ErrCorrupt
	}
	readBits(b[:size], vals, base, width)
	if method == methodDifferences {
		for i := 1; i < len(out); i++ {
			out[i] += out[i-1]
		}
	}
	return b[size:], nil
}

func readBits(b []byte, out []int64, base int64, width int) {
	if width == 0 {
		for i := range out {
			out[i] = base
		}
		return
	}
	mask := ^uint64(0) >> (64 - width)
	at := 0
	for i := range out {
		byteAt, shift := at>>3, at&7
		var u uint64
		if byteAt+8 <= len(b) {
			u = binary.LittleEndian.Uint64(b[byteAt:]) >> shift
			if shift+width > 64 {
				u |= uint64(b[byteAt+8]) << (64 - shift)
			}
		} else {
			for k, x := range b[byteAt:] {
				u |= uint64(x) << (8 * k)
			}
			u >>= shift
		}
		out[i] = int64(u&mask) + base
		at += width
	}
}
