package local

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// flushOf returns a flush of which each holder's row says n, in pieces.
func flushOf(n uint64, holders []*power.Holder, start int64, pieces int) (list []store.Batch) {
	price := &power.Price{ElectricityPerKWh: 0.1}
	for part := range slices.Chunk(holders, (len(holders)+pieces-1)/pieces) {
		b := store.Batch{More: true}
		for _, h := range part {
			b.Charges = append(b.Charges, power.Charge{
				Holder: h, StartMs: start, Seconds: 60, SeenMs: 60_000, LastMs: start + 60_000,
				Energy: power.Energy{power.Microjoules(n)}, Price: price, Revision: n,
			})
		}
		list = append(list, b)
	}
	last := &list[len(list)-1]
	last.More, last.Position = false, n
	return list
}

func someHolders(n int) (list []*power.Holder) {
	for i := range n {
		list = append(list, &power.Holder{
			HolderKey: power.HolderKey{Cluster: "c", Node: fmt.Sprint("n", i%3), Kind: power.Container, ID: fmt.Sprint(i)},
			Workload:  power.Workload{Cluster: "c", Namespace: fmt.Sprint("ns", i%2), Name: fmt.Sprint("w", i%4)}, Type: power.Web,
		})
	}
	return list
}

// Who asks while a flush is written in pieces sees the flush before, all of it
// and nothing else, and does not wait for the last piece.
func TestFlushIsSeenWhole(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	holders := someHolders(40)
	seen := func() (n power.Microjoules) {
		t.Helper()
		rows, _, err := s.Power(t.Context(), store.PowerQuery{FromMs: day0, ToMs: day0 + 60_000, ByContainer: true, Limit: 100})
		if err != nil || len(rows) != len(holders) {
			t.Fatalf("%d containers, %v", len(rows), err)
		}
		for _, r := range rows {
			if r.Energy != rows[0].Energy {
				t.Fatalf("one container is of flush %d, another of %d", r.Energy[0], rows[0].Energy[0])
			}
		}
		sums, err := s.Sum(t.Context(), store.Query{FromMs: day0 - day0%format.HourMs, ToMs: day0 - day0%format.HourMs + format.HourMs, StepMs: format.HourMs})
		if err != nil || len(sums) != 1 || sums[0].Energy[0]%power.Microjoules(len(holders)) != 0 {
			t.Fatalf("%+v, %v", sums, err)
		}
		return max(rows[0].Energy[0], sums[0].Energy[0]/power.Microjoules(len(holders)))
	}
	for n := uint64(1); n < 4; n++ {
		for _, piece := range flushOf(n, holders, day0, 4) {
			if err := s.Append(t.Context(), piece); err != nil {
				t.Fatal(err)
			}
			if got, want := n-1, n; n > 1 && piece.More && seen() != power.Microjoules(got) || !piece.More && seen() != power.Microjoules(want) {
				t.Fatalf("within flush %d that of %d is seen", n, seen())
			}
		}
	}
	done := make(chan error, 1)
	go func() {
		for n := uint64(4); n < 60; n++ {
			for _, piece := range flushOf(n, holders, day0, 4) {
				if err := s.Append(context.Background(), piece); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	for before := power.Microjoules(0); ; {
		select {
		case err := <-done:
			if err != nil || seen() != 59 {
				t.Fatal(seen(), err)
			}
			return
		default:
		}
		if n := seen(); n >= before {
			before = n
		} else {
			t.Fatalf("after flush %d that of %d is seen", before, n)
		}
	}
}

// What readers keep seeing is true beside the file: a piece that changes what
// they read there is seen at once.
func TestPieceOfOldRows(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	holders := someHolders(4)
	for n, minute := range []int64{0, 1, 20} {
		for _, piece := range flushOf(uint64(n+1), holders, day0+minute*60_000, 1) {
			if err := s.Append(t.Context(), piece); err != nil {
				t.Fatal(err)
			}
		}
	}
	total := func() power.Microjoules {
		t.Helper()
		rows, err := s.Sum(t.Context(), store.Query{FromMs: day0, ToMs: day0 + format.HourMs, StepMs: format.HourMs})
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		return rows[0].Energy[0]
	}
	before := total()
	for _, minute := range []int64{20, 0} { // a piece that is not seen yet, and one with old rows
		piece := flushOf(10, holders, day0+minute*60_000, 2)[0]
		if err := s.Append(t.Context(), piece); err != nil {
			t.Fatal(err)
		}
		if minute == 20 && total() != before {
			t.Errorf("half a flush is seen: %d, not %d", total(), before)
		}
	}
	if got, want := total(), before+2*(10-3)+2*(10-1); got != want {
		t.Errorf("the hour used %d uJ, want %d", got, want)
	}
}

// Who asks while a commit is under way is answered from it or from the one
// before, and does not wait for it.
func TestQuestionsDoNotWaitForCommit(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "books.db"), DefaultConfig())
	if err := s.Append(t.Context(), batchN(1)); err != nil {
		t.Fatal(err)
	}
	inFile, finish, written := make(chan bool), make(chan bool), make(chan error, 1)
	go func() {
		written <- s.write(context.Background(), func(context.Context) (func(), error) {
			s.next.position = 2
			return func() { close(inFile); <-finish }, nil
		})
	}()
	<-inFile
	answered := make(chan error, 1)
	go func() {
		_, err := s.Sum(context.Background(), store.Query{FromMs: day0 - day0%format.HourMs, ToMs: day0 + format.HourMs, StepMs: format.HourMs})
		answered <- err
	}()
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a question waits for a commit")
	}
	close(finish)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

// What was asked of before is there when a flush is seen, and it is what a store
// that has just been opened answers.
func TestFlushWarms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	s := openTest(t, path, DefaultConfig())
	holders := someHolders(30)
	write := func(n uint64, minute int64) {
		t.Helper()
		for _, piece := range flushOf(n, holders[:10+10*min(n, 2)], day0+minute*60_000, 3) {
			if err := s.Append(t.Context(), piece); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask := func(s *Store) (containers, workloads []store.PowerRow, sums []string) {
		t.Helper()
		q := store.PowerQuery{FromMs: day0, ToMs: day0 + 300_000, Limit: 100}
		var errs [2]error
		workloads, _, errs[0] = s.Power(t.Context(), q)
		q.ByContainer = true
		containers, _, errs[1] = s.Power(t.Context(), q)
		if errs[0] != nil || errs[1] != nil {
			t.Fatal(errs)
		}
		return containers, workloads, sumLines(t, s, store.Query{FromMs: day0 - day0%format.HourMs, ToMs: day0 + format.HourMs, StepMs: format.HourMs, GroupBy: []store.Dimension{store.Namespace}})
	}
	write(1, 0)
	if ask(s); len(s.at().power.views) != 1 {
		t.Fatalf("%d views of one stretch", len(s.at().power.views))
	}
	for n := uint64(2); n < 16; n++ { // up to the edge of what is recent, and past it
		write(n, int64(n))
		if n == 5 { // described anew, without a row
			h := *holders[0]
			h.Workload.Name, h.Rule = "another", "told later"
			if err := s.Append(t.Context(), store.Batch{Holders: []*power.Holder{&h}}); err != nil {
				t.Fatal(err)
			}
			holders[0] = &h
		}
		m := s.at()
		if n > 6 { // the stretch that was asked for is behind
			continue
		}
		if len(m.power.views) != 1 || !slices.Equal(m.power.views[0].starts, m.recent.between(day0/1000, day0/1000+300)) {
			t.Fatalf("after flush %d nothing is ready for who asks next", n)
		}
		if m.power.views[0].used.all.Load() == nil {
			t.Fatalf("after flush %d nothing is ready for who asks about workloads", n)
		}
		for _, h := range m.recent.hours {
			if len(h.recent) > 0 && h.spaces.list == nil {
				t.Fatalf("after flush %d the sums of hour %d are not ready", n, h.hour)
			}
		}
		containers, workloads, sums := ask(s)
		cold := openTest(t, copyBooks(t, path), DefaultConfig())
		containersCold, workloadsCold, sumsCold := ask(cold)
		if !reflect.DeepEqual(containers, containersCold) || !reflect.DeepEqual(workloads, workloadsCold) || !slices.Equal(sums, sumsCold) {
			t.Fatalf("after flush %d\nwarm %+v\n%+v\n%q\ncold %+v\n%+v\n%q", n, containers, workloads, sums, containersCold, workloadsCold, sumsCold)
		}
	}
	// Nobody has asked for a while: nothing is made in advance.
	s.at().power.views[0].asked = time.Now().Add(-2 * askedLately)
	s.openHoursAsked.Store(0)
	write(16, 16)
	if m := s.at(); len(m.power.views) != 0 || m.recent.hours[len(m.recent.hours)-1].spaces.list != nil {
		t.Errorf("what nobody asks for any more is made again: %d views", len(m.power.views))
	}
}

// After a start the sums of the open hour are read before anybody asks.
func TestRunReadsOpenHours(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	s := openTest(t, path, DefaultConfig())
	start := int64(day0 - day0%format.HourMs)
	for m := range int64(40) {
		if err := s.Append(t.Context(), flushOf(uint64(m+1), someHolders(3), start+m*60_000, 1)[0]); err != nil {
			t.Fatal(err)
		}
	}
	again := openTest(t, copyBooks(t, path), DefaultConfig())
	h := again.at().recent.hour(start / 1000)
	if h == nil || h.older.list.Load() != nil {
		t.Fatal("the sums are known without having been read")
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- again.Run(ctx) }()
	for began := time.Now(); h.older.list.Load() == nil && time.Since(began) < 10*time.Second; {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if h.older.list.Load() == nil {
		t.Fatal("the sums of the open hour are left to the first who asks")
	}
	q := store.Query{FromMs: start, ToMs: start + format.HourMs, StepMs: format.HourMs, GroupBy: []store.Dimension{store.Namespace}}
	if got, want := sumLines(t, again, q), sumLines(t, s, q); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
