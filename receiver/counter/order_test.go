package counter

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wattledger/wattledger/power"
)

var staleValue = math.Float64frombits(staleNaN)

// started puts a start timestamp on samples.
func started(s []sample, seconds float64) []sample {
	for i := range s {
		s[i].startMs = epoch*1000 + int64(seconds*1000)
	}
	return s
}

// The first value of a moment stays; the same value again is a duplicate.
func TestOrderDuplicatesAndConflicts(t *testing.T) {
	for _, age := range []float64{0, 3000} { // with and without the start in reach
		b := newBench(t)
		b.at(0, rawLine("package", 1))
		b.at(1, containerLine("c1", "package", 100))
		b.at(age+10, containerLine("c1", "package", 120))
		b.at(age+20, containerLine("c1", "package", 150))
		if o := b.at(age+20, containerLine("c1", "package", 150)); o.Duplicate != 1 {
			t.Errorf("the same again: %+v", o)
		}
		if o := b.at(age+20, containerLine("c1", "package", 160)); o.Conflict != 1 {
			t.Errorf("another value: %+v", o)
		}
		if o := b.at(age+5, containerLine("c1", "package", 110)); o.Late != 1 {
			t.Errorf("a late one: %+v", o)
		}
		b.booked("container/c1", power.Used, power.CPU, 150)
		if o := b.at(age+15, rawLine("package", 5), rawLine("package", 6), rawLine("package", 5)); o.Conflict != 1 || o.Duplicate != 1 {
			t.Errorf("the node's: %+v", o)
		}
		b.booked("node/", power.Used, power.CPU, 4)
	}
}

// permute sends the lines in every order and checks the total of c1.
func permute(t *testing.T, age, want float64, lines map[float64]string) {
	t.Helper()
	var seconds []float64
	for s := range lines {
		seconds = append(seconds, s)
	}
	slices.Sort(seconds)
	var visit func(done []float64)
	visit = func(done []float64) {
		if len(done) < len(seconds) {
			for _, s := range seconds {
				if !slices.Contains(done, s) {
					visit(append(slices.Clone(done), s))
				}
			}
			return
		}
		b := newBench(t)
		b.at(-age-15, rawLine("package", 1))
		if age > 0 {
			for s := -age; s <= 0; s += 60 {
				b.at(s, containerLine("c1", "package", 1000+s/60))
			}
		}
		for _, s := range done {
			b.at(s, lines[s])
		}
		name := "default/node-a/container/c1 m0 cpu"
		if got := b.books.totals[name]; got != power.Microjoules(want*1e6) {
			t.Fatalf("order %v, account %v s old: booked %v J, want %v J", done, age, got.Joules(), want)
		}
	}
	visit(nil)
}

// A reset before, after and within late samples: every order gives one total.
func TestOrderLateSamplesAroundAReset(t *testing.T) {
	permute(t, 0, 40+35, map[float64]string{ // young: its start is in reach
		15: containerLine("c1", "package", 10), 30: containerLine("c1", "package", 40),
		45: containerLine("c1", "package", 5), 60: containerLine("c1", "package", 20), 75: containerLine("c1", "package", 35),
	})
	permute(t, 0, 10+30+35, map[float64]string{ // two resets
		15: containerLine("c1", "package", 10), 30: containerLine("c1", "package", 30-20),
		45: containerLine("c1", "package", 0), 60: containerLine("c1", "package", 30), 75: containerLine("c1", "package", 35-1), 90: containerLine("c1", "package", 35-1+31),
	})
	permute(t, 1200, 1030+35, map[float64]string{ // old: only the reset is in reach
		15: containerLine("c1", "package", 1010), 30: containerLine("c1", "package", 1030),
		45: containerLine("c1", "package", 5), 60: containerLine("c1", "package", 20), 75: containerLine("c1", "package", 35),
	})
}

// A late sample above the newest one is a newer reading whose time is wrong: within
// one life of a counter the value is the clock. One that is much above it proves
// that the counter started again.
func TestOrderLateSampleAboveTheNewest(t *testing.T) {
	b := newBench(t)
	b.at(-2400, rawLine("package", 1))
	for s := -2385.0; s <= 0; s += 15 {
		b.at(s, containerLine("c1", "package", 3000+s))
	}
	b.at(60, containerLine("c1", "package", 3001))
	for range 3 {
		b.at(15, containerLine("c1", "package", 3015))
	}
	b.at(10, containerLine("c1", "package", 3010))
	b.at(30, containerLine("c1", "package", 2900))
	b.booked("container/c1", power.Used, power.CPU, 3015)
	b.at(75, containerLine("c1", "package", 3020))
	b.booked("container/c1", power.Used, power.CPU, 3020)

	b = newBench(t)
	b.at(-2400, rawLine("package", 1))
	for s := -2385.0; s <= 0; s += 15 {
		b.at(s, containerLine("c1", "package", 2400+s))
	}
	b.at(60, containerLine("c1", "package", 2401)) // from 0 again, but who could tell
	b.booked("container/c1", power.Used, power.CPU, 2401)
	for range 3 {
		b.at(15, containerLine("c1", "package", 9000))
	}
	b.booked("container/c1", power.Used, power.CPU, 9000+2401)
}

// A sample older than the reorder window changes nothing.
func TestOrderTooLate(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 1), containerLine("c1", "package", 100))
	for s := 15.0; s < 400; s += 15 {
		b.at(s, rawLine("package", 1+s), containerLine("c1", "package", 100+s))
	}
	if o := b.at(50, rawLine("package", 900), containerLine("c1", "package", 3)); o.Late != 2 || o.Booked != 0 {
		t.Errorf("%+v, want both late", o)
	}
	b.booked("node/", power.Used, power.CPU, 390)
	b.booked("container/c1", power.Used, power.CPU, 390)
}

// A start timestamp proves a reset even where the value rose, and one that
// cannot be true proves nothing.
func TestOrderStartTimestamps(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 1))
	b.send(started(b.samples(15, containerLine("c1", "package", 100)), 5))
	b.send(started(b.samples(30, containerLine("c1", "package", 130)), 5))
	b.booked("container/c1", power.Used, power.CPU, 130)
	if o := b.send(started(b.samples(60, containerLine("c1", "package", 170)), 40)); o.Resets != 1 {
		t.Errorf("%+v, want a reset", o)
	}
	b.booked("container/c1", power.Used, power.CPU, 300)
	b.at(75, containerLine("c1", "package", 180)) // the sender lost it: no reset
	b.booked("container/c1", power.Used, power.CPU, 310)
	// The first sample with one, on a counter without, proves it as well.
	b.at(10, containerLine("c2", "package", 10))
	b.send(started(b.samples(25, containerLine("c2", "package", 12)), 20))
	b.booked("container/c2", power.Used, power.CPU, 22)
	// A counter cannot start when it already shows energy.
	b.send(started(b.samples(90, containerLine("c1", "package", 190)), 90))
	b.send(started(b.samples(105, containerLine("c1", "package", 200)), 120))
	b.booked("container/c1", power.Used, power.CPU, 330)
}

// A start timestamp a moment before the first sample, and a zero that a sender puts
// in front of it, say the same: the counter began at 0.
func TestOrderBeginningsToldTwoWays(t *testing.T) {
	b := newBench(t)
	b.send(started(b.samples(0, containerLine("c1", "package", 300)), -20))
	b.send(started(b.samples(30, containerLine("c1", "package", 400)), -20))
	b.at(-20, containerLine("c2", "package", 0))
	b.at(0, containerLine("c2", "package", 300))
	b.at(30, containerLine("c2", "package", 400))
	b.booked("container/c1", power.Used, power.CPU, 400)
	b.booked("container/c2", power.Used, power.CPU, 400)
	// One that began long ago has shown most of it to somebody else.
	b.send(started(b.samples(0, containerLine("c3", "package", 300)), -2000))
	b.send(started(b.samples(30, containerLine("c3", "package", 400)), -2000))
	b.booked("container/c3", power.Used, power.CPU, 100)
}

// Before a register there is no zero, whoever tells of one.
func TestOrderZeroBeforeARegister(t *testing.T) {
	for _, registerFirst := range []bool{true, false} {
		b := newBench(t)
		zero := []string{rawLine("package", 0), activeLine("package", 0), idleLine("package", 0)}
		if !registerFirst {
			zero = zero[:1]
		}
		b.at(-20, zero...)
		b.at(0, rawLine("package", 1000), activeLine("package", 400), idleLine("package", 600))
		b.at(15, rawLine("package", 1300), activeLine("package", 600), idleLine("package", 700))
		b.booked("node/", power.Used, power.CPU, 300)
		b.booked("node/", power.Active, power.CPU, 200)
		b.booked("node/", power.NodeIdle, power.CPU, 100)
	}
}

// The node's first sample may come after those of its containers.
func TestOrderNodeKnownLate(t *testing.T) {
	b := newBench(t)
	b.at(30, containerLine("c1", "package", 100), gpuLine("c1", 30))
	b.at(45, containerLine("c1", "package", 110), gpuLine("c1", 40))
	b.booked("container/c1", power.Used, power.CPU, 10)
	b.at(30, rawLine("package", 900))
	b.booked("container/c1", power.Used, power.CPU, 10)
	b.at(15, rawLine("package", 800))
	b.booked("container/c1", power.Used, power.CPU, 110)
	b.booked("container/c1", power.Used, power.GPU, 40)
	b.booked("node/", power.Used, power.CPU, 100)
}

// An outlier is set aside and the counter goes on from where it was; a level
// that shifts for good goes on from there. The raw values stay visible.
func TestQuarantine(t *testing.T) {
	for _, age := range []float64{0, 3000} {
		b := newBench(t)
		b.at(-age-15, rawLine("package", 1))
		b.at(-age, containerLine("c1", "package", 100))
		b.at(0.5, containerLine("c1", "package", 200))
		b.at(15, containerLine("c1", "package", 9e6))
		b.at(30, containerLine("c1", "package", 230))
		b.booked("container/c1", power.Used, power.CPU, 230)
		b.at(45, containerLine("c1", "package", 5_000_200))
		b.at(60, containerLine("c1", "package", 5_000_250))
		b.at(75, containerLine("c1", "package", 5_000_260))
		b.booked("container/c1", power.Used, power.CPU, 230+60)
		got := b.cache.Quarantine()
		if len(got) != 2 || got[0].Value != 9e6 || got[1].Value != 5_000_200 || got[0].Holder.ID != "c1" || got[0].LastJoules != 200 || got[0].TMs != epoch*1000+15_000 {
			t.Errorf("quarantine %+v", got)
		}
	}
}

// An outlier that is sent again, after the counter went on, is the same outlier and
// no sign of a counter that had come so far and started again.
func TestOutlierSentAgain(t *testing.T) {
	for _, joules := range []float64{9e6, 400_000} { // more than in five minutes, and more than in fifteen seconds
		for _, age := range []float64{0, 3000} {
			b := newBench(t)
			b.at(-age-15, rawLine("package", 1))
			b.at(-age, containerLine("c1", "package", 100))
			b.at(0, containerLine("c1", "package", 200))
			b.at(15, containerLine("c1", "package", joules))
			b.at(30, containerLine("c1", "package", 230))
			b.at(45, containerLine("c1", "package", 240))
			b.at(15, containerLine("c1", "package", joules))
			b.at(60, containerLine("c1", "package", 250))
			b.booked("container/c1", power.Used, power.CPU, 250)
		}
	}
}

func TestQuarantineOfANode(t *testing.T) {
	b := newBench(t)
	b.at(0, rawLine("package", 1000), wattsLine("package", 100))
	b.at(15, rawLine("package", 9e6), wattsLine("package", 100))
	b.at(30, rawLine("package", 4000), wattsLine("package", 100))
	b.booked("node/", power.Used, power.CPU, 3000) // what the power says of both
}

// Requests applied by many goroutines, and handed over in any order, give the
// books of one pass.
func TestApplyConcurrently(t *testing.T) {
	table := shippedTable(t)
	var requests []Request
	b := newBench(t)
	for i := range 200 {
		var r Request
		r.Position, r.ArrivalMs = uint64(i+1), b.arrival
		for n := range 20 {
			for k, line := range []string{rawLine("package", float64(1000+i*100)), containerLine("c1", "package", float64(10+i*50)), terminatedLine("c2", "package", float64(i))} {
				line = strings.ReplaceAll(line, "node-a", "node-"+string(rune('a'+n)))
				for _, s := range b.samples(float64(i)*15, line) {
					m, _ := table.Map(s.labels)
					key := Key{Hi: uint64(n), Lo: uint64(k)}
					r.Samples = append(r.Samples, Sample{New: int32(len(r.New)), TMs: s.tMs, Value: s.value})
					r.New = append(r.New, Series{Key: key, Mapping: m})
				}
			}
		}
		requests = append(requests, r)
	}
	book := func(goroutines int) *lockedBooks {
		sink := &lockedBooks{books: newBooks()}
		cache := New(DefaultConfig(), sink)
		var wait sync.WaitGroup
		r := rand.New(rand.NewPCG(7, uint64(goroutines)))
		for part := range slices.Chunk(requests, goroutines) { // under way at once, in any order
			for _, i := range r.Perm(len(part)) {
				request := part[i]
				request.Samples = slices.Clone(request.Samples)
				wait.Go(func() { cache.Apply(&request) })
			}
		}
		wait.Wait()
		return sink
	}
	want := book(1)
	if len(want.totals) != 60 {
		t.Fatalf("%d accounts, want 60", len(want.totals))
	}
	for _, goroutines := range []int{2, 8, 64} {
		if d := difference(book(goroutines).windows, want.windows); len(d) != 0 {
			t.Errorf("%d goroutines: %v", goroutines, d)
		}
	}
}

type lockedBooks struct {
	mu sync.Mutex
	*books
}

func (b *lockedBooks) Holder(shard int, h uint32, key power.HolderKey, attrs power.Attributes, generation string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.books.Holder(shard, h, key, attrs, generation)
}

func (b *lockedBooks) Append(shard int, at uint64, arrivalMs int64, readings []power.Reading) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.books.Append(shard, at, arrivalMs, readings)
}
