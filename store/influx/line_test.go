package influx

import (
	"fmt"
	"strings"
	"testing"
	"time"

	points "github.com/influxdata/influxdb-client-go/v2/api/write"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

var seed = power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}

func TestLine(t *testing.T) {
	r := store.WindowRow{
		Node: "n1", Workload: power.Workload{Cluster: "c1", Namespace: "a b", Kind: "deployment", Name: "x=y,z"}, Type: power.Web,
		StartMs: 1_760_054_400_000, Seconds: 60, Energy: power.Energy{3_000_000, 2_000_000, 1_000_000, 0}, Idle: 500_000,
		Price: seed, SeenMs: 60_000, HeldMs: 120_000, LastMs: 1_760_054_459_000, Containers: 2, Revision: 7,
	}
	r.Cost = seed.Cost(r.Energy.Total())
	f := func(want string) {
		t.Helper()
		if got := string(newEncoder().row(nil, &r)); got != want {
			t.Errorf("line is\n%swant\n%s", got, want)
		}
	}
	f(`energy,cluster=c1,namespace=a\ b,node=n1,workload=x\=y\,z,workload_kind=deployment,workload_type=web energy_uj=6000000i,cpu_uj=3000000i,dram_uj=2000000i,gpu_uj=1000000i,other_uj=0i,` +
		`idle_uj=500000i,cost_nano=543i,seen_ms=60000i,held_ms=120000i,last_ms=1760054459000i,containers=2i,revision=7i,seconds=60i,price=` + fmt.Sprint(priceID(seed)) + "i,watts=0.1 1760054400000\n")
	// What was used at several prices keeps the parts of its cost.
	r.Cost.Electricity *= 2
	r.Workload, r.Node = power.Workload{}, ""
	f(`energy,workload_type=web energy_uj=6000000i,cpu_uj=3000000i,dram_uj=2000000i,gpu_uj=1000000i,other_uj=0i,idle_uj=500000i,cost_nano=743i,seen_ms=60000i,held_ms=120000i,` +
		`last_ms=1760054459000i,containers=2i,revision=7i,seconds=60i,price=0i,electricity=4e-07,cooling=2.6e-07,carbon=8.333333333333334e-08,carbon_kg=1.6666666666666667e-06,watts=0.1 1760054400000` + "\n")
}

func TestTagValue(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		got := tagValue(name)
		if got != want {
			t.Errorf("tagValue(%q) = %q, want %q", name, got, want)
		}
		if back := tagName(got); back != name {
			t.Errorf("tagName(%q) = %q, want %q", got, back, name)
		}
	}
	f("plain", "plain")
	f("한글 = a,b", "한글 = a,b")
	f(`C:\dir`, `C:\dir`)
	f(`end\`, `end␛/`)
	f(`end\\`, `end␛/␛/`)
	f(`a\,b\ c\=d\"e`, `a␛/,b␛/ c␛/=d␛/"e`)
	f("two\nlines\r", "two␛nlines␛r")
	f("a␛b", "a␛␛b")
	f(`a\␛`, "a␛/␛␛")
	f("␛n", "␛␛n")
}

func FuzzTagValue(f *testing.F) {
	for _, s := range []string{"", `a\`, "␛/", "\n", `\␛\,`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		v := tagValue(name)
		if back := tagName(v); back != name {
			t.Errorf("%q becomes %q and then %q", name, v, back)
		}
		if strings.HasSuffix(v, `\`) || strings.ContainsAny(v, "\n\r") {
			t.Errorf("%q becomes %q, which a line cannot hold", name, v)
		}
	})
}

// manyRows are rows of many workloads on a few nodes.
func manyRows(n int) []store.WindowRow {
	rows := make([]store.WindowRow, n)
	for i := range rows {
		w := power.Workload{Cluster: "production", Namespace: fmt.Sprintf("team-%d", i%40), Kind: "deployment", Name: fmt.Sprintf("service-%d", i)}
		rows[i] = store.WindowRow{
			Node: fmt.Sprintf("node-%d", i%10), Workload: w, Type: power.Web, StartMs: 1_760_054_400_000, Seconds: 60,
			Energy: power.Energy{power.Microjoules(1_234_567_890 + i), 234_567_890, 0, 0}, Idle: 34_567_890, Price: seed,
			SeenMs: 180_000, HeldMs: 180_000, LastMs: 1_760_054_459_000, Containers: 3, Revision: 123_456,
		}
		rows[i].Cost = seed.Cost(rows[i].Energy.Total())
	}
	return rows
}

// appendPoint is what a line costs with the client's own points.
func appendPoint(b *strings.Builder, r *store.WindowRow, e *encoder) {
	tags := map[string]string{"cluster": r.Workload.Cluster, "namespace": r.Workload.Namespace, "node": r.Node,
		"workload": r.Workload.Name, "workload_kind": r.Workload.Kind, "workload_type": string(r.Type)}
	total := r.Energy.Total()
	fields := map[string]any{"energy_uj": int64(total), "cpu_uj": int64(r.Energy[0]), "dram_uj": int64(r.Energy[1]), "gpu_uj": int64(r.Energy[2]),
		"other_uj": int64(r.Energy[3]), "idle_uj": int64(r.Idle), "cost_nano": nano(r.Cost.Total()), "seen_ms": r.SeenMs, "held_ms": r.HeldMs, "last_ms": r.LastMs,
		"containers": int64(r.Containers), "revision": int64(r.Revision), "seconds": int64(r.Seconds), "price": e.price(r.Price), "watts": total.Joules() / float64(r.Seconds)}
	points.PointToLineProtocolBuffer(points.NewPoint(energyMeasurement, tags, fields, time.UnixMilli(r.StartMs)), b, time.Millisecond)
}

func TestLineAllocates(t *testing.T) {
	rows, e := manyRows(1000), newEncoder()
	var b []byte
	for range 2 {
		b = b[:0]
		for i := range rows {
			b = e.row(b, &rows[i])
		}
	}
	if n := testing.AllocsPerRun(10, func() {
		b = b[:0]
		for i := range rows {
			b = e.row(b, &rows[i])
		}
	}); n != 0 {
		t.Errorf("1,000 known rows allocate %v times", n)
	}
}

// BenchmarkLine tells how much less a line costs than with the client's points.
func BenchmarkLine(b *testing.B) {
	rows, e := manyRows(1000), newEncoder()
	var text strings.Builder
	began := time.Now()
	const rounds = 20
	for range rounds {
		text.Reset()
		for i := range rows {
			appendPoint(&text, &rows[i], e)
		}
	}
	client := float64(time.Since(began)) / float64(rounds*len(rows))
	var buf []byte
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%len(rows) == 0 {
			buf = buf[:0]
		}
		buf = e.row(buf, &rows[n%len(rows)])
		n++
	}
	own := float64(b.Elapsed()) / float64(n)
	b.ReportMetric(1e9/own, "rows/s")
	b.ReportMetric(client/own, "times_less")
}
