// Package clients tests the clients in other languages against the program.
package clients

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// demo starts the demo and returns its address once it shows what it has behind it.
func demo(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "wattledger")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/wattledger/wattledger/cmd/wattledger").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(binary, "demo", "--storage.path="+t.TempDir(), "--web.listen-address="+address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	url := "http://" + address
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		r, err := http.Get(url + "/power/nodes")
		if err != nil {
			continue
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err == nil && strings.Contains(string(body), `"count":6`) { // all of them are there now, so their past is
			return url
		}
	}
	t.Fatal("the demo shows nothing")
	return ""
}

// TestPython runs the Python package's own tests and, word for word, the snippet that
// users of the original collector have.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is needed: make install")
	}
	url := demo(t)
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(python, args...)
		cmd.Dir = "python"
		cmd.Env = append(os.Environ(), "WATTLEDGER_URL="+url, "PYTHONPATH=.", "PYTHONDONTWRITEBYTECODE=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("python3 %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := run("-m", "unittest", "discover", "-s", "tests"); !strings.Contains(out, "OK") {
		t.Errorf("tests: %s", out)
	}
	readme, err := os.ReadFile("python/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "    from collector.kepler_client")
	if !found {
		t.Fatal("README.md has no snippet")
	}
	snippet, _, _ := strings.Cut("    from collector.kepler_client"+rest, "\n\n")
	snippet = strings.ReplaceAll(strings.ReplaceAll(snippet, "\n    ", "\n"), "http://localhost:9201", url)
	for namespace, want := range map[string]string{"kcloud-workloads": "$0.00/hour\n", "ml-platform": "$0."} {
		out := run("-c", strings.TrimSpace(strings.ReplaceAll(snippet, "kcloud-workloads", namespace)))
		if !strings.HasPrefix(out, want) || namespace == "ml-platform" && strings.HasPrefix(out, "$0.00") {
			t.Errorf("the snippet for %s prints %q, want %q", namespace, out, want)
		}
	}
}
