package follow

import (
	"context"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/store"
)

// failed counts an error. The first of an outage is logged, and then what
// changes, or nothing new for a while.
func (w *Worker) failed(err error) {
	w.metrics.errors.WithLabelValues(w.follower.Name()).Inc()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	o := &w.outage
	text := err.Error()
	o.last = text
	switch {
	case o.since.IsZero():
		o.since = now
		w.log.Warn("follower outage begins, its entries wait", "err", err)
	case text != o.text && now.Sub(o.logged) >= time.Minute, now.Sub(o.logged) >= remindEvery:
		w.log.Warn("follower outage goes on", "err", err, "since", o.since, "behind_entries", w.place.Lag)
	default:
		if text != o.text {
			w.log.Debug("follower outage goes on", "err", err)
		}
		return
	}
	o.text, o.logged = text, now
}

// recovered ends an outage.
func (w *Worker) recovered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked = true
	if w.outage.since.IsZero() {
		return
	}
	w.log.Info("follower outage ends", "seconds", time.Since(w.outage.since).Seconds(), "behind_entries", w.place.Lag)
	w.outage = outage{}
}

// measure updates the place and what is shown of it.
func (w *Worker) measure(ctx context.Context) (store.Place, error) {
	p, err := w.feed.Place(ctx, w.follower.Name())
	if err != nil {
		return p, err
	}
	name := w.follower.Name()
	w.metrics.lag.WithLabelValues(name).Set(float64(p.Lag))
	seconds := 0.0
	if p.OldestMs > 0 {
		seconds = max(0, time.Since(time.UnixMilli(p.OldestMs)).Seconds())
	}
	w.metrics.lagSeconds.WithLabelValues(name).Set(seconds)
	w.metrics.used.WithLabelValues(name).Set(p.Used)
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.place
	w.place = p
	if p.Used >= warnAt && before.Used < warnAt {
		w.log.Warn("follower is about to lose its place in the outbox; the stored rows would be sent again",
			"behind_entries", p.Lag, "behind_seconds", seconds, "outbox_used_percent", int(p.Used*100))
	}
	return p, nil
}

// Current reports whether the backend has what the books have, but for the last
// moments: a minute at most.
func (w *Worker) Current() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.looked || w.busy || !w.outage.since.IsZero() {
		return false
	}
	return w.place.Lag == 0 || time.Since(time.UnixMilli(w.place.OldestMs)) < time.Minute
}

func (w *Worker) setBusy(busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = busy
}

// Detail says in one sentence how the follower is, and whether that is a reason
// to look after it. It is none to stop serving: the books are complete.
func (w *Worker) Detail() (text string, warning bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.place.Used >= warnAt:
		text, warning = fmt.Sprintf("about to lose its place: %d entries behind, %d %% of what the outbox keeps", w.place.Lag, int(w.place.Used*100)), true
	case w.busy:
		text, warning = "the stored rows are being sent again", true
	default:
		text = fmt.Sprintf("%d entries behind", w.place.Lag)
	}
	if !w.outage.since.IsZero() {
		text, warning = fmt.Sprintf("%s; not accepting since %s: %s", text, w.outage.since.UTC().Format(time.RFC3339), w.outage.last), true
	}
	return text, warning
}
