package journal

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// TestVerifyFindsEveryFlippedBit: there is no bit in a segment without a checksum
// or a fixed value, the log's own headers and padding included.
func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	// The second record ends 3 bytes before the end of its page; the third crosses one.
	data, _ := written(t, 100, pageBytes-4*frameHeaderBytes-2*12-100-3*fragmentHeaderBytes+frameHeaderBytes-3, 40_000, 300)
	data = append(data, make([]byte, 500)...) // as a segment that was left
	dir := t.TempDir()
	name := wlog.SegmentName(dir, 0)
	check := func(b []byte) Verified {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := Verify(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := check(data); len(v.Problems) > 0 || v.Segments != 1 || v.Records != 4 {
		t.Fatalf("a good journal: %+v", v)
	}
	if data[pageBytes-1]|data[pageBytes-3] != 0 || pageBytes-int64(bytes.LastIndexFunc(data[:pageBytes], func(r rune) bool { return r != 0 })) < 2 {
		t.Fatal("the test has no padding to flip")
	}
	flip := func(bit int) {
		t.Helper()
		b := bytes.Clone(data)
		b[bit/8] ^= 1 << (bit % 8)
		v := check(b)
		if len(v.Problems) == 0 {
			t.Fatalf("bit %d of byte %d: not found", bit%8, bit/8)
		}
		p := v.Problems[0]
		if p.File != name || p.Offset > int64(bit/8) || p.Reason == nil {
			t.Fatalf("bit %d of byte %d: found as %v", bit%8, bit/8, &p)
		}
	}
	for bit := range 8 * 60 {
		flip(bit)
	}
	for at := pageBytes - 6; at < pageBytes+8; at++ {
		for bit := range 8 {
			flip(8*at + bit)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		flip(random.IntN(8 * len(data)))
	}
}

func TestVerifySaysWhatIsLost(t *testing.T) {
	data, ends := written(t, 100, 200, 300, 400)
	dir := t.TempDir()
	f := func(what string, running bool, want string, change func(b []byte) []byte) {
		t.Helper()
		if err := os.WriteFile(wlog.SegmentName(dir, 0), change(bytes.Clone(data)), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := Verify(dir, running)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for i := range v.Problems {
			got += v.Problems[i].Error() + "\n"
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: found %q, want %q", what, got, want)
		}
	}
	at := func(i int64) func([]byte) []byte { return func(b []byte) []byte { b[i] ^= 8; return b } }
	f("the second", false, "records 2 to 2 cannot be read", at(ends[1]-5))
	f("the second, beside a server", true, "records 2 to 2 cannot be read", at(ends[1]-5))
	f("the last", false, "an interrupted write looks like this", at(ends[3]-5))
	f("the last, beside a server", true, "", at(ends[3]-5))
	f("half of the last", true, "", func(b []byte) []byte { return b[:ends[3]-50] })
	f("the header", false, "checksum", at(3))
	f("nothing", false, "", func(b []byte) []byte { return b })
}

func TestVerifySnapshots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	writeState(t, dir, 7, state(7, 100_000))
	writeState(t, dir, 9, state(9, 60))
	if v, err := VerifySnapshots(dir); err != nil || len(v.Problems) > 0 || v.Snapshots != 2 {
		t.Fatalf("good snapshots: %+v, %v", v, err)
	}
	name := snapshotName(dir, 9)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(data) {
		b := bytes.Clone(data)
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if v, err := VerifySnapshots(dir); err != nil || len(v.Problems) != 1 || v.Problems[0].File != name || v.Snapshots != 1 {
			t.Fatalf("bit %d of byte %d: %+v, %v", bit%8, bit/8, v, err)
		}
	}
}
