package power

import "strings"

// A HolderKind says what kind of thing holds an account.
type HolderKind uint8

const (
	Container    HolderKind = iota + 1 // a container, known by its container id
	VM                                 // a virtual machine, known by its vm id
	Node                               // a whole node; its energy is split among all the others
	System                             // host processes outside containers and VMs
	Idle                               // energy a node drew while idle
	Unattributed                       // energy of a node that no counter explains
)

var holderKindNames = [...]string{"", "container", "vm", "node", "system", "idle", "unattributed"}

func (k HolderKind) String() string { return holderKindNames[k] }

// PseudoName is the namespace, workload and group name of energy that no
// workload used: "__system__", "__idle__" or "__unattributed__". It is empty
// for containers and VMs.
func (k HolderKind) PseudoName() string {
	if k < System {
		return ""
	}
	return "__" + k.String() + "__"
}

// A HolderKey names the holder of an account for ever, whatever its labels do.
type HolderKey struct {
	Cluster string
	Node    string
	Kind    HolderKind
	ID      string // container id or vm id; empty for the kinds there is one of on a node
}

// A Workload is what users deploy and pay for.
type Workload struct {
	Cluster   string
	Namespace string
	Kind      string // lower case: deployment, statefulset, job, pod, …
	Name      string
}

// ID returns the workload's id: cluster:namespace:kind:name.
func (w Workload) ID() string {
	return w.Cluster + ":" + w.Namespace + ":" + strings.ToLower(w.Kind) + ":" + w.Name
}

// A Type is a class of workload.
type Type string

const (
	MLTraining Type = "ml_training"
	Inference  Type = "inference"
	Batch      Type = "batch"
	Realtime   Type = "realtime"
	Web        Type = "web"
	Database   Type = "database"
	Cache      Type = "cache"
	Storage    Type = "storage"
	SystemType Type = "system"
	Unknown    Type = "unknown"
)

// Types lists every workload type in the order they are documented.
var Types = []Type{MLTraining, Inference, Batch, Realtime, Web, Database, Cache, Storage, SystemType, Unknown}

// ParseType returns the type called name. Hyphens and the aliases "training"
// and "serving" are understood.
func ParseType(name string) (Type, bool) {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	switch name {
	case "training":
		return MLTraining, true
	case "serving":
		return Inference, true
	}
	for _, t := range Types {
		if string(t) == name {
			return t, true
		}
	}
	return "", false
}

// A Holder is what is known of the holder of an account at one moment. It is
// immutable: when something is learned, a new Holder takes its place, so a
// pointer may be kept and compared.
//
// Who a holder is holds for all it ever used. What it was tagged with may change
// while it runs, and then divides what it used: from SinceMs on, which is the
// start of a window, it is another Holder with the same key.
type Holder struct {
	HolderKey
	SinceMs   int64 // Unix milliseconds; 0 before the tags first changed
	Tags      Tags
	Workload  Workload // Workload.Cluster equals Cluster
	Inferred  bool     // the workload was read off the pod's name, not told by kube-state-metrics
	Type      Type
	Rule      string // the classification rule that gave Type; empty for none
	Pod       string
	PodUID    string
	Container string // container or VM name
	Image     string
}
