package storetest

import (
	"fmt"
	"math/rand/v2"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

var flat = &power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 1.3, CarbonFactor: 1, CarbonKgPerKWh: 1, CarbonPerKg: 0.05}

func container(node, id, namespace, workload string, typ power.Type) *power.Holder {
	return &power.Holder{
		HolderKey: power.HolderKey{Cluster: "c1", Node: node, Kind: power.Container, ID: id},
		Workload:  power.Workload{Cluster: "c1", Namespace: namespace, Kind: "deployment", Name: workload},
		Type:      typ, Rule: "a rule", Pod: workload + "-" + id, PodUID: "uid-" + id, Container: "main", Image: "image:1",
	}
}

func remainder(node string, kind power.HolderKind) *power.Holder {
	name := kind.PseudoName()
	return &power.Holder{
		HolderKey: power.HolderKey{Cluster: "c1", Node: node, Kind: kind},
		Workload:  power.Workload{Cluster: "c1", Namespace: name, Kind: "", Name: name}, Type: power.SystemType,
	}
}

// charge returns a full charge whose numbers depend on n alone.
func charge(h *power.Holder, startMs int64, n int64, revision uint64) power.Charge {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	c := power.Charge{Holder: h, StartMs: startMs, Seconds: 60, SeenMs: 59_000 + r.Int32N(1000), LastMs: startMs + r.Int64N(minute), Price: flat, Revision: revision}
	for i := range c.Energy {
		c.Energy[i] = power.Microjoules(r.Int64N(2_000_000_000))
		c.Counter[i] = power.Microjoules(r.Int64N(1 << 50))
	}
	c.Idle = c.Energy[power.CPU] / 3
	return c
}

func holders() []*power.Holder {
	var list []*power.Holder
	for i := range 12 {
		types := []power.Type{power.MLTraining, power.Web, power.Unknown}
		list = append(list, container(fmt.Sprintf("n%d", i%3), fmt.Sprintf("id-%d", i), fmt.Sprintf("ns%d", i%4), fmt.Sprintf("w%d", i%5), types[i%3]))
	}
	for _, n := range []string{"n0", "n1", "n2"} {
		list = append(list, remainder(n, power.System), remainder(n, power.Idle), remainder(n, power.Unattributed))
	}
	return list
}

// fill appends minutes [from, to) of the holders.
func (s *story) fill(list []*power.Holder, from, to int64) {
	s.Helper()
	var b store.Batch
	for m := from; m < to; m++ {
		for i, h := range list {
			if (m+int64(i))%7 == 0 {
				continue // not everything is there all the time
			}
			b.Charges = append(b.Charges, charge(h, Day0+m*minute, m*1000+int64(i), uint64(m+1)))
		}
		if m%5 == 0 || m == to-1 {
			s.append(b)
			b = store.Batch{}
		}
	}
}
