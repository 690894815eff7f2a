package storetest

import (
	"fmt"
	"math/rand/v2"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// tagged are the dimensions that tags give.
var tagged = []store.Dimension{"team", "app", store.Label("app.kubernetes.io/name"), store.Annotation("note")}

// tagsOf returns some tags, of few values, so that they meet.
func tagsOf(r *rand.Rand) power.Tags {
	var list []power.Tag
	for _, t := range []power.Tag{
		{Kind: power.DimensionTag, Name: "team"}, {Kind: power.DimensionTag, Name: "app"},
		{Kind: power.PodLabel, Name: "app_kubernetes_io_name"}, {Kind: power.NamespaceLabel, Name: "app_kubernetes_io_name"},
		{Kind: power.PodAnnotation, Name: "note"}, {Kind: power.NodeLabel, Name: "note"},
	} {
		if r.IntN(3) > 0 {
			t.Value = fmt.Sprintf("v%d", r.IntN(3))
			list = append(list, t)
		}
	}
	return power.TagsOf(list)
}

// tags lets labels change in mid life, come late and vanish, restates windows
// under other tags than they were booked under, and repeats what was overtaken.
func tags(s *story) {
	s.anyHolders = true // one whose tags change counts as one and as two
	r := rand.New(rand.NewPCG(11, 4))
	lives := map[power.HolderKey][]*power.Holder{} // newest last
	var keys []power.HolderKey
	for _, h := range holders() {
		keys = append(keys, h.HolderKey)
		lives[h.HolderKey] = []*power.Holder{h}
	}
	at := func(key power.HolderKey, start int64) *power.Holder {
		life := lives[key]
		for i := len(life) - 1; i > 0; i-- {
			if life[i].SinceMs <= start {
				return life[i]
			}
		}
		return life[0]
	}
	revision := uint64(0)
	book := func(key power.HolderKey, h *power.Holder, start int64) power.Charge {
		revision++
		return charge(h, start, int64(revision), revision)
	}
	var overtaken []power.Charge
	for m := int64(0); m < 400; m++ {
		var b store.Batch
		now := Day0 + m*minute
		for _, key := range keys {
			life := lives[key]
			if key.Kind != power.Container {
				b.Charges = append(b.Charges, book(key, life[0], now))
				continue
			}
			newest := life[len(life)-1]
			switch r.IntN(40) {
			case 0: // another label: from this minute on, or from one that is booked
				next := *newest
				next.SinceMs, next.Tags = now-minute*r.Int64N(4), tagsOf(r)
				if next.SinceMs > newest.SinceMs {
					lives[key] = append(life, &next)
					for start := next.SinceMs; start < now; start += minute {
						b.Charges = append(b.Charges, book(key, &next, start))
					}
				}
			case 1: // learned late, or a namespace that is another
				i := r.IntN(len(life))
				late := *life[i]
				late.Tags = tagsOf(r)
				life[i] = &late
				b.Holders = append(b.Holders, &late)
			case 2: // restated as what it was then, far back
				start := Day0 + r.Int64N(m+1)*minute
				b.Charges = append(b.Charges, book(key, at(key, start), start))
			case 3: // a window that is another's now, and the older one again
				if start := Day0 + r.Int64N(m+1)*minute; len(life) > 1 {
					old := book(key, life[0], start)
					s.append(store.Batch{Charges: []power.Charge{old}})
					b.Charges = append(b.Charges, book(key, life[len(life)-1], start))
					overtaken = append(overtaken, old)
				}
			}
			if r.IntN(10) > 0 {
				b.Charges = append(b.Charges, book(key, at(key, now), now))
			}
		}
		s.append(b)
		if len(overtaken) > 0 && r.IntN(5) == 0 {
			s.append(store.Batch{Charges: overtaken[len(overtaken)-1:]})
		}
		if m%97 == 96 {
			s.compareTags(Day0, now+minute)
			s.settle()
			s.compareTags(Day0, now+minute)
			s.compareTags(Day0+17*minute, now-3*minute)
		}
	}
	several := 0
	for _, life := range lives {
		several = max(several, len(life))
	}
	if several < 3 || len(overtaken) == 0 {
		s.Fatal("too little happened to show anything")
	}
}

// compareTags compares sums by tags, and that they add up to those by namespace.
func (s *story) compareTags(from, to int64) {
	s.Helper()
	for _, step := range []int64{0, minute, hour} {
		q := store.Query{FromMs: from, ToMs: to, StepMs: step, GroupBy: []store.Dimension{store.Namespace}}
		want := energyBySteps(s.compare(q))
		for _, d := range tagged {
			q.GroupBy, q.Match = []store.Dimension{d}, nil
			if got := energyBySteps(s.compare(q)); fmt.Sprint(got) != fmt.Sprint(want) {
				s.Fatalf("by %s, step %d: %v, by namespace %v", d, step, got, want)
			}
			q.GroupBy = []store.Dimension{store.Cluster, d, store.Namespace}
			s.compare(q)
			q.Match = map[store.Dimension]string{d: "v1"}
			s.compare(q)
			q.GroupBy, q.Match = []store.Dimension{"team"}, map[store.Dimension]string{store.Namespace: "ns1", d: store.Unassigned}
			s.compare(q)
		}
	}
}

func energyBySteps(rows []store.Row) map[int64]power.Energy {
	sums := map[int64]power.Energy{}
	for _, r := range rows {
		e := sums[r.StartMs]
		e.Add(r.Energy)
		sums[r.StartMs] = e
	}
	return sums
}
