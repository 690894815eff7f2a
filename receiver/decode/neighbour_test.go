package decode

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"

	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/test/wire"
)

// A walk is a series of label sets, each made from the one before by a few
// changes: of the usual kind, and of every kind that a rule is against.
type walk struct {
	*rand.Rand
	labels []prompb.Label
}

func (w *walk) step() []prompb.Label {
	values := []string{"a", "b", "", "\xff", "ä", strings.Repeat("v", 40), strings.Repeat("v", 41), strings.Repeat("w", 130)}
	names := []string{"__name__", "__type__", "__unit__", "a", "b", "c", "zone", "", "\xfe", strings.Repeat("n", 30), strings.Repeat("n", 31)}
	if len(w.labels) == 0 || w.IntN(8) == 0 {
		w.labels = labels("__name__", "kepler_x", "container_id", "7f", "node", "n", "pod", "p", "zone", "dram")
		if w.IntN(2) == 0 { // places that share a bit
			for i := range 70 {
				w.labels = append(w.labels, prompb.Label{Name: "zz" + string(rune('A'+i)), Value: "v"})
			}
		}
	}
	w.labels = slices.Clone(w.labels)
	for range w.IntN(3) {
		if len(w.labels) == 0 {
			break
		}
		switch i := w.IntN(len(w.labels)); w.IntN(12) {
		case 0:
			w.labels[i].Name = names[w.IntN(len(names))]
		case 1:
			w.labels = slices.Delete(w.labels, i, i+1)
		case 2:
			w.labels = slices.Insert(w.labels, i, prompb.Label{Name: names[w.IntN(len(names))], Value: "v"})
		case 3:
			k := w.IntN(len(w.labels))
			w.labels[i], w.labels[k] = w.labels[k], w.labels[i]
		case 4:
			w.labels[i].Value = values[w.IntN(len(values))]
		default:
			w.labels[i].Value = []string{"a", "b", "cc"}[w.IntN(3)]
		}
	}
	return w.labels
}

// neighbourLimits are such that a walk runs into each of them.
func neighbourLimits(c *Limits) {
	c.MaxLabelsPerSeries, c.MaxLabelNameBytes, c.MaxLabelValueBytes, c.MaxLabelSetBytes = 75, 30, 40, 340
}

// Whatever series went before, a series passes the same checks, is refused for
// the same reason and is copied in the same words as one that stands alone; and
// a copy that waits for a later series is none the worse.
func TestNeighboursAreCheckedAsIfAlone(t *testing.T) {
	limits := limits
	neighbourLimits(&limits)
	for _, protocol := range []journal.Protocol{journal.V1, journal.V2} {
		passed, refused, alike := 0, map[Reason]bool{}, 0
		for seed := range uint64(200) {
			w := &walk{Rand: rand.New(rand.NewPCG(seed, 7))}
			r := &prompb.WriteRequest{}
			for range 40 {
				r.Timeseries = append(r.Timeseries, prompb.TimeSeries{Labels: w.step()})
			}
			d := newTestDecoder(t, nil, wire.Everything{})
			d.limits = limits
			q := new(Request)
			var err error
			if protocol == journal.V2 {
				q.raw, err = asV2(r).Marshal()
			} else {
				q.raw, err = r.Marshal()
			}
			if err != nil {
				t.Fatal(err)
			}
			q.near.reset()
			if err := d.walk(q, protocol); err != nil {
				t.Fatal(err)
			}
			for i, ts := range r.Timeseries {
				var alone []rawLabel
				for _, l := range ts.Labels {
					alone = append(alone, rawLabel{name: []byte(l.Name), value: []byte(l.Value)})
				}
				want, wantWhy, wantCulprit := checkLabels(alone, &limits)
				if err := d.rowLabels(q, protocol, &q.rows[i]); err != nil {
					t.Fatal(err)
				}
				if q.near.same != 0 {
					alike++
				}
				got, why, culprit := q.near.check(&limits)
				if why != wantWhy || !bytes.Equal(culprit, wantCulprit) || !slices.EqualFunc(got, want, sameLabel) {
					t.Fatalf("protocol %v, seed %d, series %d %v: %q, %v, %q, want %q, %v, %q", protocol, seed, i, ts.Labels, got, why, culprit, want, wantWhy, wantCulprit)
				}
				if why != accepted {
					refused[why] = true
					continue
				}
				if passed++; w.IntN(3) > 0 {
					continue
				}
				owned := q.near.own(d.strings)
				if len(owned) != len(want) {
					t.Fatalf("protocol %v, seed %d, series %d: owned %v, want %q", protocol, seed, i, owned, want)
				}
				for k, l := range want {
					if owned[k].Name != string(l.name) || owned[k].Value != string(l.value) {
						t.Fatalf("protocol %v, seed %d, series %d: owned %v, want %q", protocol, seed, i, owned, want)
					}
				}
			}
		}
		if passed < 1000 || alike < 500 || len(refused) < 8 {
			t.Errorf("protocol %v: %d passed, %d like the one before, refused for %v: the walk does not go where it should", protocol, passed, alike, refused)
		}
	}
}

func sameLabel(a, b rawLabel) bool {
	return bytes.Equal(a.name, b.name) && bytes.Equal(a.value, b.value)
}

// Whole requests of neighbours, new and known, against the reference decoder.
func TestNeighboursAgreeWithTheReference(t *testing.T) {
	d := newTestDecoder(t, nil, wire.Everything{})
	neighbourLimits(&d.limits)
	for seed := range uint64(100) {
		w := &walk{Rand: rand.New(rand.NewPCG(seed, 8))}
		r := &prompb.WriteRequest{}
		for i := range 30 {
			r.Timeseries = append(r.Timeseries, one(w.step(), prompb.Sample{Timestamp: fuzzNowMs + int64(i), Value: float64(w.IntN(3))}).Timeseries...)
		}
		raw, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		differ(t, d, raw, journal.V1, seriesOfV1(r), nil)
		r2 := asV2(r)
		if raw, err = r2.Marshal(); err != nil {
			t.Fatal(err)
		}
		differ(t, d, raw, journal.V2, seriesOfV2(r2), nil)
	}
}

// Strings that come again are the same ones, and none is ever another.
func TestInternerKeepsOneCopy(t *testing.T) {
	var n interner
	w := rand.New(rand.NewPCG(1, 1))
	for range 300_000 {
		b := []byte{byte(w.IntN(256)), byte(w.IntN(256)), byte(w.IntN(4))}
		if s := n.intern(b); s != string(b) {
			t.Fatalf("%q is interned as %q", b, s)
		}
		again := n.intern(bytes.Clone(b))
		b[0]++
		if again[0] == b[0] {
			t.Fatalf("%q is kept by reference", b)
		}
	}
	b := []byte("kepler")
	if allocs := testing.AllocsPerRun(100, func() { n.intern(b) }); allocs != 0 {
		t.Errorf("a known string costs %v allocations", allocs)
	}
	if long := []byte(strings.Repeat("x", maxInternedBytes+1)); n.intern(long) != string(long) {
		t.Error("a long string is another one")
	}
}
