package snapshot

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
)

type all struct {
	i int32
	u uint16
	b bool
	f float32
	s string
	l []int64
	m map[string]uint8
}

func (a *all) walk(c *Codec) {
	Int(c, &a.i)
	Uint(c, &a.u)
	Bool(c, &a.b)
	Float(c, &a.f)
	String(c, &a.s)
	Slice(c, &a.l, func(p *int64) { Int(c, p) })
	Map(c, &a.m, func(k *string, v *uint8) { String(c, k); Uint(c, v) })
}

func TestRoundTrip(t *testing.T) {
	want := all{-5, 65535, true, 3.6e9, "한글", []int64{1, -9e18}, map[string]uint8{"a": 1, "": 2}}
	var b bytes.Buffer
	c := NewWriter(&b)
	want.walk(c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	var got all
	c = NewReader(bytes.NewReader(b.Bytes()))
	got.walk(c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got.i != want.i || got.u != want.u || got.b != want.b || got.f != want.f || got.s != want.s ||
		!slices.Equal(got.l, want.l) || !maps.Equal(got.m, want.m) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for n := range b.Len() {
		var short all
		c := NewReader(bytes.NewReader(b.Bytes()[:n]))
		short.walk(c)
		if !errors.Is(c.Close(), ErrMalformed) {
			t.Errorf("%d of %d bytes were read without an error", n, b.Len())
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 0xff, 0xff, 0xff, 0xff, 0x0f, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var a all
		a.walk(NewReader(bytes.NewReader(b)))
	})
}
