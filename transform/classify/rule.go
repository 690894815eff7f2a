package classify

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/internal/glob"

	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/internal/strictyaml"
	"github.com/wattledger/wattledger/power"
)

// A rule gives a type to the workloads for which all its columns hold. The
// columns are documented at the head of configs/workloads.yaml.
type rule struct {
	Name         string             `yaml:"name"`
	About        string             `yaml:"about"`
	Type         typeName           `yaml:"type"`
	TypeFrom     keys               `yaml:"type_from_label"`
	Confidence   float64            `yaml:"confidence"`
	Alternatives map[string]float64 `yaml:"alternatives"`
	OwnerKinds   words              `yaml:"owner_kinds"`
	Namespaces   patterns           `yaml:"namespaces"`
	Labels       labelPatterns      `yaml:"labels"`
	AnyLabel     keys               `yaml:"any_label"`
	Images       patterns           `yaml:"images"`
	Words        words              `yaml:"words"`
	Commands     words              `yaml:"commands"`
	Resources    resourcePatterns   `yaml:"resources"`
}

// ParseRules reads classification rules. Unknown keys and types are errors that
// name the line.
func ParseRules(file []byte) (*Classifier, error) {
	var doc struct {
		Rules []rule `yaml:"rules"`
	}
	if err := strictyaml.Decode(file, &doc); err != nil {
		return nil, err
	}
	var at struct {
		Rules []yaml.Node `yaml:"rules"`
	}
	if err := yaml.Unmarshal(file, &at); err != nil {
		return nil, strictyaml.Plain(err)
	}
	seen := map[string]bool{}
	for i := range doc.Rules {
		r := &doc.Rules[i]
		err := r.check()
		if err == nil && seen[r.Name] {
			err = errors.New("a rule before has the same name")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: rule %q: %w", at.Rules[i].Line, r.Name, err)
		}
		seen[r.Name] = true
	}
	return &Classifier{rules: doc.Rules}, nil
}

func (r *rule) check() error {
	switch {
	case r.Name == "":
		return errors.New("column name is missing")
	case (r.Type.value == "") == (len(r.TypeFrom) == 0):
		return errors.New("wants either type or type_from_label")
	case len(r.TypeFrom)+len(r.OwnerKinds)+len(r.Namespaces)+len(r.Labels)+len(r.AnyLabel)+len(r.Images)+len(r.Words)+len(r.Commands)+len(r.Resources) == 0:
		return errors.New("has no condition, so it would match everything")
	case !(r.Confidence >= 0 && r.Confidence <= 1):
		return fmt.Errorf("confidence %v: must lie between 0 and 1", r.Confidence)
	}
	if r.Confidence == 0 {
		r.Confidence = 0.9
	}
	for name, confidence := range r.Alternatives {
		if t, ok := power.ParseType(name); !ok || string(t) != name {
			return fmt.Errorf("alternatives: unknown type %q", name)
		}
		if !(confidence >= 0 && confidence <= 1) {
			return fmt.Errorf("alternatives: confidence %v: must lie between 0 and 1", confidence)
		}
	}
	return nil
}

type typeName struct{ value power.Type }

func (t *typeName) UnmarshalYAML(n *yaml.Node) error {
	v, ok := power.ParseType(n.Value)
	if !ok || n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: unknown type %q, allowed are %v", n.Line, n.Value, power.Types)
	}
	t.value = v
	return nil
}

// scalars reads a value or a list of values.
func scalars(n *yaml.Node) ([]string, error) {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	var values []string
	for _, entry := range list {
		if entry.Kind != yaml.ScalarNode || entry.Value == "" {
			return nil, fmt.Errorf("line %d: want a value or a list of values", entry.Line)
		}
		values = append(values, entry.Value)
	}
	return values, nil
}

// words are lower case.
type words []string

func (w *words) UnmarshalYAML(n *yaml.Node) error {
	list, err := scalars(n)
	for _, v := range list {
		*w = append(*w, strings.ToLower(v))
	}
	return err
}

// keys are label keys as kube-state-metrics writes them.
type keys []string

func (k *keys) UnmarshalYAML(n *yaml.Node) error {
	list, err := scalars(n)
	for _, v := range list {
		*k = append(*k, power.TagName(v))
	}
	return err
}

type patterns []glob.Pattern

func (p *patterns) UnmarshalYAML(n *yaml.Node) error {
	list, err := scalars(n)
	for _, v := range list {
		*p = append(*p, glob.Compile(strings.ToLower(v)))
	}
	return err
}

func (p patterns) match(s string) bool {
	for _, one := range p {
		if one.Match(s) {
			return true
		}
	}
	return false
}

// matchPath matches a path from any of its components to its end: "redis"
// matches "docker.io/library/redis".
func (p patterns) matchPath(path string) bool {
	for {
		if p.match(path) {
			return true
		}
		_, rest, ok := strings.Cut(path, "/")
		if !ok {
			return false
		}
		path = rest
	}
}

// resourcePatterns match resources as kube-state-metrics names them.
type resourcePatterns []glob.Pattern

func (p *resourcePatterns) UnmarshalYAML(n *yaml.Node) error {
	list, err := scalars(n)
	for _, v := range list {
		parts := strings.Split(v, "*")
		for i := range parts {
			parts[i] = power.TagName(parts[i])
		}
		*p = append(*p, parts)
	}
	return err
}

// labelPatterns are keys and what their values must match, all of them.
type labelPatterns []labelPattern

type labelPattern struct {
	key    string
	values patterns
}

func (l *labelPatterns) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want a map of labels", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		p := labelPattern{key: power.TagName(n.Content[i].Value)}
		if err := p.values.UnmarshalYAML(n.Content[i+1]); err != nil {
			return err
		}
		*l = append(*l, p)
	}
	slices.SortFunc(*l, func(a, b labelPattern) int { return strings.Compare(a.key, b.key) })
	return nil
}
