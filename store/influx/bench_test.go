package influx

import (
	"fmt"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// BenchmarkWrite writes windows to a real server.
func BenchmarkWrite(b *testing.B) {
	cfg := testConfig(shared.URL)
	f, _ := open(b, cfg)
	rows := manyRows(5000)
	n := int64(0)
	for b.Loop() {
		for i := range rows {
			rows[i].StartMs = day0 + n*minuteMs
		}
		write(b, f, store.Delivery{Windows: rows})
		n++
	}
	b.ReportMetric(float64(n)*float64(len(rows))/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkSumHourly asks for the hourly sums of 40 namespaces over 30 days of
// 1,000 workloads.
func BenchmarkSumHourly(b *testing.B) {
	cfg := testConfig(shared.URL)
	f, _ := open(b, cfg)
	workloads := manyRows(1000)
	for day := range int64(30) {
		var rows []store.WindowRow
		for h := day * 24; h < (day+1)*24; h++ {
			for i, r := range workloads {
				r.StartMs, r.Seconds = day0+h*hourMs, 3600
				r.Energy[power.CPU] += power.Microjoules(h * int64(i))
				r.Cost = seed.Cost(r.Energy.Total())
				rows = append(rows, r)
			}
		}
		write(b, f, store.Delivery{Hours: rows})
	}
	q := ask(b, cfg, nil)
	for _, step := range []int64{hourMs, 0} {
		b.Run(fmt.Sprintf("step=%v", time.Duration(step)*time.Millisecond), func(b *testing.B) {
			for b.Loop() {
				list, err := q.Sum(b.Context(), store.Query{FromMs: day0, ToMs: day0 + 30*dayMs, StepMs: step, GroupBy: []store.Dimension{store.Namespace}})
				if want := 40 * max(1, 30*24*int(step/hourMs)); err != nil || len(list) != want {
					b.Fatalf("%d rows, %v; want %d", len(list), err, want)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/answer")
		})
	}
}
