package kubetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/wattledger/wattledger/test/loopback"
)

const token = "kubetest"

// A Server is an API server that the test may do everything on.
type Server struct {
	url    string
	client *http.Client
}

// Run starts etcd and an API server, which end with the test.
func Run(t *testing.T) *Server {
	t.Helper()
	binary, err := apiserver()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keyFile, tokens := filepath.Join(dir, "key.pem"), filepath.Join(dir, "tokens.csv")
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	write(t, tokens, []byte(token+",admin,admin,system:masters\n"))
	etcd, api := address(t), address(t)
	_, port, _ := strings.Cut(api, ":")
	start(t, dir, binary, "etcd", filepath.Join(dir, "etcd"), "http://"+etcd)
	start(t, dir, binary, "--etcd-servers=http://"+etcd, "--secure-port="+port, "--bind-address=127.0.0.1",
		"--cert-dir="+filepath.Join(dir, "certs"), "--service-account-key-file="+keyFile, "--service-account-signing-key-file="+keyFile,
		"--service-account-issuer=https://kubetest.invalid", "--token-auth-file="+tokens, "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24")
	s := &Server{
		url: "https://" + api,
		// Its certificate is of its own making, new each time.
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 20 * time.Second},
	}
	s.wait(t, func() bool { _, err := s.ask(http.MethodGet, "/readyz", nil); return err == nil }, "the API server is not ready")
	files, err := customResources()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(b, false); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return s
}

// Apply has the server take one object, or with dryRun say whether it would, strictly:
// a field it does not know is an error.
func (s *Server) Apply(object []byte, dryRun bool) error {
	var o struct {
		APIVersion, Kind string
		Metadata         struct{ Name, Namespace string }
	}
	if err := yaml.Unmarshal(object, &o); err != nil {
		return err
	}
	path, err := s.path(o.APIVersion, o.Kind, o.Metadata.Namespace)
	if err != nil {
		return err
	}
	path += "/" + o.Metadata.Name + "?fieldManager=kubetest&force=true&fieldValidation=Strict"
	if dryRun {
		path += "&dryRun=All"
	}
	_, err = s.ask(http.MethodPatch, path, object)
	return err
}

// path finds where objects of a kind live. The definition of a custom resource takes
// a moment to be served.
func (s *Server) path(version, kind, namespace string) (string, error) {
	root := "/apis/" + version
	if version == "v1" {
		root = "/api/v1"
	}
	var err error
	for range 50 {
		var b []byte
		if b, err = s.ask(http.MethodGet, root, nil); err == nil {
			var list struct {
				Resources []struct {
					Name, Kind string
					Namespaced bool
				}
			}
			if err := json.Unmarshal(b, &list); err != nil {
				return "", err
			}
			for _, r := range list.Resources {
				switch {
				case r.Kind != kind || strings.Contains(r.Name, "/"):
				case r.Namespaced:
					return root + "/namespaces/" + namespace + "/" + r.Name, nil
				default:
					return root + "/" + r.Name, nil
				}
			}
			err = fmt.Errorf("the server has no %s in %s", kind, version)
		}
		time.Sleep(200 * time.Millisecond)
	}
	return "", err
}

func (s *Server) ask(method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/apply-patch+yaml")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	return b, err
}

func (s *Server) wait(t *testing.T, done func() bool, otherwise string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
	}
}

// start runs a program until the test ends, and shows its output if that fails.
func start(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	log, err := os.CreateTemp(dir, "log")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
		if b, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s:\n%s", args[0], b[max(0, len(b)-2000):])
		}
	})
}

func address(t *testing.T) string {
	t.Helper()
	a, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
