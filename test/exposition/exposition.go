// Package exposition reads series in the text format for tests.
package exposition

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/power"
)

// Series parses one series of the text format, and adds the labels of a scrape.
func Series(t testing.TB, text string, scrape ...power.Label) []power.Label {
	t.Helper()
	var found []power.Label
	Each(t, []byte(text+" 1\n"), func(l []power.Label, _ float64) { found = l })
	for _, s := range scrape {
		if Value(found, s.Name) == "" {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b power.Label) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// Each reads the text format as Kepler writes it, without its comments.
func Each(t testing.TB, text []byte, fn func([]power.Label, float64)) {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		metric, rest, ok := strings.Cut(line, "{")
		end := strings.LastIndex(rest, "}")
		if !ok || end < 0 {
			t.Fatalf("not a series: %s", line)
		}
		list := []power.Label{{Name: "__name__", Value: metric}}
		for block := rest[:end]; block != ""; {
			name, after, _ := strings.Cut(block, "=")
			quoted, err := strconv.QuotedPrefix(after)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			v, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if v != "" {
				list = append(list, power.Label{Name: name, Value: v})
			}
			block = strings.TrimPrefix(after[len(quoted):], ",")
		}
		sample, err := strconv.ParseFloat(strings.TrimSpace(rest[end+1:]), 64)
		if err != nil {
			t.Fatal(err)
		}
		fn(list, sample)
	}
}

// Instance is the label of a scrape that Kepler's own series go without.
var Instance = power.Label{Name: "instance", Value: "10.0.0.7:28282"}

// Value returns the value of a label, "" where there is none.
func Value(labels []power.Label, name string) string {
	for _, l := range labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}
