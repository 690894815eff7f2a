package receiver

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/receiver/journal"
)

// Replayed says how much a replay went through.
type Replayed struct {
	Records int
	Samples int // in the records
	Booked  int // of these, those that the metric table maps
}

// A replay is one record on its way back into the books.
type replay struct {
	request
	position uint64
	record   journal.Record
	decoded  chan error
}

// Replay books the journal's records from a position on, as they were booked
// when they came: time is the record's own. It must end before SetReady(true).
//
// As with requests that come in, bodies are decoded beside each other and booked
// in the order of their positions.
func (h *Handler) Replay(ctx context.Context, from uint64) (done Replayed, err error) {
	d, err := h.decoder.ForReplay()
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
		return h.journal.Read(ctx, from, func(position uint64, r *journal.Record) error {
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
			h.cache.Apply(&x.Out)
			done.Records++
			done.Samples += x.Tally.Samples
			done.Booked += len(x.Out.Samples)
			idle <- x
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return done, fmt.Errorf("replay journal from %d: %w", from, err)
	}
	return done, nil
}

// take copies a record, which is good only until the reader goes on.
func (x *replay) take(position uint64, r *journal.Record) {
	x.reset()
	x.position, x.record = position, *r
	x.body = append(x.body, r.Body...)
	x.record.Body = nil
}
