package cluster

import "fmt"

const (
	dcgmEnergy = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
	dcgmPower  = "DCGM_FI_DEV_POWER_USAGE"
)

// scrapeDCGM returns what a dcgm-exporter on the node would say: devices with
// the container each is given to, in millijoules since the driver was loaded.
func (n *Node) scrapeDCGM(known *bool) ([]Series, bool) {
	var out []Series
	for _, g := range n.gpus {
		pairs := []string{
			"gpu", fmt.Sprint(g.index), "UUID", g.uuid, "pci_bus_id", fmt.Sprintf("00000000:%02X:00.0", 23+g.index),
			"device", fmt.Sprint("nvidia", g.index), "modelName", g.name, "Hostname", n.Name, "DCGM_FI_DRIVER_VERSION", "570.86.15",
		}
		milliwatts := g.idle
		if g.owner != nil {
			pairs = append(pairs, "container", g.owner.name, "namespace", g.owner.pod.namespace, "pod", g.owner.pod.name)
			t := n.cluster.now / n.cluster.tick * n.cluster.tick
			for _, p := range g.owner.gpu {
				if p.device == g {
					milliwatts += g.owner.gpuMilliwatts(t, p)
				}
			}
		}
		if g.dcgmLabels == nil || g.dcgmOwner != g.owner {
			g.dcgmLabels, g.dcgmOwner = labelSet(pairs...), g.owner
		}
		before := g.total.shown
		g.total.value = g.used / 1000 * 1000
		g.total.show(*known)
		if g.owner != nil {
			g.owner.dcgmShown += g.total.shown - before
		}
		out = append(out,
			Series{dcgmEnergy, g.dcgmLabels, float64((g.lifetime + g.total.value) / 1000)},
			Series{dcgmPower, g.dcgmLabels, float64(milliwatts) / 1e3})
	}
	*known = true
	return out, true
}
