package local

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/store/storetest"
)

type settled struct{ *Store }

func (s settled) Settle(ctx context.Context) error { return s.Maintain(ctx) }

func openTest(t testing.TB, path string, cfg Config) *Store {
	t.Helper()
	s, err := Open(path, cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Engine {
		return settled{openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())}
	})
}
