package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
)

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
	line("| rows in InfluxDB | %d |", t.influxRows)
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
