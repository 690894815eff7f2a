// Package wattledger_test holds what is true of the repository as a whole.
package wattledger_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// policy says which packages of ours a package may import; "*" stands for one
// folder; cmd/... and test/... may import everything. Stages do not import the stages
// beside them. A package that is not here, and a line that is of no package, is an error.
// A line that ends in _test adds to what a package's tests may import.
const policy = `
power             -
internal/index    -
internal/glob     -
internal/snapshot -
internal/strictyaml -
internal/suggest  -
internal/refusal  -
internal/durable  -
internal/demo     internal/cluster internal/cluster/*
internal/cluster/... internal/cluster/...
access            internal/strictyaml
store             power
store/*           internal/index power store
store/local/format power store
store/local       internal/index power store store/local/*
receiver/journal  internal/durable power
receiver/metric   internal/strictyaml power
receiver/counter  internal/... power receiver/metric
receiver/decode   internal/index power receiver/counter receiver/journal receiver/metric
receiver          access internal/refusal power receiver/*
receiver_test     ledger
ledger            internal/... power receiver/* store store/local transform transform/*
transform/classify internal/glob internal/strictyaml power
transform/dimension internal/glob power
transform/tariff  power
transform         internal/... power store transform/*
report            power store
period            internal/suggest
opencost          internal/suggest period power report store
httpapi/apidoc    -
httpapi           access httpapi/apidoc internal/refusal internal/suggest opencost period power report store transform/classify
backfill          internal/durable ledger power receiver/journal receiver/metric store store/local transform
backfill_test     configs internal/cluster/...
configs           access internal/suggest ledger power receiver receiver/* transform transform/* store/* httpapi
cmd/...           ...
test/...          ...
store/influx_test store/local
examples/*        -
examples/influx-queries_test power store store/influx
httpapi_test      store/local
deployment        -
clients           -
deployment_test   configs
`

// only names packages that live in one folder, so that what they stand for does.
const only = `
github.com/gorilla/mux               httpapi
modernc.org/sqlite                   store/local
github.com/prometheus/prometheus/tsdb/wlog  receiver/journal
`

const module = "github.com/wattledger/wattledger/"

// Tests keep the same rules, but may use the workshop in test/.
func TestImports(t *testing.T) {
	allowed, places := table(policy), table(only)
	seen, used := map[string]bool{}, map[string]bool{} // rules and imports
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir, test := path.Dir(name), strings.HasSuffix(name, "_test.go")
		rule := find(allowed, dir)
		if seen[rule] = true; rule == "" && dir != "." {
			t.Errorf("%s: no line of the policy is of %s", name, dir)
		}
		if test {
			seen[dir+"_test"] = true
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			used[imported] = true
			if folders, ok := places[imported]; ok && !matchAny(folders, dir) && !test {
				t.Errorf("%s imports %s, which lives in %s", name, imported, strings.Join(folders, ", "))
			}
			if dir == "power" && strings.Contains(strings.Split(imported, "/")[0], ".") && !test {
				t.Errorf("%s imports %s: power takes the standard library only", name, imported)
			}
			ours, ok := strings.CutPrefix(imported, module)
			if !ok || ours == dir || matchAny(allowed[rule], ours) {
				continue
			}
			if test && (strings.HasPrefix(ours, "test/") || matchAny(allowed[dir+"_test"], ours)) {
				continue
			}
			t.Errorf("%s imports %s; %s may import %s", name, ours, dir, strings.Join(allowed[rule], " "))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for rule := range allowed {
		if !seen[rule] {
			t.Errorf("the policy's line of %s is of no package", rule)
		}
	}
	for imported := range places {
		if !used[imported] {
			t.Errorf("no package imports %s, which only names", imported)
		}
	}
}

func table(text string) map[string][]string {
	t := map[string][]string{}
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			t[words[0]] = words[1:]
		}
	}
	return t
}

// find returns the most exact rule for dir.
func find(rules map[string][]string, dir string) string {
	best := ""
	for pattern := range rules {
		if match(pattern, dir) && (best == "" || pattern == dir || len(pattern) > len(best) && best != dir) {
			best = pattern
		}
	}
	return best
}

func matchAny(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, dir) })
}

func match(pattern, dir string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(dir+"/", prefix)
	}
	ok, _ := path.Match(pattern, dir)
	return ok
}

func TestPolicyMatches(t *testing.T) {
	rules := table(policy)
	f := func(dir, rule, imported string, want bool) {
		t.Helper()
		if got := find(rules, dir); got != rule {
			t.Errorf("%s has the rule of %q, want %q", dir, got, rule)
		}
		if got := matchAny(rules[rule], imported); got != want {
			t.Errorf("%s may import %s: %v, want %v", dir, imported, got, want)
		}
	}
	f("power", "power", "store", false)
	f("store/redis", "store/*", "power", true)
	f("store/redis", "store/*", "store/local", false)
	f("store/redis", "store/*", "transform", false)
	f("store/local", "store/local", "transform", false)
	f("receiver/counter", "receiver/counter", "receiver/journal", false)
	f("receiver", "receiver", "receiver/journal", true)
	f("receiver", "receiver", "transform", false)
	f("transform", "transform", "receiver", false)
	f("httpapi", "httpapi", "store/local", false)
	f("configs", "configs", "store/local", true)
	f("cmd/wattledger", "cmd/...", "receiver", true)
	f("test/torture", "test/...", "power", true)
	f("somewhere/else", "", "power", false)
}
