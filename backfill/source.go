// Package backfill reads counters out of a Prometheus as it stored them, sample
// by sample, and makes of them the remote-write requests in which it would have
// sent them.
package backfill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

// A Source is a Prometheus, or what speaks its API. It reads by remote read,
// or, where that is not offered, by instant queries of a range: both give the
// samples as they are stored, which query_range does not.
//
// It is used by one goroutine at a time.
type Source struct {
	base     *url.URL
	client   *http.Client
	match    string // regular expression of the metrics' names
	external []prompb.Label
	asked    bool // for the external labels
	byQuery  bool // remote read is not offered
	pause    time.Duration
}

// NewSource returns a source of the given metrics. It asks nothing yet.
func NewSource(prometheusURL string, metrics []string) (*Source, error) {
	base, err := url.Parse(prometheusURL)
	if err != nil || base.Host == "" {
		return nil, errors.New("the URL of Prometheus: want one that begins with http:// or https://") // err repeats the password
	}
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = regexp.QuoteMeta(m)
	}
	slices.Sort(names)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 2 * time.Minute
	return &Source{base: base, client: &http.Client{Transport: transport}, match: strings.Join(names, "|"), pause: time.Second}, nil
}

// Name is the URL without its password.
func (s *Source) Name() string { return s.base.Redacted() }

// How says which of its APIs is read.
func (s *Source) How() string {
	if s.byQuery {
		return "query"
	}
	return "remote read"
}

// Series returns every series with its samples in [fromMs, toMs), by labels.
func (s *Source) Series(ctx context.Context, fromMs, toMs int64) ([]prompb.TimeSeries, error) {
	list, err := s.patiently(ctx, fromMs, toMs)
	if err != nil {
		return nil, fmt.Errorf("read %s to %s from %s: %w", clock(fromMs), clock(toMs), s.Name(), err)
	}
	kept := list[:0]
	for _, ts := range list {
		within := func(t int64) bool { return t >= fromMs && t < toMs }
		ts.Samples = slices.DeleteFunc(ts.Samples, func(x prompb.Sample) bool { return !within(x.Timestamp) })
		if len(ts.Samples) > 0 {
			kept = append(kept, ts)
		}
	}
	slices.SortStableFunc(kept, func(a, b prompb.TimeSeries) int { return slices.CompareFunc(a.Labels, b.Labels, compareLabels) })
	return kept, nil
}

func compareLabels(a, b prompb.Label) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(a.Value, b.Value)
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// patiently asks until there is a whole answer: a server that is starting, busy
// or went away in the middle of it is asked again a few times.
func (s *Source) patiently(ctx context.Context, fromMs, toMs int64) ([]prompb.TimeSeries, error) {
	for attempt := 1; ; attempt++ {
		list, err := s.series(ctx, fromMs, toMs)
		var status *statusError
		if err == nil || ctx.Err() != nil || attempt == 5 || errors.As(err, &status) && status.code < 500 && status.code != http.StatusTooManyRequests {
			return list, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(s.pause << (attempt - 1)):
		}
	}
}

func (s *Source) series(ctx context.Context, fromMs, toMs int64) ([]prompb.TimeSeries, error) {
	if !s.byQuery {
		list, err := s.read(ctx, fromMs, toMs)
		if !errors.Is(err, errNotOffered) {
			return list, err
		}
		s.byQuery = true
	}
	return s.query(ctx, fromMs, toMs)
}

var errNotOffered = errors.New("not offered")

// A statusError is an answer that is not 200.
type statusError struct {
	status string
	code   int
	text   string
}

func (e *statusError) Error() string { return e.status + ": " + e.text }

// post sends a request; an answer that is not 200 is a *statusError.
func (s *Source) post(ctx context.Context, path string, header http.Header, body []byte) (*http.Response, error) {
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // the status says enough
	return nil, &statusError{resp.Status, resp.StatusCode, strings.TrimSpace(string(text))}
}
