// Package follow carries the outbox of the books to the engines that follow
// them, each by a worker of its own: an outage of one delays neither the books
// nor another.
//
// A worker takes a delivery, writes it, and moves the follower's place only
// when the backend has accepted all of it. It never gives up. When the place is
// lost, on either side, it sends the stored rows again by itself.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wattledger/wattledger/store"
)

// A Checker is a Follower whose backend can be asked whether it still has
// everything up to an entry. Check answers ErrLostPlace, wrapped, if not. It is
// asked at start and while there is nothing to write.
type Checker interface {
	Check(ctx context.Context, seq uint64) error
}

// A delayed is an error that says when to try again, as Retry-After does.
type delayed interface {
	error
	RetryAfter() time.Duration
}

// Config is how a worker goes about its work. Zero values stand for the defaults.
type Config struct {
	Setting    string        // the key of the configuration that names the backend; log lines carry it
	Limit      int           // entries to a delivery: 64
	Poll       time.Duration // between two looks at an outbox that was empty: 1s
	Check      time.Duration // between two checks of a backend and of the place: 10s
	Timeout    time.Duration // of one write: 1m
	MinBackoff time.Duration // after the first error: 500ms
	MaxBackoff time.Duration // after many: 30s
}

const (
	warnAt      = 0.8             // of what the outbox may keep
	maxDelay    = 5 * time.Minute // that a backend may ask for
	remindEvery = 10 * time.Minute
)

// A Worker feeds one follower.
type Worker struct {
	cfg      Config
	feed     store.Feed
	follower store.Follower
	metrics  *Metrics
	log      *slog.Logger

	resync  bool      // owned by Run: the stored rows are to be sent again
	backoff int       // owned by Run: errors since the last success
	checked time.Time // owned by Run: last check

	mu     sync.Mutex
	outage outage      // guarded by mu
	place  store.Place // guarded by mu
	busy   bool        // guarded by mu: stored rows are being sent again
	looked bool        // guarded by mu: there was nothing to write, or what there was is written
}

// An outage is a run of errors.
type outage struct {
	since  time.Time // zero: none
	last   string    // text of the newest error
	text   string    // of the error that was logged last
	logged time.Time
}

// New returns a worker that carries feed to f. Metrics may be shared by several.
func New(cfg Config, feed store.Feed, f store.Follower, m *Metrics, logger *slog.Logger) *Worker {
	or := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	or(&cfg.Poll, time.Second)
	or(&cfg.Check, 10*time.Second)
	or(&cfg.Timeout, time.Minute)
	or(&cfg.MinBackoff, 500*time.Millisecond)
	or(&cfg.MaxBackoff, 30*time.Second)
	if cfg.Limit <= 0 {
		cfg.Limit = 64
	}
	logger = logger.With("follower", f.Name())
	if cfg.Setting != "" {
		logger = logger.With("setting", cfg.Setting)
	}
	m.begin(f.Name())
	return &Worker{cfg: cfg, feed: feed, follower: f, metrics: m, log: logger}
}

// Run works until ctx ends. What is not done by then is done the next time.
func (w *Worker) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := time.Duration(0)
		idle, err := w.step(ctx)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, store.ErrLostPlace):
			// Not an outage: there is something to be done about it. But if it
			// comes again and again, it must not turn in circles.
			if !w.resync {
				w.log.Warn("follower has lost its place, the stored rows are sent again", "err", err)
			}
			w.resync = true
			w.setBusy(true)
			w.metrics.errors.WithLabelValues(w.follower.Name()).Inc()
			wait = w.delay(nil)
		case err != nil:
			w.failed(err)
			wait = w.delay(err)
		default:
			w.backoff = 0
			if idle {
				wait = w.cfg.Poll
			}
		}
		pause(ctx, wait)
	}
	return nil
}

// step does the next thing there is to do. idle says that there was nothing.
func (w *Worker) step(ctx context.Context) (idle bool, err error) {
	if w.resync {
		if err := w.sendStored(ctx); err != nil {
			return false, err
		}
		w.resync = false
		w.setBusy(false)
	}
	if w.checked.IsZero() || time.Since(w.checked) >= w.cfg.Check {
		if err := w.check(ctx); err != nil {
			return false, err
		}
		w.checked = time.Now()
	}
	d, ok, err := w.feed.Deliver(ctx, w.follower.Name(), w.cfg.Limit)
	if err != nil {
		return false, err
	}
	if !ok {
		w.recovered() // a check is all that can succeed while there is nothing to write
		return true, nil
	}
	return false, w.write(ctx, d)
}

// check measures the place and asks the backend whether it has what it was given.
func (w *Worker) check(ctx context.Context) error {
	p, err := w.measure(ctx)
	if err != nil {
		return err
	}
	c, ok := w.follower.(Checker)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	if err := c.Check(ctx, p.Seq); err != nil {
		return fmt.Errorf("check %s: %w", w.follower.Name(), err)
	}
	return nil
}

func (w *Worker) write(ctx context.Context, d store.Delivery) error {
	if err := w.give(ctx, d); err != nil {
		return err
	}
	if err := w.feed.Done(ctx, w.follower.Name(), d); err != nil {
		return err
	}
	_, err := w.measure(ctx)
	return err
}

// give writes a delivery to the backend.
func (w *Worker) give(ctx context.Context, d store.Delivery) error {
	limited, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	if err := w.follower.Write(limited, d); err != nil {
		return fmt.Errorf("write entries %d to %d to %s: %w", d.FromSeq, d.ToSeq, w.follower.Name(), err)
	}
	w.metrics.rows.WithLabelValues(w.follower.Name()).Add(float64(len(d.Windows) + len(d.Hours)))
	w.recovered()
	return nil
}

// sendStored sends the stored rows again, stretch by stretch. An error that may
// pass is waited out here, so that only the stretch is done again.
func (w *Worker) sendStored(ctx context.Context) error {
	began := time.Now()
	name := w.follower.Name()
	span, err := w.feed.Span(ctx, name)
	if err != nil {
		return err
	}
	w.log.Info("sending stored rows again", "from", time.UnixMilli(span.FromMs).UTC(), "to", time.UnixMilli(span.ToMs).UTC())
	rows := 0
	next := span.FromMs
	for last := false; !last; {
		d := store.Delivery{FromSeq: span.Seq, ToSeq: span.Seq, CommitMs: span.CommitMs, Resync: true}
		at := next
		if last = at >= span.ToMs; !last {
			rows, after, err := w.feed.Stored(ctx, name, at)
			if err != nil {
				return err
			}
			d.Windows, d.Hours, d.Spaces, next = rows.Windows, rows.Hours, rows.Spaces, after
			d.FromMs, d.ToMs = at, after
			if next <= at {
				return fmt.Errorf("stored rows from %d: the next begin at %d", at, next)
			}
			if len(d.Windows)+len(d.Hours) == 0 {
				continue
			}
		}
		for {
			err := w.give(ctx, d)
			if err == nil {
				w.backoff = 0
				break
			}
			if ctx.Err() != nil || errors.Is(err, store.ErrLostPlace) {
				return err
			}
			w.failed(err)
			if _, err := w.measure(ctx); err != nil {
				return err
			}
			pause(ctx, w.delay(err))
		}
		rows += len(d.Windows) + len(d.Hours)
		if last {
			if err := w.feed.Done(ctx, name, d); err != nil {
				return err
			}
		}
	}
	if _, err := w.measure(ctx); err != nil {
		return err
	}
	w.log.Info("stored rows sent again", "rows", rows, "seconds", time.Since(began).Seconds())
	return nil
}

// delay returns how long to wait after an error: longer each time, never the
// same for two workers, and at least what the backend asked for.
func (w *Worker) delay(err error) time.Duration {
	d := w.cfg.MaxBackoff
	if w.backoff < 16 {
		d = min(d, w.cfg.MinBackoff<<w.backoff)
	}
	w.backoff++
	d = d/2 + rand.N(d/2+1)
	var asked delayed
	if errors.As(err, &asked) {
		d = max(d, min(asked.RetryAfter(), maxDelay))
	}
	return d
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
