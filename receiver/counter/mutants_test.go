package counter

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant is a bug that somebody could write into the rules.
type mutant struct {
	name, file, old, new string
}

var mutants = []mutant{
	{"a reset counts the difference to nothing", "history.go",
		"	if p.resets(before) {\n		return p.v\n	}", "	if p.resets(before) {\n		return 0\n	}"},
	{"start timestamps prove nothing", "history.go",
		"return p.v < before.v || p.start > before.t || (before.start != 0 && p.start > before.start)", "return p.v < before.v"},
	{"the first sample is never credited", "history.go",
		"if a.flags&flagNode != 0 || t <= known ||", "if true || a.flags&flagNode != 0 || t <= known ||"},
	{"the first sample is always credited", "history.go",
		"if a.flags&flagNode != 0 || t <= known ||", "known = 0\n	if a.flags&flagNode != 0 ||"},
	{"the split interval is not taken back", "history.go",
		"		s.book(a, p.t, n.t, -n.since(p), 0)\n", ""},
	{"histories are forgotten at once", "history.go",
		"if a.lastT-h.breakT > 2*s.reorderMs {", "if a.lastT-h.breakT > 0 {"},
	{"late samples above the newest say nothing", "account.go",
		"case x.v <= a.lastV ||", "case x.t <= a.lastT ||"},
	{"both replicas are listened to", "account.go",
		"	r := m.Ref.replica()\n", "	r := *replica\n"},
	{"the slower clock's end is a restart", "history.go",
		"	for _, p := range points {\n		if p.t < m", "	for _, p := range points[:0] {\n		if p.t < m"},
	{"implausible jumps are booked", "account.go",
		"if e > s.limitMicrojoules(a.lastT, m.TMs) {", "if false {"},
	{"a node that wraps books its new value", "meter.go",
		"		b.e = parts.e // the register wrapped; the parts are wrap-safe", "		b.e = raw"},
	{"an unseen wrap is not seen", "meter.go",
		"case partsKnown && parts.e > diff+1e6 &&", "case partsKnown && parts.e < 0 &&"},
	{"an unseen restart adds a phantom", "meter.go",
		"	e := s.byWatts(m, k, fromMs)\n	return e > 0 && max(a-e, e-a) < max(b-e, e-b)", "	return false"},
	{"restarts are not seen: phantom idle", "meter.go",
		"return m.fell(k, fieldActive) || m.fell(k, fieldIdle)", "return false"},
	{"a GPU fall books the new sum", "meter.go",
		"		e, integrated = s.byWatts(m, k, t), true\n	}\n	if !s.plausible", "		e = raw\n	}\n	if !s.plausible"},
	{"two sources of one device are both booked", "meter.go",
		"!s.elected(&mt.replica, newest, m) || mt.shadow {", "!s.elected(&mt.replica, newest, m) {"},
	{"a device's first value is credited", "meter.go",
		"	t, before, ok := m.before(k, fieldRaw)\n	if !ok {\n		return booked{}, false\n	}\n	b = booked", "	t, before, _ := m.before(k, fieldRaw)\n	t = max(t, p.t-3_600_000)\n	b = booked"},
	{"an account is a series", "shard.go",
		"	if i, ok := s.find(hi, m, zone); ok {", "	if i, ok := s.find(hi, m, zone); ok && false {"},
	{"what comes back begins anew", "shard.go",
		"if g, ok := n.gone[name]; ok {\n			a.lastT, a.lastV = g.lastT, g.lastV\n", "if _, ok := n.gone[name]; ok {\n"},
	{"other exporters make a node known", "shard.go",
		"(m.Source == \"\" || m.Generation != metric.OtherSource) {", "true {"},
}

// Each seeded bug is caught by a test of a rule, or by the model.
func TestMutants(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			source, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), m.old); n != 1 {
				t.Fatalf("%s holds %q %d times, want once: the mutant is out of date", m.file, m.old, n)
			}
			changed := filepath.Join(dir, m.file)
			if err := os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(here, m.file): changed}})
			if err != nil {
				t.Fatal(err)
			}
			list := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(list, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			binary := filepath.Join(dir, "mutant.test")
			build := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", list, "-o", binary, ".")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("the mutant does not build: %v\n%s", err, out)
			}
			run := exec.Command(binary, "-test.failfast", "-test.timeout=60s", "-test.skip=TestCaptured|TestTable|TestMutants")
			run.Env = append(os.Environ(), "MODEL_SEEDS=3")
			out, err := run.CombinedOutput()
			if err == nil {
				t.Fatal("the mutant survived every test")
			}
			if !strings.Contains(string(out), "--- FAIL: ") {
				t.Fatalf("the mutant did not fail a test: %v\n%s", err, out)
			}
			first, _, _ := strings.Cut(string(out)[strings.Index(string(out), "--- FAIL: "):], "\n")
			t.Logf("caught by %s", strings.TrimPrefix(first, "--- FAIL: "))
		})
	}
}
