package metric

import (
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/test/exposition"
)

// Names that were changed on the way are known where they are sure.
func TestUsualNames(t *testing.T) {
	table := shippedTable(t)
	labels := `{container_id="c1",node_name="n",pod_id="p",zone="package"}`
	for name, known := range map[string]bool{
		"kepler_container_cpu_joules_total":               true,
		"kepler_container_cpu_joules_joules_total":        true,
		"kepler_container_cpu_joules_total_joules_total":  true,
		"kepler_container_cpu_joules_total_total":         true,
		"kepler_container_cpu_joules":                     true,
		"otel_kepler_container_cpu_joules_total":          true,
		"otel_kepler_container_cpu_joules_joules_total":   true,
		"kepler_process_cpu_joules_joules_total":          false,
		"kepler_container_cpu_watts":                      false,
		"kepler_container_cpu_seconds_total":              false,
		"kepler_container_joules_total":                   false,
		"otel_container_cpu_joules_total":                 false,
		"kepler_container_cpu_joules_total:rate5m":        false,
		"kepler_container_cpu_joules_per_container_total": false,
	} {
		m, ok := table.Map(exposition.Series(t, name+labels))
		if ok != known || table.Knows([]byte(name)) != known || known && (m.Role != RoleCounter || m.MicrojoulesPerUnit != 1e6) {
			t.Errorf("%s: %+v, %v, want %v", name, m, ok, known)
		}
	}
	if m, ok := table.Map(exposition.Series(t, `kepler_node_cpu_watts_watts{node_name="n",zone="package"}`)); !ok || m.Role != RoleNodeWatts {
		t.Errorf("a gauge: %+v, %v", m, ok)
	}
}

// A cluster has a name under many labels; the one that is configured comes first.
func TestUsualClusterLabels(t *testing.T) {
	f := func(table *Table, labels, want string, unnamed bool) {
		t.Helper()
		m, ok := table.Map(exposition.Series(t, `kepler_node_cpu_watts{node_name="n",zone="package"`+labels+`}`))
		if !ok || m.Holder.Cluster != want || m.Unnamed != unnamed {
			t.Errorf("%s: cluster %q, unnamed %v, want %q, %v", labels, m.Holder.Cluster, m.Unnamed, want, unnamed)
		}
	}
	table := shippedTable(t)
	f(table, `,k8s_cluster_name="a"`, "a", false)
	f(table, `,cluster="b",k8s_cluster_name="a"`, "b", false)
	f(table, ``, "default", true)
	config := DefaultConfig()
	config.ClusterLabel = "site"
	chosen, err := table.Configure(config)
	if err != nil {
		t.Fatal(err)
	}
	f(chosen, `,k8s_cluster_name="a"`, "default", true)
	f(chosen, `,cluster="b",site="c"`, "c", false)
}

// Of what was federated, instance is who was asked; of what has no id, the names are one.
func TestNodesAndIDsByOtherLabels(t *testing.T) {
	table := shippedTable(t)
	f := func(text string, want power.HolderKey) {
		t.Helper()
		want.Cluster = "default"
		if m, ok := table.Map(exposition.Series(t, text)); ok != (want.Node != "") || ok && m.Holder != want {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", text, m.Holder, ok, want)
		}
	}
	node := power.HolderKey{Node: "n1", Kind: power.Node}
	f(`kepler_node_package_joules_total{exported_instance="n1",exported_job="kepler",instance="prometheus:9090",job="federate",mode="idle",package="0"}`, node)
	f(`kepler_node_package_joules_total{exported_instance="own",instance="n1",job="kepler",mode="idle",package="0"}`, node)
	f(`kepler_node_cpu_watts{exported_instance="n1",exported_job="kepler",instance="prometheus:9090",zone="package"}`, node)
	container := power.HolderKey{Node: "n1", Kind: power.Container, ID: "shop/web-1/web"}
	f(`kepler_container_package_joules_total{container_name="web",container_namespace="shop",instance="n1",mode="dynamic",pod_name="web-1"}`, container)
	f(`kepler_container_package_joules_total{container_name="web",container_namespace="shop",instance="n1",mode="dynamic"}`, power.HolderKey{})
	f(`kepler_container_package_joules_total{container_name="system_processes",container_namespace="system",instance="n1",mode="dynamic",pod_name="system_processes"}`, power.HolderKey{})
	f(`kepler_container_cpu_joules_total{container_name="web",node_name="n1",zone="package"}`, power.HolderKey{})
}

// A slice of a device is known by its profile.
func TestSlicesOfADevice(t *testing.T) {
	table := shippedTable(t)
	for profile, want := range map[string]uint8{"3g.20gb": 3, "1c.3g.20gb": 3, "7g.80gb": 7, "1g.5gb+me": 1} {
		m, ok := table.Map(exposition.Series(t, `DCGM_FI_DEV_POWER_USAGE{UUID="g",Hostname="n",GPU_I_ID="1",GPU_I_PROFILE="`+profile+`",exported_pod="p",exported_namespace="ns",exported_container="c"}`))
		if !ok || m.Sevenths != want || m.Holder.ID != "ns/p/c" {
			t.Errorf("%s: %+v", profile, m)
		}
	}
	if m, _ := table.Map(exposition.Series(t, `DCGM_FI_DEV_POWER_USAGE{UUID="g",Hostname="n",GPU_I_ID="1",exported_pod="p",exported_namespace="ns",exported_container="c"}`)); m.Holder.Kind != power.Node {
		t.Errorf("a slice of unknown size: %+v", m)
	}
}
