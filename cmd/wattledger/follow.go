package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/follow"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/store/redis"
)

// followerNames lists the engines that are to follow the books.
func followerNames(cfg *configs.Config) (names []string) {
	if cfg.InfluxDB.URL != "" {
		names = append(names, "influxdb")
	}
	if cfg.Redis.URL != "" {
		names = append(names, "redis")
	}
	return names
}

// followers are the workers that carry the books to the engines that follow them.
type followers struct {
	workers []*follow.Worker
	names   []string
	close   []func() error
	letters func() (int, error) // how many lines InfluxDB refused for good; nil without one
}

func newFollowers(cfg *configs.Config, books *local.Store, logger *slog.Logger, reg prometheus.Registerer) (*followers, error) {
	f := &followers{}
	metrics := follow.NewMetrics(reg)
	if c := cfg.InfluxDB; c.URL != "" {
		const name = "influxdb"
		reject := func(ctx context.Context, r influx.Rejected) error {
			return books.KeepDeadLetter(ctx, letterOf(r, name))
		}
		engine, err := influx.New(c, reject, logger, reg)
		if err != nil {
			return nil, err
		}
		f.letters = func() (int, error) { return books.CountDeadLetters(context.Background(), name) }
		promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wattledger_dead_letters", Help: "Lines that InfluxDB refused for good and that nobody has retried or dropped yet.",
		}, func() float64 {
			n, err := f.letters()
			if err != nil {
				return math.NaN()
			}
			return float64(n)
		})
		f.close = append(f.close, func() error { engine.Close(); return nil })
		feed := &feed{books: books, windows: least(c.MinutesRetention, cfg.Store.MinutesRetention), hours: least(c.HoursRetention, cfg.Store.HoursRetention)}
		f.add(follow.New(follow.Config{Setting: "influxdb.url", Timeout: 5 * time.Minute}, feed, engine, metrics, logger), engine.Name())
	}
	if rc := cfg.Redis; rc.URL != "" {
		goredis.SetLogger(redisLog{logger})
		if rc.Interval == 0 {
			rc.Interval = cfg.Kepler.Interval
		}
		engine, err := redis.New(rc, logger)
		if err != nil {
			return nil, err
		}
		f.close = append(f.close, engine.Close)
		feed := &feed{books: books, windows: rc.Charges, hours: rc.Hours, whole: true}
		// Reading back a day of a big stream takes longer than a write.
		f.add(follow.New(follow.Config{Setting: "redis.url", Timeout: 5 * time.Minute}, feed, engine, metrics, logger), engine.Name())
	}
	return f, nil
}

// least returns the shorter of two retentions, of which the first may be 0: for ever.
func least(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

func (f *followers) add(w *follow.Worker, name string) {
	f.workers, f.names = append(f.workers, w), append(f.names, name)
}

// run works until ctx ends, then closes the engines.
func (f *followers) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, w := range f.workers {
		group.Go(func() error { return w.Run(ctx) })
	}
	err := group.Wait()
	for _, c := range f.close {
		err = errors.Join(err, c())
	}
	return err
}

// checks tells how the followers are. They are no reason not to be ready.
func (f *followers) checks() (list []httpapi.Check) {
	for i, w := range f.workers {
		text, warning := w.Detail()
		if f.letters != nil && f.names[i] == "influxdb" {
			if n, err := f.letters(); err != nil {
				text, warning = text+"; "+err.Error(), true
			} else if n > 0 {
				text, warning = fmt.Sprintf("%s; %d lines refused: see wattledger dead-letter list", text, n), true
			}
		}
		if warning {
			text = "warning: " + text
		}
		list = append(list, httpapi.Check{Name: f.names[i], OK: true, Detail: text})
	}
	return list
}

// redisLog takes what the client library says of its connections; what matters
// of it comes as an error too.
type redisLog struct{ logger *slog.Logger }

func (l redisLog) Printf(_ context.Context, format string, v ...any) {
	l.logger.Debug("redis client", "says", fmt.Sprintf(format, v...))
}

// feed is the outbox of the books, as workers take it.
type feed struct {
	books   *local.Store
	windows time.Duration // how far back windows are of interest
	hours   time.Duration // and hours
	whole   bool          // a workload's window comes with the rows of all nodes
}

// storedStep is how much is sent at once of a time that has windows.
const storedStep = 10 * time.Minute

func (f *feed) place(ctx context.Context, name string) (local.Follower, error) {
	list, err := f.books.Followers(ctx)
	if err != nil {
		return local.Follower{}, err
	}
	for _, at := range list {
		if at.Name == name {
			return at, nil
		}
	}
	return local.Follower{}, fmt.Errorf("no follower %s", name)
}

func (f *feed) Place(ctx context.Context, name string) (follow.Place, error) {
	at, err := f.place(ctx, name)
	if err != nil {
		return follow.Place{}, err
	}
	p := follow.Place{Seq: at.Seq, Lag: at.Lag}
	if at.Lag > 0 {
		p.Used, p.OldestMs, err = f.books.Waiting(ctx, at.Seq)
	}
	return p, err
}

func (f *feed) Deliver(ctx context.Context, name string, limit int) (d store.Delivery, ok bool, err error) {
	at, err := f.place(ctx, name)
	if err == nil && at.New {
		err = fmt.Errorf("what the books held before it: %w", store.ErrLostPlace)
	}
	if err != nil || at.Lag == 0 {
		return d, false, err
	}
	list, err := f.books.Next(ctx, at.Seq, limit)
	if errors.Is(err, local.ErrLostPlace) {
		return d, false, fmt.Errorf("%w: %w", err, store.ErrLostPlace)
	}
	if err != nil || len(list) == 0 {
		return d, false, err
	}
	last := list[len(list)-1]
	d.FromSeq, d.ToSeq, d.CommitMs = list[0].Seq, last.Seq, last.CommitMs
	if d.Windows, err = f.books.Windows(ctx, list); err != nil {
		return d, false, err
	}
	if d.Hours, err = f.books.Hours(ctx, list); err != nil {
		return d, false, err
	}
	if !f.whole {
		return d, true, nil
	}
	now := time.Now()
	if d.Windows, err = complete(ctx, d.Windows, now.Add(-f.windows), f.books.WindowsBetween); err != nil {
		return d, false, err
	}
	d.Hours, err = complete(ctx, d.Hours, now.Add(-f.hours), f.books.HoursBetween)
	return d, err == nil, err
}

// complete returns rows, those from a moment on, with the rows of the other
// nodes that the same workload has in the same window.
func complete(ctx context.Context, rows []store.WindowRow, from time.Time, between func(ctx context.Context, fromMs, toMs int64) ([]store.WindowRow, error)) ([]store.WindowRow, error) {
	type window struct {
		workload power.Workload
		startMs  int64
	}
	type whole struct {
		window
		node string
		typ  power.Type
	}
	const hourMs = 3_600_000
	type span struct{ from, to int64 }
	var kept []store.WindowRow
	asked := map[window]bool{}
	spans := map[int64]span{} // by hour: a closed one is read at once
	for i := range rows {
		r := &rows[i]
		if r.StartMs < from.UnixMilli() {
			continue
		}
		kept = append(kept, *r)
		asked[window{r.Workload, r.StartMs}] = true
		sp, ok := spans[r.StartMs/hourMs]
		if !ok {
			sp = span{r.StartMs, r.StartMs}
		}
		spans[r.StartMs/hourMs] = span{min(sp.from, r.StartMs), max(sp.to, r.StartMs)}
	}
	var all []store.WindowRow
	have := map[whole]bool{}
	for _, sp := range spans {
		list, err := between(ctx, sp.from, sp.to+1000) // starts are whole seconds
		if err != nil {
			return nil, err
		}
		for i := range list {
			r := &list[i]
			if w := (window{r.Workload, r.StartMs}); asked[w] {
				all = append(all, *r)
				have[whole{w, r.Node, r.Type}] = true
			}
		}
	}
	// What is left are rows of zeros in the place of those that moved away.
	for i := range kept {
		r := &kept[i]
		if !have[whole{window{r.Workload, r.StartMs}, r.Node, r.Type}] {
			all = append(all, *r)
		}
	}
	return all, nil
}

func (f *feed) Done(ctx context.Context, name string, d store.Delivery) error {
	return f.books.Ack(ctx, name, d.ToSeq)
}

func (f *feed) Span(ctx context.Context, name string) (follow.Span, error) {
	at, err := f.place(ctx, name)
	if err != nil {
		return follow.Span{}, err
	}
	now := time.Now()
	from := now.Add(-max(f.windows, f.hours)).UnixMilli()
	from = max(from, min(f.books.OldestMs(), now.UnixMilli()))
	return follow.Span{
		Seq: at.Seq + at.Lag, CommitMs: now.UnixMilli(),
		FromMs: time.UnixMilli(from).Truncate(time.Hour).UnixMilli(),
		ToMs:   now.Add(time.Hour).UnixMilli(),
	}, nil
}

func (f *feed) Stored(ctx context.Context, _ string, fromMs int64) (windows, hours []store.WindowRow, nextMs int64, err error) {
	// Before the windows there are only hours, and far fewer.
	windowsFrom := time.Now().Add(-f.windows).UnixMilli()
	if fromMs < windowsFrom {
		nextMs = min(fromMs+(24*time.Hour).Milliseconds(), windowsFrom)
	} else {
		nextMs = fromMs + storedStep.Milliseconds()
		if windows, err = f.books.WindowsBetween(ctx, fromMs, nextMs); err != nil {
			return nil, nil, 0, err
		}
	}
	hours, err = f.books.HoursBetween(ctx, fromMs, nextMs)
	return windows, hours, nextMs, err
}
