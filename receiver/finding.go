package receiver

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/receiver/counter"
)

// advice says of a finding what it comes from and what to do about it.
type advice struct{ cause, fix string }

var advices = map[counter.FindingKind]advice{
	counter.TwoExporters: {
		"two exporters tell of this node at once; one is booked, the other is kept for when it falls silent",
		"a rolling update with surge passes by itself; else Kepler is installed twice, or one Kepler is scraped by two jobs: remove one"},
	counter.UnnamedPair: {
		"the same samples come on two ways, and the label that tells them apart is no replica label here",
		"name that label in metrics.replica_labels"},
	counter.UnlabelledPair: {
		"the same samples come on two ways that no label tells apart, or by a clock that jumps a little",
		"give each Prometheus of a pair an external label of its own, such as prometheus_replica, and set clocks by NTP"},
	counter.TwoGenerations: {
		"a legacy Kepler and a new one tell of this node at once; one of them is booked",
		"finish the upgrade and remove the old Kepler"},
	counter.ClockSetBack: {
		"the clock of who sends this node's samples was set back; they are booked from where they go on",
		"set the clock of the node, and of its Prometheus, by NTP"},
	counter.LateContainers: {
		"series of containers began to come later than the node's own; what these containers used before is in __system__",
		"let the series of containers through: compare write_relabel_configs with the README, and accounting.max_series with wattledger_series"},
	counter.HiddenProcessEnd: {
		"the sum over GPU processes rose by less than the power gauge tells: a process ended between two samples; the gauge is booked and marked",
		"nothing is wrong; a shorter scrape interval makes it rarer"},
	counter.RegisterJump: {
		"the node's register jumped by more than its power gauge tells when its exporter started again; the gauge is booked",
		"set accounting.max_node_watts to what the machine can draw, so that such jumps are known at once"},
	counter.AttributedTooMuch: {
		"for minutes the containers of this node have been told to use more than the node itself, so its unattributed energy is negative",
		"look whether kepler_node_* and kepler_container_* of this node come from one exporter (job, instance), and whether all zones of both are let through"},
	counter.AttributedTooLittle: {
		"for minutes more than a tenth of what this node used has belonged to nobody",
		"look whether series of containers are dropped by write_relabel_configs or accounting.max_series, and whether a GPU exporter names the pods that use its devices"},
}

// A findingReport is one entry of the list "findings" of /debug/senders.
type findingReport struct {
	Cluster string   `json:"cluster"`
	Node    string   `json:"node"`
	Finding string   `json:"finding"`
	Cause   string   `json:"cause"`
	Fix     string   `json:"fix"`
	Sources []string `json:"sources"`
	Samples uint64   `json:"samples"`
	Since   string   `json:"since"`
	Last    string   `json:"last"`
}

func reportOf(f counter.Finding) findingReport {
	at := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
	a := advices[f.Kind]
	return findingReport{
		Cluster: f.Cluster, Node: f.Node, Finding: f.Kind.String(), Cause: a.cause, Fix: a.fix,
		Sources: append([]string{}, f.Sources...), Samples: f.Count, Since: at(f.SinceMs), Last: at(f.LastMs),
	}
}

// recent is for how long a finding stands after the last sample it is about.
const recent = 15 * time.Minute

// A summary is what the findings of a kind come to.
type summary struct {
	kind    counter.FindingKind
	nodes   int
	example string // one of them
	samples uint64
}

// summarize returns the kinds that were found lately, in the order of their kinds.
func summarize(list []counter.Finding, now time.Time) (all []summary) {
	byKind := map[counter.FindingKind]*summary{}
	for _, f := range list {
		if now.Sub(time.UnixMilli(f.LastMs)) > recent {
			continue
		}
		s := byKind[f.Kind]
		if s == nil {
			s = &summary{kind: f.Kind, example: f.Node}
			byKind[f.Kind] = s
		}
		s.nodes++
		s.samples += f.Count
	}
	for kind := counter.FindingKind(0); len(all) < len(byKind); kind++ {
		if s := byKind[kind]; s != nil {
			all = append(all, *s)
		}
	}
	return all
}

// text is a summary for people, with its fix.
func (s summary) text() string {
	where := "node " + s.example
	if s.nodes > 1 {
		where = fmt.Sprintf("%d nodes, such as %s", s.nodes, s.example)
	}
	return fmt.Sprintf("%s on %s: %s; to mend it: %s", s.kind, where, advices[s.kind].cause, advices[s.kind].fix)
}

// grave says whether a kind of finding wants something done.
func grave(kind counter.FindingKind) bool {
	return kind != counter.HiddenProcessEnd
}

// Advice is what the setups of senders are at fault with, a line each, with its fix.
func (h *Handler) Advice() (lines []string) {
	for _, s := range summarize(h.ledger.Findings(), time.Now()) {
		if grave(s.kind) {
			lines = append(lines, s.text())
		}
	}
	return lines
}

// A teller says in the log what was found, once for each kind until it has been
// gone for a while, and counts it in metrics.
type teller struct {
	findings func() []counter.Finding
	logger   *slog.Logger

	mu   sync.Mutex
	told map[counter.FindingKind]bool // guarded by mu
}

var (
	findingNodesDesc = prometheus.NewDesc("wattledger_findings_nodes",
		"Nodes whose samples needed a rule lately, by what was found; /debug/senders names them with cause and fix.", []string{"finding"}, nil)
	findingSamplesDesc = prometheus.NewDesc("wattledger_findings_samples",
		"Samples since the start that a rule took effect for on these nodes, by what was found.", []string{"finding"}, nil)
)

// Describe and Collect make a teller a prometheus.Collector.
func (t *teller) Describe(ch chan<- *prometheus.Desc) {
	ch <- findingNodesDesc
	ch <- findingSamplesDesc
}

func (t *teller) Collect(ch chan<- prometheus.Metric) {
	for _, s := range summarize(t.findings(), time.Now()) {
		ch <- prometheus.MustNewConstMetric(findingNodesDesc, prometheus.GaugeValue, float64(s.nodes), s.kind.String())
		ch <- prometheus.MustNewConstMetric(findingSamplesDesc, prometheus.GaugeValue, float64(s.samples), s.kind.String())
	}
}

// tell logs what is new.
func (t *teller) tell(now time.Time) {
	list := summarize(t.findings(), now)
	t.mu.Lock()
	defer t.mu.Unlock()
	still := map[counter.FindingKind]bool{}
	for _, s := range list {
		still[s.kind] = true
		if !t.told[s.kind] && grave(s.kind) {
			t.logger.Warn("the setup of senders is at fault; the books are right all the same", "finding", s.kind.String(),
				"nodes", s.nodes, "node", s.example, "cause", advices[s.kind].cause, "fix", advices[s.kind].fix)
		}
	}
	t.told = still
}
