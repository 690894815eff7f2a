package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/store"
)

// A Problem is an error as RFC 9457 has it.
type Problem struct {
	Type     string       `json:"type"`
	Title    string       `json:"title"`
	Status   int          `json:"status"`
	Detail   string       `json:"detail"`
	Instance string       `json:"instance"`
	Errors   []ParamError `json:"errors,omitempty"`
	// Candidates are the workloads an ambiguous id may mean.
	Candidates []Candidate `json:"candidates,omitempty"`
	RequestID  string      `json:"request_id"`

	retryAfterSeconds int
	challenge         string // of a 401 and a 403: what WWW-Authenticate says beside the realm
}

// A ParamError says what is wrong with one parameter, or one field of a body.
type ParamError struct {
	Parameter string   `json:"parameter"`
	Reason    string   `json:"reason"`
	Allowed   []string `json:"allowed,omitempty"`
}

// A Candidate is one workload that an id may mean, and where it answers.
type Candidate struct {
	WorkloadID string `json:"workload_id"`
	Href       string `json:"href"`
}

func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

func newProblem(status int, slug, title, detail string) *Problem {
	return &Problem{Type: "urn:wattledger:problem:" + slug, Title: title, Status: status, Detail: detail}
}

// invalid is the problem of a request whose parameters are wrong; it names
// every one of them at once.
func invalid(errs ...ParamError) *Problem {
	var reasons []string
	for _, e := range errs {
		reasons = append(reasons, e.Parameter+": "+e.Reason)
	}
	p := newProblem(http.StatusBadRequest, "invalid-parameter", "Invalid parameter", strings.Join(reasons, "; "))
	p.Errors = errs
	return p
}

// problemOf chooses the status code of every error, in one place.
func problemOf(err error) *Problem {
	var p *Problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "body-too-large", "Body too large",
			"the body may hold at most "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes")
	case errors.Is(err, store.ErrBadCursor):
		return invalid(ParamError{Parameter: "cursor", Reason: "does not belong to this query; ask again without it"})
	case errors.Is(err, store.ErrTooMany):
		return newProblem(http.StatusBadRequest, "too-many-rows", "Too many rows",
			"the answer would hold more rows than one answer may; ask for less time, fewer dimensions or a narrower filter")
	case errors.Is(err, context.Canceled):
		// Nobody reads this; 499 keeps it apart from our own errors in the metrics.
		return newProblem(499, "cancelled", "Client closed the request", "the client went away before the answer was ready")
	case errors.Is(err, context.DeadlineExceeded):
		p = newProblem(http.StatusServiceUnavailable, "timeout", "Query took too long",
			"the answer was not ready within the query timeout; ask for less, or later")
		p.retryAfterSeconds = 5
		return p
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFull):
		p = newProblem(http.StatusServiceUnavailable, "store-unavailable", "Store unavailable", "the store cannot answer now")
		p.retryAfterSeconds = 5
		return p
	}
	// What went wrong inside is logged under the request's id and not told.
	return newProblem(http.StatusInternalServerError, "internal", "Internal error", "the answer could not be made; the log has the reason under this request id")
}

func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	answer := *p
	answer.Instance = r.URL.EscapedPath()
	answer.RequestID = w.Header().Get("X-Request-Id")
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "problem", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Del("Content-Disposition")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	p.setHeaders(h)
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}

func (p *Problem) setHeaders(h http.Header) {
	if p.retryAfterSeconds > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfterSeconds))
	}
	if p.Status == http.StatusUnauthorized || p.challenge != "" {
		h.Set("WWW-Authenticate", `Bearer realm="wattledger"`+p.challenge)
	}
}

// writeText answers a sender, which reads plain text.
func writeText(w http.ResponseWriter, p *Problem) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	p.setHeaders(h)
	text := p.Detail + "; nothing was stored\n"
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(p.Status)
	io.WriteString(w, text)
}
