package counter

import (
	"testing"

	"github.com/wattledger/wattledger/power"
)

const hour = 3600

// later moves the arrival of requests and the clock of stories alike.
func (b *bench) arriveAt(seconds float64) { b.arrival = epoch*1000 + int64(seconds*1000) }

// What was silent for long is given back; when it returns, its counters go on
// from where they were and nothing is credited twice.
func TestForgetAndComeBack(t *testing.T) {
	b := newBench(t)
	b.arriveAt(0)
	b.at(0, rawLine("package", 1000))
	b.at(15, rawLine("package", 2000), containerLine("c1", "package", 500), gpuLine("c1", 80), containerLine("c2", "package", 70))
	b.booked("container/c1", power.Used, power.CPU, 500)
	known, _ := b.cache.Series()
	for hours := 1.0; hours <= 26; hours++ {
		b.arriveAt(hours * hour)
		b.at(hours*hour, rawLine("package", 2000+hours))
	}
	if now, _ := b.cache.Series(); now != known-3 {
		t.Errorf("%d accounts are remembered, want %d", now, known-3)
	}
	b.at(26*hour+15, containerLine("c1", "package", 540), gpuLine("c1", 95), containerLine("c2", "package", 20))
	b.booked("container/c1", power.Used, power.CPU, 540)
	b.booked("container/c1", power.Used, power.GPU, 95)
	b.booked("container/c2", power.Used, power.CPU, 90) // it started again meanwhile
	b.at(26*hour+30, containerLine("c1", "package", 550), gpuLine("c1", 99))
	b.booked("container/c1", power.Used, power.CPU, 550)
	b.booked("container/c1", power.Used, power.GPU, 99)
}

// An account that speaks between the two steps of forgetting stays.
func TestForgetChangesItsMind(t *testing.T) {
	b := newBench(t)
	b.arriveAt(0)
	b.at(0, rawLine("package", 1000))
	b.at(15, containerLine("c1", "package", 500))
	b.arriveAt(25 * hour)
	b.at(25*hour, rawLine("package", 2000)) // condemned
	b.at(25*hour, containerLine("c1", "package", 700))
	b.arriveAt(25*hour + 900)
	b.at(25*hour+900, rawLine("package", 3000))
	b.at(25*hour+900, containerLine("c1", "package", 800))
	b.booked("container/c1", power.Used, power.CPU, 800)
}

// Beyond the limit new series are refused; those that are known keep being booked.
func TestSeriesLimit(t *testing.T) {
	b := newBench(t)
	cfg := DefaultConfig()
	cfg.MaxSeries = 2
	b.cache = New(cfg, b.books)
	b.at(0, rawLine("package", 1000), containerLine("c1", "package", 100))
	o := b.at(15, rawLine("package", 1100), containerLine("c2", "package", 100), containerLine("c1", "package", 130))
	if o.OverLimit != 1 || o.Booked != 2 {
		t.Errorf("%+v, want one refused and two booked", o)
	}
	// Another series of a known account is no new account.
	if o := b.at(30, terminatedLine("c1", "package", 150)); o.Booked != 1 || o.OverLimit != 0 {
		t.Errorf("a known account's other series: %+v", o)
	}
	if o := b.at(30, `kube_pod_owner{namespace="a",pod="p",uid="u",owner_kind="Job",owner_name="j"} 1`); o.OverLimit != 1 {
		t.Errorf("a fact beyond the limit: %+v", o)
	}
	b.booked("node/", power.Used, power.CPU, 100)
	b.booked("container/c1", power.Used, power.CPU, 50)
	b.booked("container/c2", power.Used, power.CPU, 0)
}

// Labels that change back tell their fact again.
func TestFactsReturn(t *testing.T) {
	b := newBench(t)
	job, set := `kube_pod_owner{namespace="a",pod="p",uid="u",owner_kind="Job",owner_name="j"} 1`, `kube_pod_owner{namespace="a",pod="p",uid="u",owner_kind="ReplicaSet",owner_name="r"} 1`
	stale := func(line string) {
		s := b.samples(20, line)
		s[0].value = staleValue
		b.send(s)
	}
	f := func(want int) {
		t.Helper()
		if b.books.facts != want {
			t.Errorf("%d facts told, want %d", b.books.facts, want)
		}
	}
	b.at(0, job)
	b.at(15, job)
	f(1)
	b.at(30, set)
	stale(job)
	f(2)
	b.at(45, job)
	f(3)
	b.at(60, job, set)
	f(3)
}
