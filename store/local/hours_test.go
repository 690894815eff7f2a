package local

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// plainBooks add up what was appended the plain way: every row in a map.
type plainBooks struct {
	holders map[power.HolderKey]*power.Holder
	rows    map[plainKey]power.Charge
}

type plainKey struct {
	holder power.HolderKey
	start  int64
}

func (p *plainBooks) append(b store.Batch) {
	for _, c := range b.Charges {
		k := plainKey{c.Holder.HolderKey, c.StartMs}
		if have, ok := p.rows[k]; !ok || c.Revision >= have.Revision {
			p.rows[k] = c
		}
		if p.holders[k.holder] == nil {
			p.holders[k.holder] = c.Holder
		}
	}
	for _, h := range b.Holders {
		if p.holders[h.HolderKey] != nil {
			p.holders[h.HolderKey] = h
		}
	}
}

// sum answers what Store.Sum is asked, a line for each row.
func (p *plainBooks) sum(q store.Query) []string {
	type key struct {
		start int64
		group string
		own   power.HolderKey // grouped by container_id: holders stay apart even if they are called the same
		price power.Price
	}
	rows := map[key]store.Row{}
	holders := map[string]map[power.HolderKey]bool{}
	for k, c := range p.rows {
		h := p.holders[k.holder]
		if c.StartMs < q.FromMs || c.StartMs >= q.ToMs || !matches(h, q.Match) {
			continue
		}
		at := key{start: c.StartMs - c.StartMs%q.StepMs, price: *c.Price}
		if slices.Contains(q.GroupBy, store.ContainerID) {
			at.own = k.holder
		}
		for _, d := range q.GroupBy {
			at.group += value(h, d) + "|"
		}
		r := rows[at]
		r.Energy.Add(c.Energy)
		r.Idle += c.Idle
		r.SeenMs, r.HeldMs, r.LastMs = r.SeenMs+int64(c.SeenMs), r.HeldMs+int64(c.Seconds)*1000, max(r.LastMs, c.LastMs)
		rows[at] = r
		in := fmt.Sprint(at.start, at.group, at.own)
		if holders[in] == nil {
			holders[in] = map[power.HolderKey]bool{}
		}
		holders[in][k.holder] = true
	}
	var lines []string
	for k, r := range rows {
		lines = append(lines, fmt.Sprint(k.start, k.group, k.price.ElectricityPerKWh, r.Energy, r.Idle, r.SeenMs, r.HeldMs, r.LastMs, len(holders[fmt.Sprint(k.start, k.group, k.own)])))
	}
	slices.Sort(lines)
	return lines
}

func sumLines(t *testing.T, s *Store, q store.Query) []string {
	t.Helper()
	rows, err := s.Sum(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range rows {
		group := ""
		for _, v := range r.Group {
			group += v + "|"
		}
		lines = append(lines, fmt.Sprint(r.StartMs, group, r.Price.ElectricityPerKWh, r.Energy, r.Idle, r.SeenMs, r.HeldMs, r.LastMs, r.Holders))
	}
	slices.Sort(lines)
	return lines
}

// copyBooks copies an open database as it is on disk: what a power cut leaves.
func copyBooks(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "books.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestOpenHours compares the sums of open hours, and of those around them, with
// adding up all rows, whatever is appended in whichever order.
func TestOpenHours(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { testOpenHours(t, rand.New(rand.NewPCG(seed, 7)), 100) })
	}
}

func testOpenHours(t *testing.T, r *rand.Rand, rounds int) {
	cfg := DefaultConfig()
	cfg.RecentWindow = time.Duration(r.IntN(12)) * time.Minute
	path := filepath.Join(t.TempDir(), "books.db")
	s := openTest(t, path, cfg)
	plain := &plainBooks{map[power.HolderKey]*power.Holder{}, map[plainKey]power.Charge{}}
	prices := []*power.Price{{ElectricityPerKWh: 0.1}, {ElectricityPerKWh: 0.2}}
	var holders []*power.Holder
	charge := func(h *power.Holder, start int64, revision uint64) power.Charge {
		c := power.Charge{Holder: h, StartMs: start, Seconds: 60, SeenMs: int32(r.IntN(60_000)), LastMs: start + int64(r.IntN(60_000)), Revision: revision}
		c.Price = prices[start/1_800_000%2]
		if r.IntN(30) == 0 {
			c.Price = prices[r.IntN(2)]
		}
		for k := range c.Energy {
			c.Energy[k] = power.Microjoules(r.Int64N(1e9) - 1e8)
		}
		c.Idle = power.Microjoules(r.IntN(1000))
		return c
	}
	newest, revision := int64(day0), uint64(100)
	for round := range rounds {
		b := store.Batch{Position: uint64(round + 1)}
		if r.IntN(8) == 0 || len(holders) < 5 {
			holders = append(holders, &power.Holder{
				HolderKey: power.HolderKey{Cluster: fmt.Sprint("c", r.IntN(2)), Node: fmt.Sprint("n", r.IntN(3)), Kind: power.HolderKind(r.IntN(5)), ID: fmt.Sprint(len(holders))},
				Workload:  power.Workload{Namespace: fmt.Sprint("ns", r.IntN(3)), Name: fmt.Sprint("w", r.IntN(4))},
			})
		}
		if r.IntN(5) == 0 {
			h := *holders[r.IntN(len(holders))]
			h.Workload.Namespace, h.Type = fmt.Sprint("ns", r.IntN(3)), power.Types[r.IntN(2)]
			b.Holders = append(b.Holders, &h)
			holders[slices.IndexFunc(holders, func(o *power.Holder) bool { return o.HolderKey == h.HolderKey })] = &h
		}
		newest += 60_000 * int64(r.IntN(4))
		if r.IntN(60) == 0 {
			newest += format.HourMs * int64(r.IntN(5))
		}
		revision++
		for _, h := range holders {
			if r.IntN(3) > 0 {
				b.Charges = append(b.Charges, charge(h, newest, revision))
			}
		}
		// Late ones: of any hour that is open or was, newer and older than what is there.
		for range r.IntN(10) * r.IntN(2) {
			late := newest - 60_000*int64(r.IntN([]int{15, 100}[r.IntN(2)]))
			c := charge(holders[r.IntN(len(holders))], late, revision-uint64(r.IntN(3)))
			if old, ok := plain.rows[plainKey{c.Holder.HolderKey, late}]; ok && r.IntN(2) == 0 { // as restatements are
				c.Price, c.LastMs = old.Price, old.LastMs+int64(r.IntN(10))
			}
			b.Charges = append(b.Charges, c)
			if r.IntN(10) == 0 {
				b.Charges = append(b.Charges, charge(c.Holder, late, c.Revision))
			}
		}
		// In pieces, between which what is seen is what was there after one of them
		// or before the first.
		q := store.Query{StepMs: format.HourMs, GroupBy: []store.Dimension{store.Cluster, store.Namespace, store.WorkloadType}, ToMs: newest - newest%format.HourMs + format.HourMs}
		var possible [][]string
		inPieces := r.IntN(3) == 0
		if inPieces {
			possible = append(possible, plain.sum(q))
		}
		for {
			piece, n := b, len(b.Charges)
			if inPieces {
				n = (n + r.IntN(n+1)) / 2
			}
			piece.Charges, b.Charges, b.Holders = b.Charges[:n], b.Charges[n:], nil
			if piece.More = len(b.Charges) > 0; piece.More {
				piece.Position = 0
			}
			if err := s.Append(t.Context(), piece); err != nil {
				t.Fatal(err)
			}
			plain.append(piece)
			if !piece.More {
				break
			}
			possible = append(possible, plain.sum(q))
			got := sumLines(t, s, q)
			if !slices.ContainsFunc(possible, func(want []string) bool { return slices.Equal(got, want) }) {
				t.Fatalf("round %d, newest %d, between pieces: got %q\nwant one of %q", round, newest, got, possible)
			}
		}
		if r.IntN(20) == 0 {
			if err := s.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(25) == 0 { // the line goes on where a power cut left it
			path = copyBooks(t, path)
			s = openTest(t, path, cfg)
		}
		if r.IntN(3) > 0 { // what nobody asked for must be right as well
			continue
		}
		for _, q := range []store.Query{
			{StepMs: format.HourMs, GroupBy: []store.Dimension{store.Cluster, store.Namespace}},
			{StepMs: format.HourMs, GroupBy: []store.Dimension{store.WorkloadType}, Match: map[store.Dimension]string{store.Cluster: "c1"}},
			{StepMs: format.HourMs, GroupBy: []store.Dimension{store.Workload, store.ContainerID}},
			{StepMs: 2 * format.HourMs, GroupBy: []store.Dimension{store.Node, store.Namespace}},
			{StepMs: format.HourMs, GroupBy: []store.Dimension{store.Namespace}, Match: map[store.Dimension]string{store.Workload: "w1"}},
			{StepMs: 5 * 60_000, GroupBy: []store.Dimension{store.Namespace}, FromMs: newest - 25*60_000},
			{StepMs: format.HourMs, FromMs: newest - 70*60_000},
		} {
			q.ToMs = newest + 60_000
			if q.StepMs >= format.HourMs {
				q.ToMs = newest - newest%format.HourMs + format.HourMs
			}
			if got, want := sumLines(t, s, q), plain.sum(q); !slices.Equal(got, want) {
				same := func(list []string) func(string) bool {
					return func(line string) bool { return slices.Contains(list, line) }
				}
				t.Fatalf("round %d, newest %d: %+v\ngot  %q\nwant %q", round, newest, q, slices.DeleteFunc(slices.Clone(got), same(want)), slices.DeleteFunc(want, same(got)))
			}
		}
	}
}

// One answer is of one commit, what comes from memory and what from the file.
func TestAnswersAreOfOneCommit(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	h := &power.Holder{HolderKey: power.HolderKey{Cluster: "c", Node: "n", ID: "1"}, Workload: power.Workload{Namespace: "ns"}}
	price := &power.Price{}
	const minutes = 31
	write := func(n uint64) error {
		b := store.Batch{Position: n}
		for m := range int64(minutes) {
			b.Charges = append(b.Charges, power.Charge{Holder: h, StartMs: day0 + m*60_000, Seconds: 60, Energy: power.Energy{power.Microjoules(n)}, Price: price, Revision: n})
		}
		return s.Append(t.Context(), b)
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for n := uint64(2); n < 150; n++ {
			if err := write(n); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	answers := map[power.Microjoules]bool{}
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if len(answers) < 3 {
				t.Errorf("only %d states were seen", len(answers))
			}
			return
		default:
		}
		rows, err := s.Sum(t.Context(), store.Query{FromMs: day0, ToMs: day0 + minutes*60_000, StepMs: 60_000})
		if err != nil || len(rows) != minutes {
			t.Fatal(len(rows), err)
		}
		for i, r := range rows {
			if r.Energy != rows[0].Energy {
				t.Fatalf("minute %d is of commit %d, minute 0 of %d", i, r.Energy[0], rows[0].Energy[0])
			}
		}
		whole, err := s.Sum(t.Context(), store.Query{FromMs: day0 - day0%format.HourMs, ToMs: day0 - day0%format.HourMs + format.HourMs, StepMs: format.HourMs})
		if err != nil || len(whole) != 1 || whole[0].Energy[0]%minutes != 0 {
			t.Fatal(whole, err)
		}
		answers[rows[0].Energy[0]] = true
	}
}
