package influx

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/wattledger/wattledger/store"
)

// placeMeasurement, in the hourly bucket, says up to which entry InfluxDB has
// everything: one point an hour at most, the newest counts.
const placeMeasurement = "place"

// Check asks whether InfluxDB still has everything up to entry seq; see
// store.ErrLostPlace.
func (f *Follower) Check(ctx context.Context, seq uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.prepare(ctx); err != nil {
		return fmt.Errorf("influxdb: %w", err)
	}
	has, err := f.readPlace(ctx)
	if err != nil {
		return fmt.Errorf("influxdb: ask what it has: %w", err)
	}
	if has < seq {
		return fmt.Errorf("influxdb: it has entries up to %d, %d had been taken: %w", has, seq, store.ErrLostPlace)
	}
	return nil
}

func (f *Follower) readPlace(ctx context.Context) (has uint64, err error) {
	err = f.influxql.query(ctx, f.cfg.hourly(), `SELECT last("seq") FROM "`+placeMeasurement+`"`, nil, func(s series) error {
		for _, v := range s.Values {
			at, err := integer(v[0])
			if err != nil {
				return err
			}
			n, err := integer(v[1])
			if err != nil {
				return err
			}
			has, f.placeMs = uint64(n), max(f.placeMs, at)
		}
		return nil
	})
	return has, err
}

// placeLine appends the line that says that everything up to seq is there. A
// clock that was set back must not put it before an earlier one.
func (f *Follower) placeLine(b []byte, seq uint64) []byte {
	f.placeMs = max(f.placeMs, time.Now().Truncate(time.Hour).UnixMilli())
	b = append(b, placeMeasurement+" seq="...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, "i "...)
	b = strconv.AppendInt(b, f.placeMs, 10)
	return append(b, '\n')
}
