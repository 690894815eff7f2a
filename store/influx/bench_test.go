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
	cfg.Timeout = 5 * time.Minute
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
		write(b, f, store.Delivery{Hours: rows, Spaces: spacesIn(rows)})
	}
	q := ask(b, cfg, nil)
	for _, step := range []int64{hourMs, dayMs, 0} {
		for _, kind := range []string{"rollup", "workloads"} {
			ask := store.Query{FromMs: day0, ToMs: day0 + 30*dayMs, StepMs: step, GroupBy: []store.Dimension{store.Namespace}}
			if kind == "workloads" { // what the same question costs without sums by namespace
				ask.Match = map[store.Dimension]string{store.WorkloadKind: "deployment"}
			}
			b.Run(fmt.Sprintf("%s/step=%v", kind, time.Duration(step)*time.Millisecond), func(b *testing.B) {
				for b.Loop() {
					list, err := q.Sum(b.Context(), ask)
					want := 40
					if step > 0 {
						want *= int(30 * dayMs / step)
					}
					if err != nil || len(list) != want {
						b.Fatalf("%d rows, %v; want %d", len(list), err, want)
					}
				}
				b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/answer")
			})
		}
	}
}

// spacesIn adds up rows of hours that come in order, at one price.
func spacesIn(rows []store.WindowRow) (list []store.Row) {
	at := map[string]int{}
	for i := range rows {
		r := &rows[i]
		key := fmt.Sprint(r.StartMs, r.Workload.Namespace)
		if _, ok := at[key]; !ok {
			at[key] = len(list)
			list = append(list, store.Row{StartMs: r.StartMs, Group: []string{r.Workload.Cluster, r.Workload.Namespace, string(r.Type)}, Price: r.Price})
		}
		s := &list[at[key]]
		s.Energy.Add(r.Energy)
		s.Idle += r.Idle
		s.SeenMs, s.HeldMs, s.LastMs, s.Holders = s.SeenMs+r.SeenMs, s.HeldMs+r.HeldMs, max(s.LastMs, r.LastMs), s.Holders+r.Containers
	}
	return list
}
