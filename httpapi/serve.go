package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/access"
)

// serve wraps a route in what every answer has: an id, a bound on its time, a
// problem for its error, and its metrics.
func (a *api) serve(rt route) http.Handler {
	allow := rt.methods()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &recorder{ResponseWriter: w}
		id := requestID(r)
		rec.Header().Set("X-Request-Id", id)
		h := rt.handler(r.Method)
		var grant *access.Grant
		var err error
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				a.logger.Error("handler panicked", "route", rt.path, "request_id", id, "panic", p, "stack", string(debug.Stack()))
				if rec.status == 0 {
					writeProblem(rec, r, problemOf(fmt.Errorf("panic: %v", p)))
				}
			}
			a.metrics.requests.WithLabelValues(rt.path, methodLabel(r.Method), strconv.Itoa(rec.code())).Inc()
			a.metrics.duration.WithLabelValues(rt.path).Observe(time.Since(began).Seconds())
			if h != nil && rt.audience() == forAdmins {
				a.audit(rt, r, grant, id, rec.code(), err)
			}
		}()

		switch {
		case h != nil:
			if grant, err = a.authorize(rt, r); err != nil {
				a.refuseUnread(rt, rec, r, id, err)
				return
			}
			err = a.run(rt, h, rec, r.WithContext(access.With(r.Context(), grant)))
			a.answer(rt, rec, r, id, err)
		case r.Method == http.MethodOptions:
			// Cross-origin requests are not allowed: no Access-Control header is ever sent.
			rec.Header().Set("Allow", allow)
			rec.WriteHeader(http.StatusNoContent)
		default:
			rec.Header().Set("Allow", allow)
			p := newProblem(http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed",
				fmt.Sprintf("%.20q is not answered here; allowed: %s", r.Method, allow))
			if rt.envelope {
				writeEnvelope(rec, r, p)
			} else {
				writeProblem(rec, r, p)
			}
		}
	})
}

// answer writes what an error is answered with, unless an answer has begun.
func (a *api) answer(rt route, rec *recorder, r *http.Request, id string, err error) {
	if err == nil {
		return
	}
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		a.logger.Error("request went wrong", "route", rt.path, "request_id", id, "err", err)
	}
	switch {
	case rec.status != 0:
	case rt.who == forWriters:
		writeText(rec, p)
	case rt.envelope:
		writeEnvelope(rec, r, p)
	default:
		writeProblem(rec, r, p)
	}
}

// run calls h. A route that asks the books waits for its turn, within its own time limit.
func (a *api) run(rt route, h handler, w http.ResponseWriter, r *http.Request) error {
	if !rt.books {
		return h(w, r)
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.QueryTimeout)
	defer cancel()
	select {
	case a.slots <- struct{}{}:
	default:
		a.metrics.waiting.Inc()
		defer a.metrics.waiting.Dec()
		select {
		case a.slots <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("wait for a turn: %w", ctx.Err())
		}
	}
	defer func() { <-a.slots }()
	// A client that does not read must not keep its answer in memory for ever.
	connection := http.NewResponseController(w)
	_ = connection.SetWriteDeadline(time.Now().Add(a.cfg.QueryTimeout + time.Minute))
	defer func() { _ = connection.SetWriteDeadline(time.Time{}) }()
	return h(w, r.WithContext(ctx))
}

// A recorder remembers the status for the metrics.
type recorder struct {
	http.ResponseWriter
	status int
}

func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(p []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	return rec.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

func (rec *recorder) code() int {
	if rec.status == 0 {
		return http.StatusOK
	}
	return rec.status
}

// methodLabel keeps a client from making label values.
func methodLabel(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return "other"
}

// requestID returns the caller's X-Request-Id when it is harmless, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	harmless := len(id) > 0 && len(id) <= 64 && access.Mask(id) == id
	for _, c := range id {
		harmless = harmless && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.')
	}
	if harmless {
		return id
	}
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Below this many bytes compressing costs more than it saves.
const gzipFromBytes = 1400

// writeJSON writes an answer with status 200.
func writeJSON(w http.ResponseWriter, r *http.Request, answer any) error {
	return writeJSONStatus(w, r, http.StatusOK, answer)
}

func writeJSONStatus(w http.ResponseWriter, r *http.Request, status int, answer any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeBody(w, r, status, "application/json", b.Bytes())
}

func writeBody(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Add("Vary", "Accept-Encoding")
	if len(body) >= gzipFromBytes && acceptsGzip(r) {
		var z bytes.Buffer
		zw, err := gzip.NewWriterLevel(&z, gzip.BestSpeed)
		if err != nil {
			return fmt.Errorf("compress answer: %w", err)
		}
		zw.Write(body) // a bytes.Buffer takes everything
		zw.Close()
		h.Set("Content-Encoding", "gzip")
		body = z.Bytes()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // a client that went away is no error of ours
	return nil
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.TrimSpace(coding) == "gzip" {
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
			return weight == "" || err != nil || q > 0
		}
	}
	return false
}
