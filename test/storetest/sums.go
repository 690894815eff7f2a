package storetest

import (
	"fmt"
	"math"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

func emptyEngine(s *story) {
	s.compareAll(Day0, Day0+2*hour)
	if p, err := s.engine.Position(s.Context()); err != nil || p != 0 {
		s.Errorf("position %d, %v; want 0", p, err)
	}
	rows, next, err := s.engine.Power(s.Context(), store.PowerQuery{FromMs: Day0, ToMs: Day0 + hour, Limit: 10})
	if len(rows) != 0 || next != "" || err != nil {
		s.Errorf("power: %v, %q, %v; want nothing", rows, next, err)
	}
	if w, err := s.engine.Nodes(s.Context(), Day0, Day0+hour, nil); len(w) != 0 || err != nil {
		s.Errorf("nodes: %v, %v; want nothing", w, err)
	}
	if p, err := s.engine.Profiles(s.Context(), Day0, Day0+hour, nil); len(p) != 0 || err != nil {
		s.Errorf("profiles: %v, %v; want nothing", p, err)
	}
}

func exactSums(s *story) {
	list := holders()
	s.fill(list, 0, 200)
	s.compareAll(Day0, Day0+200*minute)
	s.settle()
	s.compareAll(Day0, Day0+200*minute)
	s.compareAll(Day0-3*hour, Day0+48*hour)
	s.fill(list, 200, 260)
	s.compareAll(Day0, Day0+260*minute)
	s.settle()
	s.compareAll(Day0, Day0+260*minute)
	if p, err := s.engine.Position(s.Context()); err != nil || p != s.position {
		s.Errorf("position %d, %v; want %d", p, err, s.position)
	}
}

func names(s *story) {
	odd := []string{
		"", " ", "two words", "a,b", "a=b", "a:b", `say "hi"`, `it's`, `back\slash`, `ends in \`, "한글 이름", "é\u0301", "'; DROP TABLE holders; --",
		`" OR ""="`, "%", "_", "*", ".*", "$1", "?", "NULL", "0", "tab\there", "line\nbreak", "|2|ab", strings.Repeat("x", 2000),
	}
	var b store.Batch
	for i, n := range odd {
		h := container("n "+n, fmt.Sprintf("id %d %s", i, n), n, n, power.Web)
		h.Pod, h.Container = n, n
		b.Charges = append(b.Charges, charge(h, Day0, int64(i), 1))
	}
	s.append(b)
	for _, settled := range []bool{false, true} {
		if settled {
			s.append(store.Batch{Charges: []power.Charge{charge(container("n", "z", "z", "z", power.Web), Day0+4*hour, 1, 2)}})
			s.settle()
		}
		s.compareAll(Day0, Day0+hour)
		for _, n := range odd {
			for _, d := range []store.Dimension{store.Namespace, store.Workload, store.Pod, store.Container} {
				rows := s.compare(store.Query{FromMs: Day0, ToMs: Day0 + hour, StepMs: hour, GroupBy: []store.Dimension{d}, Match: map[store.Dimension]string{d: n}})
				if len(rows) != 1 || rows[0].Group[0] != n {
					s.Errorf("match %s=%q: %d rows, want the one of that name", d, n, len(rows))
				}
			}
		}
		for _, n := range []string{"x", "한", "two", "' OR '1'='1", "a,b\x00"} {
			if rows := s.compare(store.Query{FromMs: Day0, ToMs: Day0 + hour, Match: map[store.Dimension]string{store.Namespace: n}}); len(rows) != 0 {
				s.Errorf("match namespace=%q: %v, want nothing", n, rows)
			}
		}
	}
	if _, err := s.engine.Sum(s.Context(), store.Query{ToMs: 1, Match: map[store.Dimension]string{"namespace'--": "x"}}); err == nil {
		s.Error("an unknown dimension was accepted")
	}
}

func extremes(s *story) {
	const most = math.MaxInt64
	a, b := container("n0", "a", "one", "w", power.Web), container("n0", "b", "two", "w", power.Web)
	put := func(h *power.Holder, m int64, e power.Microjoules) {
		c := charge(h, Day0+m*minute, 1, uint64(m+1))
		c.Energy, c.Counter, c.Idle = power.Energy{e, 0, -e, 1}, power.Energy{most, 1, e, 0}, 0
		s.append(store.Batch{Charges: []power.Charge{c}})
	}
	put(a, 0, 9e18)
	put(b, 0, -9e18)
	put(a, 1, -9e18)
	put(b, 1, most)
	check := func() {
		s.Helper()
		for _, step := range []int64{0, minute, hour} {
			for _, g := range [][]store.Dimension{nil, {store.Namespace}, {store.ContainerID}} {
				s.compare(store.Query{FromMs: Day0, ToMs: Day0 + minute, StepMs: step, GroupBy: g})
				s.compare(store.Query{FromMs: Day0 + minute, ToMs: Day0 + 2*minute, StepMs: step, GroupBy: g})
			}
		}
	}
	check()
	s.append(store.Batch{Charges: []power.Charge{charge(a, Day0+5*hour, 1, 99)}})
	s.settle()
	check()
	// Two that only fit apart.
	for m := int64(360); m < 363; m++ {
		put(a, m, 9e18)
	}
	q := store.Query{FromMs: Day0 + 6*hour, ToMs: Day0 + 7*hour, GroupBy: []store.Dimension{store.Namespace}}
	for _, step := range []int64{0, minute, hour} {
		q.StepMs = step
		s.compare(q)
	}
	s.append(store.Batch{Charges: []power.Charge{charge(b, Day0+12*hour, 1, 999)}})
	s.settle()
	for _, step := range []int64{0, minute, hour} {
		q.StepMs = step
		s.compare(q)
	}
}

func prices(s *story) {
	list := holders()[:4]
	night := *flat
	night.ElectricityPerKWh = 0.07
	same := *flat // another pointer, the same price
	for m := int64(0); m < 130; m++ {
		var b store.Batch
		for i, h := range list {
			c := charge(h, Day0+m*minute, m*10+int64(i), uint64(m+1))
			switch {
			case m >= 30 && m < 90:
				c.Price = &night
			case m%2 == 0:
				c.Price = &same
			}
			b.Charges = append(b.Charges, c)
		}
		s.append(b)
	}
	s.compareAll(Day0, Day0+130*minute)
	s.append(store.Batch{Charges: []power.Charge{charge(list[0], Day0+6*hour, 1, 500)}})
	s.settle()
	s.compareAll(Day0, Day0+130*minute)
	// Re-rated: the same energy at another price.
	c := charge(list[0], Day0+10*minute, 100, 600)
	c.Price = &night
	s.append(store.Batch{Charges: []power.Charge{c}})
	s.compareAll(Day0, Day0+130*minute)
}

func remainders(s *story) {
	var b store.Batch
	for m := int64(0); m < 70; m++ {
		for i, n := range []string{"n0", "n1"} {
			for k, h := range []*power.Holder{container(n, "c"+n, "ns", "w", power.Web), remainder(n, power.System), remainder(n, power.Idle), remainder(n, power.Unattributed)} {
				c := charge(h, Day0+m*minute, m*100+int64(i*10+k), uint64(m+1))
				if h.Kind == power.Unattributed && m%3 == 0 {
					for x := range c.Energy {
						c.Energy[x] = -c.Energy[x]
					}
				}
				b.Charges = append(b.Charges, c)
			}
		}
	}
	s.append(b)
	check := func() {
		s.Helper()
		s.compareAll(Day0, Day0+70*minute)
		whole := s.compare(store.Query{FromMs: Day0, ToMs: Day0 + 70*minute})
		for _, d := range store.Dimensions {
			var sum power.Energy
			for _, r := range s.compare(store.Query{FromMs: Day0, ToMs: Day0 + 70*minute, GroupBy: []store.Dimension{d}}) {
				sum.Add(r.Energy)
			}
			if sum != whole[0].Energy {
				s.Errorf("groups by %s add up to %v, the whole is %v", d, sum, whole[0].Energy)
			}
		}
	}
	check()
	s.append(store.Batch{Charges: []power.Charge{charge(container("n0", "cn0", "ns", "w", power.Web), Day0+9*hour, 3, 900)}})
	s.settle()
	check()
}
