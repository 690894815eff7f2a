package influx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// influxql asks questions in InfluxQL, which InfluxDB 1.8 and 2 both answer,
// many times faster than the same ones in Flux.
type influxql struct {
	cfg  Config
	http *http.Client
}

// A series is some points of a group: there may be several in an answer.
type series struct {
	Name    string            `json:"name"`
	Tags    map[string]string `json:"tags"`
	Columns []string          `json:"columns"`
	Values  [][]any           `json:"values"` // numbers are json.Number; times are milliseconds
}

// query calls each for the series of the answer. Values that come from outside
// belong in params, never in the statement.
func (q influxql) query(ctx context.Context, bucket, statement string, params map[string]any, each func(series) error) error {
	form := url.Values{"db": {bucket}, "q": {statement}, "epoch": {"ms"}, "chunked": {"true"}}
	if len(params) > 0 {
		text, err := json.Marshal(params)
		if err != nil {
			return err
		}
		form.Set("params", string(text))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(q.cfg.URL, "/")+"/query", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if q.cfg.Token != "" {
		req.Header.Set("Authorization", "Token "+q.cfg.Token)
	}
	res, err := q.http.Do(req)
	if err != nil {
		return explain(err, bucket)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		var told struct{ Error, Message string }
		if json.Unmarshal(text, &told) == nil {
			text = []byte(told.Error + told.Message)
		}
		return explainStatus(res.StatusCode, string(text), res.Header, bucket)
	}
	answer := json.NewDecoder(res.Body)
	answer.UseNumber()
	for {
		var part struct {
			Results []struct {
				Series []series
				Error  string
			}
			Error string
		}
		if err := answer.Decode(&part); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return &Error{Setting: "influxdb.url", Message: "the answer ended early: " + err.Error(), err: err}
		}
		if part.Error != "" {
			return refused(part.Error, bucket)
		}
		for _, r := range part.Results {
			if r.Error != "" {
				return refused(r.Error, bucket)
			}
			for _, s := range r.Series {
				if each == nil {
					continue
				}
				if err := each(s); err != nil {
					return err
				}
			}
		}
	}
}

// refused explains an error that came with status 200.
func refused(message, bucket string) error {
	if strings.Contains(message, "not found") {
		return explainStatus(http.StatusNotFound, message, nil, bucket)
	}
	return &Error{Setting: "influxdb.url", Message: message}
}

// integer returns a whole number of an answer; nothing is 0.
func integer(v any) (int64, error) {
	switch n := v.(type) {
	case nil:
		return 0, nil
	case json.Number:
		return n.Int64()
	}
	return 0, fmt.Errorf("InfluxDB answered %v where a whole number belongs", v)
}

func number(v any) (float64, error) {
	switch n := v.(type) {
	case nil:
		return 0, nil
	case json.Number:
		return n.Float64()
	}
	return 0, fmt.Errorf("InfluxDB answered %v where a number belongs", v)
}
