// Package metric holds the metric table: what the series of each metric that
// exporters send mean for the books.
package metric

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/internal/strictyaml"
	"github.com/wattledger/wattledger/power"
)

// Generations of exporters, as Mapping.Generation names them.
const (
	KeplerNew    = "kepler-0.10+"
	KeplerLegacy = "kepler-legacy"
	OtherSource  = "other"
)

// Config is what users choose about the metric table without touching its
// rows.
type Config struct {
	File           string   `yaml:"file"`            // rows that add to the built-in table or take the place of its rows
	Book           string   `yaml:"book"`            // which RAPL zones are booked: "package+dram" or "psys"
	ClusterLabel   string   `yaml:"cluster_label"`   // the label that names the cluster
	DefaultCluster string   `yaml:"default_cluster"` // the cluster of series without that label
	ReplicaLabels  []string `yaml:"replica_labels"`  // labels that tell the replicas of an HA pair apart
}

// DefaultConfig returns the configuration the product ships with.
func DefaultConfig() Config {
	return Config{
		Book:           "package+dram",
		ClusterLabel:   "cluster",
		DefaultCluster: "default",
		ReplicaLabels:  []string{"prometheus_replica", "__replica__"},
	}
}

// A Table is the metric table: rules that say what the series of a metric mean.
// It is immutable and safe for concurrent use.
type Table struct {
	config Config
	books  map[string]map[string]power.Component // zone to component, by book
	rows   map[string][]Rule                     // by metric; the first row whose conditions hold decides
	order  []string                              // metrics in the order of the files
}

// Parse reads a metric table, with the default configuration. Unknown
// keys, units, roles and components are errors that name the line.
func Parse(file []byte) (*Table, error) {
	t := &Table{config: DefaultConfig(), books: map[string]map[string]power.Component{}, rows: map[string][]Rule{}}
	if err := t.read(file); err != nil {
		return nil, err
	}
	return t, nil
}

// Extend returns a table that also holds the rows of file. The rows of a metric
// in file take the place of all rows that metric had.
func (t *Table) Extend(file []byte) (*Table, error) {
	wider := &Table{config: t.config, books: maps.Clone(t.books), rows: maps.Clone(t.rows), order: slices.Clone(t.order)}
	if err := wider.read(file); err != nil {
		return nil, err
	}
	return wider, nil
}

// Configure returns the same rows under another configuration.
func (t *Table) Configure(c Config) (*Table, error) {
	if _, ok := t.books[c.Book]; !ok {
		return nil, fmt.Errorf("book %q: the metric table has no such book, it has %s", c.Book, quoted(slices.Sorted(maps.Keys(t.books))))
	}
	if c.ClusterLabel == "" {
		return nil, errors.New("cluster_label: must not be empty")
	}
	if c.DefaultCluster == "" {
		return nil, errors.New("default_cluster: must not be empty")
	}
	c.ReplicaLabels = slices.Clone(c.ReplicaLabels)
	return &Table{config: c, books: t.books, rows: t.rows, order: t.order}, nil
}

func (t *Table) read(file []byte) error {
	var doc struct {
		Books map[string]map[string]rowComponent `yaml:"books"`
		Rows  []Rule                             `yaml:"rows"`
	}
	lines, err := decodeStrict(file, &doc)
	if err != nil {
		return err
	}
	for name, zones := range doc.Books {
		book := make(map[string]power.Component, len(zones))
		for zone, c := range zones {
			book[zone] = c.value
		}
		t.books[name] = book
	}
	fresh := map[string][]Rule{}
	for i, r := range doc.Rows {
		if err := r.check(); err != nil {
			return fmt.Errorf("line %d: row %q: %w", lines[i], strings.Join(r.Metric, ", "), err)
		}
		for _, metric := range r.Metric {
			if _, known := fresh[metric]; !known {
				if _, replaced := t.rows[metric]; !replaced {
					t.order = append(t.order, metric)
				}
			}
			fresh[metric] = append(fresh[metric], r)
		}
	}
	maps.Copy(t.rows, fresh)
	return nil
}

// decodeStrict reads one YAML document into doc and returns the line of each
// entry of its list "rows".
func decodeStrict(file []byte, doc any) (lines []int, err error) {
	if err := strictyaml.Decode(file, doc); err != nil {
		return nil, err
	}
	var root yaml.Node
	if err := yaml.Unmarshal(file, &root); err != nil {
		return nil, strictyaml.Plain(err)
	}
	if len(root.Content) == 0 || root.Content[0].Kind != yaml.MappingNode {
		return nil, nil
	}
	pairs := root.Content[0].Content
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i].Value == "rows" {
			list := pairs[i+1]
			if list.Kind == yaml.AliasNode {
				list = list.Alias
			}
			for _, entry := range list.Content {
				lines = append(lines, entry.Line)
			}
		}
	}
	return lines, nil
}

// Knows says whether there are series of a metric that Map maps. Three of four
// series that Kepler sends are of metrics that tell nothing new.
func (t *Table) Knows(metric []byte) bool {
	rows, found := t.rows[string(metric)]
	if !found {
		rows = t.rows[t.usualName(string(metric))]
	}
	for i := range rows {
		if rows[i].Role.value != roleIgnore {
			return true
		}
	}
	return false
}

// Map says what a label set means. It is a pure function of the labels; ok is
// false when the table maps nothing, which is how most series of a cluster are
// answered. labels hold __name__, are sorted by name and have no empty values;
// the strings may be kept.
func (t *Table) Map(labels []power.Label) (Mapping, bool) {
	metric := labelValue(labels, "__name__")
	rows, found := t.rows[metric]
	if !found {
		rows = t.rows[t.usualName(metric)]
	}
	for i := range rows {
		if rows[i].holds(labels) {
			return t.apply(&rows[i], labels)
		}
	}
	return Mapping{}, false
}

func (t *Table) apply(r *Rule, labels []power.Label) (m Mapping, ok bool) {
	if r.Role.value == roleIgnore {
		return Mapping{}, false
	}
	component := r.Component.value
	if r.ComponentLabel != "" && r.Role.value != RoleFact { // first: it rules out half of Kepler's zones
		if component, ok = t.books[t.config.Book][labelValue(labels, r.ComponentLabel)]; !ok {
			return Mapping{}, false
		}
	}
	m = Mapping{Role: r.Role.value, Generation: r.Generation, Replica: firstLabel(labels, t.config.ReplicaLabels)}
	m.Holder.Cluster = t.cluster(labels)
	if m.Unnamed = m.Holder.Cluster == ""; m.Unnamed {
		m.Holder.Cluster = t.config.DefaultCluster
	}
	if m.Role == RoleFact {
		m.Fact = r.Fact.value
		t.countPod(r, labels, &m)
		return m, true
	}

	if r.Generation != OtherSource {
		m.Exporter, m.Path = t.origin(r.Generation, labels)
	}
	m.Component = component
	m.Measure = r.Measure.value
	m.MicrojoulesPerUnit = r.Unit.value
	m.Terminated = r.StateLabel != "" && labelValue(labels, r.StateLabel) == "terminated"
	m.Zone = firstLabel(labels, r.Zone)
	m.Source, m.Priority = r.Source, r.Priority
	if m.Holder.Node = r.node(labels); m.Holder.Node == "" {
		return Mapping{}, false
	}
	switch r.Holder.value {
	case holderContainer, holderVM:
		m.Holder.Kind = power.Container
		if r.Holder.value == holderVM {
			m.Holder.Kind = power.VM
		}
		m.Attributes = r.attributes(labels)
		if m.Holder.ID = firstLabel(labels, r.ID); m.Holder.ID == "" {
			if m.Holder.ID = r.idByName(m.Attributes); m.Holder.ID == "" {
				return Mapping{}, false
			}
		}
		if m.Zone == "" && m.Role == RoleCounter && m.Measure == power.Used && r.Generation == KeplerLegacy {
			m.Zone = t.zoneOf(component) // where the new generation would count it: one account, whoever tells
		}
	case holderNode:
		m.Holder.Kind = power.Node
	case holderDevice:
		// Exporters write one and the same UUID as "GPU-1A…" and as "1a…".
		m.Zone = strings.TrimPrefix(strings.ToLower(m.Zone), "gpu-")
		if m.Zone == "" {
			return Mapping{}, false
		}
		m.Holder.Kind = power.Node
		if a, named := r.deviceUser(labels); named {
			m.Attributes = a
			m.Holder.Kind = power.Container
			m.Holder.ID = a.Namespace + "/" + a.Pod + "/" + a.Container
			m.Sevenths = r.sevenths(labels)
		}
	}
	return m, true
}

// countPod says whose energy the series of a fact counts, if it does.
func (t *Table) countPod(r *Rule, labels []power.Label, m *Mapping) {
	if r.Holder.value != holderPod {
		return
	}
	component, booked := t.books[t.config.Book][labelValue(labels, r.ComponentLabel)]
	id, node := firstLabel(labels, r.ID), r.node(labels)
	if !booked || id == "" || node == "" {
		return
	}
	m.Pod, m.Component, m.Measure, m.MicrojoulesPerUnit = true, component, r.Measure.value, r.Unit.value
	m.Holder.Node, m.Holder.Kind, m.Holder.ID = node, power.Container, "pod/"+id
	m.Zone, m.Attributes = firstLabel(labels, r.Zone), r.attributes(labels)
	m.Terminated = r.StateLabel != "" && labelValue(labels, r.StateLabel) == "terminated"
	m.Exporter, m.Path = t.origin(r.Generation, labels)
}

// sevenths returns how many slices of a device a container has, 0 where it may have
// all of it. A profile is called "3g.20gb", or "1c.3g.20gb" for a part of one.
func (r *Rule) sevenths(labels []power.Label) uint8 {
	if r.Share == "" {
		return 0
	}
	for part := range strings.SplitSeq(labelValue(labels, r.Share), ".") {
		if n, ok := strings.CutSuffix(part, "g"); ok && len(n) == 1 && n[0] >= '1' && n[0] <= '7' {
			return n[0] - '0'
		}
	}
	return 0
}

// usualClusterLabels name the cluster where the label that should is not set.
var usualClusterLabels = []string{"k8s_cluster_name", "k8s_cluster", "cluster_name", "kubernetes_cluster", "kubernetes_cluster_name",
	"kube_cluster", "kube_cluster_name", "clusterName", "clustername", "cluster_id", "k8s_cluster_id"}

// cluster returns the name of the cluster, "" where no label names it.
func (t *Table) cluster(labels []power.Label) string {
	name := labelValue(labels, t.config.ClusterLabel)
	if name == "" && t.config.ClusterLabel == DefaultConfig().ClusterLabel {
		name = firstLabel(labels, usualClusterLabels)
	}
	return name
}

// node returns the name of the node. Of what was federated, instance and job are the
// Prometheus that was asked, and exported_instance the target.
func (r *Rule) node(labels []power.Label) string {
	for _, name := range r.Node {
		if name == "instance" && r.Generation != OtherSource && labelValue(labels, "exported_job") != "" {
			name = "exported_instance"
		}
		if v := labelValue(labels, name); v != "" {
			return v
		}
	}
	return ""
}

// idByName makes an id of what a container is called: Kepler 0.5 tells no other.
func (r *Rule) idByName(a power.Attributes) string {
	if r.Generation != KeplerLegacy || a.Namespace == "" || a.Pod == "" || a.Container == "" ||
		a.Container == "system_processes" || a.Container == "kernel_processes" {
		return ""
	}
	return a.Namespace + "/" + a.Pod + "/" + a.Container
}

// usualName returns the name of a metric of Kepler's that was changed on the way: with
// a prefix, or with the suffixes of its unit and type, which it had already, put on
// again or taken off. It is "" where the table has no metric of that name.
func (t *Table) usualName(metric string) string {
	at := strings.Index(metric, "kepler_")
	if at < 0 {
		return ""
	}
	name := metric[at:]
	for {
		shorter := name
		for _, unit := range []string{"_total", "_joules", "_watts"} {
			shorter = strings.Replace(shorter, unit+unit, unit, 1)
		}
		shorter = strings.Replace(shorter, "_joules_total_joules", "_joules", 1)
		if shorter == name {
			break
		}
		name = shorter
	}
	for _, candidate := range []string{name, name + "_total", strings.TrimSuffix(name, "_total")} {
		if _, known := t.rows[candidate]; known && candidate != metric {
			return candidate
		}
	}
	return ""
}

// zoneOf returns the zone that is booked as a component, "" where none or several are.
func (t *Table) zoneOf(c power.Component) (zone string) {
	for name, component := range t.books[t.config.Book] {
		if component == c {
			if zone != "" {
				return ""
			}
			zone = name
		}
	}
	return zone
}

// holds says whether the conditions of r hold for a label set.
func (r *Rule) holds(labels []power.Label) bool {
	for name, want := range r.When {
		if !want.matches(labelValue(labels, name)) {
			return false
		}
	}
	for name, not := range r.Unless {
		if not.matches(labelValue(labels, name)) {
			return false
		}
	}
	return true
}

func (r *Rule) attributes(labels []power.Label) power.Attributes {
	a := power.Attributes{
		Container: firstLabel(labels, r.Attributes.Container),
		Pod:       firstLabel(labels, r.Attributes.Pod),
		PodUID:    firstLabel(labels, r.Attributes.PodUID),
		Namespace: firstLabel(labels, r.Attributes.Namespace),
		Image:     firstLabel(labels, r.Attributes.Image),
		Command:   firstLabel(labels, r.Attributes.Command),
		Runtime:   firstLabel(labels, r.Attributes.Runtime),
	}
	if r.ContainerAfter != "" && labelValue(labels, r.ContainerAfter) == "" {
		a.Container = ""
	}
	return a
}

// deviceUser returns the container that uses a device, where the series names
// one for certain. The labels pod, namespace and container are put on by the
// scrape too, and then name the exporter's own pod: see metrics.yaml, column
// exporter, for the rule that tells the two apart.
func (r *Rule) deviceUser(labels []power.Label) (power.Attributes, bool) {
	for _, shared := range r.Shared {
		if labelValue(labels, shared) != "" && r.sevenths(labels) == 0 {
			return power.Attributes{}, false
		}
	}
	a := r.attributes(labels)
	if a.Pod == "" || a.Namespace == "" {
		return power.Attributes{}, false
	}
	if labelValue(labels, "pod") == a.Pod && labelValue(labels, "exported_pod") == "" {
		for _, part := range r.Exporter {
			if strings.Contains(a.Pod, part) || strings.Contains(a.Container, part) {
				return power.Attributes{}, false
			}
		}
		for _, name := range []string{"job", "service"} {
			target := labelValue(labels, name)
			target = target[strings.LastIndexByte(target, '/')+1:]
			if target != "" && strings.HasPrefix(a.Pod, target) {
				return power.Attributes{}, false
			}
		}
		if a.Pod == labelValue(labels, "Hostname") {
			return power.Attributes{}, false
		}
	}
	return a, true
}

func labelValue(labels []power.Label, name string) string {
	for i := range labels {
		if labels[i].Name == name {
			return labels[i].Value
		}
	}
	return ""
}

// firstLabel returns the first value that is not empty of the labels called names.
func firstLabel(labels []power.Label, names []string) string {
	for _, name := range names {
		if v := labelValue(labels, name); v != "" {
			return v
		}
	}
	return ""
}

// Config returns the configuration in force.
func (t *Table) Config() Config { return t.config }

// Metrics returns the metrics the table has rows for, in the order of its files.
func (t *Table) Metrics() []string { return slices.Clone(t.order) }

// Explain writes what each row will do, one line a row.
func (t *Table) Explain(w io.Writer) error {
	book := t.books[t.config.Book]
	for _, metric := range t.order {
		for _, r := range t.rows[metric] {
			if _, err := fmt.Fprintf(w, "%s%s: %s\n", metric, r.conditions(), r.meaning(book)); err != nil {
				return err
			}
		}
	}
	return nil
}
