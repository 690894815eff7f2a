package local

import (
	"path/filepath"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// What was appended of a node is read back as it was, from open hours and from
// closed ones, and nothing of its neighbours.
func TestBooked(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	f := newFleet(5, 1, 2)
	type place struct {
		start int64
		key   power.HolderKey
	}
	want := map[place]power.Charge{}
	const minutes, of = 130, "node-3"
	for m := int64(0); m < minutes; m += 10 {
		var b store.Batch
		for at := day0 + m*60_000; at < day0+(m+10)*60_000; at += 60_000 {
			charges := f.minute(at)
			b.Charges = append(b.Charges, charges...)
			for _, c := range charges {
				if c.Holder.Node == of {
					want[place{at, c.Holder.HolderKey}] = c
				}
				b.Nodes = append(b.Nodes, power.NodeWindow{Cluster: "prod", Node: c.Holder.Node, StartMs: at, Seconds: 60, Used: c.Energy, Containers: c.Energy, Generation: "other", Revision: c.Revision})
			}
		}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func(from, to int64) int {
		t.Helper()
		got, err := s.Booked(t.Context(), "prod", of, day0+from*60_000, day0+to*60_000)
		if err != nil {
			t.Fatal(err)
		}
		for start, w := range got {
			if start < day0+from*60_000 || start >= day0+to*60_000 || len(w.Charges) != 1 || w.Node == nil {
				t.Fatalf("%d to %d: %d holds %+v", from, to, start, w)
			}
			c := w.Charges[0]
			expected := want[place{start, c.Holder.HolderKey}]
			if *c.Holder != *expected.Holder || *c.Price != *expected.Price {
				t.Errorf("%d: %+v at %+v", start, c.Holder, c.Price)
			}
			c.Holder, c.Price = expected.Holder, expected.Price
			if c != expected || w.Node.Used != c.Energy || w.Node.Node != of {
				t.Errorf("%d:\n%+v, want\n%+v, of %+v", start, c, expected, w.Node)
			}
		}
		return len(got)
	}
	for _, r := range [][3]int64{{0, minutes, minutes}, {50, 70, 20}, {125, 200, 5}, {-60, 1, 1}, {60, 60, 0}, {500, 600, 0}} {
		if n := ask(r[0], r[1]); n != int(r[2]) {
			t.Errorf("%d to %d: %d windows, want %d", r[0], r[1], n, r[2])
		}
	}
	if got, err := s.Booked(t.Context(), "other", of, 0, day0*2); err != nil || len(got) != 0 {
		t.Errorf("of another cluster: %v, %v", got, err)
	}
	nodes := map[string]BookedNode{}
	for _, n := range s.BookedNodes() {
		nodes[n.Node] = n
	}
	if n := nodes[of]; len(nodes) != 5 || n != (BookedNode{"prod", of, day0, day0 + (minutes-1)*60_000}) {
		t.Errorf("nodes: %+v", nodes)
	}
	if h := s.Holder(f.holders[3].HolderKey, day0); h == nil || *h != *f.holders[3] {
		t.Errorf("holder: %+v", h)
	}
	if h := s.Holder(power.HolderKey{Node: "nobody"}, day0); h != nil {
		t.Errorf("nobody: %+v", h)
	}
}
