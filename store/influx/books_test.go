package influx

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local"
)

// books are the local engine, the follower of it and the querier.
type books struct {
	*testing.T
	local    *local.Store
	follower *Follower
	refused  *box
	querier  *Querier
	seq      uint64
	position uint64
}

func openBooks(t *testing.T) *books {
	t.Helper()
	cfg := local.DefaultConfig()
	cfg.Followers = []string{"influxdb"}
	l, err := local.Open(filepath.Join(t.TempDir(), "books.db"), cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	c := testConfig(shared.URL)
	f, refused := open(t, c)
	return &books{T: t, local: l, follower: f, refused: refused, querier: ask(t, c, l)}
}

func (b *books) append(batch store.Batch) {
	b.Helper()
	b.position++
	batch.Position = b.position
	if err := b.local.Append(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
}

// feed gives the follower what the outbox has, closed hours included.
func (b *books) feed() {
	b.Helper()
	if err := b.local.Maintain(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.take()
}

// take gives the follower what the outbox has.
func (b *books) take() {
	b.Helper()
	for {
		entries, err := b.local.Next(b.Context(), b.seq, 100)
		if err != nil {
			b.Fatal(err)
		}
		if len(entries) == 0 {
			return
		}
		d := store.Delivery{FromSeq: entries[0].Seq, ToSeq: entries[len(entries)-1].Seq}
		if d.Windows, err = b.local.Windows(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
		if d.Hours, err = b.local.Hours(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
		d.Spaces = spacesOf(b, b.local, d.Hours)
		write(b, b.follower, d)
		b.seq = d.ToSeq
	}
}

// spacesOf returns the sums by namespace of the hours that rows are of.
func spacesOf(t testing.TB, q store.Querier, rows []store.WindowRow) (list []store.Row) {
	t.Helper()
	for _, start := range hoursOf(store.Delivery{Hours: rows}) {
		part, err := q.Sum(t.Context(), store.Query{FromMs: start, ToMs: start + hourMs, StepMs: hourMs, GroupBy: spaces})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, part...)
	}
	return list
}

// lines are rows in an order and form that can be compared. Holders are told
// only where they are exact.
func lines(q store.Query, rows []store.Row) []string {
	var list []string
	for _, r := range rows {
		holders := ""
		if q.StepMs == hourMs {
			holders = fmt.Sprint(" holders=", r.Holders)
		}
		list = append(list, fmt.Sprintf("%d %q %v energy=%v idle=%d seen=%d held=%d last=%d%s", r.StartMs, r.Group, r.Price, r.Energy, r.Idle, r.SeenMs, r.HeldMs, r.LastMs, holders))
	}
	slices.Sort(list)
	return list
}

func (b *books) compare(q store.Query) {
	b.Helper()
	want, err := b.local.Sum(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	got, err := b.querier.Sum(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	if g, w := lines(q, got), lines(q, want); !slices.Equal(g, w) {
		b.Fatalf("sum %+v:\n got %s\nwant %s", q, strings.Join(g, "\n     "), strings.Join(w, "\n     "))
	}
}

const minuteMs = 60_000

func (b *books) compareAll(from, to int64) {
	b.Helper()
	groups := [][]store.Dimension{
		nil, {store.Namespace}, {store.Cluster, store.Namespace}, {store.WorkloadType}, {store.Node, store.WorkloadType},
		{store.Cluster, store.Namespace, store.WorkloadKind, store.Workload}, {store.Node, store.Namespace},
	}
	ranges := [][2]int64{{from + hourMs, to - hourMs}, {from + 7*minuteMs, to - 13*minuteMs}, {from + 1, to - 1}, {from + 59*minuteMs, from + 61*minuteMs}, {from, from}, {0, 1 << 62}, {from, to}, {from, to}}
	n := 0
	for _, g := range groups {
		for _, step := range []int64{0, minuteMs, 5 * minuteMs, hourMs, dayMs} {
			// Each grouping meets one range with each step.
			r := ranges[n%len(ranges)]
			b.compare(store.Query{FromMs: r[0], ToMs: r[1], StepMs: step, GroupBy: g, WorkloadsOnly: n%2 == 0})
			n++
		}
	}
	for _, m := range []map[store.Dimension]string{
		{store.Namespace: "ns1"}, {store.Namespace: "__idle__"}, {store.Workload: "w2", store.Cluster: "c1"}, {store.Node: "n2"},
		{store.WorkloadType: "web", store.WorkloadKind: "deployment"}, {store.Workload: "nobody"}, {store.WorkloadKind: ""},
	} {
		b.compare(store.Query{FromMs: from, ToMs: to, StepMs: hourMs, GroupBy: []store.Dimension{store.Namespace}, Match: m})
	}
}

// compareSome asks by everything, in windows and in hours.
func (b *books) compareSome(from, to int64) {
	b.Helper()
	for _, step := range []int64{0, minuteMs, hourMs} {
		b.compare(store.Query{FromMs: from, ToMs: to, StepMs: step, GroupBy: held})
	}
	for _, step := range []int64{0, hourMs, dayMs} {
		for _, group := range [][]store.Dimension{spaces, {store.Namespace}} {
			b.compare(store.Query{FromMs: from, ToMs: to, StepMs: step, GroupBy: group})
		}
	}
}

func container(node, id, namespace, workload string, typ power.Type) *power.Holder {
	return &power.Holder{
		HolderKey: power.HolderKey{Cluster: "c1", Node: node, Kind: power.Container, ID: id},
		Workload:  power.Workload{Cluster: "c1", Namespace: namespace, Kind: "deployment", Name: workload}, Type: typ, Pod: workload + "-" + id, Container: "main",
	}
}

func remainder(node string, kind power.HolderKind) *power.Holder {
	name := kind.PseudoName()
	return &power.Holder{
		HolderKey: power.HolderKey{Cluster: "c1", Node: node, Kind: kind},
		Workload:  power.Workload{Cluster: "c1", Namespace: name, Name: name}, Type: power.SystemType,
	}
}

func charge(h *power.Holder, startMs, n int64, price *power.Price, revision uint64) power.Charge {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	c := power.Charge{Holder: h, StartMs: startMs, Seconds: 60, SeenMs: 59_000 + r.Int32N(1000), LastMs: startMs + r.Int64N(minuteMs), Price: price, Revision: revision}
	for i := range c.Energy {
		c.Energy[i] = power.Microjoules(r.Int64N(2_000_000_000) - 1_000_000)
	}
	c.Idle = c.Energy[power.CPU] / 3
	return c
}

func manyHolders() []*power.Holder {
	var list []*power.Holder
	for i := range 12 {
		types := []power.Type{power.MLTraining, power.Web, power.Unknown}
		list = append(list, container(fmt.Sprintf("n%d", i%3), fmt.Sprintf("id-%d", i), fmt.Sprintf("ns%d", i%4), fmt.Sprintf("w%d", i%5), types[i%3]))
	}
	for _, n := range []string{"n0", "n1", "n2"} {
		list = append(list, remainder(n, power.System), remainder(n, power.Idle), remainder(n, power.Unattributed))
	}
	return list
}

// InfluxDB answers what the local engine answers, to the microjoule: closed
// hours and open ones, restatements, workloads learned late, and all of it again.
func TestBooks(t *testing.T) {
	t.Parallel()
	b := openBooks(t)
	night := seed
	night.ElectricityPerKWh = 0.08
	list := manyHolders()
	const minutes = 200
	var batch store.Batch
	for m := int64(0); m < minutes; m++ {
		price := &seed
		if m >= 120 {
			price = &night
		}
		for i, h := range list {
			if (m+int64(i))%7 != 0 || m%60 == 7 {
				batch.Charges = append(batch.Charges, charge(h, day0+m*minuteMs, m*1000+int64(i), price, uint64(m+1)))
			}
		}
		if m%10 == 9 {
			b.append(batch)
			batch = store.Batch{}
		}
	}
	b.feed()
	if end, err := b.querier.closedBefore(t.Context()); err != nil || end != day0+3*hourMs {
		t.Fatalf("hours are closed before %d, %v; want %d", end, err, int64(day0+3*hourMs))
	}
	b.compareAll(day0, day0+4*hourMs)

	t.Log("an hour long over is restated")
	b.append(store.Batch{Charges: []power.Charge{charge(list[2], day0+33*minuteMs, 77, &seed, minutes+1), charge(list[3], day0+190*minuteMs, 78, &night, minutes+1)}})
	b.feed()
	b.compareSome(day0, day0+4*hourMs)

	t.Log("a workload learned late takes the past with it")
	moved := *list[4]
	moved.Workload.Name, moved.Workload.Namespace, moved.Type = "late", "ns-late", power.Batch
	b.append(store.Batch{Holders: []*power.Holder{&moved}})
	b.feed()
	b.compareSome(day0, day0+4*hourMs)

	t.Log("two hours get another price")
	batch = store.Batch{}
	for m := int64(0); m < 120; m++ {
		for i, h := range list {
			if (m+int64(i))%7 != 0 || m%60 == 7 {
				batch.Charges = append(batch.Charges, charge(h, day0+m*minuteMs, m*1000+int64(i), &night, minutes+2))
			}
		}
	}
	batch.Charges = append(batch.Charges, charge(list[2], day0+33*minuteMs, 77, &night, minutes+2))
	batch.Holders = append(batch.Holders, &moved) // charges describe it as it was
	b.append(batch)
	b.feed()
	b.compareSome(day0, day0+4*hourMs)

	t.Log("everything again changes nothing")
	points := func() string {
		return values(t, b.querier.cfg, b.querier.cfg.Bucket, "SELECT count(energy_uj) FROM energy") +
			values(t, b.querier.cfg, b.querier.cfg.hourly(), "SELECT count(energy_uj) FROM energy")
	}
	had := points()
	b.seq = 0
	b.feed()
	if got := points(); got != had {
		t.Errorf("there are %q points, were %q", got, had)
	}
	b.compareAll(day0, day0+4*hourMs)
	if len(b.refused.list) != 0 {
		t.Errorf("refused: %v", b.refused.list)
	}
}

// What moved to another workload while InfluxDB was not told is gone from where it
// was once the stored rows have been sent again.
func TestResync(t *testing.T) {
	t.Parallel()
	b := openBooks(t)
	list := manyHolders()
	var batch store.Batch
	for m := int64(0); m < 130; m++ {
		for i, h := range list {
			batch.Charges = append(batch.Charges, charge(h, day0+m*minuteMs, m*1000+int64(i), &seed, uint64(m+1)))
		}
	}
	b.append(batch)
	b.feed()
	moved := *list[4]
	moved.Workload.Name, moved.Workload.Namespace, moved.Type = `late, "x"\`, "ns late", power.Batch
	b.append(store.Batch{Holders: []*power.Holder{&moved}})

	entries, err := b.local.Next(t.Context(), b.seq, 100)
	if err != nil || len(entries) == 0 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	b.seq = entries[len(entries)-1].Seq // as if they had been too old to be kept
	for at := int64(day0); ; at += 10 * minuteMs {
		d := store.Delivery{FromSeq: b.seq, ToSeq: b.seq, Resync: true, FromMs: at, ToMs: at + 10*minuteMs}
		if d.Windows, err = b.local.WindowsBetween(t.Context(), d.FromMs, d.ToMs); err != nil {
			t.Fatal(err)
		}
		if d.Hours, err = b.local.HoursBetween(t.Context(), d.FromMs, d.ToMs); err != nil {
			t.Fatal(err)
		}
		d.Spaces = spacesOf(b, b.local, d.Hours)
		write(b, b.follower, d)
		if len(d.Windows) == 0 {
			break
		}
	}
	b.compareSome(day0, day0+4*hourMs)
}

// Within an hour that was used at several prices, sums keep what it cost.
func TestSeveralPricesInAnHour(t *testing.T) {
	t.Parallel()
	b := openBooks(t)
	day, night := seed, seed
	night.ElectricityPerKWh, night.CarbonKgPerKWh = 0.08, 0.7
	list := manyHolders()
	var batch store.Batch
	for m := int64(0); m < 140; m++ {
		price := &day
		if m > 30 {
			price = &night
		}
		for i, h := range list {
			batch.Charges = append(batch.Charges, charge(h, day0+m*minuteMs, m*1000+int64(i), price, uint64(m+1)))
		}
	}
	b.append(batch)
	b.feed()
	type total struct {
		energy power.Energy
		cost   power.Cost
	}
	// By namespace even the rows are the same: each price has its own.
	b.compare(store.Query{FromMs: day0, ToMs: day0 + 2*hourMs, StepMs: hourMs, GroupBy: spaces})
	sums := func(q store.Querier, ask store.Query) map[string]total {
		rows, err := q.Sum(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]total{}
		for _, r := range rows {
			if r.Price.Model != "seed" || r.Price.Currency != "USD" {
				t.Errorf("price is %+v", r.Price)
			}
			k := fmt.Sprint(r.StartMs, r.Group)
			s := m[k]
			s.energy.Add(r.Energy)
			s.cost.Add(r.Price.Cost(r.Energy.Total()))
			m[k] = s
		}
		return m
	}
	for _, step := range []int64{0, minuteMs, hourMs} {
		for _, group := range [][]store.Dimension{nil, {store.Namespace}, {store.Namespace, store.Workload}} {
			q := store.Query{FromMs: day0, ToMs: day0 + 3*hourMs, StepMs: step, GroupBy: group}
			got, want := sums(b.querier, q), sums(b.local, q)
			if len(got) != len(want) || len(got) == 0 {
				t.Fatalf("%d groups and steps, want %d", len(got), len(want))
			}
			for k, w := range want {
				g := got[k]
				same := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b) }
				if g.energy != w.energy || !same(g.cost.Electricity, w.cost.Electricity) || !same(g.cost.Cooling, w.cost.Cooling) ||
					!same(g.cost.Carbon, w.cost.Carbon) || !same(g.cost.CarbonKg, w.cost.CarbonKg) {
					t.Errorf("%s: %+v, want %+v", k, g, w)
				}
			}
		}
	}
}

// Names come back as they were and match only themselves.
func TestNames(t *testing.T) {
	t.Parallel()
	b := openBooks(t)
	names := []string{
		"plain", "two words", "a,b", "a=b", `"quoted"`, `it's`, `back\slash`, `end\`, `end\\`, `a\,b`, `a\ b`, `a\=b`, `\"`, "한글 이름", "␛", "␛/", "new\nline", `x\` + "\n",
		"' OR '1'='1", `") OR true --`, "$namespace", "energy,cluster=x", "#comment", " leading", "trailing ", "=", ",", "🔋", "/.*/", "NULL", "",
	}
	var batch store.Batch
	for i, n := range names {
		h := container("node "+n, fmt.Sprint("id-", i), n, n, power.Web)
		batch.Charges = append(batch.Charges, charge(h, day0, int64(i), &seed, 1))
	}
	b.append(batch)
	b.feed()
	if len(b.refused.list) != 0 {
		t.Fatalf("refused: %v", b.refused.list)
	}
	b.compare(store.Query{FromMs: day0, ToMs: day0 + hourMs, GroupBy: []store.Dimension{store.Node, store.Namespace, store.Workload}})
	for _, n := range append(names, "nobody", "plain' OR namespace != 'x") {
		for _, d := range []store.Dimension{store.Namespace, store.Workload} {
			b.compare(store.Query{FromMs: day0, ToMs: day0 + hourMs, GroupBy: []store.Dimension{store.Workload}, Match: map[store.Dimension]string{d: n}})
		}
	}
}

// What InfluxDB does not hold is asked of the engine that it follows.
func TestRest(t *testing.T) {
	b := openBooks(t)
	h := container("n1", "id-1", "shop", "a", power.Web)
	b.append(store.Batch{Charges: []power.Charge{charge(h, day0, 1, &seed, 1)}})
	for _, q := range []store.Query{
		{FromMs: day0, ToMs: day0 + hourMs, GroupBy: []store.Dimension{store.Pod}},
		{FromMs: day0, ToMs: day0 + hourMs, Match: map[store.Dimension]string{store.ContainerID: "id-1"}},
	} {
		rows, err := b.querier.Sum(t.Context(), q)
		if err != nil || len(rows) != 1 {
			t.Errorf("sum %+v: %v, %v; want the row that InfluxDB was not fed yet", q, rows, err)
		}
	}
	if list, err := b.querier.Workloads(t.Context(), nil, 10); err != nil || len(list) != 1 {
		t.Errorf("workloads: %v, %v", list, err)
	}
	if _, err := b.querier.Sum(t.Context(), store.Query{FromMs: 2, ToMs: 1}); err == nil {
		t.Error("a range that ends before it begins is answered")
	}
}

func TestOverflow(t *testing.T) {
	cfg := testConfig(shared.URL)
	f, _ := open(t, cfg)
	var rows []store.WindowRow
	for day := range int64(3) {
		r := rowOf("a", day*24*60, math.MaxInt64/2-1)
		rows = append(rows, r)
	}
	write(t, f, delivery(rows...))
	q := ask(t, cfg, nil)
	if _, err := q.Sum(context.Background(), store.Query{FromMs: day0, ToMs: day0 + 2*dayMs, StepMs: 2 * dayMs}); err != nil {
		t.Error(err)
	}
	if rows, err := q.Sum(context.Background(), store.Query{FromMs: day0, ToMs: day0 + 3*dayMs}); err == nil {
		t.Errorf("a sum that does not fit is %v", rows)
	}
}
