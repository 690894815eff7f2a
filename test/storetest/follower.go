package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/test/faultproxy"
)

// A Backend is a follower and a real server for it.
type Backend struct {
	Addr string // host:port of the server
	// Open returns a follower that reaches the server at addr. It is closed by the
	// test's cleanup.
	Open func(t *testing.T, addr string) store.Follower
	// Rows returns the energy the server has for each RowKey. It fails the test if
	// anything is there twice.
	Rows func(t *testing.T) map[string]power.Microjoules
	// Write is a text that every request which writes has in it, Later one that the
	// first such request of a delivery does not have and another does.
	Write, Later string
	Setting      string // which every error names
	HTTP         bool   // the server speaks HTTP
}

// RowKey names a row in what Backend.Rows returns.
func RowKey(w power.Workload, startMs int64, seconds int32) string {
	return fmt.Sprintf("%s@%d+%d", w.ID(), startMs, seconds)
}

// A failure is what goes wrong with one delivery.
type failure struct {
	name    string
	fault   faultproxy.Fault
	timeout time.Duration // of the write; 0: none
	goesOn  bool          // the write goes well all the same
}

func (b Backend) failures() []failure {
	list := []failure{
		{name: "error, not persisted", fault: faultproxy.Fault{When: b.Write, Mute: true}},
		{name: "error, not persisted: connections refused", fault: faultproxy.Fault{Refuse: true}},
		{name: "error, but persisted", fault: faultproxy.Fault{When: b.Write, DropReply: true}},
		{name: "error in the middle of the reply, but persisted", fault: faultproxy.Fault{When: b.Write, CutDown: 3}},
		{name: "half applied, the rest not", fault: faultproxy.Fault{When: b.Later, Mute: true}},
		{name: "half applied, the rest too, but unheard", fault: faultproxy.Fault{When: b.Later, DropReply: true}},
		{name: "cut at the beginning of a request", fault: faultproxy.Fault{When: b.Write, CutUp: 10}},
		{name: "cut in the middle of a request", fault: faultproxy.Fault{When: b.Write, CutUp: 1500}},
		{name: "cut late in a request", fault: faultproxy.Fault{When: b.Write, CutUp: 6000}},
		{name: "slow", fault: faultproxy.Fault{When: b.Write, Delay: 30 * time.Millisecond}, goesOn: true},
		{name: "too slow", fault: faultproxy.Fault{When: b.Write, Delay: 400 * time.Millisecond}, timeout: 200 * time.Millisecond},
	}
	if !b.HTTP {
		return list
	}
	for _, status := range []int{408, 429, 500, 502, 503, 507} {
		list = append(list, failure{name: fmt.Sprint("answered ", status), fault: faultproxy.Fault{
			When: b.Write, Status: status, Header: http.Header{"Retry-After": {"1"}}, Body: `{"code":"x","message":"not now"}`,
		}})
	}
	return list
}

// RunFollower writes deliveries while something goes wrong with each, again by
// the same follower or by one that knows nothing of it, as after a crash. In the
// end the server has every row, once.
func RunFollower(t *testing.T, b Backend) {
	proxy := faultproxy.Start(t, b.Addr)
	f := b.Open(t, proxy.Addr())
	want := map[string]power.Microjoules{}
	var all []store.Delivery
	first := time.Now().Add(-3 * time.Hour).Truncate(time.Hour).UnixMilli()
	for _, crash := range []bool{false, true} {
		for _, c := range b.failures() {
			d := deliveryOf(len(all), first, want)
			all = append(all, d)
			t.Run(fmt.Sprintf("%s, crash=%v", c.name, crash), func(t *testing.T) {
				proxy.Set(c.fault)
				ctx, cancel := context.WithCancel(t.Context())
				if c.timeout > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), c.timeout)
				}
				err := f.Write(ctx, d)
				cancel()
				if (err == nil) != c.goesOn {
					t.Errorf("the write ends with %v", err)
				}
				if err != nil && (!strings.Contains(err.Error(), b.Setting) || errors.Is(err, store.ErrLostPlace)) {
					t.Errorf("the error is %v, want one that names %s and not %v", err, b.Setting, store.ErrLostPlace)
				}
				if proxy.Struck() == 0 {
					t.Error("nothing went wrong")
				}
				proxy.Clear()
				proxy.Cut()
			})
			if crash {
				f = b.Open(t, proxy.Addr())
			}
			if err := f.Write(t.Context(), d); err != nil {
				t.Fatalf("%s: again: %v", c.name, err)
			}
		}
		b.agree(t, want)
	}
	// A delivery that comes again says what its entries amount to by now.
	f = b.Open(t, proxy.Addr())
	superseded := func(r store.WindowRow) bool {
		return want[RowKey(r.Workload, r.StartMs, r.Seconds)] != r.Energy.Total()
	}
	for _, d := range all[len(all)/2:] {
		d.Windows, d.Hours = slices.DeleteFunc(d.Windows, superseded), slices.DeleteFunc(d.Hours, superseded)
		if err := f.Write(t.Context(), d); err != nil {
			t.Fatalf("replay: %v", err)
		}
	}
	b.agree(t, want)
}

// deliveryOf returns the delivery of entry n+1: many windows, some of them rows of
// before restated, and an hour. It notes what is true then.
func deliveryOf(n int, firstMs int64, want map[string]power.Microjoules) store.Delivery {
	seq := uint64(n + 1)
	d := store.Delivery{FromSeq: seq, ToSeq: seq, CommitMs: firstMs + 3_600_000 + int64(n)}
	row := func(i int, startMs int64, seconds int32) store.WindowRow {
		uj := power.Microjoules(1_000_000 + 1000*n + i)
		r := store.WindowRow{
			Node: "n1", Workload: power.Workload{Cluster: "c1", Namespace: fmt.Sprint("ns", i%5), Kind: "deployment", Name: fmt.Sprint("w", i)}, Type: power.Web,
			StartMs: startMs, Seconds: seconds, Energy: power.Energy{uj}, Cost: flat.Cost(uj), Price: *flat,
			SeenMs: int64(seconds) * 1000, HeldMs: int64(seconds) * 1000, LastMs: startMs + int64(seconds)*1000, Containers: 1, Revision: seq,
		}
		want[RowKey(r.Workload, startMs, seconds)] = uj
		return r
	}
	for i := range 300 {
		d.Windows = append(d.Windows, row(i, firstMs+int64(n)*minute, 60))
		if n > 0 && i%10 == 0 {
			d.Windows = append(d.Windows, row(i, firstMs+int64(n-1)*minute, 60))
		}
	}
	for i := range 20 {
		d.Hours = append(d.Hours, row(i, firstMs, 3600))
	}
	return d
}

func (b Backend) agree(t *testing.T, want map[string]power.Microjoules) {
	t.Helper()
	got := b.Rows(t)
	if maps.Equal(got, want) {
		return
	}
	for k, w := range want {
		if g, ok := got[k]; !ok || g != w {
			t.Errorf("of %d rows, want %d, the server has %s with %d, %v; want %d", len(got), len(want), k, g, ok, w)
			return
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("the server has %s, which nobody wrote", k)
			return
		}
	}
}
