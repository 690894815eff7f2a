package transform

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/transform/classify"
	"github.com/wattledger/wattledger/transform/tariff"
)

// minute zero of the stories.
const zero = 1_795_474_800_000

const (
	theNode uint32 = iota
	theWeb
	theJob
	theVM
)

// A desk books readings of one node with two containers and a VM.
type desk struct {
	*Stage
	t        testing.TB
	position uint64
	charges  map[string]power.Charge // newest, by holder and minute
	nodes    map[int64]power.NodeWindow
}

var (
	deskOnce  sync.Once
	deskRules *classify.Classifier // parsed once: tests set up many desks
)

func newDesk(t testing.TB, policy string) *desk {
	t.Helper()
	deskOnce.Do(func() { deskRules = shippedRules(t) })
	cfg := DefaultConfig()
	cfg.IdlePolicy = policy
	prices, err := tariff.New(cfg.Cost)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{
		Stage: New(cfg, 1, 300_000, NewDirectory(cfg, deskRules, testDimensions(t)), prices), t: t,
		charges: map[string]power.Charge{}, nodes: map[int64]power.NodeWindow{},
	}
	for h, key := range []power.HolderKey{{Kind: power.Node}, {Kind: power.Container, ID: "web"}, {Kind: power.Container, ID: "job"}, {Kind: power.VM, ID: "vm"}} {
		key.Cluster, key.Node = "c1", "node-a"
		d.Holder(0, uint32(h), key, power.Attributes{Container: key.ID}, "kepler-0.10+")
	}
	return d
}

// reading returns one over whole seconds since zero, in joules.
func reading(h uint32, m power.Measure, from, to int64, joules float64) power.Reading {
	return power.Reading{Holder: h, Measure: m, Energy: power.Microjoules(joules * 1e6), StartMs: zero + from*1000, EndMs: zero + to*1000}
}

func (d *desk) book(readings ...power.Reading) {
	d.position++
	var newest int64
	for _, r := range readings {
		newest = max(newest, r.EndMs)
	}
	d.Append(0, d.position, newest+500, readings)
}

// collect takes what moved and checks that every node window closes, and that
// the charges of each window add up to it.
func (d *desk) collect() store.Batch {
	d.t.Helper()
	b := d.CollectAll()
	for _, c := range b.Charges {
		name := fmt.Sprintf("%s/%s@%d", c.Holder.Kind, c.Holder.ID, (c.StartMs-zero)/60_000)
		if old, ok := d.charges[name]; ok && old.Revision > c.Revision {
			d.t.Errorf("%s: revision %d after %d", name, c.Revision, old.Revision)
		}
		d.charges[name] = c
	}
	for _, n := range b.Nodes {
		d.nodes[(n.StartMs-zero)/60_000] = n
		var sum power.Energy
		for _, part := range []power.Energy{n.Containers, n.VMs, n.System, n.Idle, n.Unattributed} {
			sum.Add(part)
		}
		if sum != n.Used {
			d.t.Errorf("minute %d: the parts are %v, the node used %v", (n.StartMs-zero)/60_000, sum, n.Used)
		}
		var charged power.Energy
		for _, c := range d.charges {
			if c.StartMs == n.StartMs {
				charged.Add(c.Energy)
			}
		}
		if charged != n.Used {
			d.t.Errorf("minute %d: %v charged, the node used %v", (n.StartMs-zero)/60_000, charged, n.Used)
		}
	}
	return b
}

func (d *desk) cpu(name string, joules float64) {
	d.t.Helper()
	if got := d.charges[name].Energy[power.CPU]; got != power.Microjoules(joules*1e6) {
		d.t.Errorf("%s: %v J, want %v J", name, got.Joules(), joules)
	}
}

// Levels overlap: what a minute of the real program showed, split once.
func TestIdentitySystemIsTheRest(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	d.book(
		reading(theNode, power.Used, 0, 60, 7795.56), reading(theNode, power.Active, 0, 60, 4248.58), reading(theNode, power.NodeIdle, 0, 60, 3546.98),
		reading(theWeb, power.Used, 0, 60, 3000), reading(theJob, power.Used, 0, 60, 849), reading(theVM, power.Used, 0, 60, 243.62),
	)
	d.collect()
	d.cpu("container/web@0", 3000)
	d.cpu("container/job@0", 849)
	d.cpu("vm/vm@0", 243.62)
	d.cpu("system/@0", 155.96)
	d.cpu("idle/@0", 3546.98)
	d.cpu("unattributed/@0", 0)
}

// An exporter that was away leaves energy that nobody can be named for.
func TestIdentityOutageIsUnattributed(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	d.book(reading(theNode, power.Used, 0, 60, 3000), reading(theNode, power.Active, 0, 20, 800), reading(theNode, power.NodeIdle, 0, 20, 200), reading(theWeb, power.Used, 0, 20, 500))
	d.collect()
	d.cpu("system/@0", 300)
	d.cpu("unattributed/@0", 2000)
}

// Containers may report more than their node: that is shown, not clamped.
func TestIdentityMayBeNegative(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	d.book(reading(theNode, power.Used, 0, 60, 100), reading(theNode, power.Active, 0, 60, 80), reading(theNode, power.NodeIdle, 0, 60, 20), reading(theWeb, power.Used, 0, 60, 130))
	d.collect()
	d.cpu("system/@0", 0)
	d.cpu("unattributed/@0", -50)
}

// Idle energy that a legacy exporter allotted itself is not idle twice.
func TestIdentityIdleShares(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	d.book(
		reading(theNode, power.Used, 0, 60, 500), reading(theNode, power.Active, 0, 60, 300), reading(theNode, power.NodeIdle, 0, 60, 200),
		reading(theWeb, power.Used, 0, 60, 250), reading(theWeb, power.IdleShare, 0, 60, 150),
	)
	d.collect()
	d.cpu("container/web@0", 400)
	if got := d.charges["container/web@0"].Idle; got != 150e6 {
		t.Errorf("idle part %v J, want 150", got.Joules())
	}
	d.cpu("system/@0", 50)
	d.cpu("idle/@0", 50)
	d.cpu("unattributed/@0", 0)
}

// A node without a counter of its own is worth what runs on it.
func TestIdentityWithoutNodeCounter(t *testing.T) {
	d := newDesk(t, IdleSeparate)
	d.book(reading(theWeb, power.Used, 0, 60, 70), reading(theVM, power.Used, 0, 60, 30))
	d.collect()
	if got := d.nodes[0].Used[power.CPU]; got != 100e6 {
		t.Errorf("the node used %v J, want 100", got.Joules())
	}
}

// Who pays for idle energy is a policy. It moves energy, it makes none.
func TestIdentityIdlePolicies(t *testing.T) {
	f := func(policy string, wantWeb, wantJob, wantVM, wantIdle float64) {
		t.Helper()
		d := newDesk(t, policy)
		d.book(
			reading(theNode, power.Used, 0, 60, 500), reading(theNode, power.Active, 0, 60, 200), reading(theNode, power.NodeIdle, 0, 60, 300),
			reading(theWeb, power.Used, 0, 60, 100), reading(theJob, power.Used, 0, 60, 60), reading(theVM, power.Used, 0, 60, 40),
		)
		d.collect()
		d.cpu("container/web@0", wantWeb)
		d.cpu("container/job@0", wantJob)
		d.cpu("vm/vm@0", wantVM)
		d.cpu("idle/@0", wantIdle)
	}
	f(IdleSeparate, 100, 60, 40, 300)
	f(IdleProportional, 250, 150, 100, 0)
	f(IdleEven, 200, 160, 140, 0)
}

// Whatever is read, in whatever order and however often it is collected: every
// window closes, and every microjoule is charged once, under each policy.
func TestIdentityAlwaysCloses(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 5))
		d := newDesk(t, []string{IdleSeparate, IdleProportional, IdleEven}[seed%3])
		var used power.Microjoules
		for range 60 {
			var batch []power.Reading
			for range 1 + r.IntN(8) {
				from := r.Int64N(600_000)
				x := power.Reading{
					Holder: uint32(r.IntN(4)), Component: power.Component(r.IntN(2)), Energy: power.Microjoules(r.Int64N(5e9) - 1e8),
					StartMs: zero + from, EndMs: zero + from + r.Int64N(130_000),
				}
				if x.Holder == theNode {
					x.Measure = power.Measure(r.IntN(3))
					if x.Measure == power.Used {
						used += x.Energy
					}
				} else if r.IntN(4) == 0 {
					x.Measure = power.IdleShare
				}
				batch = append(batch, x)
			}
			d.book(batch...)
			if r.IntN(5) == 0 {
				d.collect()
			}
		}
		d.collect()
		var charged, known power.Microjoules
		for _, c := range d.charges {
			charged += c.Energy.Total()
		}
		for _, n := range d.nodes {
			known += n.Used.Total()
		}
		if charged != known {
			t.Fatalf("seed %d: %d µJ charged, the nodes used %d", seed, charged, known)
		}
		if used == 0 {
			t.Fatalf("seed %d: nothing was used", seed)
		}
	}
}
