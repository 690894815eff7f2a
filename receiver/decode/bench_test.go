package decode

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/test/usage"
)

// containers maps Kepler's container series the way the metric table does.
type containers struct{}

func (containers) Metrics() []string { return nil }
func (containers) Knows([]byte) bool { return true }

func (containers) Map(labels []power.Label) (m metric.Mapping, ok bool) {
	m = metric.Mapping{Role: metric.RoleCounter, MicrojoulesPerUnit: 1e6, Generation: "kepler-0.10+"}
	m.Holder.Kind = power.Container
	for _, l := range labels {
		switch l.Name {
		case "__name__":
			m.Zone += l.Value
		case "zone":
			m.Zone += l.Value
		case "cluster":
			m.Holder.Cluster = l.Value
		case "node_name":
			m.Holder.Node = l.Value
		case "container_id":
			m.Holder.ID = l.Value
		}
	}
	return m, true
}

// nowhere is where readings go that nobody asks for.
type nowhere struct{}

func (nowhere) Holder(int, uint32, power.HolderKey, power.Attributes, string) {}
func (nowhere) Append(int, uint64, int64, []power.Reading)                    {}
func (nowhere) Learn(uint64, int64, power.Fact)                               {}
func (nowhere) Forget(int, uint32)                                            {}

const samplesPerRequest = 2000

// keplerRequests are requests with Kepler's label shapes, each of other series.
func keplerRequests(n int) []*prompb.WriteRequest {
	rng := rand.New(rand.NewPCG(1, 2))
	hex := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "0123456789abcdef"[rng.IntN(16)]
		}
		return string(b)
	}
	zones := []string{"package", "dram", "core", "psys"}
	requests := make([]*prompb.WriteRequest, n)
	for i := range requests {
		r := &prompb.WriteRequest{}
		node := fmt.Sprintf("worker-%03d", i)
		for len(r.Timeseries) < samplesPerRequest {
			id, pod := hex(64), hex(8)+"-"+hex(4)+"-"+hex(4)+"-"+hex(4)+"-"+hex(12)
			for _, name := range []string{"kepler_container_cpu_joules_total", "kepler_container_cpu_watts"} {
				for _, zone := range zones {
					r.Timeseries = append(r.Timeseries, prompb.TimeSeries{
						Labels: labels("__name__", name, "cluster", "prod-eu-1", "container_id", id, "container_name", "trainer",
							"instance", node+":28282", "job", "kepler", "node_name", node, "pod_id", pod, "runtime", "containerd",
							"state", "running", "zone", zone),
						Samples: []prompb.Sample{{Timestamp: 1_790_000_000_000, Value: rng.Float64() * 1e6}},
					})
				}
			}
		}
		r.Timeseries = r.Timeseries[:samplesPerRequest]
		requests[i] = r
	}
	return requests
}

func keplerBodies(b testing.TB, protocol journal.Protocol, n int) [][]byte {
	bodies := make([][]byte, n)
	for i, r := range keplerRequests(n) {
		if protocol == journal.V2 {
			bodies[i] = bodyV2(b, asV2(r))
		} else {
			bodies[i] = bodyV1(b, r)
		}
	}
	return bodies
}

func perSample(b *testing.B, began time.Duration) {
	b.ReportAllocs()
	seconds := b.Elapsed().Seconds()
	samples := float64(b.N * samplesPerRequest)
	b.ReportMetric(samples/seconds, "samples/s")
	b.ReportMetric(seconds*1e9/samples, "ns/sample")
	b.ReportMetric(float64(usage.ProcessorTime(b)-began)/samples, "cpu-ns/sample")
}

const benchBodies = 100 // 200,000 series

// The floor is what no receiver can do without: decompression, and one look at
// every byte.
func benchmarkFloor(b *testing.B, protocol journal.Protocol) {
	bodies := keplerBodies(b, protocol, benchBodies)
	var raw []byte
	var sum uint64
	i := 0
	began := usage.ProcessorTime(b)
	for b.Loop() {
		var err error
		if raw, err = snappy.Decode(raw[:cap(raw)], bodies[i%len(bodies)]); err != nil {
			b.Fatal(err)
		}
		for k := 0; k+8 <= len(raw); k += 8 {
			sum += binary.LittleEndian.Uint64(raw[k:])
		}
		i++
	}
	if sum == 0 {
		b.Fatal("nothing was read")
	}
	perSample(b, began)
}

func BenchmarkFloorV1(b *testing.B) { benchmarkFloor(b, journal.V1) }
func BenchmarkFloorV2(b *testing.B) { benchmarkFloor(b, journal.V2) }

// The path of known series: decompress, walk, look up, gather.
func benchmarkReceive(b *testing.B, protocol journal.Protocol) {
	bodies := keplerBodies(b, protocol, benchBodies)
	cache := counter.New(counter.DefaultConfig(), nowhere{})
	d := newTestDecoder(b, cache, containers{})
	q := new(Request)
	receive := func(i int) {
		q.Reset()
		if err := d.Decode(q, protocol, journal.Snappy, bodies[i%len(bodies)], 1_790_000_000_000); err != nil {
			b.Fatal(err)
		}
	}
	for i := range bodies {
		receive(i)
		q.Out.Position = uint64(i + 1)
		cache.Apply(&q.Out)
	}
	i := 0
	began := usage.ProcessorTime(b)
	for b.Loop() {
		receive(i)
		if len(q.Out.Samples) != samplesPerRequest || len(q.Out.New) != 0 {
			b.Fatalf("%d samples, %d new series", len(q.Out.Samples), len(q.Out.New))
		}
		i++
	}
	perSample(b, began)
}

func BenchmarkReceiveV1(b *testing.B) { benchmarkReceive(b, journal.V1) }
func BenchmarkReceiveV2(b *testing.B) { benchmarkReceive(b, journal.V2) }

// The whole path of known series within the process: decompress, walk, look up,
// gather, book. Every sample is booked, as none is of an ignored series. On two
// cores two requests are on their way at once: -cpu 1,2 shows what that brings.
func benchmarkPath(b *testing.B, protocol journal.Protocol) {
	bodies := keplerBodies(b, protocol, benchBodies)
	cache := counter.New(counter.DefaultConfig(), nowhere{})
	d := newTestDecoder(b, cache, containers{})
	var sent, position atomic.Uint64
	const settling = 4 * benchBodies // requests until the histories of the first samples are given up
	pass := func(q *Request) (booked int) {
		n := int64(sent.Add(1)) - 1
		q.Reset()
		if err := d.Decode(q, protocol, journal.Snappy, bodies[n%benchBodies], 1_790_000_000_000); err != nil {
			b.Error(err)
		}
		// The counters move on here, so that the bodies need not be written anew.
		afterMs := n / benchBodies * 700_000
		if n >= settling {
			afterMs = 4*700_000 + (n-settling)/benchBodies*15_000
		}
		for i := range q.Out.Samples {
			q.Out.Samples[i].TMs += afterMs
			q.Out.Samples[i].Value += float64(afterMs) / 1000
		}
		q.Out.Position = position.Add(1)
		return cache.Apply(&q.Out).Booked
	}
	q := new(Request)
	for range settling {
		pass(q)
	}
	began := usage.ProcessorTime(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		q := new(Request)
		for pb.Next() {
			if booked := pass(q); booked != samplesPerRequest {
				b.Errorf("%d samples booked", booked)
			}
		}
	})
	perSample(b, began)
}

func BenchmarkPathV1(b *testing.B) { benchmarkPath(b, journal.V1) }
func BenchmarkPathV2(b *testing.B) { benchmarkPath(b, journal.V2) }

// blank is a Cache that never knows a series.
type blank struct{}

func (blank) Lookup(_ []counter.Key, refs []counter.Ref) { clear(refs) }
func (blank) Ignore([]counter.Key)                       {}
func (blank) Apply(*counter.Request) (o counter.Outcome) { return o }

// First sight of a series: parse and map it. What the cache makes of it is not in here.
func benchmarkFirstSight(b *testing.B, protocol journal.Protocol) {
	bodies := keplerBodies(b, protocol, benchBodies)
	d := newTestDecoder(b, blank{}, containers{})
	q := new(Request)
	i := 0
	began := usage.ProcessorTime(b)
	for b.Loop() {
		q.Reset()
		if err := d.Decode(q, protocol, journal.Snappy, bodies[i%len(bodies)], 1_790_000_000_000); err != nil {
			b.Fatal(err)
		}
		if len(q.Out.New) != samplesPerRequest {
			b.Fatalf("%d new series", len(q.Out.New))
		}
		i++
	}
	perSample(b, began)
}

func BenchmarkFirstSightV1(b *testing.B) { benchmarkFirstSight(b, journal.V1) }
func BenchmarkFirstSightV2(b *testing.B) { benchmarkFirstSight(b, journal.V2) }

func TestKnownSeriesCostNoAllocation(t *testing.T) {
	for _, protocol := range []journal.Protocol{journal.V1, journal.V2} {
		body := keplerBodies(t, protocol, 1)[0]
		cache := counter.New(counter.DefaultConfig(), nowhere{})
		d := newTestDecoder(t, cache, containers{})
		q := new(Request)
		receive := func() {
			q.Reset()
			if err := d.Decode(q, protocol, journal.Snappy, body, 1_790_000_000_000); err != nil {
				t.Fatal(err)
			}
		}
		receive()
		q.Out.Position = 1
		cache.Apply(&q.Out)
		if n := testing.AllocsPerRun(20, receive); n != 0 {
			t.Errorf("protocol %v: a request of %d known series costs %v allocations, want 0", protocol, samplesPerRequest, n)
		}
		if len(q.Out.Samples) != samplesPerRequest {
			t.Errorf("%d samples", len(q.Out.Samples))
		}
	}
}
