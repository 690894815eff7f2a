// Package influx keeps a copy of the books in InfluxDB: windows in one bucket
// and hours in another, for dashboards and predictors, and answers from them.
//
// It speaks to InfluxDB 1.8 and later, 2, and (writing only) 3 Core. Lines are
// made here, because the client's own points cost ten times as much, and go
// through the client's blocking API, because the asynchronous one forgets.
package influx

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A Follower writes deliveries to InfluxDB. It is safe for concurrent use, but
// writes one delivery at a time.
type Follower struct {
	cfg      Config
	influxql influxql
	client   influxdb2.Client
	windows  api.WriteAPIBlocking
	hours    api.WriteAPIBlocking
	reject   func(context.Context, Rejected) error
	log      *slog.Logger
	metrics  *metrics

	mu      sync.Mutex // held while a delivery is written
	ready   bool       // Prepare went well; guarded by mu
	major   int        // InfluxDB's version; guarded by mu
	deaf    bool       // it was said that InfluxDB does not answer; guarded by mu
	created bool       // Prepare made a bucket; guarded by mu
	written bool       // something was written before; guarded by mu
	placeMs int64      // time of the newest place there is; guarded by mu
	refused int        // lines of the delivery that is being written; guarded by mu
	lines   *encoder   // guarded by mu
	batch   batch      // guarded by mu
}

var _ store.Follower = (*Follower)(nil)

// New returns a follower; it connects to nothing yet. reject is given each line
// that InfluxDB refuses; until it returns nil the delivery is not written.
func New(cfg Config, reject func(context.Context, Rejected) error, log *slog.Logger, reg prometheus.Registerer) (*Follower, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	client, err := cfg.client()
	if err != nil {
		return nil, err
	}
	o := influxdb2.DefaultOptions().SetHTTPClient(client).SetUseGZip(false).SetPrecision(time.Millisecond).SetApplicationName("wattledger")
	f := &Follower{
		cfg: cfg, influxql: influxql{cfg, client}, client: influxdb2.NewClientWithOptions(cfg.URL, cfg.Token, o),
		reject: reject, log: log, metrics: newMetrics(reg), lines: newEncoder(),
	}
	f.windows = f.client.WriteAPIBlocking(cfg.Org, cfg.Bucket)
	f.hours = f.client.WriteAPIBlocking(cfg.Org, cfg.hourly())
	return f, nil
}

// Name returns "influxdb".
func (f *Follower) Name() string { return "influxdb" }

// Close lets go of idle connections.
func (f *Follower) Close() { f.influxql.http.CloseIdleConnections() }

// Write returns nil when InfluxDB has every row of d, except lines it refused
// for good, which are with reject, and windows older than it keeps. An error is
// an *Error if InfluxDB or the way to it is the cause.
func (f *Follower) Write(ctx context.Context, d store.Delivery) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = 0
	err := f.write(ctx, d)
	if f.refused > 0 {
		f.log.Warn("InfluxDB refuses lines for good, they are set aside", "lines", f.refused)
	}
	if err != nil {
		if e, ok := asError(err); ok && e.Status == http.StatusNotFound && f.ready {
			f.ready = false // the bucket may be made again
		}
		return fmt.Errorf("influxdb: write entries %d to %d: %w", d.FromSeq, d.ToSeq, err)
	}
	return nil
}

func (f *Follower) write(ctx context.Context, d store.Delivery) error {
	f.batch.buf, f.batch.ends = f.batch.buf[:0], f.batch.ends[:0] // an error may have left something
	if !f.ready {
		if err := f.prepare(ctx); err != nil {
			return err
		}
	}
	if f.written && f.created {
		f.created = false
		return fmt.Errorf("a bucket was dropped and is made again: %w", store.ErrLostPlace)
	}
	f.written, f.created = true, false
	whole := !d.Resync || len(d.Windows)+len(d.Hours) == 0 // everything up to d.ToSeq will be there
	if !d.Resync && d.FromSeq > 0 {
		if err := f.hasTaken(ctx, d.FromSeq-1); err != nil {
			return err
		}
	}
	if err := f.rows(ctx, f.cfg.Bucket, f.windows, d, d.Windows); err != nil {
		return err
	}
	if whole {
		f.batch.add(f.placeLine(f.batch.buf, d.ToSeq))
		if err := f.flush(ctx, f.cfg.Bucket, f.windows, d); err != nil {
			return err
		}
	}
	if err := f.rows(ctx, f.cfg.hourly(), f.hours, d, d.Hours); err != nil {
		return err
	}
	if err := f.writeSpaces(ctx, d); err != nil {
		return err
	}
	// Only now that an hour's rows are there may questions be answered from them.
	for _, start := range hoursOf(d) {
		f.batch.add(closedLine(f.batch.buf, start))
	}
	// And last of all the place: what comes before it is there.
	if whole {
		f.batch.add(f.placeLine(f.batch.buf, d.ToSeq))
	}
	return f.flush(ctx, f.cfg.hourly(), f.hours, d)
}

// rows writes rows of one bucket and the prices they refer to.
func (f *Follower) rows(ctx context.Context, bucket string, to api.WriteAPIBlocking, d store.Delivery, rows []store.WindowRow) error {
	type reference struct {
		startMs int64
		price   int64
	}
	told := map[reference]bool{}
	for i := range rows {
		r := &rows[i]
		if r.Containers > 0 {
			ref, price := reference{r.StartMs, 0}, power.Price{Model: r.Price.Model, Currency: r.Price.Currency}
			if !mixed(r, r.Energy.Total()) {
				ref.price, price = f.lines.price(r.Price), r.Price
			}
			if !told[ref] {
				told[ref] = true
				f.batch.add(priceLine(f.batch.buf, ref.price, price, r.StartMs))
			}
		}
		f.batch.add(f.lines.row(f.batch.buf, r))
		if len(f.batch.ends) >= f.cfg.BatchLines {
			if err := f.flush(ctx, bucket, to, d); err != nil {
				return err
			}
		}
	}
	if d.Resync && len(rows) > 0 {
		if err := f.clearOthers(ctx, bucket, d, rows); err != nil {
			return err
		}
	}
	return f.flush(ctx, bucket, to, d)
}

// A batch is lines that go in one request.
type batch struct {
	buf  []byte
	ends []int // of the lines in buf
}

func (b *batch) add(buf []byte) {
	b.buf = buf
	b.ends = append(b.ends, len(buf))
}

// flushFull sends the batch of hours if it is as large as one may be.
func (f *Follower) flushFull(ctx context.Context, d store.Delivery) error {
	if len(f.batch.ends) < f.cfg.BatchLines {
		return nil
	}
	return f.flush(ctx, f.cfg.hourly(), f.hours, d)
}

// flush sends the batch and empties it, whatever comes of it: after an error
// the whole delivery is written again.
func (f *Follower) flush(ctx context.Context, bucket string, to api.WriteAPIBlocking, d store.Delivery) error {
	text, ends := string(f.batch.buf), f.batch.ends
	f.batch.buf, f.batch.ends = f.batch.buf[:0], f.batch.ends[:0]
	if len(ends) == 0 {
		return nil
	}
	return f.send(ctx, bucket, to, text, ends, d)
}

// send writes the lines of text that end at ends, which count from the
// beginning of text. What InfluxDB refuses is halved until the lines that are
// to blame stand alone. Writing the others again changes nothing.
func (f *Follower) send(ctx context.Context, bucket string, to api.WriteAPIBlocking, text string, ends []int, d store.Delivery) error {
	began := time.Now()
	err := to.WriteRecord(ctx, text)
	f.metrics.seconds.Observe(time.Since(began).Seconds())
	if err == nil {
		f.metrics.lines.Add(float64(len(ends)))
		return nil
	}
	refused := explain(err, bucket)
	if !Refused(refused) {
		f.metrics.errors.WithLabelValues(refused.Setting).Inc()
		return refused
	}
	if tooOld(refused.Message, len(ends)) {
		f.metrics.expired.Add(float64(len(ends)))
		return nil
	}
	if len(ends) == 1 {
		f.metrics.rejected.Inc()
		f.refused++
		r := Rejected{Bucket: bucket, Line: strings.TrimSuffix(text, "\n"), Reason: refused.Message, FromSeq: d.FromSeq, ToSeq: d.ToSeq}

		if err := f.reject(ctx, r); err != nil {
			return fmt.Errorf("keep a line InfluxDB refused (%s): %w", r.Reason, err)
		}
		return nil
	}
	half := len(ends) / 2
	cut := ends[half-1]
	if err := f.send(ctx, bucket, to, text[:cut], ends[:half], d); err != nil {
		return err
	}
	rest := make([]int, 0, len(ends)-half)
	for _, e := range ends[half:] {
		rest = append(rest, e-cut)
	}
	return f.send(ctx, bucket, to, text[cut:], rest, d)
}
