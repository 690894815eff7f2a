package dimension

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/internal/glob"
	"github.com/wattledger/wattledger/power"
)

// Rules tag holders. They are immutable and safe for concurrent use.
type Rules struct {
	names      []string // of the dimensions, sorted
	sources    [][]source
	keep, drop []glob.Pattern
	always     map[tagName]bool // what sources name is kept whatever the patterns say
	maxValues  int
	hash       uint64
}

type tagName struct {
	kind power.TagKind
	name string
}

// A source is a Source that was compiled.
type source struct {
	from                       []tagName
	owner, namespace, workload glob.Pattern // nil for any
	value                      string
}

// New compiles rules.
func New(c Config, k Keep) (*Rules, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("dimensions: %w", err)
	}
	if err := k.Check(); err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	c = maps.Clone(c)
	maps.DeleteFunc(c, func(_ string, sources []Source) bool { return len(sources) == 0 }) // how a file takes back a default
	r := &Rules{
		names: slices.Sorted(maps.Keys(c)), keep: compile(k.Keep), drop: compile(k.Drop),
		always: map[tagName]bool{}, maxValues: k.MaxValues,
	}
	for _, name := range r.names {
		var list []source
		for _, s := range c[name] {
			list = append(list, r.compile(s))
		}
		r.sources = append(r.sources, list)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%q", r.names)
	for _, name := range r.names {
		fmt.Fprintf(h, "%q", c[name])
	}
	r.hash = h.Sum64()
	return r, nil
}

func (r *Rules) compile(s Source) source {
	c := source{value: s.Value}
	for kind, names := range map[power.TagKind]Names{
		power.PodLabel: s.Label, power.PodAnnotation: s.Annotation,
		power.NamespaceLabel: s.NamespaceLabel, power.NamespaceAnnotation: s.NamespaceAnnotation,
	} {
		for _, name := range names {
			t := tagName{kind, power.TagName(name)}
			c.from = append(c.from, t)
			r.always[t] = true
		}
	}
	for _, p := range []struct {
		text string
		to   *glob.Pattern
	}{{s.Owner, &c.owner}, {s.Namespace, &c.namespace}, {s.Workload, &c.workload}} {
		if p.text != "" {
			*p.to = glob.Compile(p.text)
		}
	}
	return c
}

// Names returns the dimensions, sorted.
func (r *Rules) Names() []string { return r.names }

// Hash tells dimensions apart that are defined differently.
func (r *Rules) Hash() uint64 { return r.hash }

// MaxValues is how many values of one name are told apart.
func (r *Rules) MaxValues() int { return r.maxValues }

// Keeps says whether a label or an annotation is kept. The name is as
// power.TagName writes it.
func (r *Rules) Keeps(kind power.TagKind, name string) bool {
	if r.always[tagName{kind, name}] {
		return true
	}
	match := func(list []glob.Pattern) bool {
		return slices.ContainsFunc(list, func(p glob.Pattern) bool { return p.Match(name) })
	}
	return match(r.keep) && !match(r.drop)
}

// Tag returns tags with the value of each dimension in the place of those they
// had. It is a pure function of the labels and annotations among the tags and of
// the workload.
func (r *Rules) Tag(tags power.Tags, w power.Workload) power.Tags {
	var list []power.Tag
	for t := range tags.All {
		if t.Kind != power.DimensionTag {
			list = append(list, t)
		}
	}
	raw := power.TagsOf(list)
	for i, name := range r.names {
		for _, s := range r.sources[i] {
			if v := s.of(raw, w); v != "" {
				list = append(list, power.Tag{Kind: power.DimensionTag, Name: name, Value: v})
				break
			}
		}
	}
	return power.TagsOf(list)
}

// of returns the value that s has for a holder, or "".
func (s *source) of(raw power.Tags, w power.Workload) string {
	if len(s.from) > 0 {
		for _, f := range s.from {
			if v, ok := raw.Get(f.kind, f.name); ok {
				return v
			}
		}
		return ""
	}
	value := s.value
	for _, m := range []struct {
		pattern    glob.Pattern
		text, name string
	}{
		{s.owner, strings.ToLower(w.Kind) + "/" + w.Name, w.Name}, {s.namespace, w.Namespace, w.Namespace}, {s.workload, w.Name, w.Name},
	} {
		switch {
		case m.pattern == nil:
		case !m.pattern.Match(m.text):
			return ""
		case value == "":
			value = m.name
		}
	}
	return value
}
