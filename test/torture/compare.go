package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
)

// totals are those of the last comparison.
type totals struct {
	simulated               time.Duration
	samples, retries        int
	refused                 int
	sent, booked            power.Microjoules // of containers and VMs
	nodesSent, nodesBooked  power.Microjoules
	holders, minutes        int
	windows, hours          int
	redisCharges, redisRows int
	influxRows, influxSums  int
	booksBytes              int64
	differences             int
}

// A differ collects differences and keeps the first of them.
type differ struct {
	n     int
	first []string
}

func (d *differ) add(format string, args ...any) {
	if d.n++; len(d.first) < 5 {
		d.first = append(d.first, fmt.Sprintf(format, args...))
	}
}

// compare holds the books of a server that has ended against the oracle, the
// truth, each other, Redis, InfluxDB and what the API said. again says that
// followers were still behind when the server ended, so that nothing can be
// said of them yet.
func (r *run) compare(ctx context.Context, m map[string]float64, answers map[string]power.Microjoules) (again bool, err error) {
	from, to := r.span()
	b, err := readBooks(ctx, r.rig.storage, from, to)
	if err != nil {
		return false, fmt.Errorf("read the books: %w", err)
	}
	if b.lag > 0 {
		return true, nil
	}
	t := totals{holders: len(b.holders), windows: len(b.windows), hours: len(b.hours), booksBytes: b.bytes}
	found := map[string]*differ{}
	look := func(what string) *differ { found[what] = &differ{}; return found[what] }

	r.compareOracle(b, &t, look("containers against the oracle"), look("minutes against the oracle"))
	r.compareTruth(b, &t, look("containers against the simulation"), look("nodes against the simulation"))
	identities(b, look("identities of nodes"))
	d := look("answers of the API against the books")
	for k, h := range b.holders {
		if got, ok := answers[k.id]; ok && !k.pseudo() && got != h.total.Total() {
			d.add("%s: the API says %d µJ, the books %d", k.id, got, h.total.Total())
		}
	}
	if err := r.compareRedis(ctx, b, &t, look("Redis against the books")); err != nil {
		return false, err
	}
	if r.rig.follows(m, "influxdb") {
		if err := r.compareInflux(ctx, b, &t, look("InfluxDB against the books")); err != nil {
			return false, err
		}
	}
	for _, w := range r.worlds {
		t.samples += w.oracle.samples
		t.retries += w.retries
		t.refused += w.refused
	}
	t.simulated = time.Duration(to-from) * time.Millisecond
	for what, d := range found {
		if d.n > 0 {
			t.differences += d.n
			r.defect("%s: %d differences:\n\t%s", what, d.n, strings.Join(d.first, "\n\t"))
		}
	}
	r.totals = t
	r.say("books: %d samples, %.6f J sent, %.6f J booked, %d windows, %d entries and %d windows in Redis, %d rows in InfluxDB, %d differences",
		t.samples, t.sent.Joules(), t.booked.Joules(), t.windows, t.redisCharges, t.redisRows, t.influxRows, t.differences)
	return false, nil
}

// span is the simulated time of the run, whole hours around it.
func (r *run) span() (fromMs, toMs int64) {
	fromMs = 1 << 62
	for _, w := range r.worlds {
		t := w.sim.Now().Add(time.Hour) // clocks may have been ahead
		toMs = max(toMs, t.UnixMilli())
		w.oracle.mu.Lock()
		for _, times := range w.oracle.scrapes {
			if len(times) > 0 {
				fromMs = min(fromMs, times[0]/minuteMs*minuteMs)
			}
		}
		w.oracle.mu.Unlock()
	}
	return min(fromMs, toMs), toMs
}

func (r *run) compareOracle(b *books, t *totals, whole, minutes *differ) {
	got := map[string]map[string]*holding{}
	for k, h := range b.holders {
		if k.pseudo() {
			continue
		}
		if got[k.cluster] == nil {
			got[k.cluster] = map[string]*holding{}
		}
		got[k.cluster][k.id] = h
		t.booked += h.total.Total()
	}
	for _, w := range r.worlds {
		want := w.oracle.books()
		t.sent += sumOfHoldings(want).Total()
		for id, h := range want {
			g := got[w.name][id]
			if g == nil {
				g = &holding{}
			}
			if g.total != h.total {
				whole.add("%s %.12s: %v booked, %v sent", w.name, id, g.total, h.total)
			}
			delete(got[w.name], id)
			if !w.inOrder {
				continue
			}
			t.minutes += len(h.minutes)
			for at, e := range h.minutes {
				if g.minutes[at] != e {
					minutes.add("%s %.12s at %s: %v booked, %v sent", w.name, id, clockTime(at), g.minutes[at], e)
				}
			}
			for at, e := range g.minutes {
				if _, ok := h.minutes[at]; !ok && e != (power.Energy{}) {
					minutes.add("%s %.12s at %s: %v booked, nothing sent", w.name, id, clockTime(at), e)
				}
			}
		}
		for id, h := range got[w.name] {
			if h.total != (power.Energy{}) {
				whole.add("%s %.12s: %v booked and never sent", w.name, id, h.total)
			}
		}
	}
}

func clockTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("15:04:05") }

// compareTruth holds the books against what the simulated exporters counted.
func (r *run) compareTruth(b *books, t *totals, holders, nodes *differ) {
	type key struct{ cluster, name string }
	booked, used := map[key]power.Energy{}, map[key]power.Energy{}
	for k, h := range b.holders {
		e := booked[key{k.cluster, k.id}]
		e.Add(h.total)
		booked[key{k.cluster, k.id}] = e
	}
	for _, n := range b.nodes {
		e := used[key{n.Cluster, n.Node}]
		e.Add(n.Used)
		used[key{n.Cluster, n.Node}] = e
		t.nodesBooked += n.Used.Total()
	}
	for _, w := range r.worlds {
		want, wantNodes := map[string]power.Energy{}, map[string]power.Energy{}
		for _, a := range w.sim.Truth().Accounts {
			var c power.Component
			switch a.Zone {
			case "package":
				c = power.CPU
			case "dram":
				c = power.DRAM
			case "gpu":
				c = power.GPU
			default:
				continue
			}
			switch a.Kind {
			case "container", "vm":
				e := want[a.ID]
				e[c] += power.Microjoules(a.ReportedMicrojoules + a.AllottedMicrojoules)
				want[a.ID] = e
			case "node", "gpu":
				e := wantNodes[a.Node]
				e[c] += power.Microjoules(a.ReportedMicrojoules)
				wantNodes[a.Node] = e
				t.nodesSent += power.Microjoules(a.ReportedMicrojoules)
			}
		}
		for id, e := range want {
			if got := booked[key{w.name, id}]; got != e {
				holders.add("%s %.12s: %v booked, %v reported", w.name, id, got, e)
			}
		}
		for node, e := range wantNodes {
			if got := used[key{w.name, node}]; got != e {
				nodes.add("%s %s: %v booked, %v reported", w.name, node, got, e)
			}
		}
	}
}

// identities checks that every window of every node closes, component by
// component, and that the rows of its minute add up to it.
func identities(b *books, d *differ) {
	seen := map[nodeAt]bool{}
	for _, n := range b.nodes {
		var sum power.Energy
		for _, part := range []power.Energy{n.Containers, n.VMs, n.System, n.Idle, n.Unattributed} {
			sum.Add(part)
		}
		k := nodeAt{n.Cluster, n.Node, n.StartMs}
		seen[k] = true
		if sum != n.Used {
			d.add("%s %s at %s: %v used, the parts are %v", n.Cluster, n.Node, clockTime(n.StartMs), n.Used, sum)
		}
		if b.rows[k] != n.Used {
			d.add("%s %s at %s: %v used, the rows are %v", n.Cluster, n.Node, clockTime(n.StartMs), n.Used, b.rows[k])
		}
	}
	for k, e := range b.rows {
		if !seen[k] && e != (power.Energy{}) {
			d.add("%s %s at %s: rows of %v and no node", k.cluster, k.node, clockTime(k.startMs), e)
		}
	}
	if len(b.nodes) == 0 {
		d.add("there are none")
	}
	slices.Sort(d.first)
}
