package cluster

import (
	"bufio"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A Label is a name and a value.
type Label struct{ Name, Value string }

// A Series is one line of a scrape. Labels are sorted by name, without
// __name__, and the slice is the same one from scrape to scrape for as long as
// the labels do not change, so callers may key a cache on its first element.
type Series struct {
	Name   string
	Labels []Label
	Value  float64
}

// labelSet returns the pairs as labels sorted by name.
func labelSet(pairs ...string) []Label {
	labels := make([]Label, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		labels = append(labels, Label{pairs[i], pairs[i+1]})
	}
	sortLabels(labels)
	return labels
}

func sortLabels(labels []Label) {
	slices.SortFunc(labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
}

// With returns labels and the pairs, sorted by name.
func With(labels []Label, pairs ...string) []Label {
	return mergeLabels(labels, labelSet(pairs...))
}

func mergeLabels(a, b []Label) []Label {
	merged := make([]Label, 0, len(a)+len(b))
	merged = append(append(merged, a...), b...)
	sortLabels(merged)
	return merged
}

var escaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// WriteText writes series in the Prometheus text format, families in the order
// of their first series.
func WriteText(w io.Writer, series []Series) error {
	b := bufio.NewWriter(w)
	var families []string
	byName := make(map[string][]Series)
	for _, s := range series {
		if _, ok := byName[s.Name]; !ok {
			families = append(families, s.Name)
		}
		byName[s.Name] = append(byName[s.Name], s)
	}
	var scratch []byte
	for _, name := range families {
		b.WriteString("# TYPE " + name + " " + familyType(name) + "\n")
		for _, s := range byName[name] {
			b.WriteString(name)
			for i, l := range s.Labels {
				if i == 0 {
					b.WriteByte('{')
				} else {
					b.WriteByte(',')
				}
				b.WriteString(l.Name)
				b.WriteString(`="`)
				escaper.WriteString(b, l.Value)
				b.WriteByte('"')
			}
			if len(s.Labels) > 0 {
				b.WriteByte('}')
			}
			b.WriteByte(' ')
			scratch = strconv.AppendFloat(scratch[:0], s.Value, 'g', -1, 64)
			b.Write(scratch)
			b.WriteByte('\n')
		}
	}
	return b.Flush()
}

func familyType(name string) string {
	if strings.HasSuffix(name, "_total") || name == dcgmEnergy || name == "kepler_node_info" {
		return "counter"
	}
	return "gauge"
}
