// Package store is the contract between the line and the engines that keep the
// books: what an engine promises when it is given charges, and what it can be
// asked. Engines live in the folders below; none knows another.
package store

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/power"
)

// Errors an engine answers with, tested with errors.Is.
var (
	ErrFull        = errors.New("storage is full")                                   // try again later
	ErrUnavailable = errors.New("storage is unavailable")                            // try again later
	ErrNewerSchema = errors.New("storage was written by a newer version")            // refuse to start, touch nothing
	ErrCorrupt     = errors.New("storage is damaged")                                // refuse to start, touch nothing
	ErrBadCursor   = errors.New("cursor does not belong to this query")              // the caller's mistake
	ErrTooMany     = errors.New("the answer has more rows than one answer may hold") // ask for less
)

// A Batch is what one flush of the line hands to the store. It is applied whole
// or not at all.
type Batch struct {
	// Position is the journal position up to which every charge that the
	// journal's records led to is in the store once the batch is.
	Position uint64
	// Holders are holders whose description changed since it was last handed
	// over. Every row of a holder, past ones too, is described by the newest.
	Holders []*power.Holder
	Charges []power.Charge
	Nodes   []power.NodeWindow
	// More says that other batches of the same flush follow. Until the last has
	// come, questions may be answered from before the first.
	More bool
}

// An Appender makes batches durable. Append returns nil only when the batch
// would survive a power cut. Appending a batch twice changes nothing, and a
// charge or node window with a lower revision than the stored one is ignored.
// It is called by one goroutine at a time.
type Appender interface {
	Append(ctx context.Context, b Batch) error
	// Position returns the journal position of the last batch made durable.
	Position(ctx context.Context) (uint64, error)
}

// A Dimension is something rows can be grouped by and matched on.
type Dimension string

const (
	Cluster      Dimension = "cluster"
	Node         Dimension = "node"
	Namespace    Dimension = "namespace"
	WorkloadKind Dimension = "workload_kind"
	Workload     Dimension = "workload"
	WorkloadType Dimension = "workload_type"
	Pod          Dimension = "pod"
	Container    Dimension = "container"
	// ContainerID groups by holder: one group per container, VM or remainder of a node.
	ContainerID Dimension = "container_id"
	// AnyCluster is matched by the clusters of a list, as Any writes it.
	// Nothing is grouped by it. It keeps readers to their clusters, so an engine
	// either knows it or refuses it as it does every unknown dimension.
	AnyCluster Dimension = "any_cluster"
)

// Unassigned is the value of a label, an annotation or a configured dimension of a
// container that has none.
const Unassigned = "__unassigned__"

// Label and Annotation are the dimensions of a pod's label or annotation. A value
// that the pod has not, its namespace may have.
func Label(name string) Dimension      { return Dimension("label:" + power.TagName(name)) }
func Annotation(name string) Dimension { return Dimension("annotation:" + power.TagName(name)) }

var configured = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Configured says that d is the name of a dimension as users define them.
func (d Dimension) Configured() bool {
	return configured.MatchString(string(d)) && d != AnyCluster && !slices.Contains(Dimensions, d)
}

// Known says that rows can be grouped by d.
func (d Dimension) Known() bool {
	if slices.Contains(Dimensions, d) || d.Configured() {
		return true
	}
	kind, name, _ := strings.Cut(string(d), ":")
	return (kind == "label" || kind == "annotation") && name != ""
}

// Kind says what kind of tag d is the value of: label, annotation or configured.
func (d Dimension) Kind() string {
	if kind, _, ok := strings.Cut(string(d), ":"); ok {
		return kind
	}
	return "configured"
}

// Value returns the value that a container with tags has for d, which is no
// other than a label, an annotation or a configured dimension.
func (d Dimension) Value(tags power.Tags) string {
	if tags == "" {
		return Unassigned
	}
	own, shared, name := power.DimensionTag, power.DimensionTag, string(d)
	if kind, of, ok := strings.Cut(name, ":"); ok {
		own, shared, name = power.PodLabel, power.NamespaceLabel, of
		if kind == "annotation" {
			own, shared = power.PodAnnotation, power.NamespaceAnnotation
		}
	}
	if v, ok := tags.Get(own, name); ok {
		return v
	}
	if v, ok := tags.Get(shared, name); ok {
		return v
	}
	return Unassigned
}

// listMark begins a list of values; no name begins with it.
const listMark = "\x00"

// Any writes a list of values as what any one of them matches.
func Any(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return listMark + strings.Join(values, listMark)
}

// IsList says that Any wrote it of several values.
func IsList(asked string) bool { return strings.HasPrefix(asked, listMark) }

// Matches reports whether a value is the one asked for, or among those of a list
// that Any wrote.
func Matches(asked, value string) bool {
	list, several := strings.CutPrefix(asked, listMark)
	if !several {
		return asked == value
	}
	for one := range strings.SplitSeq(list, listMark) {
		if one == value {
			return true
		}
	}
	return false
}

// Dimensions lists what rows can be grouped by, in the order they are documented.
var Dimensions = []Dimension{Cluster, Node, Namespace, WorkloadKind, Workload, WorkloadType, Pod, Container, ContainerID}

// A Query asks for energy summed over time and groups.
type Query struct {
	FromMs int64 // inclusive, Unix milliseconds
	ToMs   int64 // exclusive
	// StepMs cuts the range into steps aligned to multiples of StepMs since the
	// epoch; 0 means one step for the whole range. Where StepMs is a multiple
	// of an hour and the range is aligned to hours, rollups answer.
	StepMs  int64
	GroupBy []Dimension          // empty: one group
	Match   map[Dimension]string // values, or lists that Any wrote
	// WorkloadsOnly leaves out __system__, __idle__ and __unattributed__.
	WorkloadsOnly bool
}

// A Row is the energy of one group in one step, under one price.
type Row struct {
	StartMs int64 // start of the step; FromMs when StepMs is 0
	// Group holds the value of each dimension asked for, in the order of GroupBy.
	Group  []string
	Energy power.Energy
	Idle   power.Microjoules // part of Energy's total
	Price  power.Price
	// SeenMs is the time covered by samples, summed over the group's holders;
	// HeldMs is the time the same rows stand for. SeenMs/HeldMs is a coverage.
	SeenMs  int64
	HeldMs  int64
	LastMs  int64 // newest sample
	Holders int   // distinct holders in the group and step
}

// A PowerQuery asks for the mean power of workloads or containers over the
// newest stretch of time.
type PowerQuery struct {
	FromMs, ToMs int64
	ByContainer  bool // one row per container instead of one per workload
	Match        map[Dimension]string
	Ascending    bool
	By           PowerOrder
	Limit        int    // > 0
	Cursor       string // from the page before; empty for the first
}

// PowerOrder is what a page of power rows is sorted by.
type PowerOrder string

const (
	ByPower PowerOrder = "power_watts"
	ByName  PowerOrder = "name" // cluster, namespace, workload, pod, container
)

// A PowerRow is the mean power of one workload or container.
type PowerRow struct {
	Holder     power.Holder // of a workload: only the workload, its type and Inferred
	Energy     power.Energy // over the seconds seen
	Watts      [power.NumComponents]float64
	Price      power.Price // of the newest row
	Containers int
	LastMs     int64
	Generation string
}

// TotalWatts returns the sum over the components.
func (r PowerRow) TotalWatts() float64 {
	return r.Watts[power.CPU] + r.Watts[power.DRAM] + r.Watts[power.GPU] + r.Watts[power.Other]
}

// A WorkloadRow is one workload the store knows.
type WorkloadRow struct {
	Workload power.Workload
	Type     power.Type
	Rule     string
	Inferred bool
	FirstMs  int64
	LastMs   int64
}

// A ProfileRow is how the workloads of one type used power.
type ProfileRow struct {
	Type      power.Type
	Workloads int
	Energy    power.Microjoules
	MeanWatts float64 // of the type as a whole, over the minutes it was seen
	P50Watts  float64 // over the minutes
	P95Watts  float64
	PeakWatts float64
	Variation float64 // standard deviation over mean
	DutyCycle float64 // share of the minutes above half of the 95th percentile
	Cost      power.Cost
}

// A Querier answers questions about the books. Ranges are half-open. It may be
// called concurrently with itself and with an Appender.
type Querier interface {
	Sum(ctx context.Context, q Query) ([]Row, error)
	Power(ctx context.Context, q PowerQuery) (rows []PowerRow, next string, err error)
	// Nodes returns the newest node window that ended by toMs and after fromMs,
	// one per node, sorted by cluster and node.
	Nodes(ctx context.Context, fromMs, toMs int64, match map[Dimension]string) ([]power.NodeWindow, error)
	// Workloads returns the workloads that match, sorted by id.
	Workloads(ctx context.Context, match map[Dimension]string, limit int) ([]WorkloadRow, error)
	Profiles(ctx context.Context, fromMs, toMs int64, match map[Dimension]string) ([]ProfileRow, error)
	// Tags returns the labels, annotations and configured dimensions that there are
	// of the holders that match, by name, each with at most limit of its values.
	Tags(ctx context.Context, match map[Dimension]string, limit int) ([]TagRow, error)
}

// A TagRow is a label, an annotation or a configured dimension, and its values.
type TagRow struct {
	Dimension Dimension
	Values    []string // sorted
	Found     int      // how many there are
}
