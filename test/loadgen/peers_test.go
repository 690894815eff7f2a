package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The real binary beside Debian's Prometheus, each of them twice.
func TestPeers(t *testing.T) {
	dir := t.TempDir()
	buildServer(t.Context(), t, dir)
	prometheus, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(prometheus, filepath.Join(dir, "prometheus")); err != nil {
		t.Fatal(err)
	}
	raw := filepath.Join(dir, "kept", "raw.jsonl")
	var out bytes.Buffer
	err = runPeers(t.Context(), []string{
		"-bin", dir, "-raw", raw, "-only", "wattledger,prometheus", "-runs", "2", "-series", "3000", "-batch", "500", "-rounds", "3", "-settle", "1ms",
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for line := range bytes.Lines(kept) {
		var row struct {
			Peer   string
			Series int
			Steady phase
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		if row.Series != 3000 || row.Steady.Samples != 6000 || row.Steady.ResidentBytes == 0 {
			t.Errorf("%s", line)
		}
		order = append(order, row.Peer)
	}
	if got, want := strings.Join(order, " "), "wattledger prometheus wattledger prometheus"; got != want {
		t.Errorf("measured %s, want %s", got, want)
	}
	for _, want := range []string{"medians of 2 runs", "| wattledger ", "| prometheus ", "the whole request"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

// The questions are answered by the real server while samples come in.
func TestBenchQueries(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t.Context(), t, buildServer(t.Context(), t, dir), filepath.Join(dir, "storage"))
	var out bytes.Buffer
	args := []string{"-url", s.url + "/api/v1/write", "-series", "3000", "-batch", "500", "-rounds", "4", "-interval", "1s", "-rate", "6000", "-queries", "10", "-json"}
	if err := runBench(t.Context(), args, &out); err != nil {
		t.Fatal(err)
	}
	var got benchResult
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Queries) != len(queryPaths) {
		t.Fatalf("%d questions, want %d", len(got.Queries), len(queryPaths))
	}
	for _, q := range got.Queries {
		if q.Count < 5 || q.Bytes == 0 || q.P50Ms <= 0 || q.P99Ms < q.P50Ms || q.WorstMs < q.P99Ms {
			t.Errorf("%+v", q)
		}
	}
}

func TestPeerThatIsMissing(t *testing.T) {
	err := runPeers(context.Background(), []string{"-bin", t.TempDir(), "-only", "vmagent"}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "no program vmagent") {
		t.Errorf("error %v", err)
	}
}
