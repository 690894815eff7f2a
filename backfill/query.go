package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/prompb"
	"go.yaml.in/yaml/v3"
)

// query asks for a range at one moment. Stored samples are answered as they
// are; only the marks of series that ended are left out.
func (s *Source) query(ctx context.Context, fromMs, toMs int64) ([]prompb.TimeSeries, error) {
	if err := s.askExternal(ctx); err != nil {
		return nil, err
	}
	form := url.Values{
		"query": {fmt.Sprintf("{__name__=~%q}[%dms]", s.match, toMs-fromMs)},
		"time":  {strconv.FormatFloat(float64(toMs-1)/1000, 'f', 3, 64)},
	}
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			ResultType string `json:"resultType"`
			Result     []struct {
				Metric map[string]string `json:"metric"`
				Values []sample          `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	resp, err := s.post(ctx, "api/v1/query", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form.Encode()))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	if answer.Status != "success" || answer.Data.ResultType != "matrix" {
		return nil, fmt.Errorf("query: status %q, a %q: %s", answer.Status, answer.Data.ResultType, answer.Error)
	}
	var list []prompb.TimeSeries
	for _, r := range answer.Data.Result {
		var ts prompb.TimeSeries
		for name, value := range r.Metric {
			ts.Labels = append(ts.Labels, prompb.Label{Name: name, Value: value})
		}
		for _, l := range s.external {
			if _, own := r.Metric[l.Name]; !own { // as in remote write, a series' own label counts before
				ts.Labels = append(ts.Labels, l)
			}
		}
		slices.SortFunc(ts.Labels, compareLabels)
		for _, v := range r.Values {
			ts.Samples = append(ts.Samples, prompb.Sample(v))
		}
		list = append(list, ts)
	}
	return list, nil
}

// A sample is [seconds, "value"].
type sample prompb.Sample

func (s *sample) UnmarshalJSON(b []byte) error {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	seconds, err := strconv.ParseFloat(string(pair[0]), 64)
	if err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(pair[1], &text); err != nil {
		return err
	}
	s.Timestamp = int64(seconds*1000 + 0.5)
	s.Value, err = strconv.ParseFloat(text, 64)
	return err
}

// askExternal asks once for the labels that remote write adds, and queries do
// not. What is not Prometheus itself, and has no such route, has them in its series.
func (s *Source) askExternal(ctx context.Context) error {
	if s.asked {
		return nil
	}
	resp, err := s.post(ctx, "api/v1/status/config", nil, nil)
	var status *statusError
	if errors.As(err, &status) && status.code < 500 {
		s.asked = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask for external_labels: %w", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			YAML string `json:"yaml"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&answer); err != nil {
		return fmt.Errorf("ask for external_labels: %w", err)
	}
	var config struct {
		Global struct {
			ExternalLabels map[string]string `yaml:"external_labels"`
		} `yaml:"global"`
	}
	if err := yaml.Unmarshal([]byte(answer.Data.YAML), &config); err != nil {
		return fmt.Errorf("ask for external_labels: %w", err)
	}
	for name, value := range config.Global.ExternalLabels {
		s.external = append(s.external, prompb.Label{Name: name, Value: value})
	}
	s.asked = true
	return nil
}
