package counter

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// discard is a Sink that keeps nothing.
type discard struct{}

func (discard) Holder(int, uint32, power.HolderKey, power.Attributes, string) {}
func (discard) Append(int, uint64, int64, []power.Reading)                    {}
func (discard) Learn(uint64, int64, power.Fact)                               {}
func (discard) Forget(int, uint32)                                            {}

// A fleet is a cluster in Kepler's shape: of each node two zones with four
// series, and of each of its containers two zones.
type fleet struct {
	cache    *Cache
	series   []Series
	refs     []Ref
	position atomic.Uint64
}

func newFleet(series int) *fleet {
	f := &fleet{cache: New(DefaultConfig(), discard{})}
	const perNode = 8 + 2*100
	for i := range series {
		node := fmt.Sprintf("node-%d", i/perNode)
		m := metric.Mapping{Holder: power.HolderKey{Cluster: "c1", Node: node, Kind: power.Node}, MicrojoulesPerUnit: 1e6, Generation: metric.KeplerNew}
		k := i % perNode
		m.Component, m.Zone = power.CPU, "package"
		if k%2 == 1 {
			m.Component, m.Zone = power.DRAM, "dram"
		}
		if k < 8 {
			m.Role = [4]metric.Role{metric.RoleNodeRaw, metric.RoleNodeActive, metric.RoleNodeIdle, metric.RoleNodeWatts}[k/2]
			m.Measure = [4]power.Measure{power.Used, power.Active, power.NodeIdle, power.Used}[k/2]
		} else {
			m.Role, m.Holder.Kind, m.Holder.ID = metric.RoleCounter, power.Container, fmt.Sprintf("%064x", i/2)
			m.Attributes = power.Attributes{Container: "main", PodUID: "u", Runtime: "containerd"}
		}
		f.series = append(f.series, Series{Key: Key{rand.Uint64(), rand.Uint64()}, Mapping: m})
	}
	return f
}

const baseMs = 1_795_474_800_000

// see sends every series once, in requests of 2,000.
func (f *fleet) see(tMs int64) {
	for from := 0; from < len(f.series); from += 2000 {
		r := Request{Position: f.position.Add(1), ArrivalMs: tMs}
		for i := from; i < min(from+2000, len(f.series)); i++ {
			r.Samples = append(r.Samples, Sample{New: int32(len(r.New)), TMs: tMs, Value: float64(i % 100)})
			r.New = append(r.New, f.series[i])
		}
		f.cache.Apply(&r)
	}
	keys := make([]Key, len(f.series))
	for i := range keys {
		keys[i] = f.series[i].Key
	}
	f.refs = make([]Ref, len(keys))
	f.cache.Lookup(keys, f.refs)
}

// known is one request of known series, 2,000 of them.
type known struct {
	keys    []Key
	refs    []Ref
	request Request
	afterMs int64 // from the first sample to the second
}

func (k *known) apply(f *fleet, position uint64) {
	requests := uint64(len(f.series) / 2000)
	at := int(position % requests)
	tMs := baseMs + k.afterMs + int64(position/requests)*15_000
	k.request.Position, k.request.ArrivalMs = position, tMs
	k.request.Samples = k.request.Samples[:0]
	for i := at * 2000; i < (at+1)*2000; i++ {
		k.keys[i%2000] = f.series[i].Key
	}
	f.cache.Lookup(k.keys, k.refs)
	for i, ref := range k.refs {
		k.request.Samples = append(k.request.Samples, Sample{Ref: ref, TMs: tMs, Value: float64(i%100) + float64(tMs-baseMs)/100})
	}
	f.cache.Apply(&k.request)
}

// newKnown begins where the histories of the first samples are given up.
func newKnown() *known {
	return &known{keys: make([]Key, 2000), refs: make([]Ref, 2000), afterMs: 700_000}
}

func settledFleet(b *testing.B) *fleet {
	f := newFleet(200_000)
	f.see(baseMs)
	k := newKnown()
	for range 3 * 100 { // past the histories of the first samples
		k.apply(f, f.position.Add(1))
	}
	b.ReportAllocs()
	return f
}

// Known series: lookup and booking of requests of 2,000 samples over 200,000 series.
func BenchmarkApply(b *testing.B) {
	f := settledFleet(b)
	k := newKnown()
	for b.Loop() {
		k.apply(f, f.position.Add(1))
	}
	b.ReportMetric(float64(b.N)*2000/b.Elapsed().Seconds(), "samples/s")
}

// The same from two goroutines.
func BenchmarkApplyTwoCores(b *testing.B) {
	f := settledFleet(b)
	b.ResetTimer()
	var wait sync.WaitGroup
	last := f.position.Load() + uint64(b.N)
	for range 2 {
		wait.Go(func() {
			k := newKnown()
			for {
				p := f.position.Add(1)
				if p > last {
					return
				}
				k.apply(f, p)
			}
		})
	}
	wait.Wait()
	b.ReportMetric(float64(b.N)*2000/b.Elapsed().Seconds(), "samples/s")
}

// New series, without the parsing: requests as the receiver hands
// them on.
func BenchmarkFirstSight(b *testing.B) {
	const series = 100_000
	f := newFleet(series)
	var requests []Request
	for from := 0; from < series; from += 2000 {
		r := Request{Position: uint64(len(requests) + 1), ArrivalMs: baseMs, New: f.series[from : from+2000]}
		for i := range r.New {
			r.Samples = append(r.Samples, Sample{New: int32(i), TMs: baseMs, Value: float64(i % 100)})
		}
		requests = append(requests, r)
	}
	b.ReportAllocs()
	began := processorTime(b)
	for b.Loop() {
		cache := New(DefaultConfig(), discard{})
		for i := range requests {
			cache.Apply(&requests[i])
			for k := range requests[i].Samples {
				requests[i].Samples[k].Ref = 0 // as it came
			}
		}
	}
	b.ReportMetric(float64(processorTime(b)-began)/float64(b.N)/series, "cpu-ns/series")
}

// processorTime is what this process has had of the processors.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Live heap of a million series: at first sight, while starts are in reach, and
// an hour on.
func BenchmarkHeapPerSeries(b *testing.B) {
	const series = 1_000_000
	for b.Loop() {
		names := newFleet(series) // what the test itself holds
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		names.refs = make([]Ref, series)
		names.cache = nil
		before := heap()
		names.cache = New(DefaultConfig(), discard{})
		names.see(baseMs)
		b.ReportMetric(float64(heap()-before)/series, "B/new-series")
		k := newKnown()
		k.afterMs = 0
		for range 20 * series / 2000 {
			k.apply(names, names.position.Add(1))
		}
		b.ReportMetric(float64(heap()-before)/series, "B/starting-series")
		k.afterMs = 700_000
		for range 8 * series / 2000 {
			k.apply(names, names.position.Add(1))
		}
		b.ReportMetric(float64(heap()-before)/series, "B/series")
		state := uintptr(0) // what is needed to count, without whose it is
		for i := range names.cache.series.parts {
			state += uintptr(cap(names.cache.series.parts[i].entries)) * unsafe.Sizeof(entry{})
		}
		for _, s := range names.cache.shards {
			state += uintptr(cap(s.accounts)) * unsafe.Sizeof(account{})
			state += uintptr(cap(s.histories)) * unsafe.Sizeof(s.histories[0])
		}
		b.ReportMetric(float64(state)/series, "state-B/series")
		runtime.KeepAlive(names)
	}
}
