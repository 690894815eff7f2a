package storetest

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

func replay(s *story) {
	list := holders()
	var batches []store.Batch
	for m := int64(0); m < 150; m++ {
		var b store.Batch
		for i, h := range list {
			b.Charges = append(b.Charges, charge(h, Day0+m*minute, m*1000+int64(i), uint64(m+1)))
		}
		batches = append(batches, b)
		s.append(b)
	}
	for range 2 {
		for _, b := range batches[100:] {
			s.append(b)
		}
		s.settle()
		for _, b := range batches[:70] {
			s.append(b)
		}
		s.settle()
		s.compareAll(Day0, Day0+150*minute)
	}
}

func lowerRevision(s *story) {
	h := container("n0", "a", "ns", "w", power.Web)
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 1, 5)}})
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 2, 4)}})
	rows := s.compare(store.Query{FromMs: Day0, ToMs: Day0 + hour})
	if len(rows) != 1 || rows[0].Energy != charge(h, Day0, 1, 5).Energy {
		s.Errorf("the lower revision won: %v", rows)
	}
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 3, 5)}})
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 4, 6), charge(h, Day0, 5, 5)}})
	s.compareAll(Day0, Day0+hour)
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0+5*hour, 9, 7)}})
	s.settle()
	s.append(store.Batch{Charges: []power.Charge{charge(h, Day0, 6, 5)}}) // and in a closed hour
	s.compareAll(Day0, Day0+6*hour)
}

func restatement(s *story) {
	list := holders()
	s.fill(list, 0, 300)
	s.settle()
	late := container("n9", "late", "ns-late", "w", power.Batch)
	s.append(store.Batch{Charges: []power.Charge{
		charge(list[0], Day0+10*minute, 77, 9000),
		charge(list[1], Day0+61*minute, 78, 9000),
		charge(late, Day0+3*minute, 79, 9001),
		charge(late, Day0+299*minute, 80, 9001),
	}})
	s.compareAll(Day0, Day0+300*minute)
	s.settle()
	s.compareAll(Day0, Day0+300*minute)
	s.append(store.Batch{Charges: []power.Charge{charge(late, Day0-26*hour, 81, 9002)}}) // before everything else
	s.compareAll(Day0-26*hour, Day0+300*minute)
	s.settle()
	s.compareAll(Day0-26*hour, Day0+300*minute)
}

func redescription(s *story) {
	list := holders()
	s.fill(list, 0, 200)
	s.settle()
	moved := *list[0]
	moved.Workload.Namespace, moved.Workload.Name, moved.Workload.Kind, moved.Type = "elsewhere", "other", "job", power.Batch
	s.append(store.Batch{Holders: []*power.Holder{&moved}})
	s.compareAll(Day0, Day0+200*minute)
	s.settle()
	s.compareAll(Day0, Day0+200*minute)
	again := *list[1]
	again.Type = power.Inference
	s.append(store.Batch{Charges: []power.Charge{charge(&again, Day0+200*minute, 5, 500)}})
	s.compareAll(Day0, Day0+201*minute)
	s.settle()
	s.compareAll(Day0, Day0+201*minute)
	// A holder may be described before its first row.
	early := container("n0", "early", "ns0", "w0", power.Web)
	s.append(store.Batch{Holders: []*power.Holder{early}})
	s.append(store.Batch{Charges: []power.Charge{charge(early, Day0+201*minute, 6, 501)}})
	s.compareAll(Day0, Day0+202*minute)
}

// readers checks that a reader sees either all of a batch or nothing: the
// charges of every batch add up to nothing.
func readers(s *story) {
	a, b := container("n0", "a", "one", "w", power.Web), container("n0", "b", "two", "w", power.Web)
	ctx, cancel := context.WithCancel(s.Context())
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			q := store.Query{FromMs: Day0, ToMs: Day0 + 48*hour}
			if i == 1 {
				q.StepMs = hour
			}
			if i == 2 {
				q.GroupBy = []store.Dimension{store.Cluster}
				q.StepMs = minute
			}
			for ctx.Err() == nil {
				rows, err := s.engine.Sum(s.Context(), q)
				if err != nil {
					s.Errorf("sum: %v", err)
					return
				}
				var sum power.Energy
				for _, r := range rows {
					sum.Add(r.Energy)
				}
				if sum != (power.Energy{}) {
					s.Errorf("a reader saw half a batch: %v", sum)
					return
				}
			}
		})
	}
	for m := int64(0); m < 300; m++ {
		x := charge(a, Day0+m*minute, m, uint64(m+1))
		y := x
		y.Holder = b
		for c := range y.Energy {
			y.Energy[c] = -x.Energy[c]
		}
		batch := store.Batch{Charges: []power.Charge{x, y}}
		if m%50 == 49 { // and something late
			x.StartMs, y.StartMs = Day0+(m-49)*minute, Day0+(m-49)*minute
			batch.Charges = append(batch.Charges, x, y)
		}
		s.append(batch)
		if m%40 == 0 {
			s.settle()
		}
	}
	cancel()
	wg.Wait()
	s.compareAll(Day0, Day0+300*minute)
}

func anyOrder(s *story) {
	list := holders()
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		var b store.Batch
		for range 1 + r.IntN(20) {
			h := list[r.IntN(len(list))]
			start := Day0 + r.Int64N(10*60)*minute
			// A revision belongs to one content.
			revision := uint64(1 + r.IntN(50))
			b.Charges = append(b.Charges, charge(h, start, start/minute*97+int64(revision), revision))
		}
		s.append(b)
		if n%37 == 0 {
			s.settle()
			s.compareAll(Day0, Day0+10*hour)
		}
	}
	s.settle()
	s.compareAll(Day0, Day0+10*hour)
}
