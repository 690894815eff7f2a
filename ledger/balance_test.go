package ledger

import (
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
)

// A node is named when it has not added up for some minutes, in the minute after,
// and no longer once it does.
func TestBalance(t *testing.T) {
	f := func(unattributed power.Microjoules, minutes int, want ...counter.FindingKind) {
		t.Helper()
		var b balance
		window := func(minute int, left power.Microjoules) power.NodeWindow {
			return power.NodeWindow{
				Cluster: "c", Node: "n", StartMs: int64(minute) * 60_000, Seconds: 60,
				Used: power.Energy{power.CPU: 1000e6}, Unattributed: power.Energy{power.CPU: left},
			}
		}
		for m := range minutes {
			b.take([]power.NodeWindow{window(m, 900e6)}) // not whole yet, and not judged
			b.take([]power.NodeWindow{window(m, unattributed)})
		}
		b.take([]power.NodeWindow{window(minutes, 0)})
		got := b.findings(time.Minute)
		if len(got) != len(want) {
			t.Fatalf("%d minutes of %d uJ: found %+v", minutes, unattributed, got)
		}
		for i, k := range want {
			if got[i].Kind != k || got[i].Node != "n" || got[i].Count != uint64(minutes) || got[i].SinceMs != 0 {
				t.Errorf("found %+v, want %v", got[i], k)
			}
		}
		b.take([]power.NodeWindow{window(minutes+1, 0)})
		if left := b.findings(time.Minute); len(left) != 0 {
			t.Errorf("still found: %+v", left)
		}
	}
	f(0, 30)
	f(-9e6, 30)
	f(99e6, 30)
	f(-20e6, 4)
	f(-20e6, 5, counter.AttributedTooMuch)
	f(101e6, 30, counter.AttributedTooLittle)
}
