package httpapi

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var (
	anchors = regexp.MustCompile(`id="([^"]+)"`)
	links   = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
)

// TestDocsShowEverything: each route, parameter and schema of the description is on
// the page, every link leads somewhere, and nothing is loaded from anywhere.
func TestDocsShowEverything(t *testing.T) {
	s := serve(t, &books{})
	res, body := s.do("GET", "/docs", "")
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("status %d, %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	policy := res.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "script-src") || !strings.Contains(policy, hashOf([]byte(body), "style")) {
		t.Errorf("policy %q", policy)
	}
	for _, never := range []string{"<script", "<link", "<img", "@import", "url("} {
		if strings.Contains(body, never) {
			t.Errorf("the page has %s", never)
		}
	}

	doc := description(t)
	text := html.UnescapeString(body)
	for path, methods := range doc["paths"].(map[string]any) {
		for method, op := range methods.(map[string]any) {
			_, section, found := strings.Cut(text, "<code>"+strings.ToUpper(method)+" "+path+"</code></h2>")
			if !found {
				t.Errorf("%s %s is not shown", method, path)
				continue
			}
			section, _, _ = strings.Cut(section, "</section>")
			params, _ := op.(map[string]any)["parameters"].([]any)
			for _, p := range params {
				if name := resolve(doc, p.(map[string]any))["name"].(string); !strings.Contains(section, "<code>"+name+"</code>") {
					t.Errorf("%s %s: parameter %s is not shown", method, path, name)
				}
			}
			for status := range op.(map[string]any)["responses"].(map[string]any) {
				if !strings.Contains(section, "<b>"+status+"</b>") {
					t.Errorf("%s %s: status %s is not shown", method, path, status)
				}
			}
		}
	}
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for name := range schemas {
		_, section, found := strings.Cut(text, `">`+name+"</h2>")
		section, _, _ = strings.Cut(section, "</section>")
		fields, _ := schemas[name].(map[string]any)["properties"].(map[string]any)
		for field := range fields {
			if !strings.Contains(section, "<code>"+field+"</code>") {
				t.Errorf("%s: field %s is not shown", name, field)
			}
		}
		if !found {
			t.Errorf("schema %s is not shown", name)
		}
	}

	there := map[string]bool{}
	for _, m := range anchors.FindAllStringSubmatch(body, -1) {
		if there[m[1]] {
			t.Errorf("two places are called %s", m[1])
		}
		there[m[1]] = true
	}
	for _, m := range links.FindAllStringSubmatch(body, -1) {
		if to, inside := strings.CutPrefix(m[1], "#"); inside && !there[to] || !inside && m[1] != "./" && m[1] != "openapi.yaml" {
			t.Errorf("a link leads to %s", m[1])
		}
	}
}
