package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/internal/suggest"
	"github.com/wattledger/wattledger/period"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

// No name in Kubernetes is longer than 253 bytes; container ids and node names are shorter.
const maxValueBytes = 1024

// A query is the parameters of one request. It is strict: what it does not
// know, what is said twice and what is said with nothing is an error, because a
// filter that is silently ignored gives an answer to another question. Errors
// are gathered, so that a user mends them all at once.
type query struct {
	values url.Values
	now    time.Time
	zone   *time.Location // of words, plain dates and days: tz, or what is configured
	own    []string       // configured dimensions
	errs   []ParamError
}

func (a *api) parse(r *http.Request, known ...string) *query {
	q := &query{now: a.cfg.Now().UTC(), zone: a.zone, own: a.cfg.Dimensions}
	var err error
	q.values, err = url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		q.fail("query", "is not well formed: every & = ; % and + in a value must be escaped")
		q.values = url.Values{}
		return q
	}
	filtered := slices.Contains(known, "namespace") // by labels, then, and dimensions
	names := make([]string, 0, len(q.values))
	for name := range q.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case len(q.errs) >= 10:
			return q // enough to work on
		case !slices.Contains(known, name) && !(filtered && q.tag(name).Known()):
			reason := "is not a parameter of this route"
			if n := suggest.Nearest(name, slices.Concat(known, q.own)); n != "" {
				reason += fmt.Sprintf("; did you mean %q?", n)
			}
			q.fail(clip(name), reason, known...)
		case len(q.values[name]) > 1:
			q.fail(name, "is given more than once")
		case q.values[name][0] == "":
			q.fail(name, "is empty; leave it out to mean everything")
		case len(q.values[name][0]) > maxValueBytes:
			q.fail(name, fmt.Sprintf("is longer than %d bytes", maxValueBytes))
		case strings.ContainsRune(q.values[name][0], 0):
			q.fail(name, "has a NUL in it, which no name has")
		}
	}
	if name := q.text("tz"); name != "" && slices.Contains(known, "tz") {
		zone, err := period.Zone(name)
		if err != nil {
			q.fail("tz", fmt.Sprintf("%q %v", clip(name), err))
		} else {
			q.zone = zone
		}
	}
	return q
}

// clip keeps a client's own words in an answer short.
func clip(s string) string {
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func (q *query) fail(name, reason string, allowed ...string) {
	q.errs = append(q.errs, ParamError{Parameter: name, Reason: reason, Allowed: allowed})
}

// problem returns what is wrong with the parameters read so far, or nil.
func (q *query) problem() error {
	if len(q.errs) == 0 {
		return nil
	}
	return invalid(q.errs...)
}

// text returns a parameter as it is, or "".
func (q *query) text(name string) string {
	if vs := q.values[name]; len(vs) == 1 && len(vs[0]) <= maxValueBytes {
		return vs[0]
	}
	return ""
}

func (q *query) clock() period.Clock { return period.Clock{Now: q.now, Zone: q.zone} }

// span reads a time; what is left out is def.
func (q *query) span(name string, def time.Time) period.Span {
	s := q.text(name)
	if s == "" {
		return period.Span{From: def, To: def}
	}
	span, err := q.clock().Parse(s)
	if err != nil {
		q.fail(name, fmt.Sprintf("%q %v", clip(s), err), period.Forms...)
		return period.Span{From: def, To: def}
	}
	return span
}

func (q *query) duration(name string, def, least, most time.Duration) time.Duration {
	s := q.text(name)
	if s == "" {
		return def
	}
	d, err := period.ParseDuration(s)
	switch {
	case err != nil:
		q.fail(name, fmt.Sprintf("%q %v", clip(s), err))
	case d < least || d > most:
		q.fail(name, fmt.Sprintf("must lie between %s and %s", period.FormatDuration(least), period.FormatDuration(most)))
	default:
		return d
	}
	return def
}

func (q *query) count(name string, def, most int) int {
	s := q.text(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		q.fail(name, fmt.Sprintf("%q is not a whole number from 1 to %d", clip(s), most))
		return def
	}
	return n
}

// choice returns one of allowed; the first is the default.
func (q *query) choice(name string, allowed ...string) string {
	s := q.text(name)
	if s == "" {
		return allowed[0]
	}
	if !slices.Contains(allowed, s) {
		q.fail(name, fmt.Sprintf("%q is not known", clip(s)), allowed...)
		return allowed[0]
	}
	return s
}

func (q *query) workloadType(name string) string {
	s := q.text(name)
	if s == "" {
		return ""
	}
	t, ok := power.ParseType(s)
	if !ok {
		allowed := make([]string, len(power.Types))
		for i, t := range power.Types {
			allowed[i] = string(t)
		}
		q.fail(name, fmt.Sprintf("%q is not a workload type", clip(s)), allowed...)
	}
	return string(t)
}

// tag returns the dimension that label:NAME, annotation:NAME or the name of a
// configured dimension stands for; of anything else, none that is known.
func (q *query) tag(name string) store.Dimension {
	kind, of, labelled := strings.Cut(name, ":")
	switch {
	case labelled && kind == "label" && of != "":
		return store.Label(of)
	case labelled && kind == "annotation" && of != "":
		return store.Annotation(of)
	case slices.Contains(q.own, name):
		return store.Dimension(name)
	}
	return ""
}

// dimensions reads a list of dimensions joined by commas, and how they were called.
func (q *query) dimensions(name string) (ds []store.Dimension, names []string) {
	s := q.text(name)
	if s == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		d := store.Dimension(part)
		if !slices.Contains(store.Dimensions, d) {
			d = q.tag(part)
		}
		switch {
		case !d.Known():
			var allowed []string
			for _, d := range store.Dimensions {
				allowed = append(allowed, string(d))
			}
			allowed = append(append(allowed, q.own...), "label:NAME", "annotation:NAME")
			reason := fmt.Sprintf("%q is not a dimension", clip(part))
			if n := suggest.Nearest(part, allowed); n != "" {
				reason += fmt.Sprintf("; did you mean %q?", n)
			}
			q.fail(name, reason, allowed...)
			return nil, nil
		case slices.Contains(ds, d):
			q.fail(name, fmt.Sprintf("names %s twice", part))
			return nil, nil
		}
		ds, names = append(ds, d), append(names, part)
	}
	return ds, names
}

// list reads which groups are wanted; nil where nothing is said of it.
func (q *query) list(dims []store.Dimension) *report.List {
	said := false
	for _, name := range []string{"search", "sort", "order", "offset", "limit"} {
		if q.text(name) == "" {
			continue
		}
		said = true
		if len(dims) == 0 {
			q.fail(name, "is about groups; say by aggregate which")
		}
	}
	if !said {
		return nil
	}
	l := report.List{
		By:     report.Key(q.choice("sort", string(report.ByName), string(report.ByEnergy), string(report.ByCost), string(report.ByCarbon))),
		Search: q.text("search"),
		Limit:  q.count("limit", defaultPage, maxPage),
	}
	if q.text("offset") != "0" {
		l.Offset = q.count("offset", 0, 1_000_000)
	}
	// The largest come first, names from A to Z.
	l.Descending = l.By != report.ByName
	if q.text("order") != "" {
		l.Descending = q.choice("order", "asc", "desc") == "desc"
	}
	return &l
}

// match turns the filters a route takes into what the store matches on, labels and
// configured dimensions among them where namespaces are. A list joined by commas
// means any of it. A workload may be given as name, namespace:name or a whole
// workload id.
func (q *query) match(names ...string) map[store.Dimension]string {
	m := map[store.Dimension]string{}
	if slices.Contains(names, "namespace") {
		for name := range q.values {
			if d := q.tag(name); d.Known() && q.text(name) != "" {
				m[d] = store.Any(strings.Split(q.text(name), ","))
			}
		}
	}
	for _, name := range names {
		s := q.text(name)
		if s == "" {
			continue
		}
		switch name {
		case "workload_type":
			m[store.WorkloadType] = q.workloadType(name)
		case "workload":
			id, ok := parseWorkloadID(s)
			if !ok {
				q.fail(name, fmt.Sprintf("%q is no workload: write name, namespace:name or cluster:namespace:kind:name", clip(s)))
				continue
			}
			for d, v := range id {
				if old, said := m[d]; said && old != v {
					q.fail(name, fmt.Sprintf("contradicts %s=%s", d, clip(old)))
				}
				m[d] = v
			}
		default:
			m[store.Dimension(name)] = store.Any(strings.Split(s, ","))
		}
	}
	return m
}

// A stretch is the time a question is about.
type stretch struct {
	start, end time.Time
	named      period.Span // what start named
}

// before returns the stretch to compare with.
func (s stretch) before() (start, end time.Time) { return s.named.Before(s.start, s.end) }

// period reads start and end. A word is a stretch of its own: it begins where
// the word does and, if no end is given, ends with it. An end in the future is
// now: nothing is known of what has not happened.
func (q *query) period(defStart time.Time, longest time.Duration) stretch {
	named := q.span("start", defStart)
	def := q.now
	if named.To.After(named.From) {
		def = named.To
	}
	start, end := named.From, q.span("end", def).To
	if end.After(q.now) {
		end = q.now
	}
	switch {
	case !start.Before(q.now):
		q.fail("start", "lies in the future")
	case !start.Before(end):
		q.fail("end", "must be later than start")
	case end.Sub(start) > longest:
		q.fail("start", "asks for more than "+period.FormatDuration(longest)+"; ask for less at once")
	}
	return stretch{start, end, named}
}

// parseWorkloadID reads cluster:namespace:kind:name, namespace:name or name.
func parseWorkloadID(s string) (map[store.Dimension]string, bool) {
	parts := strings.Split(s, ":")
	m := map[store.Dimension]string{}
	switch len(parts) {
	case 1:
		m[store.Workload] = parts[0]
	case 2:
		m[store.Namespace], m[store.Workload] = parts[0], parts[1]
	case 4:
		m[store.Cluster], m[store.Namespace] = parts[0], parts[1]
		m[store.WorkloadKind], m[store.Workload] = strings.ToLower(parts[2]), parts[3]
	default:
		return nil, false
	}
	return m, m[store.Workload] != ""
}
