package transform

// A NodeState says how far the windows of a node are.
type NodeState struct {
	Cluster, Node string
	NewestMs      int64 // end of its newest reading
	// OpenMs is the start of the oldest window that may still move and has not
	// been let go of: everything before it is as it was last collected.
	OpenMs int64
}

// Nodes says how far each node is. Call it when what was collected is durable:
// then what lies before OpenMs is in the store.
func (s *Stage) Nodes() (list []NodeState) {
	for _, l := range s.shards {
		l.mu.Lock()
		for name, n := range l.nodes {
			x := NodeState{Cluster: name.cluster, Node: name.name, NewestMs: n.newestMs, OpenMs: max(n.sealedMs, n.newestMs)}
			if len(n.windows) > 0 {
				x.OpenMs = n.windows[0].startMs
			}
			list = append(list, x)
		}
		l.mu.Unlock()
	}
	return list
}
