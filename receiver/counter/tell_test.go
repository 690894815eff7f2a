package counter

import (
	"fmt"
	"slices"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// heard is a Sink that writes down what it is told of holders.
type heard struct {
	discard
	lines []string
}

func (h *heard) Holder(_ int, n uint32, key power.HolderKey, a power.Attributes, generation string) {
	h.lines = append(h.lines, fmt.Sprintf("%d %s %s %s", n, key.ID, a.Pod, generation))
}

func (h *heard) Forget(_ int, n uint32) { h.lines = append(h.lines, fmt.Sprintf("forget %d", n)) }

// A holder is announced once however many new series it has, again when one says
// more, and its number again when it is given to another one.
func TestHoldersAreToldOnce(t *testing.T) {
	sink := &heard{}
	cfg := DefaultConfig()
	c := New(cfg, sink)
	position, key, atMs := uint64(0), uint64(0), int64(baseMs)
	see := func(list ...metric.Mapping) {
		position++
		r := Request{Position: position, ArrivalMs: atMs}
		for i, m := range list {
			key++
			m.Role, m.MicrojoulesPerUnit, m.Holder.Node, m.Holder.Kind = metric.RoleCounter, 1e6, "n", power.Container
			r.New = append(r.New, Series{Key: Key{key, key}, Mapping: m})
			r.Samples = append(r.Samples, Sample{New: int32(i), TMs: atMs, Value: 1})
		}
		c.Apply(&r)
	}
	of := func(id, zone, pod, generation string) (m metric.Mapping) {
		m.Holder.ID, m.Zone, m.Attributes.Pod, m.Generation = id, zone, pod, generation
		return m
	}
	want := func(lines ...string) {
		t.Helper()
		if !slices.Equal(sink.lines, lines) {
			t.Errorf("told %q, want %q", sink.lines, lines)
		}
		sink.lines = nil
	}
	see(of("a", "package", "", metric.OtherSource), of("a", "dram", "", metric.OtherSource))
	want("0 a  other")
	see(of("a", "core", "", metric.OtherSource))
	want()
	see(of("a", "psys", "p", metric.OtherSource), of("a", "uncore", "p", metric.OtherSource))
	want("0 a p other")
	see(of("b", "1", "", metric.KeplerNew), of("a", "1", "p", metric.KeplerNew), of("b", "2", "", metric.KeplerNew))
	want("1 b  kepler-0.10+", "0 a p kepler-0.10+", "1 b  kepler-0.10+")
	for range 8 { // past two sweeps
		atMs += cfg.ForgetAfter.Milliseconds()
		see()
	}
	want("forget 0", "forget 1")
	see(of("c", "2", "", metric.KeplerNew)) // the number told last, and nothing else to say
	want("1 c  kepler-0.10+")
}
