package httpapi

import (
	"testing"
)

func TestParseWorkloadID(t *testing.T) {
	f := func(s string, want int) {
		t.Helper()
		m, ok := parseWorkloadID(s)
		if ok != (want > 0) || ok && len(m) != want {
			t.Errorf("parseWorkloadID(%q) = %v, %v, want %d parts", s, m, ok, want)
		}
	}
	f("web", 1)
	f("shop:web", 2)
	f("c1:shop:Deployment:web", 4)
	f(":shop:deployment:web", 4) // a cluster without a name
	f("a:b:c", 0)
	f("a:b:c:d:e", 0)
	f("", 0)
	f("shop:", 0)
}
