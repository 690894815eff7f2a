package local

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// FeedConfig says what of the outbox a follower is of interest to.
type FeedConfig struct {
	Windows time.Duration // how far back windows are
	Hours   time.Duration // and hours
	Whole   bool          // a workload's window comes with the rows of all nodes
	Spaces  bool          // hours come with their sums by namespace
}

// Feed returns the outbox as a follower takes it.
func (s *Store) Feed(c FeedConfig) store.Feed { return &feed{books: s, FeedConfig: c} }

type feed struct {
	books *Store
	FeedConfig
}

// storedStep is how much is sent at once of a time that has windows.
const storedStep = 10 * time.Minute

func (f *feed) place(ctx context.Context, name string) (Cursor, error) {
	list, err := f.books.Followers(ctx)
	if err != nil {
		return Cursor{}, err
	}
	for _, at := range list {
		if at.Name == name {
			return at, nil
		}
	}
	return Cursor{}, fmt.Errorf("no follower %s", name)
}

func (f *feed) Place(ctx context.Context, name string) (store.Place, error) {
	at, err := f.place(ctx, name)
	if err != nil {
		return store.Place{}, err
	}
	p := store.Place{Seq: at.Seq, Lag: at.Lag}
	if at.Lag > 0 {
		p.Used, p.OldestMs, err = f.books.waiting(ctx, at.Seq)
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
	if f.Spaces {
		if d.Spaces, err = f.spacesOf(ctx, d.Hours); err != nil {
			return d, false, err
		}
	}
	if !f.Whole {
		return d, true, nil
	}
	now := time.Now()
	if d.Windows, err = complete(ctx, d.Windows, now.Add(-f.Windows), f.books.WindowsBetween); err != nil {
		return d, false, err
	}
	d.Hours, err = complete(ctx, d.Hours, now.Add(-f.Hours), f.books.HoursBetween)
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
		sp, ok := spans[r.StartMs/format.HourMs]
		if !ok {
			sp = span{r.StartMs, r.StartMs}
		}
		spans[r.StartMs/format.HourMs] = span{min(sp.from, r.StartMs), max(sp.to, r.StartMs)}
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

func (f *feed) Span(ctx context.Context, name string) (store.Span, error) {
	at, err := f.place(ctx, name)
	if err != nil {
		return store.Span{}, err
	}
	now := time.Now()
	from := now.Add(-max(f.Windows, f.Hours)).UnixMilli()
	from = max(from, min(f.books.OldestMs(), now.UnixMilli()))
	return store.Span{
		Seq: at.Seq + at.Lag, CommitMs: now.UnixMilli(),
		FromMs: time.UnixMilli(from).Truncate(time.Hour).UnixMilli(),
		ToMs:   now.Add(time.Hour).UnixMilli(),
	}, nil
}

func (f *feed) Stored(ctx context.Context, _ string, fromMs int64) (rows store.Delivery, nextMs int64, err error) {
	// Before the windows there are only hours, and far fewer.
	windowsFrom := time.Now().Add(-f.Windows).UnixMilli()
	if fromMs < windowsFrom {
		nextMs = min(fromMs+(24*time.Hour).Milliseconds(), windowsFrom)
	} else {
		nextMs = fromMs + storedStep.Milliseconds()
		if rows.Windows, err = f.books.WindowsBetween(ctx, fromMs, nextMs); err != nil {
			return rows, 0, err
		}
	}
	if rows.Hours, err = f.books.HoursBetween(ctx, fromMs, nextMs); err != nil {
		return rows, 0, err
	}
	if f.Spaces {
		rows.Spaces, err = f.spacesOf(ctx, rows.Hours)
	}
	return rows, nextMs, err
}

// spacesOf returns what was used in the hours that rows start in, all of it. The
// rows of a delivery are of a few hours, or of many that follow each other.
func (f *feed) spacesOf(ctx context.Context, rows []store.WindowRow) (list []store.Row, err error) {
	const atOnce = 7 * 24 * format.HourMs
	var starts []int64
	for i := range rows {
		if n := len(starts); n == 0 || starts[n-1] != rows[i].StartMs {
			starts = append(starts, rows[i].StartMs)
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	for len(starts) > 0 {
		n := 1
		for n < len(starts) && starts[n] == starts[n-1]+format.HourMs && starts[n]-starts[0] < atOnce {
			n++
		}
		part, err := f.books.Sum(ctx, store.Query{
			FromMs: starts[0], ToMs: starts[n-1] + format.HourMs, StepMs: format.HourMs,
			GroupBy: []store.Dimension{store.Cluster, store.Namespace, store.WorkloadType},
		})
		if err != nil {
			return nil, err
		}
		list, starts = append(list, part...), starts[n:]
	}
	return list, nil
}
