package opencost

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/internal/suggest"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

const (
	unallocated = "__unallocated__"
	idleName    = "__idle__"
)

// A part is one part of an allocation's name.
type part struct {
	name string // as it was asked for
	dims []store.Dimension
	of   func(values []string) string // of dims
}

// controllers are the kinds that OpenCost calls controllers: all but what controls
// nothing.
func controller(kind string) bool {
	switch kind {
	case "", "pod", "container", "vm", "node", "system", "idle", "unattributed":
		return false
	}
	return true
}

func one(name string, d store.Dimension) part {
	return part{name, []store.Dimension{d}, func(v []string) string { return v[0] }}
}

// kinds are the aggregates that name controllers of one kind.
var kinds = []string{"deployment", "statefulset", "daemonset", "job"}

// aliases are the aggregates that stand for a label.
var aliases = map[string]string{"department": "department", "environment": "env", "owner": "owner", "product": "app", "team": "team"}

// parseAggregate reads the parts of the names that are asked for.
func parseAggregate(s string) ([]part, error) {
	if strings.TrimSpace(s) == "" {
		s = "cluster,node,namespace,pod,container"
	}
	var parts []part
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if strings.EqualFold(name, "all") {
			return nil, nil
		}
		p, err := parsePart(name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(parts, func(x part) bool { return x.name == p.name }) {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

func parsePart(name string) (part, error) {
	lower := strings.ToLower(name)
	if kind, of, ok := strings.Cut(name, ":"); ok && of != "" {
		switch strings.ToLower(kind) {
		case "label":
			return one("label:"+power.TagName(of), store.Label(of)), nil
		case "annotation":
			return one("annotation:"+power.TagName(of), store.Annotation(of)), nil
		}
	}
	switch lower {
	case "cluster", "node", "namespace", "pod", "container":
		return one(lower, store.Dimension(lower)), nil
	case "workloadtype":
		return one("workloadType", store.WorkloadType), nil
	case "controllerkind":
		return part{"controllerKind", []store.Dimension{store.WorkloadKind}, func(v []string) string {
			if !controller(v[0]) {
				return ""
			}
			return v[0]
		}}, nil
	case "controller":
		return part{"controller", []store.Dimension{store.WorkloadKind, store.Workload}, func(v []string) string {
			if !controller(v[0]) {
				return ""
			}
			return v[0] + ":" + v[1]
		}}, nil
	case "service", "providerid":
		return part{lower, nil, func([]string) string { return "" }}, nil
	}
	if slices.Contains(kinds, lower) {
		return part{lower, []store.Dimension{store.WorkloadKind, store.Workload}, func(v []string) string {
			if v[0] != lower {
				return ""
			}
			return v[1]
		}}, nil
	}
	if label, ok := aliases[lower]; ok {
		return one(lower, store.Label(label)), nil
	}
	known := append([]string{"cluster", "node", "namespace", "controllerKind", "controller", "service", "pod", "container", "workloadType",
		"label:NAME", "annotation:NAME", "department", "environment", "owner", "product", "team", "providerID", "all"}, kinds...)
	text := fmt.Sprintf("%.60q is not known; there are %s", name, strings.Join(known, ", "))
	if n := suggest.Nearest(name, known); n != "" {
		text += fmt.Sprintf("; did you mean %q?", n)
	}
	return part{}, fmt.Errorf("%s", text)
}

// pseudo says that a value stands for what no workload used.
func pseudo(v string) bool {
	return v == idleName || v == power.System.PseudoName() || v == power.Unattributed.PseudoName()
}

// dimsOf returns what rows have to be grouped by for names of parts, and which of
// it each part takes. The namespace comes first: it tells what no workload used.
func dimsOf(parts []part) (dims []store.Dimension, places [][]int) {
	dims = []store.Dimension{store.Namespace}
	for _, p := range parts {
		var at []int
		for _, d := range p.dims {
			i := slices.Index(dims, d)
			if i < 0 {
				i = len(dims)
				dims = append(dims, d)
			}
			at = append(at, i)
		}
		places = append(places, at)
	}
	return dims, places
}

// valuesOf returns the parts of a name. What no workload used is called so in all
// but cluster and node.
func valuesOf(parts []part, places [][]int, values []string) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		of := make([]string, len(places[i]))
		for j, at := range places[i] {
			of[j] = values[at]
		}
		v := p.of(of)
		if pseudo(values[0]) && p.name != "cluster" && p.name != "node" {
			v = values[0]
		}
		if v == "" || v == store.Unassigned {
			v = unallocated
		}
		out[i] = v
	}
	return out
}

// nameOf joins the parts of a name. There are as many slashes as clients count on,
// whatever stands in a label.
func nameOf(values []string) string {
	clean := make([]string, len(values))
	for i, v := range values {
		clean[i] = strings.ReplaceAll(v, "/", "_")
	}
	return strings.Join(clean, "/")
}
