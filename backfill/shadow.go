package backfill

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/transform"
)

// A shadow is fed with what a Prometheus has stored. Its windows are what the
// books would hold had every sample come in time.
type shadow struct {
	line      *ledger.Shadow
	windowMs  int64
	horizonMs int64 // how far behind its newest sample a node's windows may move
	open      map[nodeKey]map[int64]*shadowWindow
	samples   int
}

type nodeKey struct{ cluster, node string }

// A shadowWindow is one node's window with all its rows.
type shadowWindow struct {
	node    power.NodeWindow
	charges map[power.HolderKey]power.Charge
}

func (w *shadowWindow) key() nodeKey { return nodeKey{w.node.Cluster, w.node.Node} }

// past is a journal of what has been: it can only be read.
type past struct {
	read func(fn func(position uint64, r *journal.Record) error) error
}

func (p *past) Read(_ context.Context, _ uint64, fn func(position uint64, r *journal.Record) error) error {
	return p.read(fn)
}

// A chunker says how much time is read at once: so much that requests are few,
// and so little that what they answer fits into memory.
type chunker time.Duration

// firstChunk is short: nobody knows yet how many series there are.
const firstChunk = chunker(time.Minute)

func (c *chunker) next(samples int) {
	switch d := time.Duration(*c); {
	case samples > 400_000:
		*c = chunker(max(d/2, 15*time.Second))
	case samples < 100_000:
		*c = chunker(min(2*d, 2*time.Hour))
	}
}

// run feeds an empty line with the samples from fromMs on, until endMs or until
// more says that it has had enough. take gets each node's windows in the order
// of time, once they cannot move any more; after is called with how far it is.
func runShadow(ctx context.Context, l *ledger.Ledger, source *Source, fromMs, endMs int64,
	more func(fedMs int64) bool, take func(*shadowWindow) error, after func(s *shadow, fedMs int64) error) error {
	line, err := l.Shadow()
	if err != nil {
		return err
	}
	defer line.Close()
	s := &shadow{
		line: line, windowMs: l.Config().Transform.Window.Milliseconds(),
		horizonMs: l.Config().HorizonMs(), open: map[nodeKey]map[int64]*shadowWindow{},
	}
	feed := &past{}
	position, chunk, at := uint64(0), firstChunk, fromMs
	for at < endMs && more(at) {
		to := min(at+time.Duration(chunk).Milliseconds(), endMs)
		var failed error // as it was, without what Replay adds of a journal that is none
		n := 0
		feed.read = func(fn func(uint64, *journal.Record) error) error {
			n, failed = eachRecord(ctx, source, at, to, func(r *journal.Record) error {
				position++
				return fn(position, r)
			})
			return failed
		}
		// It returns when all of the chunk has been booked.
		if _, err := line.Replay(ctx, feed, position+1); err != nil {
			return cmp.Or(failed, err)
		}
		s.samples += n
		chunk.next(n)
		at = to
		if err := s.collect(at, false, take); err != nil {
			return err
		}
		if err := after(s, at); err != nil {
			return err
		}
	}
	return s.collect(at, true, take)
}

// eachRecord reads a stretch of time and gives it to f in the requests and at
// the times of arrival in which it would have come.
func eachRecord(ctx context.Context, source *Source, fromMs, toMs int64, f func(*journal.Record) error) (samples int, err error) {
	list, err := source.Series(ctx, fromMs, toMs)
	if err != nil {
		return 0, err
	}
	err = Bodies(list, func(b Body) error {
		samples += b.Samples
		return f(&journal.Record{Protocol: journal.V1, Encoding: journal.Snappy, ArrivalMs: b.NewestMs, Sender: "backfill", Body: b.Content})
	})
	return samples, err
}

// collect hands over the windows that cannot move any more. At the end these
// are also those of nodes that fell silent.
func (s *shadow) collect(fedMs int64, end bool, take func(*shadowWindow) error) error {
	b := s.line.Collect()
	window := func(cluster, node string, startMs int64) *shadowWindow {
		k := nodeKey{cluster, node}
		if s.open[k] == nil {
			s.open[k] = map[int64]*shadowWindow{}
		}
		w := s.open[k][startMs]
		if w == nil {
			w = &shadowWindow{charges: map[power.HolderKey]power.Charge{}}
			s.open[k][startMs] = w
		}
		return w
	}
	for _, c := range b.Charges {
		window(c.Holder.Cluster, c.Holder.Node, c.StartMs).charges[c.Holder.HolderKey] = c
	}
	for _, n := range b.Nodes {
		window(n.Cluster, n.Node, n.StartMs).node = n
	}
	states := s.line.Nodes()
	slices.SortFunc(states, func(a, b transform.NodeState) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Node, b.Node))
	})
	for _, n := range states {
		final := n.OpenMs
		if end {
			final = max(final, fedMs-s.horizonMs)
		}
		windows := s.open[nodeKey{n.Cluster, n.Node}]
		for _, start := range slices.Sorted(maps.Keys(windows)) {
			if start+s.windowMs > final {
				break
			}
			if err := take(windows[start]); err != nil {
				return err
			}
			delete(windows, start)
		}
	}
	return nil
}

// heldMs is the start of the oldest window of the nodes that have not been handed
// over, fedMs if there is none.
func (s *shadow) heldMs(fedMs int64, of func(nodeKey) bool) int64 {
	for k, windows := range s.open {
		if !of(k) {
			continue
		}
		for start := range windows {
			fedMs = min(fedMs, start)
		}
	}
	return fedMs
}
