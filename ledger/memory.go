package ledger

import (
	"context"

	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/decode"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/transform"
	"github.com/wattledger/wattledger/transform/classify"
	"github.com/wattledger/wattledger/transform/tariff"
)

// memory is what counts between the log and the store.
type memory struct {
	table     *metric.Table
	rules     *classify.Classifier
	tariff    *tariff.Tariff
	directory *transform.Directory
	stage     *transform.Stage
	cache     *counter.Cache
	decoder   *decode.Decoder
}

// newMemory wires an empty one from its end to its start.
func newMemory(cfg Config, prices *tariff.Tariff) (m *memory, err error) {
	m = &memory{table: cfg.Table, rules: cfg.Rules, tariff: prices}
	m.directory = transform.NewDirectory(cfg.Transform, m.rules, cfg.Dimensions)
	m.stage = transform.New(cfg.Transform, counter.NumShards, cfg.Accounting.ReorderWindow.Milliseconds(), m.directory, m.tariff)
	m.cache = counter.New(cfg.Accounting, m.stage)
	if m.decoder, err = decode.New(cfg.Limits, m.cache, m.table); err != nil {
		return nil, err
	}
	return m, nil
}

var _ counter.Sink = (*transform.Stage)(nil)

// A Shadow is memory beside a ledger's own: the same stages with an empty past.
// What it is fed goes to whoever asks, not to the books.
type Shadow struct{ *memory }

// Shadow returns an empty one.
func (l *Ledger) Shadow() (*Shadow, error) {
	m, err := newMemory(l.cfg, l.tariff)
	if err != nil {
		return nil, err
	}
	return &Shadow{m}, nil
}

// Replay counts a log's records from a position on.
func (s *Shadow) Replay(ctx context.Context, log Reader, from uint64) (Replayed, error) {
	return Replay(ctx, log, from, s.decoder, s.cache)
}

// Collect returns what moved since it was last called.
func (s *Shadow) Collect() store.Batch { return s.stage.CollectAll() }

// Nodes says how far each node's windows are.
func (s *Shadow) Nodes() []transform.NodeState { return s.stage.Nodes() }

// Close lets go of what the shadow holds.
func (s *Shadow) Close() { s.decoder.Close() }
