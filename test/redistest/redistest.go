// Package redistest runs real Redis servers for tests.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/test/loopback"
)

// A Server is a redis-server on a loopback port of its own. It keeps nothing on
// disk unless its arguments say so.
type Server struct {
	Addr string

	t    testing.TB
	dir  string
	args []string
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{}
}

// Start starts a server, with more arguments for redis-server if need be, and
// kills it when the test ends.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	address, err := loopback.Address()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: address, t: t, dir: t.TempDir(), args: args}
	s.Run()
	t.Cleanup(s.Kill)
	return s
}

// Run starts the server again, on the same port.
func (s *Server) Run() {
	s.t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		s.t.Fatal("redis-server is needed: apt-get install redis-server")
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.cmd = exec.Command("redis-server", append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no"}, s.args...)...)
	s.log = &bytes.Buffer{}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	s.done = done
	go func(cmd *exec.Cmd) {
		cmd.Wait()
		close(done)
	}(s.cmd)
	Eventually(s.t, "redis-server answers on "+s.Addr, func() error {
		select {
		case <-done:
			s.t.Fatalf("redis-server ended:\n%s", s.log)
		default:
		}
		c, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// Kill ends the server as kill -9 does, and returns when it is gone.
func (s *Server) Kill() {
	select {
	case <-s.done:
		return
	default:
	}
	s.cmd.Process.Kill()
	<-s.done
}

// URL returns the server's address as a setting. auth is user:password@ or empty.
func (s *Server) URL(auth string) string { return "redis://" + auth + s.Addr }

// Client returns a client of the server.
func (s *Server) Client() *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr, MaxRetries: 3})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// Do runs one command and returns its answer as text.
func (s *Server) Do(args ...any) string {
	s.t.Helper()
	v, err := s.Client().Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return fmt.Sprint(v)
}

// Stream returns all entries of a stream, oldest first.
func (s *Server) Stream(key string) []goredis.XMessage {
	s.t.Helper()
	list, err := s.Client().XRange(context.Background(), key, "-", "+").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// Port returns the server's port.
func (s *Server) Port() int {
	_, port, _ := net.SplitHostPort(s.Addr)
	n, _ := strconv.Atoi(port)
	return n
}

// Eventually waits until f returns nil, half a minute at most.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("waited in vain until %s: %v", what, err)
}
