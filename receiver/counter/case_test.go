package counter

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/test/casetest"
)

// The cases, as far as counters alone decide them: what containers and nodes
// have booked. The whole line plays them in cmd/wattledger.
func TestCases(t *testing.T) {
	for _, c := range casetest.All(t, "testdata/cases") {
		t.Run(c.File, func(t *testing.T) {
			b := newBench(t)
			for _, step := range c.Steps {
				if step.Kill {
					continue
				}
				b.play(step)
			}
			found := map[string]bool{}
			for _, f := range b.cache.Findings() {
				found[f.Kind.String()] = len(f.Sources) > 0 && f.Count > 0 && f.LastMs >= f.SinceMs
			}
			if want := findings[c.File]; !slices.Equal(slices.Sorted(maps.Keys(found)), want) || slices.Contains(slices.Collect(maps.Values(found)), false) {
				t.Errorf("found %v, want %v", found, want)
			}
			for _, e := range c.Expect {
				if got, known := b.joules(e); known && (got < e.Least || got > e.Most) {
					t.Errorf("%s: booked %.3f J, want %.3f to %.3f J", e, got, e.Least, e.Most)
				}
			}
		})
	}
}

// play sends a request of a case.
func (b *bench) play(step casetest.Step) {
	var request []sample
	for _, x := range step.Samples {
		var labels []power.Label
		for _, l := range x.Labels {
			labels = append(labels, power.Label(l))
		}
		request = append(request, sample{labels: labels, tMs: epoch*1000 + int64(x.Second*1000+0.5), value: x.Value})
	}
	b.send(request)
}

// findings are what is to be told of each case's setup, sorted.
var findings = map[string][]string{
	"01-two-exporters-2-scrapes":  {"two_exporters"},
	"01-two-exporters-20-scrapes": {"two_exporters"},
	"03-pair-by-replica-2s":       {"unnamed_pair"},
	"03-pair-without-a-label-2s":  {"unlabelled_pair"},
	"04-pair-by-replica-200ms":    {"unnamed_pair"},
	"05-legacy-beside-new":        {"two_generations"},
	"07-gpu-fall-hidden":          {"hidden_process_end"},
	"09-clock-back-26s":           {"unlabelled_pair"},
	"09-clock-back-6min":          {"clock_set_back"},
	"10-two-sockets-jump-up":      {"register_jump"},
	"12-containers-come-late":     {"late_containers"},
	"22-two-sockets-jump-down":    {"register_jump"},
	"56-scraped-twice":            {"two_exporters"},
}

// joules returns what an expectation is about, where readings alone tell it.
func (b *bench) joules(e casetest.Expectation) (sum float64, known bool) {
	for name, energy := range b.books.totals { // cluster/node/kind/id measure component
		key, measure, _ := strings.Cut(name, " ")
		part := strings.SplitN(key, "/", 4)
		used := strings.HasPrefix(measure, "m0 ")
		switch e.What {
		case "container":
			known = true
			if used && part[2] != "node" && part[3] == e.Name[:min(8, len(e.Name))] {
				sum += energy.Joules()
			}
		case "node":
			known = true
			if used && part[1] == e.Name && part[2] == "node" {
				sum += energy.Joules()
			}
		}
	}
	return sum, known
}
