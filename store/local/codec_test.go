package local

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattledger/wattledger/power"
)

func TestColumn(t *testing.T) {
	f := func(v ...int64) {
		t.Helper()
		b := append(appendColumn(nil, v), 0xee, 0xff)
		got := make([]int64, len(v))
		rest, err := readColumn(b, got)
		if err != nil || len(rest) != 2 || !slices.Equal(got, v) {
			t.Errorf("%v came back as %v, %d bytes left, %v", v, got, len(rest), err)
		}
	}
	f()
	f(0)
	f(math.MinInt64)
	f(math.MaxInt64, math.MinInt64)
	f(1, 2, 3, 4, 5)
	f(math.MinInt64, math.MaxInt64, 0, -1, 1)
	f(math.MaxInt64, math.MaxInt64-1, math.MinInt64, math.MinInt64+1)
	r := rand.New(rand.NewPCG(3, 4))
	for width := range 64 {
		for n := range 70 {
			v := make([]int64, n)
			for i := range v {
				v[i] = int64(r.Uint64()>>(63-width)) - 1<<(width/2)
			}
			f(v...)
			for i := 1; i < n; i++ {
				v[i] = v[i-1] + v[i]>>1
			}
			f(v...)
		}
	}
	if n := len(appendColumn(nil, []int64{100, 160, 220, 280, 340})); n > 5 {
		t.Errorf("equal steps take %d bytes", n)
	}
}

func randomRow(r *rand.Rand, start int64, holder int32) row {
	w := row{start: start, holder: holder, seconds: 60, idle: r.Int64() >> r.IntN(64), seenMs: r.Int32(), lastOff: r.Int64N(1e9) - 5e8,
		price: r.Int32N(9), flags: uint8(r.IntN(2)), revision: r.Uint64() >> 1}
	for c := range w.energy {
		w.energy[c] = int64(r.Uint64()) >> r.IntN(64)
		w.counter[c] = int64(r.Uint64()) >> r.IntN(64)
	}
	return w
}

func TestSealed(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var reader sealedReader
	for range 500 {
		hour := int64(day0/1000) + hourSeconds*r.Int64N(1000)
		var rows []row
		for start := hour + r.Int64N(60); start < hour+hourSeconds; start += 1 + r.Int64N(300) {
			rows = append(rows, randomRow(r, start, 7))
		}
		key := rowKey(hour, 7)
		b := appendSealed(nil, key, rows)
		got, err := reader.read(key, b)
		if err != nil || !slices.Equal(got, rows) {
			t.Fatalf("%d rows came back as %d: %v", len(rows), len(got), err)
		}
		if _, err := reader.read(key+1, b); err == nil {
			t.Error("a blob of another holder was read")
		}
		at := r.IntN(len(b))
		b[at] ^= 1 << r.IntN(8)
		if _, err := reader.read(key, b); err == nil {
			t.Errorf("a flipped bit in byte %d of %d was not seen", at, len(b))
		}
	}
}

func TestRow(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		want := randomRow(r, day0/1000+r.Int64N(1e6), r.Int32())
		b := appendRow(nil, &want)
		var got row
		key := rowKey(want.start, want.holder)
		if err := decodeRow(&got, key, want.revision, b); err != nil || got != want {
			t.Fatalf("%+v came back as %+v: %v", want, got, err)
		}
		if decodeRow(&got, key, want.revision+1, b) == nil {
			t.Error("a row of another revision was read")
		}
		b[r.IntN(len(b))] ^= 1
		if decodeRow(&got, key, want.revision, b) == nil {
			t.Error("a flipped bit was not seen")
		}
	}
}

func TestAddTo(t *testing.T) {
	f := func(a, b int64, ok bool) {
		t.Helper()
		sum := a
		if got := addTo(&sum, b); got != ok || ok && sum != a+b || !ok && sum != a {
			t.Errorf("%d + %d: %d, %v", a, b, sum, got)
		}
	}
	f(1, 2, true)
	f(1, 0, true)
	f(math.MaxInt64, 0, true)
	f(math.MinInt64, 0, true)
	f(math.MaxInt64, 1, false)
	f(math.MinInt64, -1, false)
	f(math.MaxInt64, math.MinInt64, true)
	f(math.MinInt64, math.MinInt64, false)
	f(-1, math.MinInt64, false)
	f(9e18, 9e18, false)
}

// The checksum would keep a fuzzer out, so it is passed by.
func FuzzSealed(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	for n := range 4 {
		var rows []row
		for i := range n + 1 {
			rows = append(rows, randomRow(r, int64(i*60), 1))
		}
		b := appendSealed(nil, rowKey(0, 1), rows)
		f.Add(uint16(n+1), b[2:len(b)-4])
		b = appendSums(nil, rowKey(0, 1), []sums{rows[0].sums(), {id: 3, energy: [power.NumComponents]int64{1, 2, 3, 4}}})
		f.Add(uint16(2), b[2:len(b)-4])
		b = appendNodeRows(nil, rowKey(0, 1), []nodeRow{{seconds: 60, generation: "kepler-0.10+"}, {start: 60, seconds: 60, generation: "x"}})
		f.Add(uint16(2), b[2:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, n uint16, b []byte) {
		rows := int(n)%maxHourRows + 1
		var reader sealedReader
		key := rowKey(3600, 5)
		if got, err := reader.decode(key, rows, b); err == nil {
			again, err := reader2(key, appendSealed(nil, key, got))
			if err != nil || !slices.Equal(again, got) {
				t.Errorf("rows do not survive: %v", err)
			}
		}
		var summed sumsReader
		if got, err := summed.decode(rows, b); err == nil {
			var other sumsReader
			if again, err := other.read(key, appendSums(nil, key, got)); err != nil || !slices.Equal(again, got) {
				t.Errorf("sums do not survive: %v", err)
			}
		}
		if got, err := decodeNodeRows(key, rows, b); err == nil {
			if again, err := readNodeRows(key, appendNodeRows(nil, key, got)); err != nil || !slices.Equal(again, got) {
				t.Errorf("node rows do not survive: %v", err)
			}
		}
		var w row
		_ = decodeRow(&w, key, uint64(n), b)
		var e Entry
		for e.Kind = RowsWritten; e.Kind <= HolderDescribed; e.Kind++ {
			_ = e.decode(b)
		}
	})
}

func reader2(key int64, b []byte) ([]row, error) {
	var r sealedReader
	return r.read(key, b)
}
