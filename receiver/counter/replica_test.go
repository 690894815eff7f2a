package counter

import (
	"testing"

	"github.com/wattledger/wattledger/power"
)

// from makes the following samples come from one of a pair of replicas.
func (b *bench) from(replica string) {
	b.extra = []power.Label{{Name: "prometheus_replica", Value: replica}}
}

// The elected replica may die; the other is listened to after the failover
// time, and the one that comes back is not.
func TestReplicaFailover(t *testing.T) {
	b := newBench(t)
	both := func(replica string, second float64) Outcome {
		b.from(replica)
		return b.at(second, rawLine("package", 1000+second*100), containerLine("c1", "package", 10+second*50))
	}
	for second := 0.0; second <= 60; second += 15 {
		both("a", second)
		if o := both("b", second+2); second > 0 && o.Duplicate != 2 {
			t.Fatalf("at %v s the other replica was listened to: %+v", second, o)
		}
	}
	// a is silent from here on.
	if o := both("b", 104); o.Booked != 0 {
		t.Errorf("44 s after: %+v", o)
	}
	if o := both("b", 107); o.Booked != 2 {
		t.Errorf("47 s after: %+v", o)
	}
	if o := both("a", 110); o.Booked != 0 {
		t.Errorf("the first one is back: %+v", o)
	}
	both("b", 122)
	b.booked("node/", power.Used, power.CPU, 122*100)
	b.booked("container/c1", power.Used, power.CPU, 122*50)
}

// The first samples of a pair with skewed clocks are a baseline, whichever
// comes first: a node is known only since the same clock showed it.
func TestReplicaSkewIsNoEarlierKnowledge(t *testing.T) {
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		b := newBench(t)
		for _, replica := range order {
			b.from(replica)
			second := map[string]float64{"a": 0, "b": -2}[replica]
			b.at(second, rawLine("package", 1000))
			b.at(second, containerLine("c1", "package", 7000))
		}
		b.from("a")
		b.at(15, rawLine("package", 2000), containerLine("c1", "package", 7300), containerLine("c2", "package", 40))
		if order[0] == "a" {
			b.booked("container/c1", power.Used, power.CPU, 300)
		} else {
			b.booked("container/c1", power.Used, power.CPU, 0) // b is listened to for now
			b.at(61, containerLine("c1", "package", 7350))
			b.booked("container/c1", power.Used, power.CPU, 350)
		}
		b.booked("container/c2", power.Used, power.CPU, 40)
	}
}

// A terminated series from the replica whose clock is behind may say that the
// counter ended before its last running sample. It still ended after it, and
// what the slower clock's samples say then is no restart.
func TestReplicaTerminatedWithSkew(t *testing.T) {
	type step struct {
		replica string
		second  float64
		line    string
	}
	running := step{"a", 100, containerLine("c1", "package", 4852)}
	tailB := step{"b", 99, terminatedLine("c1", "package", 5040)} // really 101
	tailA := step{"a", 101.5, terminatedLine("c1", "package", 5040)}
	for name, steps := range map[string][]step{
		"tail after":                {running, tailB},
		"tail before":               {tailB, running},
		"both tails":                {running, tailA, tailB},
		"both tails, other first":   {running, tailB, tailA},
		"both tails, running last":  {tailB, tailA, running},
		"tail twice":                {running, tailB, tailB},
		"tail, then again and late": {tailA, running, tailB},
	} {
		for _, age := range []float64{90, 1500} { // with the account's start in reach, and long after
			b := newBench(t)
			b.from("b")
			b.at(-age-2, rawLine("package", 1))
			b.from("a")
			b.at(-age, rawLine("package", 1))
			for second := -age + 15; second <= 90; second += 15 {
				b.at(second, containerLine("c1", "package", 4800-(90-second)))
			}
			for _, s := range steps {
				b.from(s.replica)
				b.at(s.second, s.line)
			}
			if !t.Run(name, func(t *testing.T) {
				b.t = t
				b.booked("container/c1", power.Used, power.CPU, 5040)
			}) {
				t.Logf("the account was %v s old", age)
			}
		}
	}
}

// A machine that ended and starts again under the same id begins at 0.
func TestReplicaTerminatedThenAgain(t *testing.T) {
	b := newBench(t)
	b.from("a")
	b.at(0, rawLine("package", 1))
	b.at(15, containerLine("c1", "package", 100))
	b.from("b")
	b.at(29, terminatedLine("c1", "package", 150))
	b.from("a")
	b.at(60, containerLine("c1", "package", 30))
	b.booked("container/c1", power.Used, power.CPU, 180)
}
