package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
)

// intro is what the report begins with.
const intro = `# Torture

` + "`make torture`" + ` runs the real program with a real Redis and a real InfluxDB, sends it the counters of
simulated clusters whose energy is known to the microjoule, and does to all of them what machines, disks and
networks do. This page is the report of one such run; ` + "`make torture DURATION=30m SEED=1 REPORT=docs/torture.md ARGS=-proofs`" + `
writes it anew. A run of a minute is part of ` + "`make test`" + `. The same seed gives the same clusters and the same faults at
the same moments; ` + "`ARGS=-faults=redis-kill,server-kill`" + ` injects only those.

A run is made of rounds of load and faults. After each round everything is healed, the server is left to catch up,
asked, and stopped, and its books are read from its disk and compared:

- every container and every node with what its counters showed, in total, and minute by minute where samples
  came in order. What was sent is added up by a second, plain implementation that sees the samples only, and
  known from the simulation besides;
- every minute of every node with its parts (containers + VMs + system + idle + unattributed), and with its rows;
- the streams in Redis and the points in InfluxDB with the rows of the books, one by one: energy, cost, revision and
  what else they have; no stream may have an entry twice;
- the answers of the API with the books;
- what the server says it received with what became of it: booked, told about pods, duplicate, late, conflict, stale,
  not a number, quarantined, filtered, rejected;
- open files and goroutines with those of a server to which nothing has happened.

Storage is a small file system in memory where mounting is allowed: a SIGKILL loses nothing there that a disk would
keep, but a power cut is not part of this: the journal's TestPowerCuts is.

`

// report tells of a run in Markdown.
func (r *run) report(o options, list []fault, proofs []proof) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	t := r.totals
	injected := 0
	for _, f := range list {
		injected += r.counts[f.name]
	}
	kills := 0
	for _, n := range r.kills {
		kills += n
	}
	b.WriteString(intro)
	line("## The run\n")
	line("Seed %d, %v of rounds, %v of simulated time (%v times as fast), version %s.\n", o.seed, o.duration, t.simulated.Round(time.Minute), o.speed, r.version)
	line("| | |\n|---|---:|")
	line("| faults injected | %d |", injected)
	line("| SIGKILLs | %d (%s) |", kills, listed(r.kills))
	line("| times everything was compared | %d |", r.checks)
	line("| samples delivered | %d |", t.samples)
	line("| requests sent again | %d |", t.retries)
	line("| samples refused, as they had to be | %d |", t.refused)
	line("| energy of containers sent | %s |", joules(t.sent))
	line("| energy of containers booked | %s |", joules(t.booked))
	line("| **difference** | **%s** |", joules(t.booked-t.sent))
	line("| energy of nodes reported | %s |", joules(t.nodesSent))
	line("| energy of nodes booked | %s |", joules(t.nodesBooked))
	line("| **difference** | **%s** |", joules(t.nodesBooked-t.nodesSent))
	line("| minutes of containers compared one by one | %d |", t.minutes)
	line("| rows of windows and hours in the books | %d + %d |", t.windows, t.hours)
	line("| entries in the Redis streams, rows they amount to | %d, %d |", t.redisCharges, t.redisRows)
	line("| rows in InfluxDB, sums by namespace and hour there | %d, %d |", t.influxRows, t.influxSums)
	line("| differences at the last comparison | %d |", t.differences)
	line("| defects found on the way | %d |", len(r.defects))
	line("| open files at rest, at first and at most | %d, %d |", r.quiet.descriptors, r.peak.descriptors)
	line("| goroutines at rest, at first and at most | %d, %d |", r.quiet.goroutines, r.peak.goroutines)
	line("| memory, at most | %.0f MiB |", mib(r.peak.resident))
	if len(r.notes) > 0 {
		line("| beside | %s |", listed(r.notes))
	}
	line("\n### Faults\n")
	line("| fault | times | what |\n|---|---:|---|")
	for _, f := range list {
		about := f.about
		if why := r.missing[f.name]; why != "" {
			about += "; not possible here: " + why
		}
		line("| `%s` | %d | %s |", f.name, r.counts[f.name], about)
	}
	line("\n### In the clusters\n")
	line("| event | times | what |\n|---|---:|---|")
	for _, e := range events {
		line("| `%s` | %d | %s |", e.name, r.counts[e.name], e.about)
	}
	for _, p := range proofs {
		line("\n## %s\n", p.title)
		if p.text != "" {
			line("%s\n", p.text)
		}
		line("Afterwards: %s sent and %s booked (difference %s); %d + %d rows of windows and hours in the books, %d entries in the Redis streams that amount to %d rows, %d rows in InfluxDB; %d differences, no entry twice. Took %v.",
			joules(p.totals.sent), joules(p.totals.booked), joules(p.totals.booked-p.totals.sent), p.totals.windows, p.totals.hours,
			p.totals.redisCharges, p.totals.redisRows, p.totals.influxRows, p.totals.differences, p.took.Round(time.Second))
		if p.defects > 0 {
			line("\n**%d defects.**", p.defects)
		}
	}
	if len(r.defects) > 0 {
		line("\n## Defects\n")
		for _, d := range r.defects {
			line("    %s\n", strings.ReplaceAll(d, "\n", "\n    "))
		}
	}
	return b.String()
}

func joules(e power.Microjoules) string { return fmt.Sprintf("%.6f J", e.Joules()) }

func listed(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}
