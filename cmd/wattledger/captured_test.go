package main

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/wattledger/wattledger/power"
)

// The captured bodies lie in these minutes.
var (
	capturedFromMs = time.Date(2026, 11, 23, 23, 20, 0, 0, time.UTC).UnixMilli()
	capturedToMs   = capturedFromMs + 10*minuteMs
)

// book runs bodies through a line of its own and returns its books.
func book(t *testing.T, bodies ...body) *books {
	t.Helper()
	dir := t.TempDir()
	l := startLine(t, dir, nil)
	postAll(t, l.url, bodies...)
	l.stop()
	return readBooks(t, dir, capturedFromMs, capturedToMs)
}

func TestCapturedBodies(t *testing.T) {
	v1, v2 := capturedBodies(t, "v1"), capturedBodies(t, "v2")
	want := book(t, v1...)

	t.Run("containers are the difference of their counters", func(t *testing.T) {
		for id, e := range counted(t, v1) {
			if got := want.totals[id]; got != e {
				t.Errorf("%.8s: booked %v, its counters say %v", id, got, e)
			}
		}
	})
	t.Run("the node's sums close", func(t *testing.T) {
		checkIdentity(t, want)
		var used power.Energy
		for _, w := range want.windows {
			used.Add(w.Used)
		}
		if raw := (power.Energy{power.CPU: 18_012_142_304, power.DRAM: 1_864_198_153}); used != raw {
			t.Errorf("booked %v, the node's counters moved by %v", used, raw)
		}
	})
	t.Run("an exporter that starts anew adds no idle energy", func(t *testing.T) {
		// What Kepler split into active and idle moved by this much less than
		// the raw counter did; the rest fell between its two lives.
		if idle := (power.Energy{power.CPU: 6_358_772_794, power.DRAM: 659_325_442}); want.totals["__idle__"] != idle {
			t.Errorf("idle: booked %v, its counters say %v", want.totals["__idle__"], idle)
		}
	})

	var twice, interleaved, lost []body
	for i, b := range v1 {
		twice = append(twice, b, b)
		interleaved = append(interleaved, b)
		if i < len(v2) {
			interleaved = append(interleaved, v2[i])
		}
		lost = append(lost, b)
		if i%2 == 1 {
			lost = append(lost, b) // its answer was lost, so it is sent again
		}
	}
	for name, bodies := range map[string][]body{
		"the 2.0 bodies":                 v2,
		"everything twice":               twice,
		"everything, then all again":     slices.Concat(v1, v1),
		"1.0 and 2.0 interleaved":        interleaved,
		"every second response was lost": lost,
	} {
		t.Run(name, func(t *testing.T) { same(t, book(t, bodies...), want) })
	}
	for seed := range uint64(3) {
		t.Run("shuffled", func(t *testing.T) {
			shuffled := slices.Clone(v1)
			rand.New(rand.NewPCG(seed, 1)).Shuffle(len(shuffled), func(i, j int) {
				shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
			})
			got := book(t, shuffled...)
			checkIdentity(t, got)
			// Which minute a late sample's energy falls into may differ, and with it
			// how system and unattributed share what is left; what each account
			// holds may not.
			if g, w := withoutRest(got.totals), withoutRest(want.totals); !maps.Equal(g, w) {
				t.Errorf("seed %d: totals are %v, want %v", seed, g, w)
			}
		})
	}
}

// withoutRest puts what is left of the nodes beside the accounts into one.
func withoutRest(totals map[string]power.Energy) map[string]power.Energy {
	m := maps.Clone(totals)
	rest := m["__system__"]
	rest.Add(m["__unattributed__"])
	delete(m, "__unattributed__")
	m["__system__"] = rest
	return m
}

// counted works out from 1.0 bodies what containers and VMs used: for each
// counter, the sum of its increases, where a fall begins again from zero. What
// appears after the node was first seen began at zero too.
func counted(t *testing.T, bodies []body) map[string]power.Energy {
	t.Helper()
	type account struct{ id, zone string }
	ids := map[string]string{"kepler_container_cpu_joules_total": "container_id", "kepler_vm_cpu_joules_total": "vm_id"}
	components := map[string]power.Component{"package": power.CPU, "dram": power.DRAM}
	samples := map[account]map[int64]power.Microjoules{}
	first := int64(math.MaxInt64)
	for _, b := range bodies {
		raw, err := snappy.Decode(nil, b.content)
		if err != nil {
			t.Fatal(err)
		}
		var req prompb.WriteRequest
		if err := req.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		for _, ts := range req.Timeseries {
			labels := map[string]string{}
			for _, l := range ts.Labels {
				labels[l.Name] = l.Value
			}
			id, ok := ids[labels["__name__"]]
			if _, booked := components[labels["zone"]]; !booked || !ok && labels["__name__"] != "kepler_node_cpu_joules_total" {
				continue
			}
			for _, s := range ts.Samples {
				if math.IsNaN(s.Value) {
					continue // a staleness marker
				}
				if !ok {
					first = min(first, s.Timestamp)
					continue
				}
				a := account{labels[id], labels["zone"]}
				if samples[a] == nil {
					samples[a] = map[int64]power.Microjoules{}
				}
				// While a container ends it may have two series at one time.
				samples[a][s.Timestamp] = max(samples[a][s.Timestamp], power.Microjoules(math.Round(s.Value*1e6)))
			}
		}
	}
	used := map[string]power.Energy{}
	for a, values := range samples {
		var last, sum power.Microjoules
		for i, at := range slices.Sorted(maps.Keys(values)) {
			switch v := values[at]; {
			case i == 0 && at <= first:
			case i == 0, v < last:
				sum += v
			default:
				sum += v - last
			}
			last = values[at]
		}
		e := used[a.id]
		e[components[a.zone]] = sum
		used[a.id] = e
	}
	if len(used) < 9 {
		t.Fatalf("only %d containers and VMs in the bodies", len(used))
	}
	return used
}
