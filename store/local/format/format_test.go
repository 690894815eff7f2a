package format

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattledger/wattledger/power"
)

const day = 1_790_035_200 // Unix seconds

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

func randomRow(r *rand.Rand, start int64, holder int32) Row {
	w := Row{Start: start, Holder: holder, Seconds: 60, Idle: r.Int64() >> r.IntN(64), SeenMs: r.Int32(), LastOff: r.Int64N(1e9) - 5e8,
		Price: r.Int32N(9), Flags: uint8(r.IntN(2)), Revision: r.Uint64() >> 1}
	for c := range w.Energy {
		w.Energy[c] = int64(r.Uint64()) >> r.IntN(64)
		w.Counter[c] = int64(r.Uint64()) >> r.IntN(64)
	}
	return w
}

func TestSealed(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var reader SealedReader
	for range 500 {
		hour := int64(day/1000) + HourSeconds*r.Int64N(1000)
		var rows []Row
		for start := hour + r.Int64N(60); start < hour+HourSeconds; start += 1 + r.Int64N(300) {
			rows = append(rows, randomRow(r, start, 7))
		}
		key := Key(hour, 7)
		b := AppendSealed(nil, key, rows)
		got, err := reader.Read(key, b)
		if err != nil || !slices.Equal(got, rows) {
			t.Fatalf("%d rows came back as %d: %v", len(rows), len(got), err)
		}
		if _, err := reader.Read(key+1, b); err == nil {
			t.Error("a blob of another holder was read")
		}
		at := r.IntN(len(b))
		b[at] ^= 1 << r.IntN(8)
		if _, err := reader.Read(key, b); err == nil {
			t.Errorf("a flipped bit in byte %d of %d was not seen", at, len(b))
		}
	}
}

func TestRow(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		want := randomRow(r, day/1000+r.Int64N(1e6), r.Int32())
		b := AppendRow(nil, &want)
		var got Row
		key := Key(want.Start, want.Holder)
		if err := DecodeRow(&got, key, want.Revision, b); err != nil || got != want {
			t.Fatalf("%+v came back as %+v: %v", want, got, err)
		}
		if DecodeRow(&got, key, want.Revision+1, b) == nil {
			t.Error("a row of another revision was read")
		}
		b[r.IntN(len(b))] ^= 1
		if DecodeRow(&got, key, want.Revision, b) == nil {
			t.Error("a flipped bit was not seen")
		}
	}
}

// The checksum would keep a fuzzer out, so it is passed by.
func FuzzSealed(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	for n := range 4 {
		var rows []Row
		for i := range n + 1 {
			rows = append(rows, randomRow(r, int64(i*60), 1))
		}
		b := AppendSealed(nil, Key(0, 1), rows)
		f.Add(uint16(n+1), b[2:len(b)-4])
		b = AppendSums(nil, Key(0, 1), []Sums{rows[0].Sums(), {ID: 3, Energy: [power.NumComponents]int64{1, 2, 3, 4}}})
		f.Add(uint16(2), b[2:len(b)-4])
		b = AppendNodeRows(nil, Key(0, 1), []NodeRow{{Seconds: 60, Generation: "kepler-0.10+"}, {Start: 60, Seconds: 60, Generation: "x"}})
		f.Add(uint16(2), b[2:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, n uint16, b []byte) {
		rows := int(n)%MaxHourRows + 1
		var reader SealedReader
		key := Key(3600, 5)
		if got, err := reader.decode(key, rows, b); err == nil {
			again, err := reader2(key, AppendSealed(nil, key, got))
			if err != nil || !slices.Equal(again, got) {
				t.Errorf("rows do not survive: %v", err)
			}
		}
		var summed SumsReader
		if got, err := summed.decode(rows, b); err == nil {
			var other SumsReader
			if again, err := other.Read(key, AppendSums(nil, key, got)); err != nil || !slices.Equal(again, got) {
				t.Errorf("sums do not survive: %v", err)
			}
		}
		if got, err := decodeNodeRows(key, rows, b); err == nil {
			if again, err := ReadNodeRows(key, AppendNodeRows(nil, key, got)); err != nil || !slices.Equal(again, got) {
				t.Errorf("node rows do not survive: %v", err)
			}
		}
		var w Row
		_ = DecodeRow(&w, key, uint64(n), b)
	})
}

func reader2(key int64, b []byte) ([]Row, error) {
	var r SealedReader
	return r.Read(key, b)
}
