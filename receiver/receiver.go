// Package receiver takes Prometheus remote write, 1.0 and 2.0, and answers it.
//
// A request is decompressed and walked in one pass; the labels of a known
// series are not parsed but hashed where they stand. What the metric table maps
// is made durable in the journal as it came and booked in the counter cache
// before the sender is told so.
package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/internal/refusal"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/decode"
	"github.com/wattledger/wattledger/receiver/journal"
)

// A Handler serves POST /api/v1/write. It refuses requests until SetReady(true).
type Handler struct {
	limits  Config
	decoder *decode.Decoder
	ledger  Ledger
	logger  *slog.Logger
	metrics *metrics
	senders *senders
	teller  *teller

	keepRule string // of write_relabel_configs

	requests  sync.Pool    // of *request
	bodyBytes atomic.Int64 // held by requests in the works

	journalRestsUntil atomic.Int64 // Unix nanoseconds; until then requests are refused before they are read
	loggedAt          atomic.Int64 // Unix nanoseconds of the last line about the journal

	mu       sync.Mutex
	ready    bool          // guarded by mu
	stopping bool          // guarded by mu
	inflight int           // guarded by mu; requests between admit and leave
	idle     chan struct{} // guarded by mu; closed when stopping and inflight is 0
}

// A Ledger makes requests durable and counts them. Book returns nil only when
// the request would survive a power cut; an error means that nothing of it took
// effect. *ledger.Ledger is the one that counts.
type Ledger interface {
	Book(ctx context.Context, r *journal.Record, q *counter.Request) (counter.Outcome, error)
	// Findings says which setups of senders needed a rule to be booked right.
	Findings() []counter.Finding
	// Quarantine returns the newest samples that were set aside.
	Quarantine() []counter.Quarantined
}

// A request is the scratch space of one request, reused for others.
type request struct {
	decode.Request
	whole bool   // the body has been read to its end
	body  []byte // as sent
}

// keepBytes bounds the body that an idle request holds on to.
const keepBytes = 4 << 20

func (q *request) reset() {
	q.whole = false
	if q.body = q.body[:0]; cap(q.body) > keepBytes {
		q.body = nil
	}
	q.Request.Reset()
}

// Errors of a request, from which its status code is chosen beside those of decode.
var (
	errMethod     = errors.New("remote write takes POST")
	errMediaType  = errors.New("unsupported content type")
	errEncoding   = errors.New("unsupported content encoding")
	errTooLarge   = errors.New("body too large")
	errRejected   = errors.New("partly rejected")
	errBodyRead   = errors.New("read body")
	errStarting   = errors.New("not ready: still starting")
	errStopping   = errors.New("shutting down")
	errOverloaded = errors.New("overloaded")
	errJournal    = errors.New("journal takes nothing at the moment")
)

// New returns a handler that is not ready yet. It starts nothing.
func New(limits Config, decoder *decode.Decoder, ledger Ledger, logger *slog.Logger, reg prometheus.Registerer) (*Handler, error) {
	if err := limits.Check(); err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	h := &Handler{
		limits:   limits,
		decoder:  decoder,
		ledger:   ledger,
		logger:   logger,
		metrics:  newMetrics(reg),
		senders:  newSenders(limits.MaxSenders),
		teller:   &teller{findings: ledger.Findings, logger: logger},
		keepRule: keepRule(decoder.Metrics()),
		idle:     make(chan struct{}),
	}
	h.requests.New = func() any { return new(request) }
	if reg != nil {
		for _, c := range []prometheus.Collector{h.senders, h.teller} {
			if err := reg.Register(c); err != nil {
				return nil, fmt.Errorf("receiver: %w", err)
			}
		}
	}
	return h, nil
}

// SetReady says whether requests are taken.
func (h *Handler) SetReady(ready bool) {
	h.mu.Lock()
	h.ready = ready
	h.mu.Unlock()
}

// tellEvery is how often what was found is looked at for the log.
const tellEvery = time.Minute

// Run says in the log what the setups of senders are at fault with, until ctx ends.
func (h *Handler) Run(ctx context.Context) error {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			h.teller.tell(now)
		}
	}
}

// Stop refuses new requests and waits until those in the works are answered.
func (h *Handler) Stop(ctx context.Context) error {
	h.mu.Lock()
	if !h.stopping {
		h.stopping = true
		if h.inflight == 0 {
			close(h.idle)
		}
	}
	h.mu.Unlock()
	select {
	case <-h.idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for requests in the works: %w", ctx.Err())
	}
}

// admit lets a request in or says why not. Every request let in must leave.
func (h *Handler) admit() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopping:
		return errStopping
	case !h.ready:
		return errStarting
	case h.inflight >= h.limits.MaxConcurrentRequests:
		return fmt.Errorf("%w: limit max_concurrent_requests (%d)", errOverloaded, h.limits.MaxConcurrentRequests)
	case time.Now().UnixNano() < h.journalRestsUntil.Load():
		return errJournal
	}
	h.inflight++
	h.metrics.inflight.Inc()
	return nil
}

func (h *Handler) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inflight--
	h.metrics.inflight.Dec()
	if h.stopping && h.inflight == 0 {
		close(h.idle)
	}
}

// ServeHTTP answers one remote-write request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	q := h.requests.Get().(*request)
	from := keyOf(r)
	f, err := readForm(r)
	if err == nil {
		err = h.take(w, r, f, q, &from)
	}
	unread := err != nil && !q.whole && r.ContentLength != 0
	if unread {
		refusal.Begin(w)
	}
	code := h.answer(w, f, q, err, began)
	h.metrics.request(f, code, time.Since(began), len(q.body))
	if one := h.senders.of(from, began); one.note(f, code, &q.Tally, &q.Seen, err, began) {
		h.logger.Warn("remote write refused in whole or in part", "sender", one.name, "token", access.From(r.Context()).Name(),
			"request_id", w.Header().Get("X-Request-Id"), "code", code, "reason", h.reasonText(q, err, began))
	}
	q.reset()
	h.requests.Put(q)
	if unread {
		refusal.Drain(w, r, int64(h.limits.MaxBodyBytes))
	}
}

// take reads, decodes, journals and books a request.
func (h *Handler) take(w http.ResponseWriter, r *http.Request, f form, q *request, from *senderKey) error {
	if r.ContentLength > int64(h.limits.MaxBodyBytes) {
		return fmt.Errorf("%w: %d bytes are over the limit max_body_bytes (%d)", errTooLarge, r.ContentLength, h.limits.MaxBodyBytes)
	}
	grant := access.From(r.Context())
	if due := grant.SamplesDue(time.Now()); due > 0 {
		return &rateError{grant.Name(), grant.SamplesPerSecond(), due}
	}
	if err := h.admit(); err != nil {
		return err
	}
	defer h.leave()
	defer func() { h.bodyBytes.Add(-int64(cap(q.body))) }()
	if err := h.read(w, r, f, q); err != nil {
		return err
	}
	arrivalMs := time.Now().UnixMilli()
	h.decoder.Confine(&q.Request, grant.Clusters())
	defer func() { grant.SpendSamples(time.Now(), q.Tally.Samples) }()
	q.Unknown = h.senders.unknown(*from)
	if err := h.decoder.DecodeInTurn(r.Context(), &q.Request, f.protocol, f.encoding, q.body, arrivalMs); err != nil {
		return err
	}
	from.replica = q.Seen.Replica
	if len(q.Out.Samples) > 0 {
		if err := h.book(r.Context(), f, q, from, arrivalMs); err != nil {
			return err
		}
	}
	h.metrics.contents(f.protocol, &q.Tally, len(q.Out.New))
	if q.Tally.Any() {
		return errRejected
	}
	return nil
}

// firstBodyBytes bounds what is allocated on the word of a Content-Length.
const firstBodyBytes = 1 << 20

// sizeBytes is how much of a body says what it unpacks to.
const sizeBytes = 32

// read puts the body into q.body.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, f form, q *request) error {
	connection := http.NewResponseController(w)
	// A ResponseWriter without deadlines leaves the time limit to the server.
	_ = connection.SetReadDeadline(time.Now().Add(h.limits.BodyTimeout))
	b := q.body[:0]
	if h.bodyBytes.Add(int64(cap(b))) > int64(h.limits.MaxInflightBodyBytes) {
		// A buffer from the pool counts as well; without it the request is
		// refused below, before a byte is read.
		h.bodyBytes.Add(-int64(cap(b)))
		b = nil
	}
	sized := false
	first := int64(4096)
	if r.ContentLength > 0 {
		first = min(r.ContentLength+1, firstBodyBytes) // 1 more, to see the end without growing
	}
	for {
		if len(b) == cap(b) || cap(b) < int(first) && len(b) == 0 {
			size := min(max(2*cap(b), int(first)), h.limits.MaxBodyBytes+1)
			if size > cap(b) {
				if h.bodyBytes.Add(int64(size-cap(b))) > int64(h.limits.MaxInflightBodyBytes) {
					h.bodyBytes.Add(-int64(size - cap(b)))
					q.body = b
					return fmt.Errorf("%w: limit max_inflight_body_bytes (%d)", errOverloaded, h.limits.MaxInflightBodyBytes)
				}
				grown := make([]byte, len(b), size)
				copy(grown, b)
				b = grown
			}
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		q.body = b
		if len(b) > h.limits.MaxBodyBytes {
			return fmt.Errorf("%w: over the limit max_body_bytes (%d)", errTooLarge, h.limits.MaxBodyBytes)
		}
		if !sized {
			// Both encodings say at their beginning what they unpack to: a bomb is
			// refused before it is held.
			if sized = len(b) >= sizeBytes; sized {
				if err := h.decoder.CheckSize(f.encoding, b); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			q.whole = true
			_ = connection.SetReadDeadline(time.Time{})
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errBodyRead, err)
		}
	}
}

// book makes a request durable and then counts it.
func (h *Handler) book(ctx context.Context, f form, q *request, from *senderKey, arrivalMs int64) error {
	// The record is worth keeping even if its sender has hung up.
	outcome, err := h.ledger.Book(context.WithoutCancel(ctx), &journal.Record{
		Protocol:  f.protocol,
		Encoding:  f.encoding,
		ArrivalMs: arrivalMs,
		Sender:    from.name(),
		Clusters:  access.From(ctx).Clusters(),
		Body:      q.body,
	}, &q.Out)
	if err != nil {
		h.rest(err)
		return fmt.Errorf("%w: %w", errJournal, err)
	}
	h.metrics.outcome(outcome)
	h.settle(f, q, outcome)
	return nil
}

// settle turns what the cache did not take into rejections.
func (h *Handler) settle(f form, q *request, o counter.Outcome) {
	t := &q.Tally
	if o.OverLimit > 0 {
		t.SamplesWritten -= o.OverLimit
		t.Reject(decode.LimitSeries, o.OverLimit, func() string {
			return h.decoder.DescribeNew(&q.Request, f.protocol, o.OverLimitSeries)
		})
	}
	if h.limits.Strict && o.Conflict > 0 {
		t.SamplesWritten -= o.Conflict
		t.Reject(decode.Conflict, o.Conflict, func() string { return "(not kept)" })
	}
}

// rest spares senders their bodies while the journal takes none. A full journal
// is tried again after a second; one that has failed takes nothing until a restart.
func (h *Handler) rest(err error) {
	now := time.Now()
	switch {
	case errors.Is(err, journal.ErrFailed), errors.Is(err, journal.ErrClosed):
		h.journalRestsUntil.Store(1<<63 - 1)
	case errors.Is(err, journal.ErrFull):
		h.journalRestsUntil.Store(now.Add(time.Second).UnixNano())
	}
	if last := h.loggedAt.Load(); now.UnixNano()-last > int64(10*time.Second) && h.loggedAt.CompareAndSwap(last, now.UnixNano()) {
		h.logger.Error("remote write refused", "err", err)
	}
}

// status chooses the status code of a request. What a sender should send again
// is 503: 429 makes Prometheus drop the batch, and 413 makes vmagent send it
// for ever.
func status(err error) int {
	switch {
	case err == nil:
		return http.StatusNoContent
	case errors.Is(err, errMethod):
		return http.StatusMethodNotAllowed
	case errors.Is(err, errMediaType), errors.Is(err, errEncoding), errors.Is(err, decode.ErrWrongSchema):
		return http.StatusUnsupportedMediaType
	case errors.Is(err, errTooLarge), errors.Is(err, decode.ErrCompression), errors.Is(err, decode.ErrMalformed),
		errors.Is(err, decode.ErrLimit), errors.Is(err, errRejected), errors.Is(err, journal.ErrTooLarge):
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}

// answer writes the response and returns its status code.
func (h *Handler) answer(w http.ResponseWriter, f form, q *request, err error, now time.Time) int {
	code := status(err)
	header := w.Header()
	if f.protocol == journal.V2 && code < 500 {
		var t decode.Tally
		if err == nil || errors.Is(err, errRejected) {
			t = q.Tally
		}
		header.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(t.SamplesWritten))
		header.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(t.HistogramsWritten))
		header.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(t.ExemplarsWritten))
	}
	if code == http.StatusNoContent {
		w.WriteHeader(code)
		return code
	}
	switch code {
	case http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", strconv.Itoa(secondsToWait(err, f.attempt)))
		if errors.Is(err, errStopping) || errors.Is(err, errBodyRead) {
			header.Set("Connection", "close")
		}
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	text := h.reasonText(q, err, now) + "\n"
	header.Set("Content-Length", strconv.Itoa(len(text))) // an answer is whole before its request is
	w.WriteHeader(code)
	// A sender that has hung up hears nothing.
	_, _ = io.WriteString(w, text)
	return code
}

// reasonText says what was wrong with a request, within maxAnswerBytes.
func (h *Handler) reasonText(q *request, err error, now time.Time) string {
	if errors.Is(err, errRejected) {
		return q.Tally.Text(now)
	}
	return decode.Clip(err.Error()+fixOf(err), decode.MaxAnswerBytes-1)
}

// fixOf says what to do about a request that was refused as a whole.
func fixOf(err error) string {
	switch {
	case errors.Is(err, decode.ErrWrongSchema):
		return "; nothing was stored; send Content-Type " + mediaType + ";proto=" + protoV2 + " with remote write 2.0 and ;proto=" + protoV1 + " with 1.0"
	case errors.Is(err, decode.ErrLimit), errors.Is(err, errTooLarge):
		return "; nothing was stored; send smaller requests or raise the limit"
	case errors.Is(err, decode.ErrCompression):
		return "; nothing was stored; send the snappy block format or zstd and say which in Content-Encoding"
	case status(err) == http.StatusServiceUnavailable:
		return "; nothing was stored; send it again"
	}
	return ""
}
