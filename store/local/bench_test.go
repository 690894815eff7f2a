package local

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

const day0 = 1_760_054_400_000

// fleet is holders that draw like real ones: samples every 15 s that do not
// fall on minutes, so that a counter is never just the one before plus the energy.
type fleet struct {
	holders []*power.Holder
	watts   [][power.NumComponents]float64
	counter []power.Energy
	carry   []power.Energy // booked, but after the newest sample
	price   power.Price
	rand    *rand.Rand
	records uint64
}

func newFleet(workloads, holdersEach, namespaces int) *fleet {
	f := &fleet{rand: rand.New(rand.NewPCG(1, 1)), price: power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}}
	for i := range workloads * holdersEach {
		w := i % workloads
		f.holders = append(f.holders, &power.Holder{
			HolderKey: power.HolderKey{Cluster: "prod", Node: fmt.Sprintf("node-%d", i%100), Kind: power.Container, ID: fmt.Sprintf("containerd://%064x", i)},
			Workload:  power.Workload{Cluster: "prod", Namespace: fmt.Sprintf("team-%d", w%namespaces), Kind: "deployment", Name: fmt.Sprintf("service-%d", w)},
			Type:      power.Types[w%len(power.Types)], Rule: "image", Pod: fmt.Sprintf("service-%d-7d9f-%d", w, i), PodUID: fmt.Sprintf("%032x", i), Container: "main", Image: "registry/app:v1",
		})
		// Most containers draw little and a few draw much: 0.3 to 40 W, evenly by ratio.
		cpu := 0.3 * math.Pow(133, f.rand.Float64())
		p := [power.NumComponents]float64{power.CPU: cpu, power.DRAM: cpu * (0.05 + 0.15*f.rand.Float64())}
		if i%10 == 0 {
			p[power.GPU] = 50 + 300*f.rand.Float64()
		}
		f.watts = append(f.watts, p)
	}
	f.counter, f.carry = make([]power.Energy, len(f.holders)), make([]power.Energy, len(f.holders))
	return f
}

// minute returns the charges of one minute.
func (f *fleet) minute(startMs int64) []power.Charge {
	f.records += uint64(3 + f.rand.IntN(3))
	list := make([]power.Charge, len(f.holders))
	for i, h := range f.holders {
		c := power.Charge{Holder: h, StartMs: startMs, Seconds: 60, SeenMs: 60_000, Price: &f.price, Revision: f.records - uint64(f.rand.IntN(2))}
		c.LastMs = startMs + 52_000 + int64(i%97)*10 + f.rand.Int64N(4)
		rest := float64(startMs+60_000-c.LastMs) / 60_000
		for k, w := range f.watts[i] {
			if w == 0 {
				continue
			}
			c.Energy[k] = power.Microjoules(w * (0.8 + 0.4*f.rand.Float64()) * 60e6)
			after := power.Microjoules(float64(c.Energy[k]) * rest * (0.95 + 0.1*f.rand.Float64()))
			f.counter[i][k] += f.carry[i][k] + c.Energy[k] - after
			f.carry[i][k] = after
			c.Counter[k] = f.counter[i][k]
		}
		list[i] = c
	}
	return list
}

// BenchmarkAppend writes full rows in batches of 1,000, each with its own
// commit and fsync, with outbox entries, and seals hours as they close.
func BenchmarkAppend(b *testing.B) {
	cfg := DefaultConfig()
	cfg.Followers = []string{"influx"}
	s := openTest(b, filepath.Join(b.TempDir(), "books.db"), cfg)
	f := newFleet(1000, 5, 50)
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	rows, position := 0, uint64(0)
	var worst time.Duration
	at := int64(day0)
	var cpuBefore, cpuMaking float64
	for b.Loop() {
		b.StopTimer() // the line has its own benchmarks
		making := cpuSeconds()
		if rows == 0 {
			cpuBefore = making
		}
		list := f.minute(at)
		cpuMaking += cpuSeconds() - making
		b.StartTimer()
		for batch := range slices.Chunk(list, 1000) {
			position++
			began := time.Now()
			if err := s.Append(b.Context(), store.Batch{Position: position, Charges: batch}); err != nil {
				b.Fatal(err)
			}
			worst = max(worst, time.Since(began))
		}
		rows += len(list)
		at += 60_000
	}
	b.StopTimer()
	took := b.Elapsed()
	stop()
	<-done
	began := time.Now()
	if err := s.Seal(b.Context()); err != nil {
		b.Fatal(err)
	}
	cpu := cpuSeconds() - cpuBefore
	// What sealing is behind with counts too: rows are only done when sealed.
	b.ReportMetric(float64(rows)/(took+time.Since(began)).Seconds(), "rows/s")
	b.ReportMetric(float64(worst.Milliseconds()), "worst-append-ms")
	b.ReportMetric((cpu-cpuMaking)*1e6/float64(rows), "cpu-µs/row")
	b.ReportMetric(0, "ns/op")
}

// cpuSeconds returns what the process has used of all processors: on a busy
// machine it says more than the clock.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// history returns a store with days of 1,000 workloads. It takes a while to
// make: benchmarks of one run share it, and runs too that name a folder for it
// in WATTLEDGER_BENCH_HISTORY.
func history(b *testing.B) (*Store, int64) {
	days := int64(30)
	if testing.Short() {
		days = 2
	}
	if dir := os.Getenv("WATTLEDGER_BENCH_HISTORY"); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "books.db")); err == nil {
			return openTest(b, filepath.Join(dir, "books.db"), DefaultConfig()), days
		}
	}
	if historyDir == "" {
		dir := os.Getenv("WATTLEDGER_BENCH_HISTORY")
		if dir == "" {
			var err error
			if dir, err = os.MkdirTemp("", "history"); err != nil {
				b.Fatal(err)
			}
			historyDir = dir
		}
		s := openTest(b, filepath.Join(dir, "books.db"), DefaultConfig())
		f := newFleet(1000, 1, 50)
		position := uint64(0)
		began, cpu, making := time.Now(), cpuSeconds(), 0.0
		for m := int64(0); m < days*1440; m++ {
			position++
			before := cpuSeconds()
			list := f.minute(day0 + m*60_000)
			making += cpuSeconds() - before
			if err := s.Append(b.Context(), store.Batch{Position: position, Charges: list}); err != nil {
				b.Fatal(err)
			}
			if m%60 == 59 {
				if err := s.Seal(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			if m%1440 == 1439 {
				const rows = 1440 * 1000
				b.Logf("day %d: %.0f rows/s by the clock, %.2f CPU µs a row", m/1440+1, rows/time.Since(began).Seconds(), (cpuSeconds()-cpu-making)*1e6/rows)
				began, cpu, making = time.Now(), cpuSeconds(), 0
			}
		}
		return s, days
	}
	return openTest(b, filepath.Join(historyDir, "books.db"), DefaultConfig()), days
}

var historyDir string // removed by TestMain

func TestMain(m *testing.M) {
	if os.Getenv(killedEnv) != "" {
		appendUntilKilled()
	}
	code := m.Run()
	if historyDir != "" {
		os.RemoveAll(historyDir)
	}
	os.Exit(code)
}

func benchmarkSum(b *testing.B, q store.Query) {
	s, days := history(b)
	q.FromMs, q.ToMs = day0, day0+days*24*format.HourMs
	var took []time.Duration
	before := cpuSeconds()
	for b.Loop() {
		began := time.Now()
		rows, err := s.Sum(b.Context(), q)
		if err != nil || len(rows) == 0 {
			b.Fatal(len(rows), err)
		}
		took = append(took, time.Since(began))
	}
	b.ReportMetric((cpuSeconds()-before)*1000/float64(len(took)), "cpu-ms")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
}

func BenchmarkSumNamespace30d(b *testing.B) {
	benchmarkSum(b, store.Query{StepMs: format.HourMs, GroupBy: []store.Dimension{store.Namespace}})
}

func BenchmarkSumWorkload30d(b *testing.B) {
	benchmarkSum(b, store.Query{StepMs: format.HourMs, GroupBy: []store.Dimension{store.Namespace, store.Workload}})
}

func BenchmarkSumTotal30d(b *testing.B) {
	benchmarkSum(b, store.Query{GroupBy: []store.Dimension{store.Namespace}})
}

func BenchmarkWorkload30d(b *testing.B) {
	benchmarkSum(b, store.Query{StepMs: format.HourMs, Match: map[store.Dimension]string{store.Namespace: "team-7", store.Workload: "service-7"}})
}

func BenchmarkWorkloadMinutes30d(b *testing.B) {
	benchmarkSum(b, store.Query{StepMs: 60_000, Match: map[store.Dimension]string{store.Namespace: "team-7", store.Workload: "service-7"}})
}

// BenchmarkAppendNewHolders appends rows of holders that are all new: what a
// container costs when it is first seen.
func BenchmarkAppendNewHolders(b *testing.B) {
	const each = 1000
	s := openTest(b, filepath.Join(b.TempDir(), "books.db"), DefaultConfig())
	batches := 0
	var cpu float64
	for b.Loop() {
		b.StopTimer()
		list := newFleet(each, 1, 10).minute(day0)
		for i := range list {
			h := *list[i].Holder
			h.ID = fmt.Sprintf("%08x%s", rand.Uint32(), h.ID)
			list[i].Holder = &h
		}
		batches++
		began := cpuSeconds()
		b.StartTimer()
		if err := s.Append(b.Context(), store.Batch{Position: uint64(batches), Charges: list}); err != nil {
			b.Fatal(err)
		}
		cpu += cpuSeconds() - began
	}
	b.ReportMetric(cpu*1e6/float64(batches*each), "cpu-µs/holder")
}

// BenchmarkBytesPerRow prints what a row takes on disk, in all and by table.
func BenchmarkBytesPerRow(b *testing.B) {
	s, days := history(b)
	for b.Loop() {
	}
	if _, err := s.w.ExecContext(b.Context(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		b.Fatal(err)
	}
	var free int64
	if err := s.w.QueryRowContext(b.Context(), "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size").Scan(&free); err != nil {
		b.Fatal(err)
	}
	st, err := os.Stat(s.path)
	if err != nil {
		b.Fatal(err)
	}
	size := st.Size()
	b.ReportMetric(float64(size)/float64(days*1440*1000), "file-B/row")
	b.ReportMetric(float64(size-free)/float64(days*1440*1000), "used-B/row")
	for _, table := range []string{"minutes", "sealed", "hours", "space_hours"} {
		var rows, bytes int64
		if err := s.w.QueryRowContext(b.Context(), "SELECT count(*), coalesce(sum(length(data)), 0) FROM "+table).Scan(&rows, &bytes); err != nil {
			b.Fatal(err)
		}
		b.Logf("%s: %d rows of %.1f bytes", table, rows, float64(bytes)/float64(rows))
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPower pages through 100,000 containers.
func BenchmarkPower(b *testing.B) {
	s := openTest(b, filepath.Join(b.TempDir(), "books.db"), DefaultConfig())
	f := newFleet(10_000, 10, 50)
	for m := range int64(5) {
		if err := s.Append(b.Context(), store.Batch{Position: uint64(m + 1), Charges: f.minute(day0 + m*60_000)}); err != nil {
			b.Fatal(err)
		}
	}
	q := store.PowerQuery{FromMs: day0, ToMs: day0 + 300_000, ByContainer: true, By: store.ByPower, Limit: 100}
	for b.Loop() {
		rows, next, err := s.Power(b.Context(), q)
		if err != nil || len(rows) != 100 || next == "" {
			b.Fatal(len(rows), next, err)
		}
	}
}

// BenchmarkUnderIngest asks while the newest minute of 100,000 containers is
// written again every 50th question: what a question costs with all it leaves
// for the next, and, apart, the first after a flush.
func BenchmarkUnderIngest(b *testing.B) {
	s := openTest(b, filepath.Join(b.TempDir(), "books.db"), DefaultConfig())
	f := newFleet(10_000, 10, 50)
	f.holders = f.holders[:100_000]
	from := int64(day0) - day0%format.HourMs
	const minutes = 25
	position := uint64(0)
	write := func(at int64) {
		position++
		if err := s.Append(b.Context(), store.Batch{Position: position, Charges: f.minute(at)}); err != nil {
			b.Fatal(err)
		}
	}
	for m := range int64(minutes) {
		write(from + m*60_000)
	}
	newest := from + (minutes-1)*60_000
	power := store.PowerQuery{FromMs: newest - 240_000, ToMs: newest + 60_000, By: store.ByPower, Limit: 100}
	questions := []struct {
		name string
		ask  func() error
	}{
		{"containers", func() error { q := power; q.ByContainer = true; _, _, err := s.Power(b.Context(), q); return err }},
		{"containers-by-name", func() error {
			q := power
			q.ByContainer, q.By, q.Match = true, store.ByName, map[store.Dimension]string{store.Namespace: "team-7"}
			_, _, err := s.Power(b.Context(), q)
			return err
		}},
		{"workloads", func() error { _, _, err := s.Power(b.Context(), power); return err }},
		{"hourly-by-namespace", func() error {
			_, err := s.Sum(b.Context(), store.Query{FromMs: from, ToMs: from + format.HourMs, StepMs: format.HourMs, GroupBy: []store.Dimension{store.Namespace}})
			return err
		}},
		{"hourly-by-workload", func() error {
			_, err := s.Sum(b.Context(), store.Query{FromMs: from, ToMs: from + format.HourMs, StepMs: format.HourMs, GroupBy: []store.Dimension{store.Namespace, store.Workload}})
			return err
		}},
	}
	for _, q := range questions {
		b.Run(q.name, func(b *testing.B) {
			var first, rest float64
			n := 0
			for b.Loop() {
				b.StopTimer()
				flush := n%50 == 0
				if flush {
					write(newest)
				}
				before := cpuSeconds()
				b.StartTimer()
				if err := q.ask(); err != nil {
					b.Fatal(err)
				}
				if took := cpuSeconds() - before; flush {
					first += took
				} else {
					rest += took
				}
				n++
			}
			b.ReportMetric(first*1000/float64((n+49)/50), "first-cpu-ms")
			if n > 1 {
				b.ReportMetric(rest*1000/float64(n-(n+49)/50), "next-cpu-ms")
			}
		})
	}
}
