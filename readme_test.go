package wattledger_test

import (
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What the README tells people to type must exist: every route it asks with
// curl, every make target, every file it points to. And it asks every route.
func TestREADME(t *testing.T) {
	readme := read(t, "README.md")
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "httpapi/openapi.yaml")), &doc); err != nil {
		t.Fatal(err)
	}

	asked := map[string]bool{}
	for _, c := range curls(readme) {
		route := routeOf(slices.Collect(maps.Keys(doc.Paths)), c.path)
		switch {
		case route == "":
			t.Errorf("curl asks %s, which is no route of httpapi/openapi.yaml", c.path)
		case doc.Paths[route][c.method] == nil:
			t.Errorf("curl asks %s %s, which openapi.yaml does not have", c.method, route)
		}
		asked[route] = true
	}
	for route := range doc.Paths {
		if !asked[route] && !strings.HasPrefix(route, "/debug/pprof") &&
			!strings.HasPrefix(route, "/cloudCost") && !strings.HasPrefix(route, "/customCost") { // there is nothing to see
			t.Errorf("no curl asks %s", route)
		}
	}

	makefile := read(t, "Makefile")
	targets := matches(`(?m)(?:^    |`+"`"+`)make ([a-z-]+)`, readme)
	if len(targets) == 0 {
		t.Error("no make target is named")
	}
	for _, target := range targets {
		if !regexp.MustCompile(`(?m)^` + target + `:`).MatchString(makefile) {
			t.Errorf("make %s: the Makefile has no such target", target)
		}
	}

	for _, file := range slices.Concat(matches(`\]\(([^)#:]+)\)`, readme), matches(`--data-binary @(\S+)`, readme), matches(`kubectl apply -f ([^ `+"`"+`]+)`, readme)) {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// The block to paste is the one that is shipped, which is the one that is tested.
func TestREADMERemoteWrite(t *testing.T) {
	block := func(text string) any {
		t.Helper()
		var c struct {
			RemoteWrite any `yaml:"remote_write"`
			Global      struct {
				ExternalLabels any `yaml:"external_labels"`
			} `yaml:"global"`
		}
		if err := yaml.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if c.RemoteWrite == nil || c.Global.ExternalLabels == nil {
			t.Fatal("no remote_write or no external_labels")
		}
		b, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, fence := range matches("(?s)```yaml\n(.*?)```", read(t, "README.md")) {
		if strings.Contains(fence, "remote_write:") {
			if got, want := block(fence), block(read(t, "configs/prometheus.yaml")); got != want {
				t.Errorf("README:\n%s\nconfigs/prometheus.yaml:\n%s", got, want)
			}
			return
		}
	}
	t.Error("the README has no remote_write block")
}

type curl struct{ method, path string }

// curls returns what the curl commands of a text ask of localhost.
func curls(text string) (all []curl) {
	for _, m := range regexp.MustCompile(`curl (.*?)(?:https?://)?localhost:\d+([^\s'"|]*)`).FindAllStringSubmatch(text, -1) {
		c := curl{method: "get"}
		if strings.Contains(m[1], "-d ") || strings.Contains(m[1], "--data") || strings.Contains(m[1], "-X POST") {
			c.method = "post"
		}
		u, err := url.Parse(m[2])
		if err != nil {
			c.path = m[2]
		} else {
			c.path = u.Path
		}
		all = append(all, c)
	}
	return all
}

// routeOf returns the route that serves p; {name} stands for one segment.
func routeOf(routes []string, p string) string {
	for _, route := range routes {
		if pattern := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(route, "*"); p != "" {
			if ok, _ := path.Match(pattern, p); ok {
				return route
			}
		}
	}
	return ""
}

func TestCurls(t *testing.T) {
	routes := []string{"/", "/a", "/a/{id}"}
	f := func(command, method, route string) {
		t.Helper()
		got := curls(command)
		if len(got) != 1 || got[0].method != method || routeOf(routes, got[0].path) != route {
			t.Errorf("%s: %v is route %q, want one, %s %q", command, got, routeOf(routes, got[0].path), method, route)
		}
	}
	f("$ curl -s localhost:9201/ | head -1", "get", "/")
	f("$ curl -s 'localhost:9201/a?b=c&d=e'", "get", "/a")
	f("$ curl -s -X POST localhost:9201/a/b", "post", "/a/{id}")
	f("$ curl -s -d '{\"a\":1}' http://localhost:9201/a", "post", "/a")
	f("$ curl -s localhost:9201/a/b/c", "get", "")
	f("$ curl -s localhost:9201/b", "get", "")
}

func matches(expression, text string) (all []string) {
	for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A metric that docs/operations.md names is one the program has.
func TestOperationsMetrics(t *testing.T) {
	var code strings.Builder
	for _, pattern := range []string{"access/*.go", "receiver/*.go", "receiver/journal/*.go", "ledger/*.go", "httpapi/*.go", "store/*/*.go", "cmd/wattledger/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				code.WriteString(read(t, file))
			}
		}
	}
	named := matches(`wattledger_([a-z_]+)`, read(t, "docs/operations.md"))
	if len(named) < 40 {
		t.Errorf("only %d metrics are named", len(named))
	}
	for _, name := range named {
		if s := code.String(); !strings.Contains(s, `"wattledger_`+name+`"`) && !strings.Contains(s, `"`+name+`"`) {
			t.Errorf("no metric wattledger_%s", name)
		}
	}
}
