package local

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

func TestWaiting(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Followers = []string{"redis"}
	cfg.OutboxMaxBytes = 1 << 20
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), cfg)
	ask := func(seq uint64) (float64, int64) {
		t.Helper()
		used, oldest, err := s.waiting(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		return used, oldest
	}
	if used, oldest := ask(0); used != 0 || oldest != 0 {
		t.Errorf("an empty outbox: %v, %v", used, oldest)
	}
	began := time.Now().UnixMilli()
	h := &power.Holder{HolderKey: power.HolderKey{Cluster: "c1", Node: "n1", Kind: power.Container, ID: "a"}, Workload: power.Workload{Cluster: "c1", Namespace: "shop", Kind: "deployment", Name: "cart"}, Type: power.Web}
	for i := range 3 {
		c := power.Charge{Holder: h, StartMs: 1_700_000_040_000, Seconds: 60, Price: &power.Price{Model: "seed"}, Revision: uint64(i + 1)}
		if err := s.Append(t.Context(), store.Batch{Position: uint64(i + 1), Charges: []power.Charge{c}}); err != nil {
			t.Fatal(err)
		}
	}
	all, oldest := ask(0)
	one, _ := ask(2)
	if oldest < began || oldest > time.Now().UnixMilli() || one <= 0 || all < 2.9*one || all > 3.1*one {
		t.Errorf("three entries take up %v since %d, the newest %v", all, oldest, one)
	}
	if used, oldest := ask(3); used != 0 || oldest != 0 {
		t.Errorf("after the newest: %v, %v", used, oldest)
	}
}
