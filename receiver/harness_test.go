package receiver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
)

// A booked sample is one that reached the cache.
type booked struct {
	series  string // all labels
	tMs     int64
	startMs int64
	bits    uint64
}

// A book is a Cache that writes down what it is told.
type book struct {
	maxSeries int // 0 for none
	outcome   func(*counter.Request, counter.Outcome) counter.Outcome

	mu       sync.Mutex
	refs     map[counter.Key]counter.Ref
	series   []string // by Ref-2
	samples  []booked
	facts    [][]power.Label
	position uint64
	lookups  int
	gaps     []string
}

const ignoredRef counter.Ref = 1

func newBook() *book { return &book{refs: make(map[counter.Key]counter.Ref)} }

func (b *book) Lookup(keys []counter.Key, refs []counter.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lookups++
	for i, k := range keys {
		refs[i] = b.refs[k]
	}
}

func (b *book) Ignore(keys []counter.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range keys {
		b.refs[k] = ignoredRef
	}
}

func (b *book) Apply(r *counter.Request) (o counter.Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Position != b.position+1 {
		b.gaps = append(b.gaps, fmt.Sprintf("%d after %d", r.Position, b.position))
	}
	b.position = r.Position
	names := make([]string, len(r.New))
	for i, n := range r.New {
		names[i] = n.Mapping.Holder.Cluster + n.Mapping.Zone
		if b.maxSeries > 0 && len(b.series) >= b.maxSeries {
			names[i] = ""
			o.OverLimitSeries = i
			continue
		}
		b.series = append(b.series, names[i])
		b.refs[n.Key] = counter.Ref(len(b.series) + 1)
		if n.Labels != nil {
			b.facts = append(b.facts, n.Labels)
		}
	}
	for _, s := range r.Samples {
		name := ""
		if s.Ref == 0 {
			name = names[s.New]
		} else {
			name = b.series[s.Ref-2]
		}
		if name == "" {
			o.OverLimit++
			continue
		}
		b.samples = append(b.samples, booked{name, s.TMs, s.StartMs, math.Float64bits(s.Value)})
		o.Booked++
	}
	if b.outcome != nil {
		o = b.outcome(r, o)
	}
	return o
}

func (b *book) taken() []booked {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]booked(nil), b.samples...)
}

// keplerTable maps what is called kepler_ or kube_; Zone holds all labels.
type keplerTable struct{}

func (keplerTable) Knows(metric []byte) bool {
	return bytes.HasPrefix(metric, []byte("kepler_")) || bytes.HasPrefix(metric, []byte("kube_"))
}

func (keplerTable) Map(labels []power.Label) (m metric.Mapping, ok bool) {
	var all strings.Builder
	name := ""
	for _, l := range labels {
		if l.Name == "__name__" {
			name = l.Value
		}
		fmt.Fprintf(&all, "%q=%q,", l.Name, l.Value)
	}
	m = metric.Mapping{Role: metric.RoleCounter, Zone: all.String(), Generation: "kepler-0.10+"}
	if strings.HasPrefix(name, "kube_") {
		m.Role, m.Generation = metric.RoleFact, ""
	}
	return m, strings.HasPrefix(name, "kepler_") || strings.HasPrefix(name, "kube_")
}

// everything maps every series.
type everything struct{}

func (everything) Knows([]byte) bool { return true }

func (everything) Map(labels []power.Label) (metric.Mapping, bool) {
	m, _ := keplerTable{}.Map(labels)
	return m, true
}

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
	book    *book
	tape    *tape
	reg     *prometheus.Registry
	url     string
}

func newStation(t *testing.T, change func(*Config)) *station {
	t.Helper()
	cfg := Default
	if change != nil {
		change(&cfg)
	}
	s := &station{T: t, book: newBook(), tape: new(tape), reg: prometheus.NewRegistry()}
	var err error
	s.handler, err = New(cfg, s.book, keplerTable{}, s.tape, slog.New(slog.NewTextHandler(io.Discard, nil)), s.reg)
	if err != nil {
		t.Fatal(err)
	}
	s.handler.SetReady(true)
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	s.url = server.URL + "/api/v1/write"
	return s
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
	if len(a.text) > maxAnswerBytes {
		s.Errorf("answer has %d bytes", len(a.text))
	}
}

func (s *station) wantBooked(n int) {
	s.Helper()
	if got := s.book.taken(); len(got) != n {
		s.Errorf("%d samples booked, want %d: %v", len(got), n, got)
	}
	if len(s.book.gaps) > 0 {
		s.Errorf("positions not contiguous: %v", s.book.gaps)
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

func bodyV1(t testing.TB, r *prompb.WriteRequest) []byte {
	t.Helper()
	raw, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, raw)
}

func bodyV2(t testing.TB, r *writev2.Request) []byte {
	t.Helper()
	raw, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, raw)
}

// labels makes labels of name, value, name, value.
func labels(pairs ...string) (ls []prompb.Label) {
	for i := 0; i < len(pairs); i += 2 {
		ls = append(ls, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return ls
}

// one is a 1.0 request of one series with samples at the given times before now.
func one(ls []prompb.Label, samples ...prompb.Sample) *prompb.WriteRequest {
	return &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: ls, Samples: samples}}}
}

func at(before time.Duration, value float64) prompb.Sample {
	return prompb.Sample{Timestamp: time.Now().Add(-before).UnixMilli(), Value: value}
}

var kepler = labels("__name__", "kepler_container_cpu_joules_total", "container_id", "abc", "node", "a", "zone", "package")

// intern writes a 1.0 request as 2.0.
func asV2(r *prompb.WriteRequest) *writev2.Request {
	refs := map[string]uint32{"": 0}
	v2 := &writev2.Request{Symbols: []string{""}}
	ref := func(s string) uint32 {
		if _, ok := refs[s]; !ok {
			refs[s] = uint32(len(v2.Symbols))
			v2.Symbols = append(v2.Symbols, s)
		}
		return refs[s]
	}
	for _, ts := range r.Timeseries {
		var to writev2.TimeSeries
		for _, l := range ts.Labels {
			to.LabelsRefs = append(to.LabelsRefs, ref(l.Name), ref(l.Value))
		}
		for _, p := range ts.Samples {
			to.Samples = append(to.Samples, writev2.Sample{Value: p.Value, Timestamp: p.Timestamp})
		}
		v2.Timeseries = append(v2.Timeseries, to)
	}
	return v2
}

func snap(raw []byte) []byte { return snappy.Encode(nil, raw) }

func uvarintBytes(v uint64) []byte { return binary.AppendUvarint(nil, v) }

func newTestDecoder(t testing.TB, c Cache, m Mapper) *decoder {
	t.Helper()
	d, err := newDecoder(Default, c, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.zstd.Close)
	return d
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }
