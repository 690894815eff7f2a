package counter

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/test/exposition"
)

// captured is where the bodies lie that a real Prometheus sent of a real Kepler.
const captured = "../../cmd/wattledger/testdata/captured"

// books is a Sink that adds up what it is given.
type books struct {
	holders map[[2]uint32]power.HolderKey
	totals  map[string]power.Microjoules // by holder, measure and component
	windows map[string]power.Microjoules // the same and by minute
	facts   int
}

func newBooks() *books {
	return &books{
		holders: map[[2]uint32]power.HolderKey{},
		totals:  map[string]power.Microjoules{},
		windows: map[string]power.Microjoules{},
	}
}

func (b *books) Holder(shard int, h uint32, key power.HolderKey, attrs power.Attributes, generation string) {
	b.holders[[2]uint32{uint32(shard), h}] = key
}
func (b *books) Learn(uint64, int64, power.Fact) { b.facts++ }
func (b *books) Forget(shard int, h uint32)      { delete(b.holders, [2]uint32{uint32(shard), h}) }

func (b *books) Append(shard int, _ uint64, _ int64, readings []power.Reading) {
	for _, r := range readings {
		k := b.holders[[2]uint32{uint32(shard), r.Holder}]
		name := fmt.Sprintf("%s/%s/%s/%.8s m%d %s", k.Cluster, k.Node, k.Kind, k.ID, r.Measure, r.Component)
		b.totals[name] += r.Energy
		const minute = 60_000
		e, done := r.Energy, power.Microjoules(0)
		for at := (r.StartMs / minute) * minute; at < r.EndMs || at == (r.StartMs/minute)*minute; at += minute {
			to := min(r.EndMs, at+minute)
			part := e - done
			if to < r.EndMs {
				part = power.Microjoules(float64(e)*float64(to-r.StartMs)/float64(r.EndMs-r.StartMs)) - done
			}
			done += part
			b.windows[fmt.Sprintf("%s @%d", name, at)] += part
		}
	}
	maps.DeleteFunc(b.windows, func(_ string, e power.Microjoules) bool { return e == 0 })
}

func (b *books) total(holder, measure, component string) power.Microjoules {
	for name, e := range b.totals {
		if strings.Contains(name, holder) && strings.HasSuffix(name, measure+" "+component) {
			return e
		}
	}
	return 0
}

// sample is a labelled sample of a body.
type sample struct {
	labels  []power.Label
	tMs     int64
	startMs int64
	value   float64
}

// feeder gives samples to a cache as the receiver does.
type feeder struct {
	cache    *Cache
	table    *metric.Table
	position uint64
	seed     maphash.Seed
	arrival  int64
	outcome  Outcome // sum
}

var (
	once        sync.Once
	sharedTable *metric.Table // parsed once: tests make many caches
)

// shippedTable is the metric table that the product ships with.
func shippedTable(t testing.TB) *metric.Table {
	t.Helper()
	file, err := os.ReadFile("../../configs/metrics.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := metric.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func newFeeder(t testing.TB, sink Sink) *feeder {
	once.Do(func() { sharedTable = shippedTable(t) })
	return &feeder{cache: New(DefaultConfig(), sink), table: sharedTable, seed: maphash.MakeSeed(), arrival: 1_795_476_220_648}
}

func (f *feeder) send(samples []sample) Outcome {
	f.position++
	r := Request{Position: f.position, ArrivalMs: f.arrival}
	for _, s := range samples {
		m, ok := f.table.Map(s.labels)
		if name := exposition.Value(s.labels, "__name__"); ok && !f.table.Knows([]byte(name)) {
			panic("the table maps series of " + name + " and does not know it")
		}
		if !ok {
			continue
		}
		var h maphash.Hash
		h.SetSeed(f.seed)
		for _, l := range s.labels {
			h.WriteString(l.Name + "\xff" + l.Value + "\xfe")
		}
		keys, refs := []Key{{h.Sum64(), h.Sum64() * 3}}, []Ref{0}
		f.cache.Lookup(keys, refs)
		x := Sample{Ref: refs[0], TMs: s.tMs, StartMs: s.startMs, Value: s.value}
		if x.Ref == 0 {
			x.New = int32(len(r.New))
			r.New = append(r.New, Series{Key: keys[0], Mapping: m, Labels: s.labels})
		}
		r.Samples = append(r.Samples, x)
	}
	o := f.cache.Apply(&r)
	f.outcome.Booked += o.Booked
	f.outcome.Duplicate += o.Duplicate
	f.outcome.Late += o.Late
	f.outcome.Conflict += o.Conflict
	f.outcome.Quarantined += o.Quarantined
	return o
}

// bodies returns the captured bodies of one protocol ("v1" or "v2"), in order.
func bodies(t testing.TB, protocol string) [][]sample {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(captured, protocol+"-*.snappy"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured bodies of %s: %v", protocol, err)
	}
	slices.Sort(files)
	var all [][]sample
	for _, f := range files {
		compressed, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := snappy.Decode(nil, compressed)
		if err != nil {
			t.Fatal(err)
		}
		var body []sample
		add := func(l labels.Labels, tMs int64, v float64) {
			var pairs []power.Label
			l.Range(func(l labels.Label) { pairs = append(pairs, power.Label{Name: l.Name, Value: l.Value}) })
			body = append(body, sample{labels: pairs, tMs: tMs, value: v})
		}
		b := labels.NewScratchBuilder(32)
		if protocol == "v1" {
			var req prompb.WriteRequest
			if err := req.Unmarshal(raw); err != nil {
				t.Fatal(err)
			}
			for _, ts := range req.Timeseries {
				for _, s := range ts.Samples {
					add(ts.ToLabels(&b, nil), s.Timestamp, s.Value)
				}
			}
		} else {
			var req writev2.Request
			if err := req.Unmarshal(raw); err != nil {
				t.Fatal(err)
			}
			for _, ts := range req.Timeseries {
				l, err := ts.ToLabels(&b, req.Symbols)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range ts.Samples {
					add(l, s.Timestamp, s.Value)
				}
			}
		}
		all = append(all, body)
	}
	return all
}

func bookAll(t testing.TB, bodies ...[]sample) *books {
	t.Helper()
	b := newBooks()
	f := newFeeder(t, b)
	for _, body := range bodies {
		f.send(body)
	}
	return b
}

func TestCaptured(t *testing.T) {
	v1, v2 := bodies(t, "v1"), bodies(t, "v2")
	want := bookAll(t, v1...)
	if os.Getenv("PRINT") != "" {
		for _, name := range slices.Sorted(maps.Keys(want.totals)) {
			t.Log(name, want.totals[name])
		}
		var truth any
		file, _ := os.ReadFile(filepath.Join(captured, "truth.json"))
		_ = json.Unmarshal(file, &truth)
		t.Log(truth)
	}

	same := func(name string, got *books) {
		t.Helper()
		if !maps.Equal(got.windows, want.windows) {
			t.Errorf("%s: the books differ: %v", name, difference(got.windows, want.windows))
		}
	}
	same("the 2.0 bodies", bookAll(t, v2...))

	var twice, interleaved, lost [][]sample
	for i := range v1 {
		twice = append(twice, v1[i], v1[i])
		interleaved = append(interleaved, v1[i])
		if i < len(v2) {
			interleaved = append(interleaved, v2[i])
		}
		lost = append(lost, v1[i])
		if i%2 == 1 {
			lost = append(lost, v1[i]) // its answer was lost, it comes again
		}
	}
	same("every body twice", bookAll(t, twice...))
	same("all bodies, then all again", bookAll(t, append(slices.Clone(v1), v1...)...))
	same("1.0 and 2.0 interleaved", bookAll(t, interleaved...))
	same("every second one again", bookAll(t, lost...))
}

// Whatever order samples come in within the reorder window, each account's
// total is the same to the microjoule: resets, first samples and terminated
// tails included.
func TestCapturedShuffled(t *testing.T) {
	v1 := bodies(t, "v1")
	want := bookAll(t, v1...)
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		shuffled := slices.Clone(v1)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if seed%2 == 1 { // single samples too, not only bodies
			all := slices.Concat(v1...)
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			shuffled = slices.Collect(slices.Chunk(all, 100))
		}
		if got := bookAll(t, shuffled...); !equalTotals(got, want) {
			t.Fatalf("seed %d: totals differ: %v", seed, difference(got.totals, want.totals))
		}
	}
}

func equalTotals(a, b *books) bool { return len(difference(a.totals, b.totals)) == 0 }

func difference(got, want map[string]power.Microjoules) []string {
	var d []string
	for k := range got {
		if got[k] != want[k] {
			d = append(d, fmt.Sprintf("%s: got %d, want %d", k, got[k], want[k]))
		}
	}
	for k := range want {
		if _, ok := got[k]; !ok && want[k] != 0 {
			d = append(d, fmt.Sprintf("%s: got nothing, want %d", k, want[k]))
		}
	}
	slices.Sort(d)
	return d
}
