package main

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/power"
)

const minuteMs = 60_000

// An oracle knows, from the samples that were delivered and nothing else, what
// every container and VM of one cluster must have on the books: differences of
// counters in the order of time, a fall meaning a restart, and a first value
// meaning energy unless it came with the first of its node.
type oracle struct {
	mu       sync.Mutex
	accounts map[account][]point
	scrapes  map[string][]int64 // by node: times of its own counters, rising
	arrival  bool               // samples count in the order they came in: their clock runs back
	samples  int
}

// An account is one counter, whatever its labels do.
type account struct {
	node, id  string
	component power.Component
	mode      string // legacy Kepler counts active and idle energy apart
}

type point struct{ ms, uj int64 }

func newOracle() *oracle {
	return &oracle{accounts: map[account][]point{}, scrapes: map[string][]int64{}}
}

// deliver notes samples that were acknowledged.
func (o *oracle) deliver(samples []remotewrite.Sample) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.samples += len(samples)
	for i := range samples {
		s := &samples[i]
		l := labelsOf(s.Labels)
		if strings.HasPrefix(l.name, "kepler_node_") && strings.HasSuffix(l.name, "_joules_total") {
			o.scraped(l.node, s.TMs)
			continue
		}
		a, ok := accountOf(l)
		if !ok {
			continue
		}
		p := point{s.TMs, int64(math.Round(s.Value * 1e6))}
		if p.uj < impossibleUj {
			o.accounts[a] = append(o.accounts[a], p)
		}
	}
}

func (o *oracle) scraped(node string, ms int64) {
	times := o.scrapes[node]
	if i, found := slices.BinarySearch(times, ms); !found {
		o.scrapes[node] = slices.Insert(times, i, ms)
	}
}

type labels struct{ name, node, instance, id, zone, mode string }

func labelsOf(list []cluster.Label) (l labels) {
	for _, x := range list {
		switch x.Name {
		case "__name__":
			l.name = x.Value
		case "node_name":
			l.node = x.Value
		case "instance":
			l.instance = x.Value
		case "container_id", "vm_id":
			l.id = x.Value
		case "zone":
			l.zone = x.Value
		case "mode":
			l.mode = x.Value
		}
	}
	if l.node == "" {
		l.node = l.instance // legacy Kepler's manifest names the node so
	}
	return l
}

// accountOf says which account a series counts, if it is one that is booked.
func accountOf(l labels) (account, bool) {
	what, ok := strings.CutPrefix(l.name, "kepler_container_")
	if !ok {
		what, ok = strings.CutPrefix(l.name, "kepler_vm_")
	}
	if !ok || l.id == "" || l.id == "system_processes" {
		return account{}, false
	}
	a := account{node: l.node, id: l.id, mode: l.mode}
	switch {
	case what == "cpu_joules_total" && l.zone == "package", what == "package_joules_total":
		a.component = power.CPU
	case what == "cpu_joules_total" && l.zone == "dram", what == "dram_joules_total":
		a.component = power.DRAM
	case what == "gpu_joules_total":
		a.component = power.GPU
	default:
		return account{}, false
	}
	return a, true
}

// A holding is what one holder used.
type holding struct {
	total   power.Energy
	minutes map[int64]power.Energy // by start, Unix milliseconds
}

// books adds up what was delivered, by container and VM id.
func (o *oracle) books() map[string]*holding {
	o.mu.Lock()
	defer o.mu.Unlock()
	held := map[string]*holding{}
	for a, points := range o.accounts {
		if !o.arrival {
			slices.SortFunc(points, func(x, y point) int { return cmp.Or(cmp.Compare(x.ms, y.ms), cmp.Compare(x.uj, y.uj)) })
		}
		h := held[a.id]
		if h == nil {
			h = &holding{minutes: map[int64]power.Energy{}}
			held[a.id] = h
		}
		scrapes := o.scrapes[a.node]
		for i, p := range points {
			switch {
			case i > 0 && p.uj >= points[i-1].uj:
				h.book(a.component, min(points[i-1].ms, p.ms-1), p.ms, p.uj-points[i-1].uj)
			case i > 0:
				h.book(a.component, min(points[i-1].ms, p.ms-1), p.ms, p.uj)
			default:
				// It began after the scrape before; with the node's first scrape
				// nobody knows when.
				if k, _ := slices.BinarySearch(scrapes, p.ms); k > 0 {
					h.book(a.component, scrapes[k-1], p.ms, p.uj)
				}
			}
		}
	}
	return held
}

// book spreads energy over the minutes of (fromMs, toMs], rounding each part
// but the last towards zero, as it adds up.
func (h *holding) book(c power.Component, fromMs, toMs, uj int64) {
	h.total[c] += power.Microjoules(uj)
	done := int64(0)
	for at := fromMs; at < toMs; {
		start := at / minuteMs * minuteMs
		end := min(toMs, start+minuteMs)
		upTo := mulDiv(uj, end-fromMs, toMs-fromMs)
		e := h.minutes[start]
		e[c] += power.Microjoules(upTo - done)
		h.minutes[start] = e
		done, at = upTo, end
	}
}

// sum returns the energy of all that was delivered.
func sumOfHoldings(held map[string]*holding) (e power.Energy) {
	for _, h := range held {
		e.Add(h.total)
	}
	return e
}
