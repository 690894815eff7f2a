// Package promtest starts a real Prometheus for tests, which scrapes what its
// configuration says or is filled by remote write, with samples as old as a test
// likes.
package promtest

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/wattledger/wattledger/test/loopback"
)

// A Server is a running Prometheus.
type Server struct {
	URL string
	t   testing.TB
}

// Start runs a Prometheus to write to. external are its external labels, as
// YAML: "{cluster: east}".
func Start(t testing.TB, external string) *Server {
	t.Helper()
	return Run(t, "global:\n  external_labels: "+external+"\n")
}

// Run runs the prometheus that is installed until the test ends.
func Run(t testing.TB, config string) *Server {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("prometheus is not installed: apt-get install -y --no-install-recommends prometheus")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--storage.tsdb.retention.time=10y",
		"--web.listen-address="+address, "--web.enable-remote-write-receiver", "--log.level=warn")
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended already
		_ = cmd.Wait()
		said.Close()
		if text, _ := os.ReadFile(said.Name()); t.Failed() {
			t.Logf("prometheus said:\n%s", text)
		}
	})
	s := &Server{URL: "http://" + address, t: t}
	deadline := time.Now().Add(time.Minute)
	for {
		resp, err := http.Get(s.URL + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("prometheus is not ready: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Write stores samples. Those of one series must come in the order of time.
func (s *Server) Write(list []prompb.TimeSeries) {
	s.t.Helper()
	raw, err := (&prompb.WriteRequest{Timeseries: list}).Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, s.URL+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, raw)))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		var text strings.Builder
		fmt.Fprintln(&text, resp.Status)
		_ = resp.Write(&text)
		s.t.Fatalf("prometheus took nothing: %.500s", text.String())
	}
}
