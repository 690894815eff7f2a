package receiver

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/decode"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/test/wire"
)

// A tape is a journal in memory.
type tape struct {
	mu      sync.Mutex
	records []journal.Record
	err     error         // what Append answers
	hold    chan struct{} // when not nil, Append waits for it
	waiting chan struct{} // Append says here that it waits
}

func (j *tape) Append(ctx context.Context, r *journal.Record) (uint64, error) {
	if j.hold != nil {
		j.waiting <- struct{}{}
		<-j.hold
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if j.err != nil {
		return 0, j.err
	}
	kept := *r
	kept.Body = bytes.Clone(r.Body)
	j.records = append(j.records, kept)
	return uint64(len(j.records)), nil
}

func (j *tape) Read(ctx context.Context, from uint64, fn func(uint64, *journal.Record) error) error {
	for i := from; i <= uint64(len(j.records)); i++ {
		if err := fn(i, &j.records[i-1]); err != nil {
			return err
		}
	}
	return nil
}

func (j *tape) Release(uint64) error { return nil }
func (j *tape) First() uint64        { return 1 }
func (j *tape) Last() uint64         { return uint64(j.len()) }

func (j *tape) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.records)
}

func (j *tape) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = err
}

// A station is a handler behind a real HTTP server.
type station struct {
	*testing.T
	handler *Handler
	book    *wire.Book
	tape    *tape
	reg     *prometheus.Registry
	url     string
	found   []counter.Finding
}

func (s *station) Quarantine() []counter.Quarantined { return nil }

// Findings are those that a test gives.
func (s *station) Findings() []counter.Finding { return s.found }

func newStation(t *testing.T, change func(*Config)) *station {
	t.Helper()
	return newStationOf(t, wire.KeplerTable{}, change)
}

func newStationOf(t *testing.T, table decode.Mapper, change func(*Config)) *station {
	t.Helper()
	cfg := Default
	if change != nil {
		change(&cfg)
	}
	s := &station{T: t, book: wire.NewBook(), tape: new(tape), reg: prometheus.NewRegistry()}
	var err error
	decoder, err := decode.New(cfg.Limits, s.book, table)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(decoder.Close)
	s.handler, err = New(cfg, decoder, s, slog.New(slog.NewTextHandler(io.Discard, nil)), s.reg)
	if err != nil {
		t.Fatal(err)
	}
	s.handler.SetReady(true)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	s.url = server.URL + "/api/v1/write"
	return s
}

// Book makes a station the ledger of its handler.
func (s *station) Book(ctx context.Context, r *journal.Record, q *counter.Request) (o counter.Outcome, err error) {
	if q.Position, err = s.tape.Append(ctx, r); err != nil {
		return o, err
	}
	return s.book.Apply(q), nil
}

// replay counts the records of a tape as a start does.
func (s *station) replay(tape *tape, from uint64) (ledger.Replayed, error) {
	return ledger.Replay(s.Context(), tape, from, s.handler.decoder, s.book)
}

// An answer is a response that has been read.
type answer struct {
	code   int
	text   string
	header http.Header
}

const contentTypeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"

// post sends a body with headers given as name, value, name, value.
func (s *station) post(body []byte, headers ...string) answer {
	s.Helper()
	return s.do(http.MethodPost, bytes.NewReader(body), headers...)
}

func (s *station) do(method string, body io.Reader, headers ...string) answer {
	s.Helper()
	r, err := http.NewRequest(method, s.url, body)
	if err != nil {
		s.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatal(err)
	}
	return answer{response.StatusCode, string(text), response.Header}
}

func (s *station) postV1(r *prompb.WriteRequest) answer {
	s.Helper()
	return s.post(bodyV1(s, r), "Content-Type", "application/x-protobuf", "Content-Encoding", "snappy")
}

func (s *station) postV2(r *writev2.Request) answer {
	s.Helper()
	return s.post(bodyV2(s, r), "Content-Type", contentTypeV2, "Content-Encoding", "snappy")
}

// wantWritten checks the Written headers of a 2.0 answer.
func (s *station) wantWritten(a answer, samples, histograms, exemplars string) {
	s.Helper()
	got := [3]string{
		a.header.Get("X-Prometheus-Remote-Write-Samples-Written"),
		a.header.Get("X-Prometheus-Remote-Write-Histograms-Written"),
		a.header.Get("X-Prometheus-Remote-Write-Exemplars-Written"),
	}
	if want := [3]string{samples, histograms, exemplars}; got != want {
		s.Errorf("Written headers are %q, want %q (%d %s)", got, want, a.code, a.text)
	}
}

func (s *station) want(a answer, code int, parts ...string) {
	s.Helper()
	if a.code != code {
		s.Errorf("answered %d %q, want %d", a.code, a.text, code)
	}
	for _, part := range parts {
		if !strings.Contains(a.text, part) {
			s.Errorf("answered %q, want %q in it", a.text, part)
		}
	}
	if len(a.text) > decode.MaxAnswerBytes {
		s.Errorf("answer has %d bytes", len(a.text))
	}
}

func (s *station) wantBooked(n int) {
	s.Helper()
	if got := s.book.Taken(); len(got) != n {
		s.Errorf("%d samples booked, want %d: %v", len(got), n, got)
	}
	if len(s.book.Gaps) > 0 {
		s.Errorf("positions not contiguous: %v", s.book.Gaps)
	}
}

// metric returns the value of one series on /metrics, written as Prometheus does.
func (s *station) metric(series string) string {
	s.Helper()
	page := httptest.NewRecorder()
	promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := page.Body.String()
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// The words of these tests.
var (
	labels       = wire.Labels
	one          = wire.One
	at           = wire.At
	kepler       = wire.Kepler
	asV2         = wire.AsV2
	bodyV1       = wire.BodyV1
	bodyV2       = wire.BodyV2
	snap         = wire.Snap
	uvarintBytes = wire.Uvarint
)
