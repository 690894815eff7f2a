package suggest

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"window", "web", "path", "namespace", "owner_kind", "aaaa", "aaab", "workload", "workload_type", "time_range"}
	f := func(name, want string) {
		t.Helper()
		if got := Nearest(name, known); got != want {
			t.Errorf("%q suggests %q, want %q", name, got, want)
		}
	}
	f("windw", "window")         // one is missing
	f("windoow", "window")       // one too many
	f("widnow", "window")        // two swapped
	f("wab", "web")              // one wrong
	f("ownerKind", "owner_kind") // in capitals
	f("aaa", "aaaa")             // as near as aaab, and before it
	f("namesapce", "namespace")
	f("workloads", "workload")
	f("workload-type", "workload_type")
	f("timerange", "time_range")
	f("temperature", "") // nothing alike
	f("", "")
	f(strings.Repeat("x", 1<<20), "") // in no time
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"ca", "abc", 3}} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q in %d edits, want %d", c.a, c.b, got, c.want)
		}
	}
}
