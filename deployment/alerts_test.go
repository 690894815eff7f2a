package deployment_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

type alertFile struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr string
			Annotations map[string]string
		}
	}
}

func alerts(t *testing.T) (exprs, runbooks map[string]string) {
	t.Helper()
	b, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var f alertFile
	if err := yaml.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	exprs, runbooks = map[string]string{}, map[string]string{}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			exprs[r.Alert], runbooks[r.Alert] = r.Expr, r.Annotations["runbook"]
		}
	}
	return exprs, runbooks
}

// Every alert fires where it should and is silent where it should not, as
// Prometheus itself evaluates it.
func TestAlerts(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tests, err := os.ReadFile("alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	exprs, _ := alerts(t)
	if len(exprs) < 15 {
		t.Errorf("only %d alerts", len(exprs))
	}
	for name := range exprs {
		for _, how := range []string{" fires\n", " is silent\n"} {
			if !strings.Contains(string(tests), "name: "+name+how) {
				t.Errorf("no test that %s%s", name, strings.TrimSpace(how))
			}
		}
	}
}

// Alerts ask for metrics that the program has.
func TestAlertMetrics(t *testing.T) {
	var code strings.Builder
	for _, pattern := range []string{"receiver/*.go", "receiver/journal/*.go", "ledger/*.go", "httpapi/*.go", "store/*/*.go", "cmd/wattledger/*.go"} {
		files, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
	}
	exprs, _ := alerts(t)
	for alert, expr := range exprs {
		for _, m := range regexp.MustCompile(`\bwattledger_([a-z_]+)`).FindAllStringSubmatch(expr, -1) {
			name := strings.TrimSuffix(m[1], "_bucket")
			if s := code.String(); !strings.Contains(s, `"wattledger_`+name+`"`) && !strings.Contains(s, `"`+name+`"`) {
				t.Errorf("%s asks for wattledger_%s, which there is not", alert, name)
			}
		}
	}
}

// Every alert has a runbook, and every runbook an alert.
func TestRunbooks(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Alerts\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var have []string
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)\n\n\w`).FindAllStringSubmatch(section, -1) {
		have = append(have, m[1])
	}
	slices.Sort(have)
	_, runbooks := alerts(t)
	if want := slices.Sorted(maps.Keys(runbooks)); !slices.Equal(have, want) {
		t.Errorf("runbooks are %v, alerts are %v", have, want)
	}
	for name, link := range runbooks {
		if want := "docs/operations.md#" + strings.ToLower(name); link != want {
			t.Errorf("%s links to %q, want %q", name, link, want)
		}
	}
}
