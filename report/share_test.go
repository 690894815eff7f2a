package report

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// random is books of random rows: two clusters, some teams and namespaces, two
// prices, and remainders that may be negative.
type random struct {
	store.Querier
	rows []randomRow
}

type randomRow struct {
	startMs int64
	of      map[store.Dimension]string
	row     store.Row
}

func newRandom(r *rand.Rand) *random {
	b := &random{}
	for hour := range int64(6) {
		for _, cluster := range []string{"a", "b"} {
			for _, kind := range []power.HolderKind{power.System, power.Idle, power.Unattributed} {
				if r.IntN(5) > 0 {
					name := kind.PseudoName()
					b.add(r, hour, cluster, name, name, kind == power.Unattributed)
				}
			}
			for i := range r.IntN(8) {
				b.add(r, hour, cluster, fmt.Sprint("ns", i%3), fmt.Sprint("team", r.IntN(3)), false)
			}
			if r.IntN(2) > 0 {
				b.add(r, hour, cluster, "kube-system", store.Unassigned, false)
			}
		}
	}
	return b
}

func (b *random) add(r *rand.Rand, hour int64, cluster, namespace, team string, signed bool) {
	row := store.Row{Price: []power.Price{cheap, dear}[r.IntN(2)], Holders: 1, SeenMs: 3_600_000, HeldMs: 3_600_000}
	if r.IntN(4) > 0 {
		for c := range row.Energy {
			row.Energy[c] = power.Microjoules(r.Int64N(1e13))
			if signed {
				row.Energy[c] -= 5e12
			}
		}
		row.Idle = row.Energy[power.CPU] / 3
	}
	b.rows = append(b.rows, randomRow{hour * 3_600_000, map[store.Dimension]string{store.Cluster: cluster, store.Namespace: namespace, "team": team}, row})
}

func (b *random) Sum(_ context.Context, q store.Query) ([]store.Row, error) {
	var rows []store.Row
	for _, x := range b.rows {
		ok := x.startMs >= q.FromMs && x.startMs < q.ToMs
		for d, asked := range q.Match {
			ok = ok && store.Matches(asked, x.of[d])
		}
		if !ok {
			continue
		}
		row := x.row
		row.StartMs, row.Group = x.startMs, nil
		for _, d := range q.GroupBy {
			row.Group = append(row.Group, x.of[d])
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// However costs are shared, the sum is that of the nodes, own parts are what they
// are without sharing, groups and steps add up, and a filter shows what the whole
// answer has.
func TestSharing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	steps := Even(time.UnixMilli(0), time.UnixMilli(6*3_600_000), time.Hour)
	now := time.UnixMilli(10 * 3_600_000)
	for range 300 {
		books := New(newRandom(r), nil)
		share := &Sharing{By: []SharingKey{ShareByEnergy, ShareEvenly, ShareByWeights}[r.IntN(3)], Match: map[store.Dimension]string{}}
		for _, k := range []power.HolderKind{power.System, power.Idle, power.Unattributed} {
			if r.IntN(2) > 0 {
				share.Names = append(share.Names, k.PseudoName())
			}
		}
		if r.IntN(2) > 0 {
			share.Match[store.Namespace] = "kube-system"
		}
		if share.By == ShareByWeights {
			share.Weights = map[string]uint64{"team0": 3, "team1": uint64(r.IntN(2)), "absent": uint64(r.IntN(5))}
		}
		ask := func(q Question) Answer {
			t.Helper()
			q.Steps, q.Now = steps, now
			a, err := books.Costs(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		by := []store.Dimension{"team"}
		plain, shared := ask(Question{By: by}), ask(Question{By: by, Share: share})
		same := func(what string, a, b Amount) {
			t.Helper()
			if a.Energy() != b.Energy() || a.Idle() != b.Idle() {
				t.Fatalf("%+v: %s is %v idle %d, want %v idle %d", share, what, a.Energy(), a.Idle(), b.Energy(), b.Idle())
			}
		}
		same("the total", shared.Total.Amount, plain.Total.Amount)
		var sum, own, given Amount
		for _, g := range shared.Groups {
			sum.Add(g.Amount)
			own.Add(g.Parts.Own)
			given.Add(g.Parts.Shared)
			both := Amount{}
			both.Add(g.Parts.Own)
			both.Add(g.Parts.Shared)
			same("own and shared of "+g.Name(), g.Amount, both)
		}
		same("the sum of the groups", sum, plain.Total.Amount)
		var bySteps Amount
		for i, s := range shared.Steps {
			same("a step", s.Amount, plain.Steps[i].Amount)
			bySteps.Add(s.Amount)
		}
		same("the sum of the steps", bySteps, plain.Total.Amount)
		for _, g := range shared.Groups {
			one := ask(Question{By: by, Share: share, Match: map[store.Dimension]string{"team": g.Name()}})
			same("filtered "+g.Name(), one.Total.Amount, g.Amount)
			// Prices are shared as they are.
			a, _, _ := one.Total.Money()
			b, _, _ := g.Money()
			if d := a.Total() - b.Total(); d > 1e-9 || d < -1e-9 {
				t.Fatalf("filtered %s costs %v, among all %v", g.Name(), a, b)
			}
		}
		one := ask(Question{By: by, Share: share, Match: map[store.Dimension]string{store.Cluster: "a"}})
		two := ask(Question{By: by, Share: share, Match: map[store.Dimension]string{store.Cluster: "b"}})
		both := Amount{}
		both.Add(one.Total.Amount)
		both.Add(two.Total.Amount)
		same("two clusters", both, plain.Total.Amount)
	}
}

func TestSplit(t *testing.T) {
	f := func(e power.Microjoules, weights []uint64, want ...power.Microjoules) {
		t.Helper()
		if got := split(e, weights); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d over %v is %v, want %v", e, weights, got, want)
		}
	}
	f(10, []uint64{1, 1, 1}, 3, 3, 4)
	f(-10, []uint64{1, 1, 1}, -3, -3, -4)
	f(7, []uint64{0, 2, 0}, 0, 7, 0)
	f(9e18, []uint64{1 << 63, 1 << 63}, 45e17, 45e17)
	f(0, []uint64{5, 5}, 0, 0)
}
