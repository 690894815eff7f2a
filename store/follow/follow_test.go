package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wattledger/wattledger/store"
)

// An outbox has one row to an entry; a row's revision is its entry.
type outbox struct {
	mu     sync.Mutex
	newest uint64
	gone   uint64 // entries up to here are gone
	place  map[string]uint64
	used   float64
}

func (o *outbox) Deliver(_ context.Context, name string, limit int) (d store.Delivery, ok bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := o.place[name]
	if at < o.gone {
		return d, false, fmt.Errorf("next entries: %w", store.ErrLostPlace)
	}
	for seq := at + 1; seq <= min(o.newest, at+uint64(limit)); seq++ {
		d.FromSeq, d.ToSeq = at+1, seq
		d.Windows = append(d.Windows, store.WindowRow{Revision: seq})
	}
	return d, d.ToSeq > 0, nil
}

func (o *outbox) Done(_ context.Context, name string, d store.Delivery) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.place[name] = max(o.place[name], d.ToSeq)
	return nil
}

func (o *outbox) Place(_ context.Context, name string) (store.Place, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := store.Place{Seq: o.place[name], Lag: o.newest - o.place[name], Used: o.used}
	if p.Lag > 0 {
		p.OldestMs = time.Now().Add(-time.Duration(p.Lag) * time.Second).UnixMilli()
	}
	return p, nil
}

func (o *outbox) Span(context.Context, string) (store.Span, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return store.Span{Seq: o.newest, FromMs: 0, ToMs: int64(o.newest)}, nil
}

// Stored has a row to a millisecond, two to a stretch.
func (o *outbox) Stored(_ context.Context, _ string, from int64) (rows store.Delivery, next int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for r := from + 1; r <= min(from+2, int64(o.newest)); r++ {
		rows.Windows = append(rows.Windows, store.WindowRow{Revision: uint64(r)})
	}
	return rows, from + 2, nil
}

func (o *outbox) add(n uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.newest += n
}

// A backend answers as it is told to, and notes what it is given.
type backend struct {
	name    string
	answer  func(call int, d store.Delivery) error
	mu      sync.Mutex
	calls   []string
	at      []time.Time
	has     map[uint64]bool
	checked func(seq uint64) error
}

func (b *backend) Name() string { return b.name }

func (b *backend) Write(_ context.Context, d store.Delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind := ""
	if d.Resync {
		kind = "stored "
	}
	var rows []uint64
	for _, r := range d.Windows {
		rows = append(rows, r.Revision)
	}
	b.calls = append(b.calls, fmt.Sprintf("%s%d-%d %v", kind, d.FromSeq, d.ToSeq, rows))
	b.at = append(b.at, time.Now())
	if b.answer != nil {
		if err := b.answer(len(b.calls), d); err != nil {
			return err
		}
	}
	if b.has == nil {
		b.has = map[uint64]bool{}
	}
	for _, r := range rows {
		b.has[r] = true
	}
	return nil
}

func (b *backend) Check(_ context.Context, seq uint64) error {
	if b.checked == nil {
		return nil
	}
	return b.checked(seq)
}

type later struct{ error }

func (later) RetryAfter() time.Duration { return 40 * time.Second }

type line struct {
	*Worker
	log *bytes.Buffer
	reg *prometheus.Registry
}

func start(t *testing.T, cfg Config, feed store.Feed, b *backend) line {
	reg := prometheus.NewRegistry()
	log := &bytes.Buffer{}
	w := New(cfg, feed, b, NewMetrics(reg), slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return line{w, log, reg}
}

func TestOutageIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &outbox{newest: 3, place: map[string]uint64{}}
		down := errors.New("redis.url: connection refused")
		b := &backend{name: "redis", answer: func(call int, _ store.Delivery) error {
			switch {
			case call == 3:
				return later{down}
			case call <= 20:
				return down
			}
			return nil
		}}
		w := start(t, Config{Setting: "redis.url", Limit: 2}, feed, b)
		time.Sleep(time.Hour)
		synctest.Wait()

		for i, c := range b.calls[:21] {
			if c != "1-2 [1 2]" {
				t.Errorf("call %d wrote %s: the same delivery must come until it is accepted", i, c)
			}
		}
		if got, want := b.calls[21:], []string{"3-3 [3]"}; !reflect.DeepEqual(got, want) {
			t.Errorf("then came %v, want %v", got, want)
		}
		for i := 1; i < 21; i++ {
			pause := b.at[i].Sub(b.at[i-1])
			least, most := 250*time.Millisecond<<min(i-1, 6), 500*time.Millisecond<<min(i-1, 6)
			if i-1 >= 6 {
				least, most = 15*time.Second, 30*time.Second
			}
			if i == 3 {
				least, most = 40*time.Second, 40*time.Second
			}
			if pause < least || pause > most {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, least, most)
			}
		}
		if n := strings.Count(w.log.String(), "outage begins"); n != 1 {
			t.Errorf("%d lines say that the outage begins:\n%s", n, w.log)
		}
		if n := strings.Count(w.log.String(), "outage ends"); n != 1 {
			t.Errorf("%d lines say that the outage ends:\n%s", n, w.log)
		}
		if !strings.Contains(w.log.String(), "setting=redis.url") {
			t.Errorf("the log does not name the setting:\n%s", w.log)
		}
		err := testutil.GatherAndCompare(w.reg, strings.NewReader(`
# HELP wattledger_follower_errors_total Times a follower did not take what it was given; each is tried again.
# TYPE wattledger_follower_errors_total counter
wattledger_follower_errors_total{follower="redis"} 20
# HELP wattledger_follower_lag_entries Outbox entries a follower has yet to take.
# TYPE wattledger_follower_lag_entries gauge
wattledger_follower_lag_entries{follower="redis"} 0
# HELP wattledger_follower_lag_seconds Age of the oldest outbox entry a follower has yet to take.
# TYPE wattledger_follower_lag_seconds gauge
wattledger_follower_lag_seconds{follower="redis"} 0
# HELP wattledger_follower_outbox_used_ratio How much of what the outbox may keep a follower has yet to take; at 1 it loses its place and the stored rows are sent again.
# TYPE wattledger_follower_outbox_used_ratio gauge
wattledger_follower_outbox_used_ratio{follower="redis"} 0
# HELP wattledger_follower_written_rows_total Rows a follower has accepted, those sent again included.
# TYPE wattledger_follower_written_rows_total counter
wattledger_follower_written_rows_total{follower="redis"} 3
`))
		if err != nil {
			t.Error(err)
		}
	})
}

func TestOneOutageDoesNotDelayAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &outbox{newest: 1, place: map[string]uint64{}}
		start(t, Config{}, feed, &backend{name: "a", answer: func(int, store.Delivery) error { return errors.New("down") }})
		start(t, Config{}, feed, &backend{name: "b"})
		time.Sleep(10 * time.Minute)
		feed.add(4)
		time.Sleep(time.Second)
		synctest.Wait()
		if feed.place["a"] != 0 || feed.place["b"] != 5 {
			t.Errorf("places are %v, want a at 0 and b at 5", feed.place)
		}
	})
}

// The place is lost in the outbox; while the stored rows are sent again the
// backend fails once, and then loses everything.
func TestLostPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &outbox{newest: 5, gone: 3, place: map[string]uint64{"redis": 1}}
		b := &backend{name: "redis"}
		b.answer = func(call int, d store.Delivery) error {
			switch call {
			case 2:
				return errors.New("timeout")
			case 3:
				feed.add(1) // does not belong to the span
			case 4:
				b.has = nil
				return fmt.Errorf("last id: %w", store.ErrLostPlace)
			}
			return nil
		}
		w := start(t, Config{}, feed, b)
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{
			"stored 5-5 [1 2]", "stored 5-5 [3 4]", "stored 5-5 [3 4]", "stored 5-5 [5 6]",
			"stored 6-6 [1 2]", "stored 6-6 [3 4]", "stored 6-6 [5 6]", "stored 6-6 []",
		}
		if !reflect.DeepEqual(b.calls, want) {
			t.Errorf("the backend was given\n%q, want\n%q", b.calls, want)
		}
		for r := uint64(1); r <= 6; r++ {
			if !b.has[r] {
				t.Errorf("row %d is missing", r)
			}
		}
		feed.add(1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := b.calls[len(want):]; !reflect.DeepEqual(got, []string{"7-7 [7]"}) {
			t.Errorf("then came %q", got)
		}
		if text, warning := w.Detail(); text != "0 entries behind" || warning {
			t.Errorf("detail is %q, %v", text, warning)
		}
	})
}

// A backend that lost what it was given is found out while nothing is written.
func TestIdleCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &outbox{newest: 2, place: map[string]uint64{}}
		b := &backend{name: "redis"}
		var empty atomic.Bool
		b.checked = func(seq uint64) error {
			if empty.Load() && len(b.calls) < 2 {
				return fmt.Errorf("entry %d: %w", seq, store.ErrLostPlace)
			}
			return nil
		}
		start(t, Config{}, feed, b)
		time.Sleep(time.Minute)
		synctest.Wait()
		empty.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"1-2 [1 2]", "stored 2-2 [1 2]", "stored 2-2 []"}
		if !reflect.DeepEqual(b.calls, want) {
			t.Errorf("the backend was given %q, want %q", b.calls, want)
		}
	})
}

func TestAboutToLosePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &outbox{newest: 2, place: map[string]uint64{}, used: 0.85}
		b := &backend{name: "influx", answer: func(int, store.Delivery) error { return errors.New("influxdb.url: no route to host") }}
		w := start(t, Config{}, feed, b)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(w.log.String(), "about to lose its place"); n != 1 {
			t.Errorf("%d lines warn:\n%s", n, w.log)
		}
		text, warning := w.Detail()
		if !warning || !strings.Contains(text, "2 entries behind, 85 %") || !strings.Contains(text, "no route to host") {
			t.Errorf("detail is %q, %v", text, warning)
		}
	})
}
