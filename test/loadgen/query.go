package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// queryPaths are what a screen, a scheduler and an accountant ask while samples
// come in: the first of them a page of 100 of all containers.
var queryPaths = []string{
	"/power/containers?limit=100",
	"/power/containers?limit=100&namespace=ml-platform&sort=name",
	"/power/current?limit=100",
	"/cost/hourly?aggregate=namespace",
}

// A queryResult is how long one question took.
type queryResult struct {
	Path    string  `json:"path"`
	Count   int     `json:"count"`
	Bytes   int     `json:"bytes"` // of the last answer
	P50Ms   float64 `json:"p50_ms"`
	P99Ms   float64 `json:"p99_ms"`
	WorstMs float64 `json:"worst_ms"`
}

// ask puts each question so many times a second until ctx ends. A latency counts
// from when its question was due.
func ask(ctx context.Context, base string, perSecond float64) ([]queryResult, error) {
	results := make([]queryResult, len(queryPaths))
	var g errgroup.Group
	for i, path := range queryPaths {
		g.Go(func() error {
			r := &results[i]
			r.Path = path
			var took []time.Duration
			started := time.Now()
			for n := 0; ; n++ {
				due := started.Add(time.Duration(float64(n) / perSecond * float64(time.Second)))
				if !wait(ctx, time.Until(due)) {
					break
				}
				bytes, err := get(context.WithoutCancel(ctx), base+path)
				if err != nil {
					return err
				}
				r.Bytes = bytes
				took = append(took, time.Since(due))
			}
			slices.Sort(took)
			if r.Count = len(took); r.Count > 0 {
				r.P50Ms, r.P99Ms, r.WorstMs = percentile(took, 0.5), percentile(took, 0.99), percentile(took, 1)
			}
			return nil
		})
	}
	return results, g.Wait()
}

func get(ctx context.Context, url string) (bytes int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, answer.Status)
	}
	return int(n), err
}
