package remotewrite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Client posts bodies to one receiver. It is safe for concurrent use.
type Client struct {
	URL       string
	Format    Format
	UserAgent string
	HTTP      *http.Client
}

// A Rejected error is an answer that a resend would not change.
type Rejected struct {
	Status int
	Reason string // the receiver's words
}

func (r *Rejected) Error() string {
	return fmt.Sprintf("receiver answered %d: %s", r.Status, r.Reason)
}

const (
	minBackoff = 30 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Post sends body until the receiver takes it, refuses it for good (*Rejected)
// or ctx ends. Server errors and network errors are retried with a doubling
// pause, or the one Retry-After asks for. It returns how often it had to.
func (c *Client) Post(ctx context.Context, body []byte) (retries int, err error) {
	backoff := minBackoff
	for {
		wait, err := c.attempt(ctx, body, retries)
		if err == nil {
			return retries, nil
		}
		if wait == 0 {
			return retries, err
		}
		if wait < backoff {
			wait = backoff
		}
		backoff = min(2*backoff, maxBackoff)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return retries, fmt.Errorf("%w after %d retries: %w", ctx.Err(), retries, err)
		case <-timer.C:
		}
		retries++
	}
}

// attempt sends body once. wait is 0 when another attempt is of no use.
func (c *Client) attempt(ctx context.Context, body []byte, retries int) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Encoding", c.Format.Encoding)
	req.Header.Set("User-Agent", c.UserAgent)
	if c.Format.Version == 2 {
		req.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	} else {
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	}
	if retries > 0 {
		req.Header.Set("Retry-Attempt", strconv.Itoa(retries))
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return minBackoff, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		_, _ = io.Copy(io.Discard, resp.Body) // lets the connection be used again
		return 0, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
	_, _ = io.Copy(io.Discard, resp.Body)
	err = &Rejected{Status: resp.StatusCode, Reason: strings.TrimSpace(string(text))}
	if resp.StatusCode/100 != 5 {
		return 0, err
	}
	wait = minBackoff
	if seconds, convErr := strconv.Atoi(resp.Header.Get("Retry-After")); convErr == nil && seconds > 0 {
		wait = time.Duration(seconds) * time.Second
	}
	return wait, err
}
