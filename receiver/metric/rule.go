package metric

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/power"
)

// A Rule says what the series of a metric mean. The columns are documented where
// users meet them, at the head of configs/metrics.yaml.
type Rule struct {
	Metric         labelNames       `yaml:"metric"`
	About          string           `yaml:"about"`
	Generation     string           `yaml:"generation"`
	When           map[string]match `yaml:"when"`
	Unless         map[string]match `yaml:"unless"`
	Role           rowRole          `yaml:"role"`
	Fact           rowFact          `yaml:"fact"`
	Holder         rowHolder        `yaml:"holder"`
	Node           labelNames       `yaml:"node"`
	ID             labelNames       `yaml:"id"`
	Component      rowComponent     `yaml:"component"`
	ComponentLabel string           `yaml:"component_label"`
	Unit           rowUnit          `yaml:"unit"`
	Measure        rowMeasure       `yaml:"measure"`
	Zone           labelNames       `yaml:"zone"`
	Attributes     attributeLabels  `yaml:"attributes"`
	ContainerAfter string           `yaml:"container_after"`
	StateLabel     string           `yaml:"state_label"`
	Source         string           `yaml:"source"`
	Priority       int              `yaml:"priority"`
	Exporter       labelNames       `yaml:"exporter"`
	Shared         labelNames       `yaml:"shared"`
	Share          string           `yaml:"share"`
}

// attributeLabels names, for each attribute, the labels it is read from.
type attributeLabels struct {
	Container labelNames `yaml:"container"`
	Pod       labelNames `yaml:"pod"`
	PodUID    labelNames `yaml:"pod_uid"`
	Namespace labelNames `yaml:"namespace"`
	Image     labelNames `yaml:"image"`
	Command   labelNames `yaml:"command"`
	Runtime   labelNames `yaml:"runtime"`
}

const roleIgnore Role = 255

const (
	holderContainer = "container"
	holderVM        = "vm"
	holderNode      = "node"
	holderDevice    = "device"
	holderPod       = "pod"
)

// units gives the microjoules of one unit of energy, or the microjoules a
// second of one unit of power.
var units = map[string]float64{
	"microjoules": 1, "millijoules": 1e3, "joules": 1e6, "kilojoules": 1e9, "watt_hours": 3.6e9, "kilowatt_hours": 3.6e12,
	"milliwatts": 1e3, "watts": 1e6, "kilowatts": 1e9,
}

func isPower(unit string) bool { return strings.HasSuffix(unit, "watts") }

var roles = map[string]Role{
	"counter": RoleCounter, "node_raw": RoleNodeRaw, "node_active": RoleNodeActive, "node_idle": RoleNodeIdle,
	"node_watts": RoleNodeWatts, "gpu_counter": RoleGPUCounter, "gpu_watts": RoleGPUWatts, "gauge": RoleGauge,
	"fact": RoleFact, "ignore": roleIgnore,
}

var facts = map[string]power.FactKind{
	"pod": power.PodFact, "pod_owner": power.PodOwnerFact, "replicaset_owner": power.ReplicaSetOwnerFact,
	"job_owner": power.JobOwnerFact, "pod_labels": power.PodLabelsFact, "pod_container": power.PodContainerFact,
	"pod_requests": power.PodRequestsFact, "node": power.NodeFact, "pod_annotations": power.PodAnnotationsFact,
	"namespace_labels": power.NamespaceLabelsFact, "namespace_annotations": power.NamespaceAnnotationsFact,
	"node_labels": power.NodeLabelsFact,
}

var measures = map[string]power.Measure{
	"used": power.Used, "active": power.Active, "idle": power.NodeIdle, "idle_share": power.IdleShare,
}

var holders = map[string]string{
	holderContainer: holderContainer, holderVM: holderVM, holderNode: holderNode, holderDevice: holderDevice, holderPod: holderPod,
}

var components = map[string]power.Component{"cpu": power.CPU, "dram": power.DRAM, "gpu": power.GPU, "other": power.Other}

// A chosen value is one of the words a column allows, and what it stands for.
type (
	rowRole      struct{ chosen[Role] }
	rowFact      struct{ chosen[power.FactKind] }
	rowMeasure   struct{ chosen[power.Measure] }
	rowHolder    struct{ chosen[string] }
	rowComponent struct{ chosen[power.Component] }
	rowUnit      struct{ chosen[float64] }
)

type chosen[T any] struct {
	name  string
	value T
}

func (c *chosen[T]) choose(node *yaml.Node, column string, words map[string]T) error {
	v, ok := words[node.Value]
	if !ok || node.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: unknown %s %q, allowed are %s", node.Line, column, node.Value, quoted(slices.Sorted(maps.Keys(words))))
	}
	c.name, c.value = node.Value, v
	return nil
}

func (c *rowRole) UnmarshalYAML(n *yaml.Node) error    { return c.choose(n, "role", roles) }
func (c *rowFact) UnmarshalYAML(n *yaml.Node) error    { return c.choose(n, "fact", facts) }
func (c *rowMeasure) UnmarshalYAML(n *yaml.Node) error { return c.choose(n, "measure", measures) }
func (c *rowHolder) UnmarshalYAML(n *yaml.Node) error  { return c.choose(n, "holder", holders) }
func (c *rowComponent) UnmarshalYAML(n *yaml.Node) error {
	return c.choose(n, "component", components)
}
func (c *rowUnit) UnmarshalYAML(n *yaml.Node) error { return c.choose(n, "unit", units) }

// labelNames is one name or a list of names in the order of preference.
type labelNames []string

func (l *labelNames) UnmarshalYAML(n *yaml.Node) error {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	for _, entry := range list {
		if entry.Kind != yaml.ScalarNode || entry.Value == "" {
			return fmt.Errorf("line %d: want a name or a list of names", entry.Line)
		}
		*l = append(*l, entry.Value)
	}
	return nil
}

// A match is what a label's value is compared with: one of the words, "*" for
// any value at all, "" for none.
type match []string

func (m *match) UnmarshalYAML(n *yaml.Node) error {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	for _, entry := range list {
		if entry.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: want a value or a list of values", entry.Line)
		}
		*m = append(*m, entry.Value)
	}
	return nil
}

func (m match) matches(v string) bool {
	for _, want := range m {
		if want == v || want == "*" && v != "" {
			return true
		}
	}
	return false
}

func quoted(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return `"` + strings.Join(words, `", "`) + `"`
}

// check finds the rows that could not mean anything and completes the rest.
func (r *Rule) check() error {
	switch {
	case len(r.Metric) == 0:
		return errors.New("column metric is missing")
	case r.Role.name == "":
		return errors.New("column role is missing")
	case r.Role.value == roleIgnore:
		return nil
	}
	switch r.Generation {
	case "":
		r.Generation = OtherSource
	case KeplerNew, KeplerLegacy, OtherSource:
	default:
		return fmt.Errorf("unknown generation %q, allowed are %s", r.Generation, quoted([]string{KeplerNew, KeplerLegacy, OtherSource}))
	}
	if r.Role.value == RoleFact {
		switch {
		case r.Fact.name == "":
			return errors.New("role fact needs column fact")
		case r.Holder.name == "":
			return nil
		case r.Holder.value != holderPod || len(r.ID) == 0 || len(r.Node) == 0 || r.ComponentLabel == "" || r.Unit.name == "" || isPower(r.Unit.name):
			return errors.New("role fact goes with holder pod alone, which needs columns id, node, component_label and a unit of energy")
		}
		r.useMeasure("used")
		return nil
	}
	if r.Holder.value == holderPod {
		return errors.New("holder pod goes with role fact alone")
	}
	switch {
	case r.Fact.name != "":
		return fmt.Errorf("column fact does not go with role %s", r.Role.name)
	case r.Holder.name == "":
		return errors.New("column holder is missing")
	case r.Unit.name == "":
		return errors.New("column unit is missing")
	case len(r.Node) == 0:
		return errors.New("column node is missing")
	case (r.Component.name == "") == (r.ComponentLabel == ""):
		return errors.New("wants either component or component_label")
	}
	watts := r.Role.value == RoleNodeWatts || r.Role.value == RoleGPUWatts || r.Role.value == RoleGauge
	if watts != isPower(r.Unit.name) {
		return fmt.Errorf("unit %s does not go with role %s", r.Unit.name, r.Role.name)
	}
	return r.checkHolder()
}

func (r *Rule) checkHolder() error {
	ofNode := false
	switch r.Role.value {
	case RoleNodeActive:
		ofNode = true
		r.useMeasure("active")
	case RoleNodeIdle:
		ofNode = true
		r.useMeasure("idle")
	case RoleNodeRaw, RoleNodeWatts:
		ofNode = true
	}
	r.useMeasure("used")
	switch r.Holder.value {
	case holderContainer, holderVM:
		if ofNode {
			return fmt.Errorf("role %s does not go with holder %s", r.Role.name, r.Holder.name)
		}
		if len(r.ID) == 0 {
			return fmt.Errorf("holder %s needs column id", r.Holder.name)
		}
		if r.Measure.value == power.Active || r.Measure.value == power.NodeIdle {
			return fmt.Errorf("measure %s belongs to nodes", r.Measure.name)
		}
	case holderDevice:
		if len(r.Zone) == 0 {
			return errors.New("holder device needs column zone, the labels that hold the device's UUID")
		}
		if r.Source == "" {
			return errors.New("holder device needs column source")
		}
		if r.Priority <= 0 {
			return errors.New("holder device needs a priority above 0")
		}
	case holderNode:
		if r.Measure.value == power.IdleShare {
			return errors.New("measure idle_share belongs to containers and VMs")
		}
	}
	if r.Holder.value != holderDevice && (r.Source != "" || r.Priority != 0 || len(r.Shared) > 0 || r.Share != "" || len(r.Exporter) > 0) {
		return errors.New("columns source, priority, shared, share and exporter belong to holder device")
	}
	return nil
}

func (r *Rule) useMeasure(standard string) {
	if r.Measure.name == "" {
		r.Measure.name, r.Measure.value = standard, measures[standard]
	}
}

func (r *Rule) conditions() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.When)) {
		parts = append(parts, name+"="+strings.Join(r.When[name], "|"))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Unless)) {
		parts = append(parts, name+"!="+strings.Join(r.Unless[name], "|"))
	}
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// meaning says in words what the row does with a sample.
func (r *Rule) meaning(book map[string]power.Component) string {
	switch r.Role.value {
	case roleIgnore:
		return "ignored"
	case RoleFact:
		if r.Holder.value == holderPod {
			return "tells about pods (" + r.Fact.name + "), and counts them on nodes without containers"
		}
		return "tells about pods (" + r.Fact.name + ")"
	}
	what := r.Component.name
	if r.ComponentLabel != "" {
		var zones []string
		for _, zone := range slices.Sorted(maps.Keys(book)) {
			zones = append(zones, zone+" as "+book[zone].String())
		}
		what = r.ComponentLabel + " " + strings.Join(zones, ", ")
	}
	how := map[Role]string{
		RoleCounter:    "counter from 0 with its holder",
		RoleNodeRaw:    "lifetime counter, first value never credited",
		RoleNodeActive: "active part of the node's counter",
		RoleNodeIdle:   "idle part of the node's counter",
		RoleNodeWatts:  "power, used only where the counters are silent",
		RoleGPUCounter: "sum over live processes, a fall is no restart",
		RoleGPUWatts:   "power, used only where the counter falls",
		RoleGauge:      "power, integrated over time and marked so",
	}[r.Role.value]
	text := fmt.Sprintf("%s of a %s, %s, %s, %s", r.Measure.name, r.Holder.name, what, r.Unit.name, how)
	if r.Holder.value == holderDevice {
		text += fmt.Sprintf("; one account per %s, source %s, priority %d", strings.Join(r.Zone, " or "), r.Source, r.Priority)
	}
	return text
}
