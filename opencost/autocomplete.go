package opencost

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
)

var completed = map[string]store.Dimension{
	"cluster": store.Cluster, "namespace": store.Namespace, "node": store.Node, "controllerkind": store.WorkloadKind,
	"controllername": store.Workload, "controller": store.Workload, "pod": store.Pod, "container": store.Container,
}

// GET /allocation/autocomplete
func (s *Server) allocationAutocomplete(ctx context.Context, r *http.Request) (any, error) {
	p := newParams(r.URL.RawQuery, autocompleteParams)
	field := strings.ToLower(p.text("field"))
	kind, name, labelled := strings.Cut(p.text("field"), ":")
	kind = strings.ToLower(kind)
	w, limit, f := p.completion(s.now())
	d, known := completed[field]
	switch {
	case known:
	case labelled && (kind == "label" || kind == "namespacelabel") && name != "":
		d = store.Label(name)
	case field == "label" || field == "namespacelabel":
	default:
		p.fail("field %.60q: allowed are cluster, namespace, node, controllerKind, controllerName, pod, container, label, namespacelabel, label:NAME, namespacelabel:NAME", p.text("field"))
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	var found []string
	if d == "" {
		rows, err := s.reports.Tags(ctx, nil, 0)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if label, ok := strings.CutPrefix(string(row.Dimension), "label:"); ok {
				found = append(found, label)
			}
		}
	} else {
		var err error
		if found, err = s.values(ctx, w, d, f); err != nil {
			return nil, err
		}
	}
	return completion(found, p.text("search"), limit), nil
}

// completion reads what both routes take.
func (p *params) completion(now time.Time) (w span, limit int, f *filter) {
	w, err := parseWindow(p.text("window"), now.UTC(), p.zone())
	if err != nil {
		p.fail("window %v", err)
	}
	return w, p.count("limit", 100, 1000), p.filter()
}

// values returns what a dimension was called in a window.
func (s *Server) values(ctx context.Context, w span, d store.Dimension, f *filter) (found []string, err error) {
	q := allocationQuestion{sets: []span{w}, share: []*report.Sharing{{}}, filter: f}
	answers, err := s.ask(ctx, q, []store.Dimension{d, store.Namespace}, s.now().UTC())
	if err != nil {
		return nil, err
	}
	for _, g := range answers[0].Groups {
		v := g.Values[0]
		if v == store.Unassigned || pseudo(v) || d == store.WorkloadKind && !controller(v) {
			continue
		}
		found = append(found, v)
	}
	return found, nil
}

func completion(found []string, search string, limit int) Envelope {
	list := []string{}
	for _, v := range found {
		if v != "" && strings.Contains(strings.ToLower(v), strings.ToLower(search)) {
			list = append(list, v)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return success(map[string][]string{"data": list[:min(limit, len(list))]}, "")
}

// GET /assets/autocomplete
func (s *Server) assetAutocomplete(ctx context.Context, r *http.Request) (any, error) {
	p := newParams(r.URL.RawQuery, autocompleteParams)
	w, limit, _ := p.completion(s.now())
	field := strings.ToLower(p.text("field"))
	fixed := map[string][]string{
		"type": {"Node"}, "category": {"Compute"}, "provider": {"on-premises"}, "account": nil, "cluster": nil, "providerid": nil, "name": nil,
	}
	found, known := fixed[field]
	if !known {
		p.fail("field %.60q: allowed are type, account, cluster, category, provider, providerID, name", p.text("field"))
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	switch field {
	case "cluster", "providerid", "name":
		d := store.Node
		if field == "cluster" {
			d = store.Cluster
		}
		var err error
		if found, err = s.values(ctx, w, d, nil); err != nil {
			return nil, err
		}
	}
	return completion(found, p.text("search"), limit), nil
}
