package opencost

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/internal/suggest"
	"github.com/wattledger/wattledger/period"
	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

// An Error is what is wrong with a question.
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string { return e.Message }

func wrong(format string, args ...any) error { return &Error{400, fmt.Sprintf(format, args...)} }

// params reads the parameters of a request. Names that no client sends are errors;
// an empty value is as good as none, because kubectl-cost sends those.
type params struct {
	values url.Values
	errs   []string
}

// The parameters that clients of OpenCost send. Those that say nothing here are
// taken and change nothing.
var (
	windowParams = []string{"window", "timezone", "filter",
		"filterClusters", "filterNodes", "filterNamespaces", "filterControllerKinds", "filterControllers", "filterPods", "filterContainers",
		"filterServices", "filterLabels", "filterAnnotations"}
	allocationParams = slices.Concat(windowParams, []string{"aggregate", "step", "accumulate", "accumulateBy", "includeIdle", "idle", "idleByNode",
		"shareIdle", "shareSplit", "shareNamespaces", "shareLabels", "shareCost", "shareTenancyCosts", "metrics", "resolution", "format",
		"includeProportionalAssetResourceCosts", "includeAggregatedMetadata", "includeSharedCostBreakdown", "sharelb", "costUnit", "reconcile",
		"limit", "offset", "sortBy", "sortByOrder", "costParts"})
	assetParams        = slices.Concat(windowParams, []string{"aggregate", "accumulate", "step", "filterTypes", "format", "limit", "offset"})
	autocompleteParams = slices.Concat(windowParams, []string{"field", "search", "limit"})
)

func newParams(raw string, known []string) *params {
	p := &params{}
	var err error
	if p.values, err = url.ParseQuery(raw); err != nil {
		p.fail("the query is not well formed: every & = ; %% and + in a value must be escaped")
	}
	names := make([]string, 0, len(p.values))
	for name := range p.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case !slices.Contains(known, name):
			text := fmt.Sprintf("%.60q is not a parameter of this route", name)
			if n := suggest.Nearest(name, known); n != "" {
				text += fmt.Sprintf("; did you mean %q?", n)
			}
			p.fail("%s", text)
		case len(p.values[name]) > 1:
			p.fail("%s is given more than once", name)
		}
	}
	return p
}

func (p *params) fail(format string, args ...any) {
	if len(p.errs) < 10 {
		p.errs = append(p.errs, fmt.Sprintf(format, args...))
	}
}

func (p *params) err() error {
	if len(p.errs) == 0 {
		return nil
	}
	return wrong("%s", strings.Join(p.errs, "; "))
}

func (p *params) text(name string) string { return strings.TrimSpace(p.values.Get(name)) }

func (p *params) list(name string) []string {
	var list []string
	for part := range strings.SplitSeq(p.text(name), ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func (p *params) yes(name string, def bool) bool {
	switch s := strings.ToLower(p.text(name)); s {
	case "":
		return def
	case "true", "t", "1":
		return true
	case "false", "f", "0":
		return false
	default:
		p.fail("%s %.20q: allowed are true and false", name, s)
	}
	return def
}

func (p *params) choice(name, def string, allowed ...string) string {
	s := strings.ToLower(p.text(name))
	if s == "" {
		return def
	}
	if !slices.Contains(allowed, s) {
		p.fail("%s %.20q: allowed are %s", name, s, strings.Join(allowed, ", "))
		return def
	}
	return s
}

func (p *params) count(name string, def, most int) int {
	s := p.text(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > most {
		p.fail("%s %.20q: want a whole number from 0 to %d", name, s, most)
		return def
	}
	return n
}

func (p *params) zone() *time.Location {
	if name := p.text("timezone"); name != "" {
		zone, err := period.Zone(name)
		if err == nil {
			return zone
		}
		p.fail("timezone %.40q %v", name, err)
	}
	return time.UTC
}

// oldFilters are the parameters that filtered before there was a grammar.
var oldFilters = []struct{ name, field string }{
	{"filterClusters", "cluster"}, {"filterNodes", "node"}, {"filterNamespaces", "namespace"}, {"filterControllerKinds", "controllerKind"},
	{"filterControllers", "controllerName"}, {"filterPods", "pod"}, {"filterContainers", "container"}, {"filterServices", "services"},
}

// filter reads filter and, as terms of the same kind, the older parameters.
func (p *params) filter() *filter {
	var terms []string
	quote := func(field, value string) string {
		op := ":"
		if prefix, ok := strings.CutSuffix(value, "*"); ok {
			op, value = "<~:", prefix
		}
		return field + op + `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
	}
	for _, old := range oldFilters {
		var any []string
		for _, v := range p.list(old.name) {
			any = append(any, quote(old.field, v))
		}
		if len(any) > 0 {
			terms = append(terms, "("+strings.Join(any, " | ")+")")
		}
	}
	for _, old := range []struct{ name, field string }{{"filterLabels", "label"}, {"filterAnnotations", "annotation"}} {
		var any []string
		for _, v := range p.list(old.name) {
			key, value, ok := strings.Cut(v, ":")
			if !ok || strings.Contains(key, "]") {
				p.fail("%s %.60q: want NAME:VALUE", old.name, v)
				continue
			}
			any = append(any, quote(old.field+"["+key+"]", value))
		}
		if len(any) > 0 {
			terms = append(terms, "("+strings.Join(any, " | ")+")")
		}
	}
	text := p.values.Get("filter")
	if _, err := parseFilter(text); err != nil {
		p.fail("filter: %v", err)
		return nil
	}
	if strings.TrimSpace(text) != "" {
		terms = append(terms, "("+text+")")
	}
	f, err := parseFilter(strings.Join(terms, " + "))
	if err != nil {
		p.fail("%v", err)
	}
	return f
}

// An allocationQuestion is what is asked of allocations.
type allocationQuestion struct {
	window   span
	sets     []span
	zone     *time.Location
	parts    []part
	filter   *filter
	idle     bool
	share    []*report.Sharing // of idle and all; of namespaces and labels alone
	money    []string
	metadata bool
	limit    int
	offset   int
}

var accumulateWords = []string{"all", "hour", "day", "week", "weeknow", "month", "quarter"}

func (p *params) allocation(now time.Time, idleByDefault bool) (q allocationQuestion, err error) {
	q.zone = p.zone()
	if q.window, err = parseWindow(p.text("window"), now, q.zone); err != nil {
		p.fail("window %v", err)
	}
	if q.parts, err = parseAggregate(p.text("aggregate")); err != nil {
		p.fail("aggregate: %v", err)
	}
	step := p.text("step")
	accumulate := strings.ToLower(p.text("accumulate"))
	if by := strings.ToLower(p.text("accumulateBy")); by != "" {
		accumulate = by
	}
	switch {
	case accumulate == "true" || accumulate == "t" || accumulate == "1":
		step = "all"
	case accumulate == "" || accumulate == "false" || accumulate == "f" || accumulate == "0" || accumulate == "none":
	case slices.Contains(accumulateWords, accumulate):
		step = accumulate
	default:
		p.fail("accumulate %.20q: allowed are true, false, none, %s", accumulate, strings.Join(accumulateWords, ", "))
	}
	if len(p.errs) == 0 {
		if q.sets, err = q.window.cut(step, q.zone); err != nil {
			p.fail("step %v", err)
		}
	}
	q.filter = p.filter()
	q.idle = p.yes("includeIdle", p.yes("idle", idleByDefault))
	p.sharing(&q)
	q.money = []string{"electricity", "overhead", "carbon"}
	if list := p.list("costParts"); len(list) > 0 {
		for _, name := range list {
			if !slices.Contains(q.money, name) {
				p.fail("costParts %.20q: allowed are electricity, overhead, carbon", name)
			}
		}
		q.money = list
	}
	q.metadata = p.yes("includeAggregatedMetadata", false)
	q.limit, q.offset = p.count("limit", 0, math.MaxInt32), p.count("offset", 0, math.MaxInt32)
	if p.yes("includeProportionalAssetResourceCosts", false) {
		p.fail("includeProportionalAssetResourceCosts: is not known here")
	}
	for _, name := range []string{"shareCost", "shareTenancyCosts"} {
		if s := p.text(name); s != "" && s != "0" && s != "false" {
			p.fail("%s: is not known here; shareNamespaces and shareLabels are", name)
		}
	}
	return q, p.err()
}

// sharing reads what is shared. Sharing idle energy does nothing where it is not
// included, as in OpenCost.
func (p *params) sharing(q *allocationQuestion) {
	shareIdle, split := strings.ToLower(p.text("shareIdle")), p.choice("shareSplit", "weighted", "weighted", "even")
	byNode := p.yes("idleByNode", false)
	idle := false
	switch shareIdle {
	case "weighted", "even":
		idle, split = true, shareIdle
	default:
		idle = p.yes("shareIdle", false)
	}
	key := report.ShareByEnergy
	if split == "even" {
		key = report.ShareEvenly
	}
	match := map[store.Dimension]string{}
	if list := p.list("shareNamespaces"); len(list) > 0 {
		match[store.Namespace] = store.Any(list)
	}
	byLabel := map[store.Dimension][]string{}
	for _, v := range p.list("shareLabels") {
		name, value, ok := strings.Cut(v, ":")
		if !ok || name == "" {
			p.fail("shareLabels %.60q: want NAME:VALUE", v)
			continue
		}
		byLabel[store.Label(name)] = append(byLabel[store.Label(name)], value)
	}
	for d, list := range byLabel {
		match[d] = store.Any(list)
	}
	all := &report.Sharing{Match: match, By: key, ByNode: byNode}
	if idle && q.idle {
		all.Names = []string{idleName}
	}
	q.share = []*report.Sharing{all}
	if len(all.Names) > 0 && len(match) > 0 {
		q.share = append(q.share, &report.Sharing{Match: match, By: key, ByNode: byNode})
	}
}
