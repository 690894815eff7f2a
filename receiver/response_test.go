package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/receiver/journal"
)

func TestAcceptedIsDurableAndBooked(t *testing.T) {
	s := newStation(t, nil)
	body := bodyV1(t, one(kepler, at(0, 1)))
	before := time.Now().UnixMilli()
	a := s.post(body, "User-Agent", "Prometheus/3.16.0", "Content-Encoding", "snappy")
	s.want(a, 204)
	if a.text != "" {
		t.Errorf("204 has a body: %q", a.text)
	}
	for name := range a.header {
		if strings.Contains(name, "Written") {
			t.Errorf("1.0 was answered %s", name)
		}
	}
	if s.tape.len() != 1 {
		t.Fatalf("%d records", s.tape.len())
	}
	r := s.tape.records[0]
	if string(r.Body) != string(body) || r.Protocol != journal.V1 || r.Encoding != journal.Snappy || r.Sender != "Prometheus/3.16.0@127.0.0.1" ||
		r.ArrivalMs < before || r.ArrivalMs > time.Now().UnixMilli() {
		t.Errorf("record is %+v", r)
	}
	s.wantBooked(1)
	if s.book.Position != 1 {
		t.Errorf("booked at %d", s.book.Position)
	}
}

func TestFilteredIsWrittenButNotJournalled(t *testing.T) {
	s := newStation(t, nil)
	r := one(labels("__name__", "up"), at(0, 1), at(0, 2))
	for range 2 {
		a := s.postV2(asV2(r))
		s.want(a, 204)
		s.wantWritten(a, "2", "0", "0")
		s.want(s.postV1(r), 204)
	}
	if s.tape.len() != 0 {
		t.Errorf("%d records", s.tape.len())
	}
	s.wantBooked(0)
	if got := s.metric("wattledger_filtered_series_total"); got != "4" {
		t.Errorf("filtered series: %q", got)
	}
	// With a mapped one beside it, the filtered one is left out of what is booked.
	r.Timeseries = append(r.Timeseries, one(kepler, at(0, 1)).Timeseries...)
	a := s.postV2(asV2(r))
	s.want(a, 204)
	s.wantWritten(a, "3", "0", "0")
	s.wantBooked(1)
}

// The text keeps to what Prometheus reads, however much is wrong.
func TestRejectionTextIsBounded(t *testing.T) {
	s := newStation(t, nil)
	r := one(kepler, at(0, 1))
	long := strings.Repeat("€", 4000)
	for i := range 200 {
		name := "kepler_" + long[:3*(i%300)]
		r.Timeseries = append(r.Timeseries,
			one(labels("__name__", name, long[:300], long, long[:300], "b"), at(0, 1)).Timeseries[0],
			one(labels("a", long), at(0, 1)).Timeseries[0],
			one(labels("__name__", name, "", "b"), at(0, 1)).Timeseries[0],
			one(labels("__name__", name, "a", "\xff"+long), at(0, 1)).Timeseries[0],
			one(labels("__name__", name, "a", long), at(-time.Hour, 1)).Timeseries[0])
	}
	a := s.postV1(r)
	s.want(a, 400)
	if !strings.HasPrefix(a.text, "1000 of 1001 samples rejected, 1 stored: ") {
		t.Errorf("text begins %.80q", a.text)
	}
	s.wantBooked(1)
}

func TestOverLimitSeries(t *testing.T) {
	s := newStation(t, nil)
	s.book.MaxSeries = 1
	s.want(s.postV1(one(kepler, at(0, 1))), 204)
	r := one(kepler, at(0, 2))
	r.Timeseries = append(r.Timeseries, one(labels("__name__", "kepler_new"), at(0, 1), at(0, 2)).Timeseries...)
	s.want(s.postV1(r), 400, "2 of 3 samples rejected, 1 stored", "limit max_series (2)", "e.g. kepler_new")
	s.wantBooked(2)
	a := s.postV2(asV2(one(labels("__name__", "kepler_new"), at(0, 1))))
	s.want(a, 400, "limit max_series (1)")
	s.wantWritten(a, "0", "0", "0")
	if got := s.metric(`wattledger_rejected_total{reason="limit_series"}`); got != "3" {
		t.Errorf("limit_series is %q", got)
	}
}

func retryAfter(t *testing.T, a answer, most int) {
	t.Helper()
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || n > most {
		t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
	}
}

func TestJournalErrorsBookNothing(t *testing.T) {
	f := func(err error, rests bool) {
		t.Helper()
		s := newStation(t, nil)
		s.tape.fail(fmt.Errorf("append: %w", err))
		a := s.postV2(asV2(one(kepler, at(0, 1))))
		s.want(a, 503, err.Error(), "send it again")
		retryAfter(t, a, 5)
		s.wantWritten(a, "", "", "")
		s.wantBooked(0)
		if got := s.handler.journalRestsUntil.Load() > time.Now().UnixNano(); got != rests {
			t.Errorf("%v: the journal rests: %v", err, got)
		}
	}
	f(journal.ErrFull, true)
	f(journal.ErrFailed, true)
	f(journal.ErrClosed, true)
	f(errors.New("disk on fire"), false)

	s := newStation(t, nil)
	s.tape.fail(journal.ErrTooLarge)
	s.want(s.postV1(one(kepler, at(0, 1))), 400)

	// A full journal is tried again.
	s = newStation(t, nil)
	s.tape.fail(journal.ErrFull)
	s.want(s.postV1(one(kepler, at(0, 1))), 503)
	s.tape.fail(nil)
	s.handler.journalRestsUntil.Store(time.Now().UnixNano() - 1)
	s.want(s.postV1(one(kepler, at(0, 1))), 204)
	s.wantBooked(1)
}

// dialHeaders sends the head of a request whose body never comes, and returns the answer.
func (s *station) dialHeaders() *http.Response {
	s.Helper()
	connection, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/api/v1/write"))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.Fatal(err)
	}
	fmt.Fprintf(connection, "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\nExpect: 100-continue\r\nContent-Length: 1000\r\nRetry-Attempt: 3\r\n\r\n")
	response, err := http.ReadResponse(newReader(connection), nil)
	if err != nil {
		s.Fatal(err)
	}
	return response
}

func TestRefusedBeforeTheBodyIsRead(t *testing.T) {
	s := newStation(t, nil)
	f := func(name string, want int, closes bool) {
		t.Helper()
		r := s.dialHeaders()
		if r.StatusCode != want {
			t.Errorf("%s: %s, want %d", name, r.Status, want)
		}
		if closes && !r.Close {
			t.Errorf("%s: the connection is kept", name)
		}
		if want == 503 {
			retryAfter(t, answer{header: r.Header}, 5)
		}
	}
	f("ready", 100, false)
	s.handler.SetReady(false)
	f("starting", 503, false)
	s.handler.SetReady(true)
	s.handler.journalRestsUntil.Store(1<<63 - 1)
	f("journal failed", 503, false)
	s.handler.journalRestsUntil.Store(0)
	s.handler.limits.MaxConcurrentRequests = 0
	f("overloaded", 503, false)
	s.handler.limits.MaxConcurrentRequests = 10
	stopping, cancel := context.WithCancel(t.Context())
	cancel()
	_ = s.handler.Stop(stopping)
	f("stopping", 503, true)
	s.wantBooked(0)
	if got := s.metric("wattledger_retry_attempts_total"); got != "4" {
		t.Errorf("retries: %q", got)
	}
}

func TestRetryAfterGrowsWithAttempts(t *testing.T) {
	most := func(attempt int) (n int) {
		for range 1000 {
			got := retryAfterSeconds(attempt)
			if got < 1 || got > 5 {
				t.Fatalf("attempt %d: %d s", attempt, got)
			}
			n = max(n, got)
		}
		return n
	}
	for attempt, want := range []int{2, 3, 4, 5, 5, 5} {
		if got := most(attempt); got != want {
			t.Errorf("attempt %d: at most %d s, want %d", attempt, got, want)
		}
	}
	if got := most(-7); got != 2 {
		t.Errorf("attempt -7: at most %d s", got)
	}
}

// Whoever is let in is answered in full; Stop waits for it.
func TestStopWaitsForRequestsInTheWorks(t *testing.T) {
	s := newStation(t, nil)
	s.tape.hold, s.tape.waiting = make(chan struct{}), make(chan struct{})
	answered := make(chan answer)
	go func() { answered <- s.postV1(one(kepler, at(0, 1))) }()
	<-s.tape.waiting
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.handler.Stop(short); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop returned %v with a request in the works", err)
	}
	s.want(s.postV1(one(kepler, at(0, 1))), 503, "shutting down")
	close(s.tape.hold)
	if err := s.handler.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	s.want(<-answered, 204)
	s.wantBooked(1)
	if err := s.handler.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// A position that was taken is booked even if its sender has gone away.
func TestSenderGoesAwayDuringAppend(t *testing.T) {
	s := newStation(t, nil)
	s.tape.hold, s.tape.waiting = make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(string(bodyV1(t, one(kepler, at(0, 1))))))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(r)
		gone <- err
	}()
	<-s.tape.waiting
	cancel()
	if err := <-gone; err == nil {
		t.Error("the request was answered")
	}
	close(s.tape.hold)
	if err := s.handler.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.tape.len() != 1 {
		t.Errorf("%d records", s.tape.len())
	}
	s.wantBooked(1)
}

// A body that the network cuts off is not the sender's fault.
func TestCutBodyIsNotABadRequest(t *testing.T) {
	s := newStation(t, nil)
	connection, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/api/v1/write"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\nContent-Length: 1000\r\n\r\nhalf")
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(newReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 503 || !response.Close {
		t.Errorf("%s, close %v", response.Status, response.Close)
	}
}

func TestSlowBodyIsCutOff(t *testing.T) {
	s := newStation(t, func(c *Config) { c.BodyTimeout = 50 * time.Millisecond })
	connection, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/api/v1/write"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\nContent-Length: 1000\r\n\r\nslow")
	response, err := http.ReadResponse(newReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != 503 {
		t.Error(response.Status)
	}
	if s.handler.inflight != 0 || s.handler.bodyBytes.Load() != 0 {
		t.Errorf("%d in the works, %d bytes held", s.handler.inflight, s.handler.bodyBytes.Load())
	}
}

func TestBodiesInFlightAreBounded(t *testing.T) {
	s := newStation(t, func(c *Config) { c.MaxBodyBytes, c.MaxInflightBodyBytes = 4<<20, 4<<20 })
	// As if other requests held most of it.
	s.handler.bodyBytes.Store(3 << 20)
	s.want(s.post(make([]byte, 2<<20)), 503, "max_inflight_body_bytes (4194304)")
	// One whose body does not come is told so all the same.
	body, feed := io.Pipe()
	defer feed.Close()
	began := time.Now()
	s.handler.bodyBytes.Store(4 << 20)
	s.want(s.do(http.MethodPost, body), 503, "max_inflight_body_bytes (4194304)")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("refused after %v", took)
	}
	s.handler.bodyBytes.Store(3 << 20)
	s.want(s.postV1(one(kepler, at(0, 1))), 204)
	if got := s.handler.bodyBytes.Load(); got != 3<<20 {
		t.Errorf("%d bytes held after all were answered", got)
	}
}

func TestReplayBooksWhatWasBooked(t *testing.T) {
	s := newStation(t, nil)
	r := one(kepler, at(0, 1), at(-time.Hour, 2)) // in an hour's time the second would be good
	r.Timeseries = append(r.Timeseries, one(labels("a", "b"), at(0, 1)).Timeseries...)
	r.Timeseries = append(r.Timeseries, one(labels("__name__", "up"), at(0, 1)).Timeseries...)
	s.want(s.postV1(r), 400)
	s.want(s.postV2(asV2(r)), 400)
	s.want(s.postV1(one(kepler, at(0, 5), at(time.Minute, 6))), 204)
	s.want(s.postV1(one(labels("__name__", "kube_pod_info", "pod", "p"), at(0, 1))), 204)
	for i := range s.tape.records {
		s.tape.records[i].ArrivalMs -= 3600_000 // the clock has moved on since
	}
	want := s.book.Taken()

	again := newStation(t, func(c *Config) { c.MaxSeriesPerRequest, c.MaxSamplesPerRequest, c.MaxDecodedBytes = 1, 1, 64 })
	again.handler.SetReady(false)
	for i := range s.tape.records {
		s.tape.records[i].ArrivalMs += 3600_000
	}
	done, err := again.replay(s.tape, 1)
	if err != nil || done != (ledger.Replayed{Records: 4, Samples: 11, Booked: len(want)}) {
		t.Fatalf("replayed %+v, %v", done, err)
	}
	got := again.book.Taken()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("replay booked %v, want %v", got, want)
	}
	if again.book.Position != 4 || len(again.book.Facts) != 1 {
		t.Errorf("position %d, facts %v", again.book.Position, again.book.Facts)
	}

	// From the middle, as after a snapshot.
	tail := newStation(t, nil)
	tail.book.Position = 2
	done, err = tail.replay(s.tape, 3)
	if err != nil || done != (ledger.Replayed{Records: 2, Samples: 3, Booked: 3}) {
		t.Errorf("replayed %+v, %v", done, err)
	}

	s.tape.records[1].Body[5] ^= 0xff
	broken := newStation(t, nil)
	if _, err := broken.replay(s.tape, 1); err == nil || !strings.Contains(err.Error(), "record 2: ") {
		t.Errorf("a record that cannot be read: %v", err)
	}
}

// A record of which nothing maps any more still takes its turn.
func TestReplayKeepsPositionsContiguous(t *testing.T) {
	s := newStation(t, nil)
	for _, name := range []string{"kepler_x", "up", "kepler_y"} {
		s.tape.records = append(s.tape.records, journal.Record{
			Protocol: journal.V1, Encoding: journal.Snappy, ArrivalMs: time.Now().UnixMilli(),
			Body: bodyV1(t, one(labels("__name__", name), at(0, 1))),
		})
	}
	if _, err := s.replay(s.tape, 1); err != nil {
		t.Fatal(err)
	}
	s.wantBooked(2)
	if s.book.Position != 3 {
		t.Errorf("position is %d", s.book.Position)
	}
}

// Many senders at once share the pools and lose nothing.
func TestConcurrentRequests(t *testing.T) {
	s := newStation(t, nil)
	done := make(chan answer)
	const n = 40
	for i := range n {
		go func() {
			r := &prompb.WriteRequest{}
			for k := range 50 {
				r.Timeseries = append(r.Timeseries, one(labels("__name__", "kepler_x", "i", strconv.Itoa((i+k)%60)), at(0, float64(i))).Timeseries...)
			}
			if i%2 == 0 {
				done <- s.postV1(r)
			} else {
				done <- s.postV2(asV2(r))
			}
		}()
	}
	for range n {
		s.want(<-done, 204)
	}
	if got := len(s.book.Taken()); got != n*50 {
		t.Errorf("%d samples booked, want %d", got, n*50)
	}
	if s.tape.len() != n {
		t.Errorf("%d records, want %d", s.tape.len(), n)
	}
}

// What is wrong is said of a series that a person can find, and "stored" only of
// what was.
func TestAnswersNameWhatCanBeFound(t *testing.T) {
	s := newStation(t, nil)
	r := one(kepler, at(0, 1))
	r.Timeseries = append(r.Timeseries, one(nil, at(0, 1)).Timeseries...)
	s.want(s.postV1(r), 400, "e.g. series 2 of the request's 2, with 0 labels")

	empty := make([]prompb.Label, 65)
	s.want(s.postV1(one(empty, at(0, 1))), 400, "e.g. series 1 of the request's 1, with 65 labels and none of a name and a value")

	named := append(labels("__name__", "kepler_x", "node", "n1"), empty...)
	s.want(s.postV1(one(named, at(0, 1))), 400, `e.g. kepler_x{node="n1"} and 63 labels without a name or a value`)

	r = one(labels("__name__", "up"), at(0, 1))
	r.Timeseries = append(r.Timeseries, one(nil, at(0, 1)).Timeseries...)
	s.want(s.postV1(r), 400, "1 of 2 samples rejected, 0 stored, 1 of no use here")
}
