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
	{"a reset counts the difference to nothing", "step.go",
		"	if anew {\n		return p.v\n	}", "	if anew {\n		return 0\n	}"},
	{"start timestamps prove nothing", "step.go",
		"if x.start > p.t || (p.start != 0 && x.start > p.start) {", "if false {"},
	{"the first sample is never credited", "history.go",
		"if a.flags&flagNode != 0 || t <= known ||", "if true || a.flags&flagNode != 0 || t <= known ||"},
	{"the first sample is always credited", "history.go",
		"if a.flags&flagNode != 0 || t <= known ||", "known = 0\n	if a.flags&flagNode != 0 ||"},
	{"the split interval is not taken back", "step.go",
		"				s.book(a, was.start, points[k].t, -was.e, 0)\n", ""},
	{"histories are forgotten at once", "history.go",
		"if a.lastT-h.breakT > 2*s.reorderMs {", "if a.lastT-h.breakT > 0 {"},
	{"late samples above the newest say nothing", "account.go",
		"	case x.v <= a.lastV:\n", "	case x.t <= a.lastT:\n"},
	{"both replicas are listened to", "account.go",
		"if x.origin != a.origin && !s.listens(i, a, x, m, o) {", "if false {"},
	{"the slower clock's end is a restart", "history.go",
		"	for _, p := range points {\n		if p.t < m", "	for _, p := range points[:0] {\n		if p.t < m"},
	{"implausible jumps are booked", "account.go",
		"if e > s.limitMicrojoules(a.lastT, m.TMs) {", "if false {"},
	{"a node that wraps books its new value", "energy.go",
		"		b.e = parts.e // the register wrapped; the parts are wrap-safe", "		b.e = raw"},
	{"an unseen wrap is not seen", "energy.go",
		"case partsKnown && parts.e > diff+1e6 &&", "case partsKnown && parts.e < 0 &&"},
	{"an unseen restart adds a phantom", "energy.go",
		"	e := s.byWatts(m, k, fromMs)\n	return e > 0 && max(a-e, e-a) < max(b-e, e-b)", "	return false"},
	{"restarts are not seen: phantom idle", "mark.go",
		"	case okA && active < 0 && -active > activeBefore/2:\n		return pointAnew", "	case okA && active < 0 && -active > activeBefore/2:\n		return 0"},
	{"a GPU fall books the new sum", "energy.go",
		"	} else if e < 0 {\n		e, integrated = s.byWatts(m, k, t), true", "	} else if e < 0 {\n		e = raw"},
	{"a GPU process that ends unseen is not seen", "energy.go",
		"e < watts/5*3 {", "e < 0 {"},
	{"two sources of one device are both booked", "meter.go",
		"if mt.shadow || (!s.elected", "if (!s.elected"},
	{"a device's first value is credited", "energy.go",
		"	t, before, ok := m.before(k, fieldRaw)\n	if !ok {\n		return booked{}, false\n	}\n	b = booked", "	t, before, _ := m.before(k, fieldRaw)\n	t = max(t, p.t-3_600_000)\n	b = booked"},
	{"an account is a series", "shard.go",
		"	i, ok := s.find(hi, m, zone)\n", "	i, ok := s.find(hi, m, zone)\n	ok = false\n"},
	{"what comes back begins anew", "shard.go",
		"if g, ok := n.gone[name]; ok {\n			a.lastT, a.lastV = g.lastT, g.lastV\n", "if _, ok := n.gone[name]; ok {\n"},
	{"other exporters make a node known", "shard.go",
		"(m.Source == \"\" || m.Generation != metric.OtherSource) {", "true {"},

	{"two exporters of a node are both booked", "step.go",
		"			case !takes:\n				st = step{how: muted}", "			case !takes && k < 0:\n				st = step{how: muted}"},
	{"an exporter is deposed at once", "origin.go",
		"others >= fewSamples && x.t > last.t+silenceMs, true", "true, true"},
	{"a new speaker's counter counts from its start", "step.go",
		"				st.e = n.handover(points, cur, k)", "				st.e = x.v"},
	{"a new speaker tells nothing of the time of the change", "step.go",
		"	return int64(float64(x.v-p.v) *", "	return 0 * int64(float64(x.v-p.v) *"},
	{"a new speaker's active counter counts from its start", "mark.go",
		"			case overlapped:\n				state = pointTaken", "			case overlapped:\n				state = pointAnew"},
	{"a reading that is older than its time says is a restart", "step.go",
		"return !s.olderScrape(a, x)", "return true"},
	{"a register that falls a little wraps", "mark.go",
		"	case back:\n		return pointOlder", "	case back && false:\n		return pointOlder"},
	{"active that falls a little starts again", "mark.go",
		"			return pointAnew\n		}\n		return pointOlder", "			return pointAnew\n		}\n		return pointAnew"},
	{"idle that falls a little is a restart", "mark.go",
		"if raw >= 0 && max(off, -off) > 1e6+raw/100 {", "if max(off, -off) >= 0 {"},
	{"what does not fall did not start again", "step.go",
		"if n.restartT > p.t && s.restarted(a, p, x) {", "if false {"},
	{"restarts are only for those who come later", "witness.go",
		"		case a.lastT == r.to:\n", "		case false:\n"},
	{"a clock that is set back stops the node", "clock.go",
		"	s.setBack(a.node, tMs)\n	return raw, true", "	return raw, false"},
	{"what legacy counters show of their exporter is not told", "witness.go",
		"	if a.flags&flagNode == 0 || a.measure != power.Active {\n		return", "	if a.lastT != never {\n		return"},
	{"pods are booked beside their containers", "pod.go",
		"if known && book && !s.nodes[s.accounts[ref.account()].node].hasContainers {", "if known && book {"},
	{"what an address named goes on beside what is named", "address.go",
		"				for a := s.holders[next-1].accounts; a != 0; a = s.accounts[a-1].next {\n", "				for a := uint32(0); a != 0; a = s.accounts[a-1].next {\n"},
	{"one exporter under two names is two", "address.go",
		"		if isKeplerContainer(m) {\n", "		if isKeplerContainer(m) && i < 0 {\n"},
	{"both generations speak", "turn.go",
		"		s.notice(ni, TwoGenerations, 0, 0)\n		return false, false", "		return true, false"},
	{"a generation's turn begins with its first sample", "turn.go",
		"		m.quiet.to = u.since\n", "		m.quiet = stretch{}\n"},
	{"a first value is credited however large", "history.go",
		" || s.exceedsActive(a, v, t)", ""},
	{"a node is new to each who tells of it", "node.go",
		"known = min(known, f.t+maxSkewMs)", "known = min(known, forever)"},
	{"a gap is not filled by who was not listened to", "listen.go",
		"case same && x.t < a.lastT && a.side != 0 &&", "case false && x.t < a.lastT && a.side != 0 &&"},
	{"the register's jump at a restart is booked", "energy.go",
		" && (watts == 0 || diff <= 4*watts+1e9) {", " {"},
}

// Each seeded bug is caught by a test of a rule, or by the model.
func TestMutants(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
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
			run := exec.Command(binary, "-test.failfast", "-test.timeout=120s", "-test.skip=TestCaptured|TestMutants")
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
