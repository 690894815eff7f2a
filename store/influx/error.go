package influx

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apihttp "github.com/influxdata/influxdb-client-go/v2/api/http"

	"github.com/wattledger/wattledger/store"
)

// An Error is why InfluxDB did not do what it was asked to. It is a
// store.ErrUnavailable: asking again later may go well.
type Error struct {
	Setting string // the setting to look at, as in the configuration file
	Status  int    // HTTP status; 0 if there was no answer
	Message string // the server's words, or the network's
	Advice  string // what to do; may be empty
	after   time.Duration
	err     error
}

// RetryAfter returns how long the server asked to be left alone; 0 if it did not.
func (e *Error) RetryAfter() time.Duration { return e.after }

func (e *Error) Error() string {
	text := e.Setting + ": "
	if e.Status != 0 {
		text += strconv.Itoa(e.Status) + " "
	}
	text += e.Message
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	return text
}

// Unwrap makes an Error a store.ErrUnavailable.
func (e *Error) Unwrap() []error {
	if e.err == nil {
		return []error{store.ErrUnavailable}
	}
	return []error{store.ErrUnavailable, e.err}
}

// Refused reports whether an error says that InfluxDB will not take what it was
// sent however often it is sent.
func Refused(err error) bool {
	e, ok := asError(err)
	if !ok {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

func asError(err error) (*Error, bool) {
	var e *Error
	return e, errors.As(err, &e)
}

// explain says what an error of the client means to whoever runs the service.
func explain(err error, bucket string) *Error {
	e := &Error{Setting: "influxdb.url", Message: err.Error(), err: err}
	var answer *apihttp.Error
	if errors.As(err, &answer) && answer.StatusCode != 0 {
		message := answer.Message
		if message == "" {
			message = answer.Header.Get("X-Influxdb-Error")
		}
		return explainStatus(answer.StatusCode, message, answer.Header, bucket)
	}
	// The URL in the error may hold a password, and says nothing new.
	var u *url.Error
	if errors.As(err, &u) {
		e.Message, e.err = u.Err.Error(), u.Err
	}
	if !errors.Is(err, context.Canceled) {
		e.Advice = "is InfluxDB running there?"
	}
	return e
}

func explainStatus(status int, message string, header http.Header, bucket string) *Error {
	e := &Error{Setting: "influxdb.url", Status: status, Message: strings.TrimSpace(message)}
	if e.Message == "" {
		e.Message = http.StatusText(status)
	}
	if s, err := strconv.Atoi(header.Get("Retry-After")); err == nil && s > 0 {
		e.after = time.Duration(s) * time.Second
	}
	switch status {
	case http.StatusUnauthorized:
		e.Setting, e.Advice = "influxdb.token", "InfluxDB does not know this token (for InfluxDB 1.8 it is user:password)"
	case http.StatusForbidden:
		e.Setting, e.Advice = "influxdb.token", fmt.Sprintf("it needs permission to write %s", bucket)
	case http.StatusNotFound:
		e.Setting, e.Advice = "influxdb.bucket", fmt.Sprintf("there is no bucket %s", bucket)
	case http.StatusInternalServerError, http.StatusInsufficientStorage:
		if strings.Contains(e.Message, "no space left") {
			e.Advice = "make room on InfluxDB's disk"
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e.Advice = "InfluxDB has too much to do"
	}
	return e
}

// tooOld reports whether InfluxDB left out all n lines because they are older
// than it keeps them.
func tooOld(message string, n int) bool {
	_, rest, ok := strings.Cut(message, "points beyond retention policy")
	if !ok {
		return false
	}
	_, count, ok := strings.Cut(rest, "dropped=")
	if !ok {
		return n == 1
	}
	count = strings.TrimRight(count, "\"} \n")
	dropped, err := strconv.Atoi(count)
	return err == nil && dropped >= n
}
