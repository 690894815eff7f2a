package ledger

import (
	"context"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store/local"
)

// Remap gives the energy of the past the values that dimensions have by the rules in
// force, and tells what moves by it; with dry it only tells.
func (l *Ledger) Remap(ctx context.Context, dry bool, done func(share float64)) (local.Remapped, error) {
	if !dry {
		// First what is in memory, so that nothing of it undoes what follows.
		l.stage.Remap()
		if err := l.Flush(ctx); err != nil {
			return local.Remapped{}, err
		}
	}
	return RemapBooks(ctx, l.Books, l.cfg, dry, done)
}

// RemapBooks does so in books that no ledger holds.
func RemapBooks(ctx context.Context, books *local.Store, cfg Config, dry bool, done func(share float64)) (local.Remapped, error) {
	return books.Remap(ctx, func(h *power.Holder) power.Tags {
		if h.Kind != power.Container && h.Kind != power.VM {
			return h.Tags
		}
		return cfg.Dimensions.Tag(h.Tags, h.Workload)
	}, dry, done)
}
