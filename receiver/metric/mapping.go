package metric

import "github.com/wattledger/wattledger/power"

// A Role is what the samples of a series mean for the books.
type Role uint8

const (
	// RoleCounter is a cumulative counter of a holder's energy that starts at 0
	// with the holder and again after a reset: containers, VMs, legacy nodes.
	RoleCounter Role = iota + 1
	// RoleNodeRaw is a node's raw register or a device's lifetime counter: it
	// wraps, it outlives the exporter, and its first value is never credited.
	RoleNodeRaw
	RoleNodeActive // the active part of the node counter of the same zone; starts at 0 with the exporter
	RoleNodeIdle   // the idle part; jumps when the exporter starts, so only differences between exporter starts count
	RoleNodeWatts  // the node's power in the same zone: not booked, used where the counters are silent
	// RoleGPUCounter is a sum over live processes: a fall says that a process
	// ended, not that the counter restarted.
	RoleGPUCounter
	RoleGPUWatts // the power that belongs to a RoleGPUCounter
	// RoleGauge is a power gauge that is integrated over event time because no
	// counter exists for the device.
	RoleGauge
	// RoleFact tells about pods, not energy.
	RoleFact
)

// A Mapping is what the metric table makes of one label set.
type Mapping struct {
	Role Role
	// Unnamed says that the series names no cluster; the Holder's is the default.
	Unnamed    bool
	Holder     power.HolderKey  // of a device series: the container it names where it does, else the node
	Attributes power.Attributes // of the holder
	Measure    power.Measure
	Component  power.Component
	// Zone tells accounts of one holder, measure and component apart: the RAPL
	// zone, the socket, the GPU's UUID.
	Zone string
	// Source names who measured a device ("kepler", "dcgm", "all-smi", …), and
	// Priority ranks sources that measure the same device: the highest is
	// booked, the others are only a check. Empty and 0 for everything but devices.
	Source   string
	Priority int
	// Sevenths of the device are the Holder's; 0 for an even share.
	Sevenths uint8
	// MicrojoulesPerUnit converts the sample's value: 1e6 for joules and for
	// watts (microjoules a second), 1e3 for millijoules.
	MicrojoulesPerUnit float64
	Terminated         bool   // state="terminated"
	Replica            string // which of a pair of Prometheus replicas sent it; empty for none
	Exporter           string // the target whose series it is, as its labels name it; empty where that is not told
	Path               string // the labels that neither the exporter nor the target has: put on by who sent it
	Generation         string // "kepler-0.10+", "kepler-legacy" or "other"
	Fact               power.FactKind
	// Pod says that a fact's series counts the energy of a pod, the Holder, which
	// is booked where none of its node's containers are told.
	Pod bool
}
