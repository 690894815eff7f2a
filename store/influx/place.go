package influx

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/wattledger/wattledger/store"
)

// placeMeasurement, in both buckets, says up to which entry InfluxDB has
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
	if err := f.hasTaken(ctx, seq); err != nil {
		return fmt.Errorf("influxdb: %w", err)
	}
	return nil
}

// hasTaken returns store.ErrLostPlace, wrapped, if a bucket does not have
// everything up to entry seq.
func (f *Follower) hasTaken(ctx context.Context, seq uint64) error {
	for _, bucket := range []string{f.cfg.Bucket, f.cfg.hourly()} {
		has := uint64(0)
		answered, err := f.ask(ctx, bucket, `SELECT last("seq") FROM "`+placeMeasurement+`"`, func(s series) error {
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
		if err != nil {
			return fmt.Errorf("ask what it has: %w", err)
		}
		if answered && has < seq {
			return fmt.Errorf("bucket %s has entries up to %d, %d had been taken: %w", bucket, has, seq, store.ErrLostPlace)
		}
	}
	return nil
}

// ask asks a bucket that was found to be there. InfluxDB 2 and 3 may have it and
// yet not know it in InfluxQL; then what is lost there is not noticed, which is
// said once.
func (f *Follower) ask(ctx context.Context, bucket, statement string, each func(series) error) (answered bool, err error) {
	err = f.influxql.query(ctx, bucket, statement, nil, each)
	if e, ok := asError(err); ok && e.Status == http.StatusNotFound && f.major > 1 {
		if !f.deaf {
			f.deaf = true
			f.log.Warn("InfluxDB does not answer InfluxQL for a bucket, so losses there are not noticed: does it need a DBRP mapping?", "bucket", bucket, "err", err)
		}
		return false, nil
	}
	return err == nil, err
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
