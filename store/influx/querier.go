package influx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// held are the dimensions that InfluxDB has as tags.
var held = []store.Dimension{store.Cluster, store.Node, store.Namespace, store.WorkloadKind, store.Workload, store.WorkloadType}

// A Querier answers sums of energy by cluster, node, namespace and workload from
// InfluxDB. What InfluxDB does not hold, the engine that it follows answers:
// pods and containers, workloads in hours that were used at several prices, the
// identity of nodes, what is known of workloads, and power profiles.
type Querier struct {
	store.Querier // for the rest
	cfg           Config
	influxql      influxql
}

var _ store.Querier = (*Querier)(nil)

// NewQuerier returns a querier; rest answers what InfluxDB cannot.
func NewQuerier(cfg Config, rest store.Querier) (*Querier, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	client, err := cfg.client()
	if err != nil {
		return nil, err
	}
	return &Querier{Querier: rest, cfg: cfg, influxql: influxql{cfg, client}}, nil
}

// errSeveralPrices says that some rows do not tell what was used at which price.
var errSeveralPrices = errors.New("rows of several prices")

var errOverflow = errors.New("a sum does not fit into 64 bits of microjoules")

const (
	hourMs = 3_600_000
	dayMs  = 24 * hourMs
	// InfluxDB's times are nanoseconds in 64 bits.
	minMs, maxMs = 0, 9_223_372_036_000
	// maxPrices bounds the questions that one answer takes.
	maxPrices = 200
	// maxRows bounds what one answer may hold.
	maxRows = 1_000_000
)

// within reports whether a question asks for nothing but some dimensions.
func within(dims []store.Dimension, ask store.Query) bool {
	for _, d := range ask.GroupBy {
		if !slices.Contains(dims, d) {
			return false
		}
	}
	for d, asked := range ask.Match {
		if !slices.Contains(dims, d) || store.IsList(asked) {
			return false
		}
	}
	return true
}

// Sum answers with the same integers as the engine that InfluxDB follows, as
// far as InfluxDB has been fed. Whole hours that are closed are read from the
// hourly bucket if the steps are hours or longer, the rest from windows.
//
// Row.Holders is exact for steps of an hour and for the remainders of nodes;
// otherwise it is the most there were of each workload at one time.
func (q *Querier) Sum(ctx context.Context, ask store.Query) ([]store.Row, error) {
	if !within(held, ask) {
		return q.Querier.Sum(ctx, ask)
	}
	if ask.StepMs < 0 || ask.FromMs > ask.ToMs {
		return nil, fmt.Errorf("influxdb: sum: from %d to %d by %d is not a range", ask.FromMs, ask.ToMs, ask.StepMs)
	}
	s := newSum(q, ask)
	err := s.run(ctx)
	if errors.Is(err, errSeveralPrices) {
		return q.Querier.Sum(ctx, ask)
	}
	if err != nil {
		return nil, fmt.Errorf("influxdb: sum: %w", err)
	}
	return s.finish(), nil
}

// closedBefore returns the end of the newest hour whose rows are all in the
// hourly bucket.
func (q *Querier) closedBefore(ctx context.Context) (int64, error) {
	end := int64(minMs)
	err := q.influxql.query(ctx, q.cfg.hourly(), `SELECT last("seconds") FROM "`+closedMeasurement+`"`, nil, func(s series) error {
		for _, v := range s.Values {
			at, err := integer(v[0])
			if err != nil {
				return err
			}
			end = at + hourMs
		}
		return nil
	})
	return end, err
}

// prices returns the prices that rows in a range may refer to.
func (q *Querier) prices(ctx context.Context, bucket string, fromMs, toMs int64) (map[int64]power.Price, error) {
	list := map[int64]power.Price{}
	statement := `SELECT last("model"), last("currency"), last("electricity_per_kwh"), last("overhead"), last("carbon_factor"), last("carbon_kg_per_kwh"), last("carbon_per_kg")` +
		` FROM "` + priceMeasurement + `" WHERE ` + timeRange(fromMs, toMs) + ` GROUP BY "price"`
	err := q.influxql.query(ctx, bucket, statement, nil, func(s series) error {
		id, err := strconv.ParseInt(s.Tags["price"], 10, 64)
		if err != nil {
			return err
		}
		for _, v := range s.Values {
			var p power.Price
			p.Model, _ = v[1].(string)
			p.Currency, _ = v[2].(string)
			for i, to := range []*float64{&p.ElectricityPerKWh, &p.Overhead, &p.CarbonFactor, &p.CarbonKgPerKWh, &p.CarbonPerKg} {
				if *to, err = number(v[3+i]); err != nil {
					return err
				}
			}
			list[id] = p
		}
		return nil
	})
	if err == nil && len(list) > maxPrices {
		return nil, fmt.Errorf("%w: %d prices in one range", store.ErrTooMany, len(list))
	}
	return list, err
}

func timeRange(fromMs, toMs int64) string {
	return fmt.Sprintf("time >= %dms AND time < %dms", fromMs, toMs)
}
