package opencost

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/wattledger/wattledger/internal/suggest"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A filter is a filter of OpenCost's second grammar: terms joined by + (and) or by
// | (or), one operator a level.
type filter struct {
	dims []store.Dimension // that it asks about
	root predicate
}

// A predicate is asked about values of a filter's dimensions.
type predicate func(values []string) bool

// A syntaxError is what is wrong with a filter, and where.
type syntaxError struct {
	at   int
	text string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("at character %d: %s", e.at+1, e.text) }

// filterFields are the fields of allocations, and what each is of ours.
var filterFields = map[string]store.Dimension{
	"cluster": store.Cluster, "node": store.Node, "namespace": store.Namespace, "controllerKind": store.WorkloadKind,
	"controllerName": store.Workload, "controller": store.Workload, "pod": store.Pod, "container": store.Container,
	"provider": "", "providerID": "", "services": "", "label": "", "annotation": "", "workloadType": store.WorkloadType,
	"department": store.Label("department"), "environment": store.Label("env"), "owner": store.Label("owner"),
	"product": store.Label("app"), "team": store.Label("team"),
}

func parseFilter(text string) (*filter, error) {
	p := &parser{text: text, filter: &filter{}}
	p.blanks()
	if p.at == len(text) {
		return nil, nil
	}
	root, err := p.terms()
	if err != nil {
		return nil, err
	}
	if p.at < len(text) {
		return nil, p.fail("%.20q is not understood here; terms are joined by + or |", text[p.at:])
	}
	p.filter.root = root
	return p.filter, nil
}

type parser struct {
	text   string
	at     int
	depth  int
	filter *filter
}

func (p *parser) fail(format string, args ...any) error {
	return &syntaxError{p.at, fmt.Sprintf(format, args...)}
}

func (p *parser) blanks() {
	for p.at < len(p.text) && unicode.IsSpace(rune(p.text[p.at])) {
		p.at++
	}
}

func (p *parser) take(s string) bool {
	if strings.HasPrefix(p.text[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

// terms reads terms up to the end or a closing parenthesis.
func (p *parser) terms() (predicate, error) {
	if p.depth++; p.depth > 50 {
		return nil, p.fail("parentheses are nested too deeply")
	}
	defer func() { p.depth-- }()
	var list []predicate
	operator := ""
	for {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		list = append(list, t)
		before := p.at
		p.blanks()
		blank := p.at > before
		next := ""
		switch {
		case p.at == len(p.text) || p.text[p.at] == ')':
			return join(operator, list), nil
		case p.take("+"):
			next = "+"
		case p.take("|"):
			next = "|"
		case blank: // a + that was not escaped
			next = "+"
		default:
			return nil, p.fail("%.20q is not understood here; terms are joined by + or |", p.text[p.at:])
		}
		if operator != "" && next != operator {
			return nil, p.fail("+ and | stand beside each other; put one of them in parentheses")
		}
		operator = next
		p.blanks()
	}
}

func join(operator string, list []predicate) predicate {
	if operator == "|" {
		return func(values []string) bool {
			return slices.ContainsFunc(list, func(t predicate) bool { return t(values) })
		}
	}
	return func(values []string) bool {
		return !slices.ContainsFunc(list, func(t predicate) bool { return !t(values) })
	}
}

func (p *parser) term() (predicate, error) {
	if p.take("(") {
		p.blanks()
		inner, err := p.terms()
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			return nil, p.fail("a parenthesis is not closed")
		}
		return inner, nil
	}
	start := p.at
	for p.at < len(p.text) && (p.text[p.at] >= 'a' && p.text[p.at] <= 'z' || p.text[p.at] >= 'A' && p.text[p.at] <= 'Z') {
		p.at++
	}
	field := p.text[start:p.at]
	if field == "" {
		return nil, p.fail("want a field such as namespace")
	}
	key, keyed := "", false
	if p.take("[") {
		end := strings.IndexByte(p.text[p.at:], ']')
		if end < 0 {
			return nil, p.fail("a bracket is not closed")
		}
		key, keyed = p.text[p.at:p.at+end], true
		p.at += end + 1
	}
	p.blanks()
	op := ""
	for _, o := range []string{"!<~:", "!~>:", "!~:", "<~:", "~>:", "!:", "~:", ":"} {
		if p.take(o) {
			op = o
			break
		}
	}
	if op == "" {
		return nil, p.fail("want an operator after %s: one of : !: ~: !~: <~: !<~: ~>: !~>:", field)
	}
	var values []string
	for {
		p.blanks()
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		save := p.at
		p.blanks()
		if !p.take(",") {
			p.at = save
			break
		}
	}
	return p.compare(start, field, key, keyed, op, values)
}

// value reads a quoted text; \" and \\ stand for themselves.
func (p *parser) value() (string, error) {
	if !p.take(`"`) {
		return "", p.fail(`want a value in double quotes`)
	}
	var b strings.Builder
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return b.String(), nil
		case c == '\\' && p.at+1 < len(p.text) && (p.text[p.at+1] == '"' || p.text[p.at+1] == '\\'):
			p.at++
			b.WriteByte(p.text[p.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", p.fail("a quote is not closed")
}

func (p *parser) compare(start int, field, key string, keyed bool, op string, values []string) (predicate, error) {
	d, known := filterFields[field]
	if !known {
		p.at = start
		names := make([]string, 0, len(filterFields))
		for name := range filterFields {
			names = append(names, name)
		}
		slices.Sort(names)
		text := "there is no field %q; there are " + strings.Join(names, ", ")
		if n := suggest.Nearest(field, names); n != "" {
			text += fmt.Sprintf("; did you mean %q?", n)
		}
		return nil, p.fail(text, field)
	}
	negative := strings.HasPrefix(op, "!")
	op = strings.TrimPrefix(op, "!")
	match := func(v, want string) bool { return v == want }
	switch op {
	case "~:":
		match = strings.Contains
	case "<~:":
		match = strings.HasPrefix
	case "~>:":
		match = strings.HasSuffix
	}
	var of func(values []string) string
	switch {
	case field == "label" || field == "annotation":
		dimension := store.Label
		if field == "annotation" {
			dimension = store.Annotation
		}
		if !keyed { // has one of these labels
			return p.has(dimension, values, negative), nil
		}
		of = p.field(dimension(key))
	case d == "":
		of = func([]string) string { return "" }
	default:
		of = p.field(d)
	}
	for i, v := range values {
		if v == unallocated {
			values[i] = ""
		}
		if field == "controllerName" || field == "controller" {
			if _, name, ok := strings.Cut(v, ":"); ok {
				values[i] = name
			}
		}
	}
	return func(row []string) bool {
		v := of(row)
		found := slices.ContainsFunc(values, func(want string) bool { return match(v, want) })
		return found != negative
	}, nil
}

// field returns what reads a dimension off the values.
func (p *parser) field(d store.Dimension) func(values []string) string {
	i := slices.Index(p.filter.dims, d)
	if i < 0 {
		i = len(p.filter.dims)
		p.filter.dims = append(p.filter.dims, d)
	}
	return func(values []string) string {
		if v := values[i]; v != store.Unassigned {
			return v
		}
		return ""
	}
}

func (p *parser) has(dimension func(string) store.Dimension, keys []string, negative bool) predicate {
	var list []func([]string) string
	for _, key := range keys {
		list = append(list, p.field(dimension(power.TagName(key))))
	}
	return func(values []string) bool {
		found := slices.ContainsFunc(list, func(of func([]string) string) bool { return of(values) != "" })
		return found != negative
	}
}

// coarse says that a filter picks whole clusters and nodes.
func (f *filter) coarse() bool {
	return f == nil || !slices.ContainsFunc(f.dims, func(d store.Dimension) bool { return d != store.Cluster && d != store.Node })
}
