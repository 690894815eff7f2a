// Package influxtest runs a real InfluxDB for tests. It builds influxd 1.8 once
// and keeps it in the user's cache directory.
package influxtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wattledger/wattledger/test/loopback"
)

// Version is the release that is built.
const Version = "v1.8.10"

// Binary returns the path of influxd, which it builds if it is not there yet.
// Processes that want it at the same time wait for the one that builds.
func Binary() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "wattledger", "influxd-"+Version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	binary := filepath.Join(dir, "influxd")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	build, err := os.MkdirTemp(dir, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(build)
	cmd := exec.Command("go", "install", "github.com/influxdata/influxdb/cmd/influxd@"+Version)
	cmd.Dir = build // outside of this module
	cmd.Env = append(os.Environ(), "GOBIN="+build, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build influxd %s: %w\n%s", Version, err, out)
	}
	return binary, os.Rename(filepath.Join(build, "influxd"), binary)
}

// A Server is an InfluxDB on a free loopback port.
type Server struct {
	URL   string
	Token string // user:password of an administrator; empty unless authorisation is on
	dir   string
	cmd   *exec.Cmd
	ended chan error
}

// Run starts a server with its data in dir. With auth it wants to know who asks.
func Run(ctx context.Context, dir string, auth bool) (*Server, error) {
	s := &Server{dir: dir}
	if err := s.configure(auth); err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	if auth {
		s.Token = "admin:s3cret"
		if err := s.Query(ctx, "", "CREATE USER admin WITH PASSWORD 's3cret' WITH ALL PRIVILEGES"); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) configure(auth bool) error {
	addr, err := loopback.Address()
	if err != nil {
		return err
	}
	s.URL = "http://" + addr
	config := fmt.Sprintf(`reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
dir = %q
[data]
dir = %q
wal-dir = %q
index-version = "tsi1"
max-series-per-database = 0
max-values-per-tag = 0
query-log-enabled = false
[monitor]
store-enabled = false
[http]
bind-address = %q
flux-enabled = true
log-enabled = false
auth-enabled = %t
[logging]
level = "error"
`, filepath.Join(s.dir, "meta"), filepath.Join(s.dir, "data"), filepath.Join(s.dir, "wal"), addr, auth)
	return os.WriteFile(filepath.Join(s.dir, "influxdb.conf"), []byte(config), 0o644)
}

// Start starts the server, again after a Stop, and returns when it answers.
func (s *Server) Start(ctx context.Context) error {
	binary, err := Binary()
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(s.dir, "influxd.log"))
	if err != nil {
		return err
	}
	defer out.Close()
	s.cmd = exec.Command(binary, "-config", filepath.Join(s.dir, "influxdb.conf"))
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	s.ended = ended
	go func() { ended <- s.cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if res, err := http.Get(s.URL + "/ping"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusNoContent {
				return nil
			}
		}
		select {
		case err := <-ended:
			s.cmd = nil
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("influxd ended: %w\n%s", err, text)
		case <-ctx.Done():
			s.Stop()
			return fmt.Errorf("influxd does not answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Stop ends the server at once; what it had answered for is on its disk.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// Write writes lines with times in milliseconds, as another program would.
func (s *Server) Write(ctx context.Context, db, lines string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/write?precision=ms&db="+url.QueryEscape(db), strings.NewReader(lines))
	if err != nil {
		return err
	}
	return s.do(req)
}

// Query runs an InfluxQL statement as the administrator and forgets the answer.
func (s *Server) Query(ctx context.Context, db, statement string) error {
	form := url.Values{"db": {db}, "q": {statement}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/query", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := s.do(req); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func (s *Server) do(req *http.Request) error {
	if s.Token != "" {
		req.Header.Set("Authorization", "Token "+s.Token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	// The status is sent before the work is done, the body after it.
	text, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode/100 != 2 || strings.Contains(string(text), `"error"`)) {
		err = errors.New(res.Status + ": " + string(text))
	}
	return err
}
