package metric

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/test/exposition"
)

func shippedTable(t testing.TB) *Table {
	t.Helper()
	file, err := os.ReadFile("../../configs/metrics.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestMapsNewGeneration(t *testing.T) {
	table := shippedTable(t)
	f := func(text string, want Mapping) {
		t.Helper()
		got, ok := table.Map(exposition.Series(t, text, exposition.Instance, power.Label{Name: "namespace", Value: "kepler"}, power.Label{Name: "pod", Value: "kepler-x"}, power.Label{Name: "container", Value: "kepler"}))
		want.Unnamed = !strings.Contains(text, "cluster=")
		got.Exporter, got.Path = "", "" // TestOrigin
		if !ok || got != want {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", text, got, ok, want)
		}
	}
	node := power.HolderKey{Cluster: "default", Node: "node-a", Kind: power.Node}
	container := power.HolderKey{Cluster: "default", Node: "node-a", Kind: power.Container, ID: "c1"}

	f(`kepler_node_cpu_joules_total{node_name="node-a",path="/p",zone="package"}`,
		Mapping{Role: RoleNodeRaw, Holder: node, Component: power.CPU, Zone: "package", MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	f(`kepler_node_cpu_active_joules_total{node_name="node-a",path="/p",zone="dram"}`,
		Mapping{Role: RoleNodeActive, Holder: node, Measure: power.Active, Component: power.DRAM, Zone: "dram", MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	f(`kepler_node_cpu_idle_joules_total{node_name="node-a",path="/p",zone="package"}`,
		Mapping{Role: RoleNodeIdle, Holder: node, Measure: power.NodeIdle, Component: power.CPU, Zone: "package", MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	f(`kepler_node_cpu_watts{node_name="node-a",path="/p",zone="package"}`,
		Mapping{Role: RoleNodeWatts, Holder: node, Component: power.CPU, Zone: "package", MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	// node_name is empty outside Kubernetes: the scrape's instance names the node.
	f(`kepler_node_cpu_watts{node_name="",path="/p",zone="package"}`,
		Mapping{Role: RoleNodeWatts, Holder: power.HolderKey{Cluster: "default", Node: exposition.Instance.Value, Kind: power.Node}, Component: power.CPU, Zone: "package", MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	f(`kepler_container_cpu_joules_total{container_id="c1",container_name="trainer",node_name="node-a",pod_id="u1",runtime="containerd",state="running",zone="package"}`,
		Mapping{Role: RoleCounter, Holder: container, Attributes: power.Attributes{Container: "trainer", PodUID: "u1", Runtime: "containerd"}, Component: power.CPU, Zone: "package", MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	// Before the pod is known container_name is the pod's name.
	f(`kepler_container_cpu_joules_total{container_id="c1",container_name="ml-training-7d9f5c6b8-x2x4q",node_name="node-a",pod_id="",runtime="containerd",state="terminated",zone="dram"}`,
		Mapping{Role: RoleCounter, Holder: container, Attributes: power.Attributes{Runtime: "containerd"}, Component: power.DRAM, Zone: "dram", MicrojoulesPerUnit: 1e6, Terminated: true, Generation: KeplerNew})
	f(`kepler_vm_cpu_joules_total{hypervisor="kvm",node_name="node-a",state="running",vm_id="v1",vm_name="vm-db",zone="package"}`,
		Mapping{Role: RoleCounter, Holder: power.HolderKey{Cluster: "default", Node: "node-a", Kind: power.VM, ID: "v1"}, Attributes: power.Attributes{Container: "vm-db", Runtime: "kvm"}, Component: power.CPU, Zone: "package", MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	f(`kepler_pod_cpu_joules_total{node_name="node-a",pod_id="u1",pod_name="p",pod_namespace="n",state="running",zone="package"}`,
		Mapping{Role: RoleFact, Holder: power.HolderKey{Cluster: "default", Node: "node-a", Kind: power.Container, ID: "pod/u1"}, Attributes: power.Attributes{Pod: "p", PodUID: "u1", Namespace: "n"}, Component: power.CPU, Zone: "package", MicrojoulesPerUnit: 1e6, Generation: KeplerNew, Fact: power.PodFact, Pod: true})
	f(`kepler_node_gpu_joules_total{gpu="0",gpu_name="H100",gpu_uuid="GPU-AB12",node_name="node-a",vendor="nvidia"}`,
		Mapping{Role: RoleNodeRaw, Holder: node, Component: power.GPU, Zone: "ab12", Source: "kepler", Priority: 100, MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	f(`kepler_container_gpu_joules_total{container_id="c1",container_name="trainer",node_name="node-a",pod_id="u1",runtime="containerd",state="running"}`,
		Mapping{Role: RoleGPUCounter, Holder: container, Attributes: power.Attributes{Container: "trainer", PodUID: "u1", Runtime: "containerd"}, Component: power.GPU, MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	f(`kepler_container_gpu_watts{container_id="c1",container_name="trainer",node_name="node-a",pod_id="u1",runtime="containerd",state="running"}`,
		Mapping{Role: RoleGPUWatts, Holder: container, Attributes: power.Attributes{Container: "trainer", PodUID: "u1", Runtime: "containerd"}, Component: power.GPU, MicrojoulesPerUnit: 1e6, Generation: KeplerNew})
	f(`kepler_node_cpu_joules_total{cluster="seoul",node_name="node-a",prometheus_replica="p-1",zone="package"}`,
		Mapping{Role: RoleNodeRaw, Holder: power.HolderKey{Cluster: "seoul", Node: "node-a", Kind: power.Node}, Component: power.CPU, Zone: "package", MicrojoulesPerUnit: 1e6, Replica: "p-1", Generation: KeplerNew})
}

func TestMapsLegacy(t *testing.T) {
	table := shippedTable(t)
	f := func(text string, want Mapping) {
		t.Helper()
		got, ok := table.Map(exposition.Series(t, text, exposition.Instance))
		want.MicrojoulesPerUnit, want.Generation = 1e6, KeplerLegacy
		want.Holder.Cluster, want.Holder.Node, want.Unnamed = "default", exposition.Instance.Value, true
		got.Exporter, got.Path = "", "" // TestOrigin
		if !ok || got != want {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", text, got, ok, want)
		}
	}
	labels := `container_id="c1",container_name="trainer",container_namespace="ml",pod_name="train-0",source="rapl-sysfs"`
	attributes := power.Attributes{Container: "trainer", Namespace: "ml", Pod: "train-0"}
	container := power.HolderKey{Kind: power.Container, ID: "c1"}
	f(`kepler_container_package_joules_total{mode="dynamic",`+labels+`}`, Mapping{Role: RoleCounter, Holder: container, Attributes: attributes, Component: power.CPU, Zone: "package"}) // as the new generation has it
	f(`kepler_container_package_joules_total{mode="idle",`+labels+`}`, Mapping{Role: RoleCounter, Holder: container, Attributes: attributes, Measure: power.IdleShare, Component: power.CPU})
	f(`kepler_container_dram_joules_total{mode="dynamic",`+labels+`}`, Mapping{Role: RoleCounter, Holder: container, Attributes: attributes, Component: power.DRAM, Zone: "dram"})
	f(`kepler_container_gpu_joules_total{mode="dynamic",`+labels+`}`, Mapping{Role: RoleGPUCounter, Holder: container, Attributes: attributes, Component: power.GPU})
	node := power.HolderKey{Kind: power.Node}
	// The node's own instance label arrives as exported_instance.
	f(`kepler_node_package_joules_total{exported_instance="node-a",mode="dynamic",package="1",source="rapl-sysfs"}`, Mapping{Role: RoleCounter, Holder: node, Measure: power.Active, Component: power.CPU, Zone: "1"})
	f(`kepler_node_dram_joules_total{exported_instance="node-a",mode="idle",package="0",source="rapl-sysfs"}`, Mapping{Role: RoleCounter, Holder: node, Measure: power.NodeIdle, Component: power.DRAM, Zone: "0"})
	f(`kepler_node_gpu_joules_total{exported_instance="node-a",mode="dynamic",package="0",source="nvml"}`, Mapping{Role: RoleCounter, Holder: node, Measure: power.Active, Component: power.GPU, Zone: "0", Source: "kepler", Priority: 100})
	f(`kepler_node_components_joules_total{mode="dynamic"}`, Mapping{Role: RoleCounter, Holder: node, Measure: power.Active, Component: power.CPU})
	f(`kepler_vm_package_joules_total{mode="dynamic",vm_id="v1"}`, Mapping{Role: RoleCounter, Holder: power.HolderKey{Kind: power.VM, ID: "v1"}, Component: power.CPU, Zone: "package"})
}

func TestMapsNothing(t *testing.T) {
	table := shippedTable(t)
	f := func(text string) {
		t.Helper()
		if m, ok := table.Map(exposition.Series(t, text, exposition.Instance)); ok {
			t.Errorf("%s maps to %+v, want nothing", text, m)
		}
	}
	for _, zone := range []string{"psys", "core", "uncore", "SOC_power1"} {
		f(`kepler_node_cpu_joules_total{node_name="n",zone="` + zone + `"}`)
		f(`kepler_container_cpu_joules_total{container_id="c",node_name="n",zone="` + zone + `"}`)
		f(`kepler_pod_cpu_joules_total{pod_id="u",pod_name="p",pod_namespace="n",zone="` + zone + `"}`)
	}
	f(`kepler_process_cpu_joules_total{pid="1",node_name="n",zone="package"}`)
	f(`kepler_pod_cpu_watts{pod_id="u",zone="package"}`)
	f(`kepler_pod_gpu_joules_total{pod_id="u"}`)
	f(`kepler_container_cpu_watts{container_id="c",node_name="n",zone="package"}`)
	f(`kepler_container_cpu_joules_total{container_id="",node_name="n",zone="package"}`)
	f(`kepler_container_joules_total{container_id="c",mode="dynamic"}`)
	f(`kepler_container_other_joules_total{container_id="c",mode="dynamic"}`)
	f(`kepler_node_platform_joules_total{mode="dynamic"}`)
	f(`kepler_platform_watts{node_name="n"}`)
	f(`kepler_container_package_joules_total{container_id="system_processes",mode="dynamic"}`)
	f(`kepler_container_gpu_joules_total{container_id="kernel_processes",mode="idle"}`)
	f(`furiosa_npu_hw_power{label="max",uuid="u",kubernetes_node_name="n"}`)
	f(`all_smi_energy_consumed_joules_total{scope="chassis",host="n"}`)
	f(`up{job="kepler"}`)
}

func TestMapsDevices(t *testing.T) {
	table := shippedTable(t)
	f := func(text string, role Role, zone string, priority int, kind power.HolderKind, id string) {
		t.Helper()
		m, ok := table.Map(exposition.Series(t, text, exposition.Instance, power.Label{Name: "job", Value: "gpu/nvidia-dcgm-exporter"}))
		if !ok || m.Role != role || m.Zone != zone || m.Priority != priority || m.Component != power.GPU || m.Holder.Kind != kind || m.Holder.ID != id || m.Holder.Node != "node-a" {
			t.Errorf("%s: got %+v, %v", text, m, ok)
		}
	}
	const energy = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
	f(energy+`{UUID="GPU-AB",Hostname="node-a"}`, RoleNodeRaw, "ab", 80, power.Node, "")
	f(energy+`{UUID="GPU-AB",Hostname="node-a",pod="nvidia-dcgm-exporter-7xk2p",namespace="gpu",container="exporter",exported_pod="train-0",exported_namespace="ml",exported_container="main"}`, RoleNodeRaw, "ab", 80, power.Container, "ml/train-0/main")
	f(energy+`{UUID="GPU-AB",Hostname="node-a",pod="train-0",namespace="ml",container="main"}`, RoleNodeRaw, "ab", 80, power.Container, "ml/train-0/main")
	// The exporter's own pod, put on by the scrape.
	f(energy+`{UUID="GPU-AB",Hostname="node-a",pod="nvidia-dcgm-exporter-7xk2p",namespace="gpu",container="exporter"}`, RoleNodeRaw, "ab", 80, power.Node, "")
	f(energy+`{UUID="GPU-AB",node="node-a",Hostname="mon-1",pod="mon-1",namespace="gpu",container="main"}`, RoleNodeRaw, "ab", 80, power.Node, "")
	f(energy+`{UUID="GPU-AB",Hostname="node-a",service="gpumon",pod="gpumon-abcde",namespace="gpu",container="main"}`, RoleNodeRaw, "ab", 80, power.Node, "")
	// Under MIG every instance repeats the whole device.
	f(energy+`{UUID="GPU-AB",GPU_I_ID="3",Hostname="node-a",pod="train-0",namespace="ml",container="main"}`, RoleNodeRaw, "ab", 80, power.Node, "")
	f(`DCGM_FI_DEV_POWER_USAGE{UUID="GPU-AB",Hostname="node-a"}`, RoleGauge, "ab", 50, power.Node, "")
	f(`nvidia_smi_energy_joules_total{uuid="ab",node="node-a"}`, RoleNodeRaw, "ab", 70, power.Node, "")
	f(`furiosa_npu_hw_power{arch="rngd",core="0-3",device="npu0",uuid="F-1",label="rms",kubernetes_node_name="node-a"}`, RoleGauge, "f-1", 40, power.Node, "")
	f(`rbln_npu_power{uuid="R-1",name="RBLN-CA22",node="node-a"}`, RoleGauge, "r-1", 40, power.Node, "")
	f(`RBLN_DEVICE_STATUS:CARD_POWER{uuid="R-1",name="RBLN-CA22",node="node-a"}`, RoleGauge, "r-1", 40, power.Node, "")
	f(`npu_chip_info_power{id="0",vdie_id="V-1",node="node-a",pod_name="llm-0",exported_namespace="ml",namespace="npu",container_name="srv"}`, RoleGauge, "v-1", 40, power.Container, "ml/llm-0/srv")
	f(`all_smi_energy_consumed_joules_total{scope="gpu",host="node-a",gpu_uuid="GPU-AB"}`, RoleNodeRaw, "ab", 60, power.Node, "")

	m, _ := table.Map(exposition.Series(t, energy+`{UUID="GPU-AB",Hostname="node-a"}`))
	if m.MicrojoulesPerUnit != 1e3 {
		t.Errorf("a millijoule is %v microjoules, want 1000", m.MicrojoulesPerUnit)
	}
}

// What a scrape of a real exporter maps to adds up to what its node used, and
// never to the blind sum over zones, levels or totals.
func TestOnWholeScrapes(t *testing.T) {
	table := shippedTable(t)
	f := func(name string, wantSeries map[Role]int) {
		t.Helper()
		text, err := os.ReadFile("testdata/scrapes/" + name + ".prom")
		if err != nil {
			t.Fatal(err)
		}
		got := map[Role]int{}
		sums := map[power.HolderKind]float64{}
		var active, idle, blind float64
		exposition.Each(t, text, func(l []power.Label, v float64) {
			metric := labelValue(l, "__name__")
			if strings.HasPrefix(metric, "kepler_container_") && strings.HasSuffix(metric, "joules_total") {
				blind += v
			}
			l = append(slices.DeleteFunc(l, func(p power.Label) bool { return p.Name == "instance" }), exposition.Instance)
			m, ok := table.Map(l)
			if !ok {
				return
			}
			got[m.Role]++
			if m.Component == power.GPU || m.MicrojoulesPerUnit != 1e6 {
				return
			}
			switch {
			case m.Role == RoleNodeActive, m.Role == RoleCounter && m.Measure == power.Active:
				active += v
			case m.Role == RoleNodeIdle, m.Role == RoleCounter && m.Measure == power.NodeIdle:
				idle += v
			case m.Role == RoleCounter:
				sums[m.Holder.Kind] += v
			}
		})
		if !maps.Equal(got, wantSeries) {
			t.Errorf("%s: series by role are %v, want %v", name, got, wantSeries)
		}
		if parts := sums[power.Container] + sums[power.VM]; parts <= 0 || parts > (active+idle)*(1+1e-9) {
			t.Errorf("%s: containers and VMs hold %v J, more than the node's %v J", name, parts, active+idle)
		}
		if math.Abs(blind-sums[power.Container]) < 1 {
			t.Errorf("%s: containers hold the blind sum %v J", name, blind)
		}
	}
	f("base-t00", map[Role]int{RoleNodeRaw: 2, RoleNodeActive: 2, RoleNodeIdle: 2, RoleNodeWatts: 2, RoleCounter: 2 * (5 + 1), RoleFact: 4})
	f("gpu-b", map[Role]int{RoleNodeRaw: 3, RoleNodeActive: 3, RoleNodeIdle: 3, RoleNodeWatts: 3, RoleCounter: 2 * (5 + 1), RoleGPUCounter: 1, RoleGPUWatts: 1, RoleFact: 4})
	// Two containers and two remainders, two modes; two sockets and a GPU.
	f("legacy-synthetic", map[Role]int{RoleCounter: 2*2*2 + 2 + 2*2*2 + 2, RoleGPUCounter: 2})
}

func TestBookPsys(t *testing.T) {
	config := DefaultConfig()
	config.Book = "psys"
	table, err := shippedTable(t).Configure(config)
	if err != nil {
		t.Fatal(err)
	}
	f := func(zone string, want bool) {
		t.Helper()
		m, ok := table.Map(exposition.Series(t, `kepler_node_cpu_joules_total{node_name="n",zone="`+zone+`"}`))
		if ok != want || ok && m.Component != power.CPU {
			t.Errorf("zone %s: %+v, %v", zone, m, ok)
		}
	}
	f("psys", true)
	f("package", false)
	f("dram", false)
	f("core", false)

	config.Book = "everything"
	if _, err := shippedTable(t).Configure(config); err == nil || !strings.Contains(err.Error(), `"package+dram", "psys"`) {
		t.Errorf("unknown book: error is %v, want one that lists the books", err)
	}
}

func TestExtend(t *testing.T) {
	table, err := shippedTable(t).Extend([]byte(`
books: {hwmon: {SOC: cpu}}
rows:
  - {metric: acme_npu_power, role: gauge, holder: device, node: [node], component: gpu, unit: milliwatts, zone: serial, source: acme, priority: 10}
  - {metric: kepler_node_gpu_joules_total, role: ignore}
`))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := table.Map(exposition.Series(t, `acme_npu_power{node="n",serial="7"}`))
	if !ok || m.Role != RoleGauge || m.MicrojoulesPerUnit != 1e3 || m.Zone != "7" {
		t.Errorf("a row added by a user maps to %+v, %v", m, ok)
	}
	if m, ok := table.Map(exposition.Series(t, `kepler_node_gpu_joules_total{gpu_uuid="GPU-1",node_name="n"}`)); ok {
		t.Errorf("an ignored metric maps to %+v", m)
	}
	if m, ok := table.Map(exposition.Series(t, `kepler_node_cpu_joules_total{zone="package",node_name="n"}`)); !ok || m.Role != RoleNodeRaw {
		t.Errorf("a row that was not replaced maps to %+v, %v", m, ok)
	}
	if _, ok := shippedTable(t).Map(exposition.Series(t, `acme_npu_power{node="n",serial="7"}`)); ok {
		t.Error("Extend changed the table it was called on")
	}
	var text strings.Builder
	if err := table.Explain(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "acme_npu_power: used of a device, gpu, milliwatts, power, integrated over time") {
		t.Errorf("Explain does not say what acme_npu_power does:\n%s", text.String())
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	f := func(file, want string) {
		t.Helper()
		_, err := Parse([]byte(file))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nerror is %v, want one with %q", file, err, want)
		}
	}
	row := func(extra string) string {
		return "rows:\n  - {metric: m, role: counter, holder: node, node: n, component: cpu, unit: joules}\n" +
			"  - metric: x\n    node: n\n" + extra
	}
	f(row("    role: counter\n    colour: red\n"), `line 6: unknown key "colour"`)
	f(row("    role: countre\n"), `line 5: unknown role "countre"`)
	f(row("    role: counter\n    unit: jules\n"), `line 6: unknown unit "jules"`)
	f(row("    role: counter\n    component: cpus\n"), `line 6: unknown component "cpus"`)
	f(row("    role: fact\n    fact: pods\n"), `line 6: unknown fact "pods"`)
	f(row("    role: fact\n"), `line 3: row "x": role fact needs column fact`)
	f(row("    role: counter\n    holder: node\n    component: cpu\n    unit: watts\n"), `line 3: row "x": unit watts does not go with role counter`)
	f(row("    role: node_raw\n    holder: container\n    component: cpu\n    unit: joules\n"), `line 3: row "x": role node_raw does not go with holder container`)
	f(row("    role: counter\n    holder: device\n    component: gpu\n    unit: joules\n    zone: uuid\n"), `line 3: row "x": holder device needs column source`)
	f(row("    role: counter\n    role: counter\n"), `already defined`)
	f("books: {b: {package: cpus}}", `line 1: unknown component "cpus"`)
	f("rows: []\n---\nrows: []\n", "more than one YAML document")
	f("tables: []", `line 1: unknown key "tables"`)
}

func FuzzParse(f *testing.F) {
	if file, err := os.ReadFile("../../configs/metrics.yaml"); err == nil {
		f.Add(file)
	}
	f.Add([]byte("rows:\n  - {metric: [a, b], role: fact, fact: pod, when: {x: \"*\"}}\n"))
	f.Add([]byte("rows: &a\n  - *a\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		table, err := Parse(file)
		if err != nil {
			return
		}
		for _, metric := range table.Metrics() {
			m, ok := table.Map([]power.Label{{Name: "__name__", Value: metric}, {Name: "instance", Value: "i"}})
			if ok && m.Role != RoleFact && (m.Holder.Node == "" || m.MicrojoulesPerUnit <= 0) {
				t.Fatalf("%q maps to %+v", metric, m)
			}
		}
	})
}

func BenchmarkMap(b *testing.B) {
	table := shippedTable(b)
	var list [][]power.Label
	for i := range 100 {
		list = append(list, exposition.Series(b, fmt.Sprintf(`kepler_container_cpu_joules_total{container_id="c%d",container_name="trainer",node_name="node-a",pod_id="u1",runtime="containerd",state="running",zone="package"}`, i), exposition.Instance))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for _, l := range list {
			if _, ok := table.Map(l); !ok {
				b.Fatal("not mapped")
			}
		}
		n += len(list)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "series/s")
}
