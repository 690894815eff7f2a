// Package classify says what type of workload a description is of: by rules that
// users may replace, and where these are silent by the power drawn over time.
package classify

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/wattledger/wattledger/power"
)

// A Subject is what is known of a workload when its type is asked for. Keys of
// labels, annotations and resources may be written as Kubernetes has them
// ("app.kubernetes.io/name") or as kube-state-metrics does ("app_kubernetes_io_name").
type Subject struct {
	Namespace   string
	Workload    string   // name
	OwnerKinds  []string // of the workload, of the pod's owner, and between
	Labels      map[string]string
	Annotations map[string]string
	Images      []string // of all containers of a pod, so that a sidecar does not decide alone
	Command     []string
	Resources   map[string]float64 // requests
}

// Stages of a classification.
const (
	StageRule    = "rule"    // a rule matched
	StageProfile = "profile" // no rule did; guessed from the power drawn over time
	StageNone    = "none"
)

// A Classification is a type and why it was given.
type Classification struct {
	Type         power.Type
	Stage        string
	Rule         string // empty unless Stage is StageRule
	Reason       string
	Confidence   float64 // 0 to 1
	Alternatives []Alternative
}

// An Alternative is a type that was not given, though something speaks for it.
type Alternative struct {
	Type       power.Type `json:"workload_type"`
	Confidence float64    `json:"confidence"`
}

// A Classifier holds ordered rules; the first that matches gives the type. It is
// immutable and safe for concurrent use.
type Classifier struct{ rules []rule }

// Type returns the type of the first rule that matches, and its name; Unknown
// and "" where none does.
func (c *Classifier) Type(s Subject) (power.Type, string) {
	n := s.normal()
	for i := range c.rules {
		if t, ok := c.rules[i].matches(n, nil); ok {
			return t, c.rules[i].Name
		}
	}
	return power.Unknown, ""
}

// Classify says which rule matches first, why, and which other types the rules
// after it speak for, with half of their confidence.
func (c *Classifier) Classify(s Subject) Classification {
	n := s.normal()
	result := Classification{Type: power.Unknown, Stage: StageNone, Reason: "no rule matched"}
	other := map[power.Type]float64{}
	for i := range c.rules {
		r := &c.rules[i]
		var why []string
		t, ok := r.matches(n, &why)
		switch {
		case !ok:
			continue
		case result.Stage == StageNone:
			result = Classification{Type: t, Stage: StageRule, Rule: r.Name, Reason: strings.Join(why, ", "), Confidence: r.Confidence}
			for alternative, confidence := range r.Alternatives {
				other[power.Type(alternative)] = confidence
			}
		default:
			other[t] = max(other[t], r.Confidence/2)
		}
	}
	delete(other, result.Type)
	delete(other, power.Unknown)
	for _, t := range slices.Sorted(maps.Keys(other)) {
		// What is not given can be no surer than what is.
		result.Alternatives = append(result.Alternatives, Alternative{t, min(other[t], 1-result.Confidence)})
	}
	sort.SliceStable(result.Alternatives, func(i, j int) bool {
		return result.Alternatives[i].Confidence > result.Alternatives[j].Confidence
	})
	return result
}

// Rules returns the names of the rules in their order.
func (c *Classifier) Rules() []string {
	list := make([]string, len(c.rules))
	for i, r := range c.rules {
		list[i] = r.Name
	}
	return list
}

// normalSubject is a Subject with every word in the form the rules are in.
type normalSubject struct {
	namespace, workload string
	owners              []string
	words               []string // of the workload's name
	labels              map[string]string
	images              []string
	command             string
	resources           []string // requested above 0
}

func (s Subject) normal() *normalSubject {
	n := &normalSubject{
		namespace: strings.ToLower(s.Namespace),
		workload:  strings.ToLower(s.Workload),
		labels:    make(map[string]string, len(s.Labels)+len(s.Annotations)),
		command:   strings.ToLower(strings.Join(s.Command, " ")),
	}
	n.words = strings.FieldsFunc(n.workload, func(r rune) bool { return !(r >= 'a' && r <= 'z') })
	for _, kind := range s.OwnerKinds {
		n.owners = append(n.owners, strings.ToLower(kind))
	}
	for k, v := range s.Annotations {
		n.labels[power.TagName(k)] = v
	}
	for k, v := range s.Labels {
		n.labels[power.TagName(k)] = v
	}
	for _, image := range s.Images {
		if image != "" {
			n.images = append(n.images, repository(image))
		}
	}
	for name, amount := range s.Resources {
		if amount > 0 {
			n.resources = append(n.resources, power.TagName(name))
		}
	}
	slices.Sort(n.resources)
	return n
}

// repository takes the tag and the digest off an image reference.
func repository(image string) string {
	image, _, _ = strings.Cut(strings.ToLower(image), "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}

// matches says whether every column the rule has holds, and adds to why, unless
// it is nil, what speaks for each.
func (r *rule) matches(s *normalSubject, why *[]string) (power.Type, bool) {
	say := func(format string, words ...string) {
		if why == nil {
			return
		}
		args := make([]any, len(words))
		for i, w := range words {
			args[i] = w
		}
		*why = append(*why, fmt.Sprintf(format, args...))
	}
	found := power.Type(r.Type.value)
	if len(r.TypeFrom) > 0 {
		found = ""
		for _, key := range r.TypeFrom {
			if t, ok := power.ParseType(s.labels[key]); ok {
				found = t
				say("label %s is %q", key, s.labels[key])
				break
			}
		}
		if found == "" {
			return "", false
		}
	}
	if len(r.OwnerKinds) > 0 {
		i := slices.IndexFunc(s.owners, func(kind string) bool { return slices.Contains(r.OwnerKinds, kind) })
		if i < 0 {
			return "", false
		}
		say("owned by a %s", s.owners[i])
	}
	if len(r.Namespaces) > 0 {
		if !r.Namespaces.match(s.namespace) {
			return "", false
		}
		say("namespace %q", s.namespace)
	}
	for _, l := range r.Labels {
		v, ok := s.labels[l.key]
		if !ok || !l.values.match(strings.ToLower(v)) {
			return "", false
		}
		say("label %s is %q", l.key, v)
	}
	if len(r.AnyLabel) > 0 {
		i := slices.IndexFunc(r.AnyLabel, func(key string) bool { _, ok := s.labels[key]; return ok })
		if i < 0 {
			return "", false
		}
		say("label %s is set", r.AnyLabel[i])
	}
	if len(r.Images) > 0 {
		i := slices.IndexFunc(s.images, r.Images.matchPath)
		if i < 0 {
			return "", false
		}
		say("image %q", s.images[i])
	}
	if len(r.Words) > 0 {
		i := slices.IndexFunc(s.words, func(w string) bool { return slices.Contains(r.Words, w) })
		if i < 0 {
			return "", false
		}
		say("the workload's name holds %q", s.words[i])
	}
	if len(r.Commands) > 0 {
		i := slices.IndexFunc(r.Commands, func(c string) bool { return strings.Contains(s.command, c) })
		if i < 0 {
			return "", false
		}
		say("the command holds %q", r.Commands[i])
	}
	if len(r.Resources) > 0 {
		i := slices.IndexFunc(s.resources, patterns(r.Resources).match)
		if i < 0 {
			return "", false
		}
		say("requests %s", s.resources[i])
	}
	return found, true
}
