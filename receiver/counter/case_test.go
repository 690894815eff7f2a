package counter

import (
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
			for _, e := range c.Expect {
				if got, known := b.joules(e); known && (got < e.Least || got > e.Most) {
					t.Errorf("%s: booked %.3f J, want %.3f to %.3f J", e, got, e.Least, e.Most)
				}
			}
		})
	}
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
