package wire

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// KeplerTable maps what is called kepler_ or kube_; Zone holds all labels.
type KeplerTable struct{}

func (KeplerTable) Knows(metric []byte) bool {
	return bytes.HasPrefix(metric, []byte("kepler_")) || bytes.HasPrefix(metric, []byte("kube_"))
}

func (KeplerTable) Map(labels []power.Label) (m metric.Mapping, ok bool) {
	var all strings.Builder
	name := ""
	for _, l := range labels {
		if l.Name == "__name__" {
			name = l.Value
		}
		fmt.Fprintf(&all, "%q=%q,", l.Name, l.Value)
	}
	m = metric.Mapping{Role: metric.RoleCounter, Zone: all.String(), Generation: "kepler-0.10+"}
	if strings.HasPrefix(name, "kube_") {
		m.Role, m.Generation = metric.RoleFact, ""
	}
	return m, strings.HasPrefix(name, "kepler_") || strings.HasPrefix(name, "kube_")
}

// Metrics returns some of those that it maps.
func (KeplerTable) Metrics() []string { return []string{"kepler_x", "kube_y"} }

// Everything maps every series.
type Everything struct{}

func (Everything) Knows([]byte) bool { return true }

func (Everything) Map(labels []power.Label) (metric.Mapping, bool) {
	m, _ := KeplerTable{}.Map(labels)
	return m, true
}

// Metrics returns none: they cannot be listed.
func (Everything) Metrics() []string { return nil }
