// Package wire has what tests of the receive path have in common: bodies of remote
// write, a metric table of their own, and a counter cache that writes down what it
// is told.
package wire

import (
	"fmt"
	"math"
	"sync"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
)

// A Booked sample is one that reached the cache.
type Booked struct {
	Series  string // all labels
	TMs     int64
	StartMs int64
	Bits    uint64
}

// A Book is a counter cache that writes down what it is told.
type Book struct {
	MaxSeries int // 0 for none
	Outcome   func(*counter.Request, counter.Outcome) counter.Outcome

	mu       sync.Mutex
	refs     map[counter.Key]counter.Ref
	Series   []string // by Ref-2
	Samples  []Booked
	Facts    [][]power.Label
	Position uint64
	Lookups  int
	Gaps     []string
}

const ignoredRef counter.Ref = 1

// NewBook returns an empty one.
func NewBook() *Book { return &Book{refs: make(map[counter.Key]counter.Ref)} }

func (b *Book) Lookup(keys []counter.Key, refs []counter.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Lookups++
	for i, k := range keys {
		refs[i] = b.refs[k]
	}
}

func (b *Book) Ignore(keys []counter.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range keys {
		b.refs[k] = ignoredRef
	}
}

func (b *Book) Apply(r *counter.Request) (o counter.Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Position != b.Position+1 {
		b.Gaps = append(b.Gaps, fmt.Sprintf("%d after %d", r.Position, b.Position))
	}
	b.Position = r.Position
	names := make([]string, len(r.New))
	for i, n := range r.New {
		names[i] = n.Mapping.Holder.Cluster + n.Mapping.Zone
		if b.MaxSeries > 0 && len(b.Series) >= b.MaxSeries {
			names[i] = ""
			o.OverLimitSeries = i
			continue
		}
		b.Series = append(b.Series, names[i])
		b.refs[n.Key] = counter.Ref(len(b.Series) + 1)
		if n.Labels != nil {
			b.Facts = append(b.Facts, n.Labels)
		}
	}
	for _, s := range r.Samples {
		name := ""
		if s.Ref == 0 {
			name = names[s.New]
		} else {
			name = b.Series[s.Ref-2]
		}
		if name == "" {
			o.OverLimit++
			continue
		}
		b.Samples = append(b.Samples, Booked{name, s.TMs, s.StartMs, math.Float64bits(s.Value)})
		o.Booked++
	}
	if b.Outcome != nil {
		o = b.Outcome(r, o)
	}
	return o
}

func (b *Book) Taken() []Booked {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Booked(nil), b.Samples...)
}
