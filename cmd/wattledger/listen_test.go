package main

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var listeningAsWell = regexp.MustCompile(`msg="listening as well" address=(\S+) by=web\.(\w+)`)

// Each address serves its own routes and no others, and health.
func TestListeners(t *testing.T) {
	home := t.TempDir()
	p := startWith(t, home, "web: {ingest_listen_address: '127.0.0.1:0', operations_listen_address: '127.0.0.1:0'}\n")
	urls := map[string]string{"listen_address": p.url}
	for _, m := range listeningAsWell.FindAllStringSubmatch(p.log(), -1) {
		urls[m[2]] = "http://" + m[1]
	}
	if len(urls) != 3 {
		t.Fatalf("listening at %v\n%s", urls, p.log())
	}
	status := func(at, method, path string) int {
		t.Helper()
		code, _ := ask(t, method, urls[at]+path, "", "")
		return code
	}
	for at := range urls {
		for _, path := range []string{"/-/healthy", "/-/ready", "/health", "/openapi.yaml"} {
			if code := status(at, "GET", path); code != 200 {
				t.Errorf("%s%s: %d", at, path, code)
			}
		}
	}
	f := func(method, path, at string) {
		t.Helper()
		for other := range urls {
			if code := status(other, method, path); (code == 404) == (other == at) {
				t.Errorf("%s %s at %s: %d", method, path, other, code)
			}
		}
	}
	f("POST", "/api/v1/write", "ingest_listen_address")
	f("GET", "/power/nodes", "listen_address")
	f("POST", "/profile/classify", "listen_address")
	f("GET", "/", "listen_address")
	for _, path := range []string{"/metrics", "/debug/senders", "/debug/quarantine", "/api/v1/status/config"} {
		f("GET", path, "operations_listen_address")
	}
	f("POST", "/-/rerate", "operations_listen_address")
	b := capturedBodies(t, "v1")[0]
	if code, reason, err := post(t.Context(), urls["ingest_listen_address"], b); err != nil || code != http.StatusNoContent {
		t.Errorf("write: %d %s %v", code, reason, err)
	}
	// A command finds the service where operations are served.
	if _, err := runCommand(t, "rerate", "--storage.path="+home+"/data", "--from=-1h", "--dry-run"); err != nil {
		t.Error(err)
	}
	if err := p.terminate(); err != nil {
		t.Error(err)
	}
}

// An address that is taken is named by its setting.
func TestListenerTaken(t *testing.T) {
	home := t.TempDir()
	p := startWith(t, home, "")
	for _, key := range []string{"ingest_listen_address", "operations_listen_address"} {
		other := t.TempDir()
		_, err := startProcess(other, nil, "--config.file="+configFile(t, fmt.Sprintf("web: {%s: %q}\n", key, strings.TrimPrefix(p.url, "http://"))),
			"--storage.path=data", "--web.listen-address=127.0.0.1:0")
		if err == nil || !strings.Contains(err.Error(), "web."+key+": listen tcp") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// Requests that never become whole do not make a stop fail: nobody was told that
// they are durable, and whoever sends them does so again.
func TestStopCutsOffHalfRequests(t *testing.T) {
	l := startLine(t, t.TempDir(), nil)
	for _, text := range []string{"", "Content-Length: 5000\r\n\r\nhalf a body"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST /api/v1/write HTTP/1.1\r\nHost: w\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n%s", text); err != nil {
			t.Fatal(err)
		}
	}
	err := eventually("half a request is in the works", func() error {
		_, text, err := get(l.url + "/metrics")
		if err == nil && !strings.Contains(text, "\nwattledger_requests_inflight 1\n") {
			err = fmt.Errorf("it is not")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	l.stop() // fails the test if run ended with an error
}
