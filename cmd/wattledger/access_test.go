package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/test/accesstest"
)

// ask asks the line with a token and returns status and body.
func ask(t testing.TB, method, url, token, content string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// with returns a body that is sent with a token.
func with(token string, b body) body {
	b.header = b.header.Clone()
	b.header.Set("Authorization", "Bearer "+token)
	return b
}

func startWith(t *testing.T, home, config string) *process {
	t.Helper()
	p, err := startProcess(home, nil, "--config.file="+configFile(t, config), "--storage.path=data", "--web.listen-address=127.0.0.1:0", "--log.level=debug")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if err := untilReady(p.url); err != nil {
		t.Fatalf("%v\n%s", err, p.log())
	}
	return p
}

// Whatever is done with tokens, right ones and wrong ones, none is ever said:
// not in the log, not in any answer, not on disk.
func TestTokensAreNeverTold(t *testing.T) {
	home := t.TempDir()
	file := accesstest.New(t)
	tokens := map[string]string{
		"admin":  file.Token("root", "scopes: [admin, read, write]"),
		"reader": file.Token("reader", "scopes: [read], clusters: [a]"),
		"writer": file.Token("writer", "scopes: [write], samples_per_second: 1000"),
	}
	tokens["wrong"], _ = access.New()
	p := startWith(t, home, fmt.Sprintf("web: {tokens_file: %q}\napi: {pprof: true}\n", file.Path))
	told := func(where, text string) {
		t.Helper()
		for who, token := range tokens {
			if strings.Contains(text, strings.TrimPrefix(token, "wlt_")) {
				t.Errorf("%s tells the token of %s", where, who)
			}
		}
	}

	for _, b := range capturedBodies(t, "v1")[:3] {
		for who, token := range tokens {
			status, text, err := post(t.Context(), p.url, with(token, b))
			if want := map[string]int{"admin": 204, "writer": 204, "reader": 403, "wrong": 401}[who]; err != nil || status != want {
				t.Fatalf("%s writes: %d %s %v", who, status, text, err)
			}
			told("the answer to a write", text)
		}
	}
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	described, err := os.ReadFile("../../httpapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(described, &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			path := strings.ReplaceAll(path, "{workload_id}", "etl")
			switch path {
			case "/debug/pprof/profile", "/debug/pprof/trace":
				path += "?seconds=1"
			case "/debug/pprof/":
				path += "goroutine?debug=2"
			}
			for _, token := range tokens {
				_, text := ask(t, strings.ToUpper(method), p.url+path, token, "{}", "X-Request-Id", token)
				told(path, text)
			}
			_, text := ask(t, strings.ToUpper(method), p.url+path, "", "", "Authorization", "Basic "+tokens["reader"])
			told(path, text)
		}
	}
	if status, text := ask(t, "GET", p.url+"/debug/pprof/heap?debug=1&token="+tokens["admin"], tokens["admin"], ""); status != 200 || strings.Contains(text, tokens["admin"]) {
		t.Errorf("heap profile: %d", status)
	}

	// A command that asks the service shows a token too.
	held := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(held, []byte(tokens["admin"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runCommand(t, "rerate", "--server="+p.url, "--from=-1h", "--dry-run", "--token-file="+held); err != nil {
		t.Error(err)
	}
	if _, err := runCommand(t, "rerate", "--server="+p.url, "--from=-1h", "--dry-run"); err == nil || !strings.Contains(err.Error(), "scope admin") {
		t.Errorf("rerate without a token: %v", err)
	}

	// The token itself, where its hash belongs.
	file.Write("tokens:\n- {name: slip, scopes: [read], sha256: " + tokens["admin"] + "}\n")
	err = eventually("broken tokens file", func() error {
		if !strings.Contains(p.log(), "tokens file not taken") {
			return fmt.Errorf("not in the log")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	status, text := ask(t, "GET", p.url+"/metrics", tokens["admin"], "")
	if status != 200 || !strings.Contains(text, "\nwattledger_tokens_reload_failures_total 1\n") || !strings.Contains(text, "\nwattledger_tokens 3\n") {
		t.Errorf("the tokens before it are not in force: %d\n%s", status, text)
	}
	told("/metrics", text)
	if err := p.terminate(); err != nil {
		t.Fatal(err)
	}
	told("the log", p.log())
	for _, line := range []string{"admin action", "who=root", "route=/debug/senders", "wlt_<secret>"} {
		if !strings.Contains(p.log(), line) {
			t.Errorf("the log lacks %q", line)
		}
	}
	err = filepath.WalkDir(filepath.Join(home, "data"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		told(name, string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Two tenants write one and the same series, which names no cluster. Each has
// its own books, before a crash and after it, and sees no others.
func TestTenants(t *testing.T) {
	home := t.TempDir()
	file := accesstest.New(t)
	alpha := file.Token("alpha", "scopes: [read, write], clusters: [alpha]")
	bravo := file.Token("bravo", "scopes: [read, write], clusters: [bravo]")
	both := file.Token("both", "scopes: [read], clusters: [alpha, bravo]")
	config := fmt.Sprintf("web: {tokens_file: %q}\nstorage: {flush_interval: 20ms, snapshot_interval: 100ms}\n", file.Path)
	start := time.Now().Add(-2 * time.Hour).Truncate(time.Hour)
	bodies := kilowattHour(t, start)

	energy := func(p *process, token string) (names string, kWh float64) {
		t.Helper()
		status, text := ask(t, "GET", fmt.Sprintf("%s/cost/hourly?start=%d&aggregate=cluster", p.url, start.Unix()), token, "")
		var answer struct {
			Totals struct {
				EnergyKWh float64 `json:"energy_kwh"`
			}
			Groups []struct{ Name string }
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, text, err)
		}
		for _, g := range answer.Groups {
			names += g.Name + " "
		}
		return names, answer.Totals.EnergyKWh
	}
	check := func(p *process, alphaKWh, bravoKWh float64) {
		t.Helper()
		f := func(token, names string, want float64) {
			t.Helper()
			err := eventually("energy of "+names, func() error {
				if got, kWh := energy(p, token); got != names || kWh < want-1e-6 || kWh > want+1e-6 {
					return fmt.Errorf("%q has %v kWh, want %q with %v", got, kWh, names, want)
				}
				return nil
			})
			if err != nil {
				t.Fatalf("%v\n%s", err, p.log())
			}
		}
		f(alpha, "alpha ", alphaKWh)
		f(bravo, "bravo ", bravoKWh)
		f(both, "alpha bravo ", alphaKWh+bravoKWh)
	}

	p := startWith(t, home, config)
	half := len(bodies) / 2
	for _, b := range bodies[:half+1] {
		postAll(t, p.url, with(alpha, b), with(bravo, b))
	}
	atHalf := (registerOf(t, bodies[half]) - registerOf(t, bodies[0])) / 3.6e6
	p.kill()

	p = startWith(t, home, config)
	check(p, atHalf, atHalf)
	postAll(t, p.url, with(alpha, bodies[half])) // again, by who is known from before
	for _, b := range bodies[half+1:] {
		postAll(t, p.url, with(alpha, b))
	}
	p.kill()
	p = startWith(t, home, config)
	check(p, 1, atHalf)

	// What is another's is refused with its name, and is not in anybody's books.
	status, reason, err := post(t.Context(), p.url, with(alpha, named(t, bodies[0], "bravo")))
	if err != nil || status != 400 || !strings.Contains(reason, `may not write the cluster "bravo"`) {
		t.Errorf("%d %s %v", status, reason, err)
	}
	check(p, 1, atHalf)
	if status, text := ask(t, "GET", p.url+"/debug/quarantine", alpha, ""); status != 403 {
		t.Errorf("a tenant reads the quarantine: %d %s", status, text)
	}
}

// requestOf reads a 1.0 body.
func requestOf(t *testing.T, b body) (req prompb.WriteRequest) {
	t.Helper()
	raw, err := snappy.Decode(nil, b.content)
	if err == nil {
		err = req.Unmarshal(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// registerOf returns where the node's counter stands in a body of kilowattHour, in joules.
func registerOf(t *testing.T, b body) float64 {
	t.Helper()
	return requestOf(t, b).Timeseries[0].Samples[0].Value
}

// named returns a 1.0 body with a cluster on each of its series.
func named(t *testing.T, b body, cluster string) body {
	t.Helper()
	req := requestOf(t, b)
	for i := range req.Timeseries {
		ts := &req.Timeseries[i]
		ts.Labels = append(ts.Labels, prompb.Label{Name: "cluster", Value: cluster})
	}
	raw, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b.content = snappy.Encode(nil, raw)
	return b
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "wattledger.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Tokens over TLS and HTTP/2, client certificates demanded: refusals come at
// once there as well, and passwords beside tokens are refused at the start.
func TestTokensOverTLS(t *testing.T) {
	home := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write("cert.pem", string(certificate))
	write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	web := write("web.yaml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem, client_auth_type: RequireAndVerifyClientCert}\n")
	file := accesstest.New(t)
	writer := file.Token("writer", "scopes: [write]")

	p, err := startProcess(home, nil, "--config.file="+configFile(t, fmt.Sprintf("web: {tokens_file: %q, config_file: %q}\n", file.Path, web)),
		"--storage.path=data", "--web.listen-address=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	clientWith := func(certificates ...tls.Certificate) *http.Client {
		c := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates}}}
		t.Cleanup(c.CloseIdleConnections)
		return c
	}
	client := clientWith(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	url := strings.Replace(p.url, "http://", "https://", 1)
	do := func(token string, content io.Reader) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/v1/write", content)
		if err != nil {
			return 0, err
		}
		r.Header = capturedBodies(t, "v1")[0].header.Clone()
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		defer answer.Body.Close()
		if answer.ProtoMajor != 2 {
			return 0, fmt.Errorf("by %s", answer.Proto)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode, err
	}
	good := capturedBodies(t, "v1")[0].content
	err = eventually("a body is taken", func() error {
		status, err := do(writer, bytes.NewReader(good))
		if err == nil && status != http.StatusNoContent {
			err = fmt.Errorf("%d", status)
		}
		return err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log())
	}
	for range 3 {
		silent, feed := io.Pipe()
		defer feed.Close()
		if status, err := do("wlt_unknown", silent); err != nil || status != http.StatusUnauthorized {
			t.Errorf("a body that does not come, with an unknown token: %d %v", status, err)
		}
	}
	if status, err := do(writer, bytes.NewReader(good)); err != nil || status != http.StatusNoContent {
		t.Errorf("after refusals on the same connection: %d %v", status, err)
	}
	client = clientWith() // with connections of its own
	if status, err := do(writer, bytes.NewReader(good)); err == nil {
		t.Errorf("without a client certificate: %d", status)
	}

	users := write("users.yaml", "basic_auth_users: {a: b}\n")
	_, err = startProcess(t.TempDir(), nil, "--config.file="+configFile(t, fmt.Sprintf("web: {tokens_file: %q, config_file: %q}\n", file.Path, users)), "--web.listen-address=127.0.0.1:0")
	if err == nil || !strings.Contains(err.Error(), "exclude each other") {
		t.Errorf("tokens beside passwords: %v", err)
	}
}
