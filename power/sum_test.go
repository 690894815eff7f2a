package power

import (
	"math"
	"testing"
)

func TestAddChecked(t *testing.T) {
	f := func(a, b int64, ok bool) {
		t.Helper()
		sum := a
		if got := AddChecked(&sum, b); got != ok || ok && sum != a+b || !ok && sum != a {
			t.Errorf("%d + %d: %d, %v", a, b, sum, got)
		}
	}
	f(1, 2, true)
	f(1, 0, true)
	f(math.MaxInt64, 0, true)
	f(math.MinInt64, 0, true)
	f(math.MaxInt64, 1, false)
	f(math.MinInt64, -1, false)
	f(math.MaxInt64, math.MinInt64, true)
	f(math.MinInt64, math.MinInt64, false)
	f(-1, math.MinInt64, false)
	f(9e18, 9e18, false)
}
