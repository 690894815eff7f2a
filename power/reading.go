package power

// A Measure says which of a holder's quantities a reading belongs to.
type Measure uint8

const (
	Used      Measure = iota // a holder's own energy; for a node, all of it
	Active                   // the part of a node's energy that was used by running work
	NodeIdle                 // the part of a node's energy that was idle
	IdleShare                // idle energy the exporter itself allotted to a holder (legacy mode="idle"); part of what the holder pays
)

// A Reading is the energy between two samples of one account. It may be
// negative: a late sample takes back what was booked over an interval and books
// the two parts in its place.
type Reading struct {
	Holder     uint32 // the holder's index within its shard, announced before its first reading
	Measure    Measure
	Component  Component
	Integrated bool        // integrated from a gauge because no counter exists
	Energy     Microjoules // over (StartMs, EndMs]
	StartMs    int64       // Unix milliseconds
	EndMs      int64       // Unix milliseconds, >= StartMs
	Counter    Microjoules // the raw counter at EndMs; 0 where there is none
}

// A Label is a name and a value, as Prometheus has them.
type Label struct{ Name, Value string }

// A FactKind says what a fact tells.
type FactKind uint8

const (
	PodFact                  FactKind = iota + 1 // a pod's UID, name, namespace (kepler_pod_*, kube_pod_info)
	PodOwnerFact                                 // kube_pod_owner
	ReplicaSetOwnerFact                          // kube_replicaset_owner
	JobOwnerFact                                 // kube_job_owner
	PodLabelsFact                                // kube_pod_labels
	PodContainerFact                             // kube_pod_container_info
	PodRequestsFact                              // kube_pod_container_resource_requests
	NodeFact                                     // kube_node_info: a node's name and address
	PodAnnotationsFact                           // kube_pod_annotations
	NamespaceLabelsFact                          // kube_namespace_labels
	NamespaceAnnotationsFact                     // kube_namespace_annotations
	NodeLabelsFact                               // kube_node_labels
)

// A Fact is something a series' labels tell about pods rather than about energy.
type Fact struct {
	Kind    FactKind
	Cluster string
	Labels  []Label // without __name__; sorted by name
	Value   float64
	AtMs    int64 // of the sample that told it, Unix milliseconds
}

// Attributes are what an energy series' labels tell about its holder. Empty
// means unknown, never "none": the last non-empty value wins.
type Attributes struct {
	Container string
	Pod       string
	PodUID    string
	Namespace string
	Image     string
	Command   string
	Runtime   string
}
