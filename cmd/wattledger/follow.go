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
	"github.com/wattledger/wattledger/store/follow"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/store/redis"
)

// followers are the workers that carry the books to the engines that follow them.
type followers struct {
	workers []*follow.Worker
	names   []string
	close   []func() error
	influx  *follow.Worker      // nil without one
	letters func() (int, error) // how many lines InfluxDB refused for good
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
		feed := books.Feed(local.FeedConfig{
			Windows: least(c.MinutesRetention, cfg.Store.MinutesRetention), Hours: least(c.HoursRetention, cfg.Store.HoursRetention), Spaces: true,
		})
		f.influx = follow.New(follow.Config{Setting: "influxdb.url", Timeout: 5 * time.Minute}, feed, engine, metrics, logger)
		f.add(f.influx, engine.Name())
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
		feed := books.Feed(local.FeedConfig{Windows: rc.Charges, Hours: rc.Hours, Whole: true})
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
		if w == f.influx {
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

// influxIsCurrent reports whether InfluxDB has all that the books have, but for
// the last moments. What it refused it does not have.
func (f *followers) influxIsCurrent() bool {
	if !f.influx.Current() {
		return false
	}
	n, err := f.letters()
	return err == nil && n == 0
}

// redisLog takes what the client library says of its connections; what matters
// of it comes as an error too.
type redisLog struct{ logger *slog.Logger }

func (l redisLog) Printf(_ context.Context, format string, v ...any) {
	l.logger.Debug("redis client", "says", fmt.Sprintf(format, v...))
}
