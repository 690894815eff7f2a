package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/test/faultproxy"
	"github.com/wattledger/wattledger/test/influxtest"
	"github.com/wattledger/wattledger/test/loopback"
)

// A rig is the real program with a real Redis and a real InfluxDB, each behind
// a proxy that can do to their connections what networks do.
type rig struct {
	dir     string
	storage string
	mounted bool // storage is a small file system of its own

	server, redis, influx       *process
	toServer, toRedis, toInflux *faultproxy.Proxy
	direct                      string // host:port of the server itself
	redisAddr, influxURL        string
	client                      *goredis.Client
}

const (
	patience    = 60 * time.Second
	storageSize = "512m"
)

// newRig starts everything in an empty folder.
func newRig(ctx context.Context, binary, dir string, followers bool) (_ *rig, err error) {
	r := &rig{dir: dir, storage: filepath.Join(dir, "storage")}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if err := os.MkdirAll(r.storage, 0o750); err != nil {
		return nil, err
	}
	// Where mounting is not allowed, the faults that need it are left out.
	r.mounted = exec.Command("mount", "-t", "tmpfs", "-o", "size="+storageSize, "torture", r.storage).Run() == nil
	if r.direct, err = loopback.Address(); err != nil {
		return nil, err
	}
	if err := r.startRedis(); err != nil {
		return nil, err
	}
	if err := r.startInflux(ctx); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		proxy  **faultproxy.Proxy
		target string
	}{
		{&r.toServer, r.direct}, {&r.toRedis, r.redisAddr}, {&r.toInflux, strings.TrimPrefix(r.influxURL, "http://")},
	} {
		if *p.proxy, err = faultproxy.New(p.target); err != nil {
			return nil, err
		}
	}
	config := fmt.Sprintf(`web: {listen_address: %q}
storage: {path: %q, flush_interval: 1s, snapshot_interval: 5s}
kepler: {interval: 15s}
journal: {max_bytes: 64MiB, segment_bytes: 1MiB}
receiver: {body_timeout: 5s}
`, r.direct, r.storage)
	if followers {
		config += fmt.Sprintf("redis: {url: \"redis://%s\"}\ninfluxdb: {url: \"http://%s\"}\n", r.toRedis.Addr(), r.toInflux.Addr())
	}
	file := filepath.Join(dir, "wattledger.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	r.server = &process{name: "wattledger", path: binary, args: []string{"serve", "--config.file=" + file}, log: filepath.Join(dir, "wattledger.log")}
	return r, r.startServer(ctx)
}

func (r *rig) startRedis() (err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("redis-server is needed: apt-get install redis-server: %w", err)
	}
	if r.redisAddr, err = loopback.Address(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(r.redisAddr)
	r.redis = &process{name: "redis", path: path, log: filepath.Join(r.dir, "redis.log"),
		args: []string{"--port", port, "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "no"}}
	r.client = goredis.NewClient(&goredis.Options{Addr: r.redisAddr, MaxRetries: 3})
	return r.redis.start()
}

// startInflux lets influxtest write the configuration and then runs the server itself.
func (r *rig) startInflux(ctx context.Context) error {
	path, err := influxtest.Binary()
	if err != nil {
		return err
	}
	dir := filepath.Join(r.dir, "influx")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	first, err := influxtest.Run(ctx, dir, false)
	if err != nil {
		return err
	}
	r.influxURL = first.URL
	first.Stop()
	r.influx = &process{name: "influxd", path: path, args: []string{"-config", filepath.Join(dir, "influxdb.conf")}, log: filepath.Join(r.dir, "influxd.log")}
	return r.influx.start()
}

// startServer returns when the server is ready.
func (r *rig) startServer(ctx context.Context) error {
	if err := r.server.start(); err != nil {
		return err
	}
	return r.untilReady(ctx)
}

func (r *rig) untilReady(ctx context.Context) error {
	return eventually(ctx, "ready", func() error {
		if !r.server.alive() {
			return stopTrying{fmt.Errorf("wattledger ended:\n%s", tail(r.server.said(0), 2000))}
		}
		_, err := r.get("/-/ready")
		return err
	})
}

// get asks the server, past the proxy.
func (r *rig) get(path string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + r.direct + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.300s", path, res.Status, text)
	}
	return string(text), err
}

// metrics returns the server's samples by series, as they are printed.
func (r *rig) metrics() (map[string]float64, error) {
	text, err := r.get("/metrics")
	if err != nil {
		return nil, err
	}
	m := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			m[line[:i]] = v
		}
	}
	return m, nil
}

// sumOf adds up all series of a metric.
func sumOf(m map[string]float64, name string) (sum float64) {
	for series, v := range m {
		if series == name || strings.HasPrefix(series, name+"{") {
			sum += v
		}
	}
	return sum
}

func (r *rig) follows(m map[string]float64, follower string) bool {
	_, ok := m[`wattledger_follower_lag_entries{follower="`+follower+`"}`]
	return ok
}

func (r *rig) close() {
	for _, p := range []*process{r.server, r.redis, r.influx} {
		if p != nil {
			p.kill()
		}
	}
	for _, p := range []*faultproxy.Proxy{r.toServer, r.toRedis, r.toInflux} {
		if p != nil {
			p.Close()
		}
	}
	if r.client != nil {
		r.client.Close()
	}
	if r.mounted {
		_ = exec.Command("umount", "-l", r.storage).Run() // nothing else can be done about it
	}
}

// A stopTrying error ends eventually at once.
type stopTrying struct{ error }

// eventually asks until ok holds and says what is still wrong when patience ends.
func eventually(ctx context.Context, what string, ok func() error) error {
	return within(ctx, patience, what, ok)
}

func within(ctx context.Context, patience time.Duration, what string, ok func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		var stop stopTrying
		switch {
		case err == nil:
			return nil
		case errors.As(err, &stop):
			return fmt.Errorf("%s: %w", what, err)
		case time.Now().After(deadline):
			return fmt.Errorf("%s: not within %v: %w", what, patience, err)
		}
		if !pause(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// pause waits, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }
