package influx

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/wattledger/wattledger/store"
)

// An engine answers sums from InfluxDB while that has everything, and the rest
// from the books. An answer that lacks something would be worse than one that
// comes from elsewhere.
type engine struct {
	store.Querier // the books
	influx        store.Querier
	current       func() bool // InfluxDB has what the books have
	sums          prometheus.Counter
}

// countedBooks are books that count the sums they are asked for.
type countedBooks struct {
	store.Querier
	sums prometheus.Counter
}

func (c countedBooks) Sum(ctx context.Context, q store.Query) ([]store.Row, error) {
	c.sums.Inc()
	return c.Querier.Sum(ctx, q)
}

// NewEngine returns a querier that answers sums from InfluxDB while current says
// that it has what the books have.
func NewEngine(cfg Config, books store.Querier, current func() bool, reg prometheus.Registerer) (store.Querier, error) {
	counter := func(name, help string) prometheus.Counter {
		return promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	rest := countedBooks{books, counter("wattledger_query_sums_from_books_total", "Of the sums asked for with query.engine influx, those that the books answered.")}
	q, err := NewQuerier(cfg, rest)
	if err != nil {
		return nil, err
	}
	return &engine{
		Querier: rest, influx: q, current: current,
		sums: counter("wattledger_query_sums_total", "Sums asked for with query.engine influx."),
	}, nil
}

// Sum answers a sum.
func (e *engine) Sum(ctx context.Context, q store.Query) ([]store.Row, error) {
	e.sums.Inc()
	if e.current() {
		rows, err := e.influx.Sum(ctx, q)
		if !errors.Is(err, store.ErrUnavailable) {
			return rows, err
		}
	}
	return e.Querier.Sum(ctx, q)
}
