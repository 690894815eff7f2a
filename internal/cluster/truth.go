package cluster

import "time"

// Truth is what every account used up to a moment, and what the counters have
// shown of it. The truth of an interval is the difference of two.
type Truth struct {
	Time     time.Time `json:"time"`
	Accounts []Account `json:"accounts"`
}

// An Account is the energy of one container, VM, node or part of a node in one
// zone. Kinds: container, vm, system (host processes), node (all of it),
// active, idle, and gpu (a device).
//
// UsedMicrojoules is exact, since the simulation began. ReportedMicrojoules is
// what somebody who saw every scrape and knew every restart could book: what
// the exporter reported before its node's first scrape is not in it, nor what
// it missed while it was down. Of the kind node it is the register unwrapped.
type Account struct {
	Node         string `json:"node"`
	Kind         string `json:"kind"`
	ID           string `json:"id,omitempty"`
	Name         string `json:"name,omitempty"`
	Zone         string `json:"zone"`
	Namespace    string `json:"namespace,omitempty"`
	Pod          string `json:"pod,omitempty"`
	PodUID       string `json:"pod_uid,omitempty"`
	Image        string `json:"image,omitempty"`
	WorkloadKind string `json:"workload_kind,omitempty"`
	Workload     string `json:"workload,omitempty"`
	WorkloadType string `json:"workload_type,omitempty"`
	Ended        bool   `json:"ended,omitempty"`

	UsedMicrojoules     int64 `json:"used_microjoules"`
	ReportedMicrojoules int64 `json:"reported_microjoules"`
	// AllottedMicrojoules is idle energy a legacy exporter allotted to the account.
	AllottedMicrojoules int64 `json:"allotted_microjoules,omitempty"`
}

// Truth returns the truth up to now.
func (c *Cluster) Truth() Truth {
	t := Truth{Time: c.Now()}
	for _, n := range c.nodes {
		t.Accounts = n.appendAccounts(t.Accounts)
	}
	return t
}

func (n *Node) appendAccounts(out []Account) []Account {
	for z := range Zone(numZones) {
		if !n.reports(z) {
			continue
		}
		zone := &n.zones[z]
		node := Account{Node: n.Name, Kind: "node", Zone: z.String(), UsedMicrojoules: zone.used, ReportedMicrojoules: zone.raw.shown}
		if n.config.Generation == Legacy { // there is no register, only its two parts
			node.ReportedMicrojoules = zone.active.shown + zone.idle.shown
		}
		out = append(out, node,
			Account{Node: n.Name, Kind: "active", Zone: z.String(), UsedMicrojoules: zone.used - zone.idleUsed, ReportedMicrojoules: zone.active.shown},
			Account{Node: n.Name, Kind: "idle", Zone: z.String(), UsedMicrojoules: zone.idleUsed, ReportedMicrojoules: zone.idle.shown})
	}
	for _, l := range n.everyLoad() {
		account := Account{Node: n.Name, Kind: l.kind.String(), ID: l.id, Name: l.name, Image: l.image, Ended: l.ended != 0}
		if p := l.pod; p != nil {
			account.Namespace, account.Pod, account.PodUID = p.namespace, p.name, p.uid
			account.WorkloadKind, account.Workload, account.WorkloadType = p.workload.Kind, p.workload.Name, p.workload.Type
		}
		for z := range Zone(numZones) {
			if !n.reports(z) {
				continue
			}
			a := account
			a.Zone = z.String()
			a.UsedMicrojoules = l.zones[z].used
			a.ReportedMicrojoules = l.zones[z].counter.shown
			a.AllottedMicrojoules = l.idleShare[z].counter.shown
			out = append(out, a)
		}
		if len(l.gpu) > 0 {
			a := account
			a.Zone = "gpu"
			for _, p := range append(append([]*gpuProcess(nil), l.gpu...), l.pastGPU...) {
				a.UsedMicrojoules += p.meter.used
				a.ReportedMicrojoules += p.meter.counter.shown
			}
			if n.config.DCGM {
				a.ReportedMicrojoules = l.dcgmShown
			}
			out = append(out, a)
		}
	}
	for _, g := range n.gpus {
		a := Account{Node: n.Name, Kind: "gpu", ID: g.uuid, Name: g.name, Zone: "gpu", UsedMicrojoules: g.used, ReportedMicrojoules: g.total.shown}
		if n.config.Generation == Legacy {
			a.ReportedMicrojoules = g.active.shown + g.idleCounter.shown
		}
		out = append(out, a)
	}
	return out
}

// reports says whether the node's exporter has the zone.
func (n *Node) reports(z Zone) bool {
	switch z {
	case Psys:
		return n.config.Generation == Current && n.config.Psys
	case Other:
		return n.config.Generation == Legacy
	}
	return true
}

// everyLoad returns the running loads and all that have been.
func (n *Node) everyLoad() []*load {
	all := append([]*load{n.system}, n.loads...)
	switch e := n.exporter.(type) {
	case *kepler:
		all = append(append(all, e.last...), e.terminated...)
	case *legacy:
		all = append(all, e.dead...)
	}
	return append(all, n.past...)
}
