package journal

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

const benchBodyBytes = 20_000

func reportRate(b *testing.B) {
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(b.N)/seconds, "records/s")
	b.ReportMetric(float64(b.N)*benchBodyBytes/1e6/seconds, "MB/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAppend is acknowledged records, each durable. Segments are released
// as they fill.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			j := mustOpen(b, b.TempDir(), Config{MaxBytes: 1 << 30})
			b.ReportAllocs()
			next := make(chan struct{}, writers)
			latencies := make([][]time.Duration, writers)
			r := record(1, benchBodyBytes)
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for range next {
						start := time.Now()
						position, err := j.Append(context.Background(), r)
						if err != nil {
							b.Error(err)
							return
						}
						latencies[w] = append(latencies[w], time.Since(start))
						if position%10_000 == 0 {
							if err := j.Release(position); err != nil {
								b.Error(err)
							}
						}
					}
				})
			}
			for range b.N {
				next <- struct{}{}
			}
			close(next)
			wg.Wait()
			b.StopTimer()
			all := slices.Sorted(slices.Values(slices.Concat(latencies...)))
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
			reportRate(b)
		})
	}
}

// BenchmarkRead is what replay can have at most; BenchmarkOpen what checking the
// whole journal costs at start.
func BenchmarkRead(b *testing.B) {
	j, _ := filled(b)
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; {
		err := j.Read(context.Background(), 1, func(uint64, *Record) error {
			if left--; left < 0 {
				return errStop
			}
			return nil
		})
		if err != nil && left >= 0 {
			b.Fatal(err)
		}
	}
	reportRate(b)
}

func BenchmarkOpen(b *testing.B) {
	j, dir := filled(b)
	records := int(j.Last())
	mustClose(b, j)
	for b.Loop() {
		j, err := Open(dir, Config{}, quiet(), nil)
		if err != nil {
			b.Fatal(err)
		}
		mustClose(b, j)
	}
	b.ReportMetric(float64(b.N*records)*benchBodyBytes/1e6/b.Elapsed().Seconds(), "MB/s")
}

func filled(b *testing.B) (*Local, string) {
	dir := b.TempDir()
	j := mustOpen(b, dir, Config{})
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := range 150 {
				if _, err := j.Append(context.Background(), record(w*1000+i, benchBodyBytes)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return j, dir
}
