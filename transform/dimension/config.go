// Package dimension says what holders of energy are tagged with: which labels
// and annotations are kept, and the values of the dimensions that users group
// their costs by, such as their teams.
package dimension

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/internal/glob"
	"github.com/wattledger/wattledger/power"
)

// Config names dimensions, and for each where its values come from. The first
// source that has one counts.
type Config map[string][]Source

// A Source is one place where the value of a dimension may stand.
type Source struct {
	// Labels of the pod, or annotations, or those of its namespace; the first that
	// is there gives the value. Names as Kubernetes or kube-state-metrics has them.
	Label               Names `yaml:"label,omitempty"`
	Annotation          Names `yaml:"annotation,omitempty"`
	NamespaceLabel      Names `yaml:"namespace_label,omitempty"`
	NamespaceAnnotation Names `yaml:"namespace_annotation,omitempty"`

	// Patterns, with * for any characters. Where all that are given match, the value
	// is Value; without one it is the name that the first of them matched.
	Owner     string `yaml:"owner,omitempty"`     // kind/name of the workload
	Namespace string `yaml:"namespace,omitempty"` // its namespace
	Workload  string `yaml:"workload,omitempty"`  // its name

	// Value alone, as the last source, is for all the rest.
	Value string `yaml:"value,omitempty"`
}

// Names are one name or a list of them.
type Names []string

func (n *Names) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*n = Names{node.Value}
		return nil
	}
	var list []string
	if err := node.Decode(&list); err != nil {
		return fmt.Errorf("line %d: want a name or a list of names", node.Line)
	}
	*n = list
	return nil
}

// MarshalYAML writes one name as such.
func (n Names) MarshalYAML() (any, error) {
	if len(n) == 1 {
		return n[0], nil
	}
	return []string(n), nil
}

// Keep says which labels and annotations are kept, by patterns of their names.
type Keep struct {
	Keep []string `yaml:"keep"`
	Drop []string `yaml:"drop"` // of those
	// MaxValues bounds the values that are told apart of one name; those beyond it
	// are kept as Overflow.
	MaxValues int `yaml:"max_values"`
}

// Values that no label has.
const (
	Unassigned = "__unassigned__" // of a dimension, where no source has a value
	Overflow   = "__overflow__"   // of a name with too many values, or of one that is too long
)

// MaxValueBytes is how long the value of a tag may be: Kubernetes allows 63 bytes
// in a label, and names of 253.
const MaxValueBytes = 253

var dimensionName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// reserved are the names of what everything can be grouped by.
var reserved = []string{
	"cluster", "node", "namespace", "workload", "workload_kind", "workload_type", "pod", "container", "container_id",
	"controller", "label", "annotation", "type", "step", "window",
}

// Check says what is wrong with c.
func (c Config) Check() error {
	for name, sources := range c {
		switch {
		case !dimensionName.MatchString(name):
			return fmt.Errorf("%q: a dimension is named by lower-case letters, digits and _, beginning with a letter, such as cost_center", name)
		case slices.Contains(reserved, name):
			return fmt.Errorf("%s: everything has one of these already; name the dimension otherwise", name)
		}
		for i, s := range sources {
			if err := s.check(i == len(sources)-1); err != nil {
				return fmt.Errorf("%s, source %d: %w", name, i+1, err)
			}
		}
	}
	return nil
}

func (s Source) check(last bool) error {
	kinds := 0
	for _, names := range []Names{s.Label, s.Annotation, s.NamespaceLabel, s.NamespaceAnnotation} {
		if len(names) > 0 {
			kinds++
		}
		if slices.Contains(names, "") {
			return fmt.Errorf("an empty name")
		}
	}
	pattern := s.Owner != "" || s.Namespace != "" || s.Workload != ""
	switch {
	case kinds > 1 || kinds == 1 && pattern:
		return fmt.Errorf("names several places; write a source for each, in the order in which they count")
	case kinds == 1 && s.Value != "":
		return fmt.Errorf("value does not go with a label or an annotation, which has its own")
	case kinds == 0 && !pattern && s.Value == "":
		return fmt.Errorf("is empty; it takes label, annotation, namespace_label, namespace_annotation, owner, namespace, workload, or value for the rest")
	case kinds == 0 && !pattern && !last:
		return fmt.Errorf("value alone is for all the rest; put it last")
	case len(s.Value) > MaxValueBytes:
		return fmt.Errorf("value is longer than %d bytes", MaxValueBytes)
	case s.Owner != "" && !strings.ContainsAny(s.Owner, "/*"):
		return fmt.Errorf("owner %q: write kind/name, such as deployment/%s", s.Owner, s.Owner)
	}
	return nil
}

// Check says what is wrong with k.
func (k Keep) Check() error {
	if k.MaxValues < 1 {
		return fmt.Errorf("max_values %d: must be above 0", k.MaxValues)
	}
	return nil
}

func compile(patterns []string) (list []glob.Pattern) {
	for _, p := range patterns {
		parts := strings.Split(p, "*")
		for i := range parts {
			parts[i] = power.TagName(parts[i])
		}
		list = append(list, parts)
	}
	return list
}
