package metric

import (
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/test/exposition"
)

// All series of an exporter are told apart from those of another by the labels of
// the target; what else is not Kepler's own was put on on the way.
func TestOrigin(t *testing.T) {
	table := shippedTable(t)
	f := func(text, exporter, path, replica string) {
		t.Helper()
		scrape := []power.Label{exposition.Instance, {Name: "job", Value: "kepler"}, {Name: "cluster", Value: "c1"}}
		m, ok := table.Map(exposition.Series(t, text, scrape...))
		if !ok || m.Exporter != exporter || m.Path != path || m.Replica != replica {
			t.Errorf("%s:\n got %q, %q, %q\nwant %q, %q, %q", text, m.Exporter, m.Path, m.Replica, exporter, path, replica)
		}
	}
	kepler := "kepler-0.10+ instance=10.0.0.7:28282 job=kepler"
	f(`kepler_node_cpu_joules_total{node_name="n",path="/p",zone="package"}`, kepler, "", "")
	f(`kepler_container_cpu_joules_total{container_id="c1",container_name="x",node_name="n",pod_id="u1",runtime="containerd",state="running",zone="package"}`, kepler, "", "")
	f(`kepler_node_cpu_watts{node_name="n",zone="package",prometheus_replica="p-1"}`, kepler, "", "p-1")
	f(`kepler_node_cpu_watts{node_name="n",zone="package",replica="b",monitor="eu"}`, kepler, " monitor=eu replica=b", "")
	legacy := "kepler-legacy instance=10.0.0.7:28282 job=kepler"
	f(`kepler_node_package_joules_total{exported_instance="n",mode="idle",package="0",source="rapl-sysfs"}`, legacy, "", "")
	f(`kepler_container_package_joules_total{container_id="c1",container_name="x",container_namespace="ns",mode="dynamic",pod_name="p",source="rapl-sysfs"}`, legacy, "", "")
	f(`DCGM_FI_DEV_POWER_USAGE{UUID="g",Hostname="n"}`, "", "", "")
}
