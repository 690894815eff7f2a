package receiver

import (
	"bytes"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/wattledger/wattledger/test/usage"
)

// cost runs fn and returns the processor time and the bytes allocated.
func cost(t *testing.T, fn func()) (cpu time.Duration, allocated uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := usage.ProcessorTime(t)
	fn()
	cpu = usage.ProcessorTime(t) - began
	runtime.ReadMemStats(&after)
	return cpu, after.TotalAlloc - before.TotalAlloc
}

// Bodies that are small on the wire and huge once parsed. They took a
// well-known receiver 70 s and 3.7 GB; here they cost the decompression and
// stop at a limit.
func TestBombs(t *testing.T) {
	const n = 8 << 20
	const budgetCPU = slower * 1500 * time.Millisecond // three times what the dearest takes on a busy machine
	emptySeries := bytes.Repeat([]byte{0x0a, 0x00}, n)
	body := snap(emptySeries)
	if len(body) > 800_000 {
		t.Fatalf("the bomb has %d bytes", len(body))
	}
	tagged := func(tag byte, m []byte) []byte {
		return append(append([]byte{tag}, uvarintBytes(uint64(len(m)))...), m...)
	}
	emptyLabels := tagged(0x0a, bytes.Repeat([]byte{0x0a, 0x00}, n))
	name := []byte{0x0a, 18, 0x0a, 8, '_', '_', 'n', 'a', 'm', 'e', '_', '_', 0x12, 6, 'k', 'e', 'p', 'l', 'e', 'r'}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(what string, body []byte, encoding, contentType, want string) {
		t.Helper()
		s := newStation(t, nil)
		var a answer
		cpu, allocated := cost(t, func() {
			a = s.post(body, "Content-Type", contentType, "Content-Encoding", encoding)
		})
		s.want(a, http.StatusBadRequest, want)
		s.wantBooked(0)
		t.Logf("%s: %d bytes cost %v and %d MB: %s", what, len(body), cpu, allocated>>20, a.text)
		if cpu > budgetCPU {
			t.Errorf("%s cost %v", what, cpu)
		}
		if allocated > 192<<20 {
			t.Errorf("%s allocated %d MB", what, allocated>>20)
		}
		if s.handler.inflight != 0 || s.handler.bodyBytes.Load() != 0 {
			t.Errorf("%s: %d in the works, %d bytes held", what, s.handler.inflight, s.handler.bodyBytes.Load())
		}
	}
	const v1 = "application/x-protobuf"
	f("empty series", body, "snappy", v1, "max_series_per_request (100000)")
	f("empty series, zstd", z.EncodeAll(emptySeries, nil), "zstd", v1, "max_series_per_request (100000)")
	f("empty series of 2.0", snap(bytes.Repeat([]byte{0x2a, 0x00}, n)), "snappy", contentTypeV2, "max_series_per_request (100000)")
	f("empty labels", snap(emptyLabels), "snappy", v1, "max_labels_per_series")
	f("named, then empty labels", snap(tagged(0x0a, append(bytes.Clone(name), emptyLabels[5:]...))), "snappy", v1, "max_labels_per_series")
	f("empty samples", snap(tagged(0x0a, append(bytes.Clone(name), bytes.Repeat([]byte{0x12, 0x00}, n)...))), "snappy", v1, "max_samples_per_request (500000)")
	f("empty histograms", snap(tagged(0x0a, bytes.Repeat([]byte{0x22, 0x00}, n))), "snappy", v1, "series without __name__")
	f("empty exemplars", snap(tagged(0x0a, bytes.Repeat([]byte{0x1a, 0x00}, n))), "snappy", v1, "series without __name__")
	f("empty symbols", snap(bytes.Repeat([]byte{0x22, 0x00}, n)), "snappy", contentTypeV2, "max_symbols (300000)")
	f("references", snap(append([]byte{0x22, 0x00}, tagged(0x2a, tagged(0x0a, make([]byte, 2*n)))...)), "snappy", contentTypeV2, "max_labels_per_series")
	f("references one by one", snap(append([]byte{0x22, 0x00}, tagged(0x2a, bytes.Repeat([]byte{0x08, 0x00}, n))...)), "snappy", contentTypeV2, "max_labels_per_series")
	f("buckets", snap(tagged(0x0a, tagged(0x22, tagged(12<<3|2, make([]byte, 2*n))))), "snappy", v1, "series without __name__")
	f("snappy of 1 GB", []byte{0x80, 0x80, 0x80, 0x80, 0x04, 0, 0}, "snappy", v1, "max_decoded_bytes (33554432)")
	f("snappy that says 32 MiB", []byte{0x80, 0x80, 0x80, 0x10, 0, 0}, "snappy", v1, "undecodable body")
	f("zstd of 64 MB", zstdOfZeros(t, 64<<20), "zstd", v1, "max_decoded_bytes (33554432)")
	f("zstd of 64 MB that does not say so", zstdStreamOfZeros(t, 64<<20), "zstd", v1, "max_decoded_bytes (33554432)")
	f("zstd frames", bytes.Repeat(zstdOfZeros(t, 1<<20), 64), "zstd", v1, "more than one frame")
	f("zstd of zeros", zstdOfZeros(t, 32<<20), "zstd", v1, "malformed protobuf")
}

// zstdOfZeros is one frame that says how large it is.
func zstdOfZeros(t *testing.T, n int) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, zstd.WithSingleSegment(n <= 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(make([]byte, n), nil)
}

// zstdStreamOfZeros is a frame without a content size.
func zstdStreamOfZeros(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range n >> 20 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
