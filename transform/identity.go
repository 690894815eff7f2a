package transform

import "github.com/wattledger/wattledger/power"

// An identity is where a node's energy of one window went:
// used = containers + vms + system + idle + unattributed.
type identity struct {
	used, containers, vms, system, idle, unattributed power.Energy
}

// close works out a window's identity, component by component. What running
// work used beyond containers and VMs is the host's own (system). What no
// counter explains is unattributed; it is negative when containers reported
// more than their node, and stays so. A node without a counter of its own for a
// component is worth what runs on it.
func (w *window) close() identity {
	id := identity{used: w.used, containers: w.containers, vms: w.vms}
	for c := range power.NumComponents {
		if !w.know(power.Used, c) {
			id.used[c] = id.containers[c] + id.vms[c]
			continue
		}
		if w.know(power.Active, c) {
			id.system[c] = max(0, w.active[c]-(w.containers[c]-w.idleShares[c])-w.vms[c])
		}
		if w.know(power.NodeIdle, c) {
			id.idle[c] = max(0, w.idle[c]-w.idleShares[c])
		}
		id.unattributed[c] = id.used[c] - id.containers[c] - id.vms[c] - id.system[c] - id.idle[c]
	}
	return id
}

// allot shares the window's idle energy among its containers and VMs as the
// policy says, and returns each row's part by component; nil where nothing is
// shared. All rows of the window take part, whatever is asked later: a filter
// never changes a number.
func (w *window) allot(id *identity, policy string) []power.Energy {
	if policy == IdleSeparate || len(w.rows) == 0 {
		return nil
	}
	parts := make([]power.Energy, len(w.rows))
	for c := range power.NumComponents {
		weight := func(x *row) int64 {
			if policy == IdleEven {
				return 1
			}
			energy, _, _ := x.whole()
			return int64(max(0, energy[c]))
		}
		var weights int64
		for i := range w.rows {
			weights += weight(&w.rows[i])
		}
		idle := id.idle[c]
		if idle <= 0 || weights == 0 {
			continue
		}
		var upTo int64
		var done power.Microjoules
		for i := range w.rows {
			upTo += weight(&w.rows[i])
			part := share(idle, upTo, weights) - done
			done += part
			parts[i][c] = part
			if w.rows[i].holder.info.Kind == power.VM {
				id.vms[c] += part
			} else {
				id.containers[c] += part
			}
		}
		id.idle[c] -= done
	}
	return parts
}
