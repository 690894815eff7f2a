package ledger

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/decode"
	"github.com/wattledger/wattledger/receiver/journal"
)

// Replayed says how much a replay went through.
type Replayed struct {
	Records int
	Samples int // in the records
	Booked  int // of these, those that the metric table maps
}

// Replay brings memory to where the log ends. It must end before anything is
// booked.
func (l *Ledger) Replay(ctx context.Context) error {
	begin := time.Now()
	from, err := l.flush.load(ctx)
	if err != nil {
		return err
	}
	if first := l.log.First(); first > from {
		return fmt.Errorf("journal begins at record %d, after record %d that is needed next: the books would miss what lies between", first, from)
	}
	done, err := Replay(ctx, l.log, from, l.decoder, l.cache)
	if err != nil {
		return err
	}
	if done.Records > 0 || from > 1 {
		l.logger.Info("books are up to date", "records", done.Records, "samples", done.Samples, "booked", done.Booked, "from", from, "seconds", time.Since(begin).Seconds())
	}
	return nil
}

// A Reader is the part of a log that a replay needs.
type Reader interface {
	Read(ctx context.Context, from uint64, fn func(position uint64, r *journal.Record) error) error
}

// A Counter counts requests in the order of their positions.
type Counter interface {
	Apply(q *counter.Request) counter.Outcome
}

// A replay is one record on its way back into memory.
type replay struct {
	decode.Request
	body     []byte
	position uint64
	record   journal.Record
	decoded  chan error
}

// Replay counts a log's records from a position on, as they were counted when
// they came: time is the record's own. As with requests that come in, bodies are
// decoded beside each other and counted in the order of their positions.
func Replay(ctx context.Context, log Reader, from uint64, decoder *decode.Decoder, to Counter) (done Replayed, err error) {
	d, err := decoder.ForReplay()
	if err != nil {
		return done, fmt.Errorf("replay journal: %w", err)
	}
	defer d.Close()

	workers := runtime.GOMAXPROCS(0)
	idle := make(chan *replay, 4*workers)
	for range cap(idle) {
		idle <- &replay{decoded: make(chan error, 1)}
	}
	toDecode, toBook := make(chan *replay, cap(idle)), make(chan *replay, cap(idle))

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(toDecode)
		defer close(toBook)
		return log.Read(ctx, from, func(position uint64, r *journal.Record) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case x := <-idle:
				x.take(position, r)
				toDecode <- x // there is room for all
				toBook <- x
				return nil
			}
		})
	})
	for range workers {
		group.Go(func() error {
			for x := range toDecode {
				d.Confine(&x.Request, x.record.Clusters)
				x.decoded <- d.Decode(&x.Request, x.record.Protocol, x.record.Encoding, x.body, x.record.ArrivalMs)
			}
			return nil
		})
	}
	group.Go(func() error {
		for x := range toBook {
			if err := <-x.decoded; err != nil {
				return fmt.Errorf("record %d: %w", x.position, err)
			}
			x.Out.Position = x.position
			to.Apply(&x.Out)
			done.Records++
			done.Samples += x.Tally.Samples
			done.Booked += len(x.Out.Samples)
			idle <- x
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return done, fmt.Errorf("replay journal from record %d: %w", from, err)
	}
	return done, nil
}

// keepBytes bounds the body that an idle replay holds on to.
const keepBytes = 4 << 20

// take copies a record, which is good only until the reader goes on.
func (x *replay) take(position uint64, r *journal.Record) {
	x.Reset()
	if cap(x.body) > keepBytes {
		x.body = nil
	}
	x.position, x.record = position, *r
	x.body = append(x.body[:0], r.Body...)
	x.record.Body = nil
}
