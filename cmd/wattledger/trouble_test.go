package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/demo"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/test/faultproxy"
	"github.com/wattledger/wattledger/test/redistest"
)

// TestFollowersInTrouble has everything happen to a running line's followers that
// somebody has to mend. Each time there is one message, which names the setting
// and what to do; the others go on; and when it is mended nothing is missing.
func TestFollowersInTrouble(t *testing.T) {
	influxd := startInflux(t, true)
	must := func(statement string) {
		t.Helper()
		if err := influxd.Query(t.Context(), "", statement); err != nil {
			t.Fatal(err)
		}
	}
	must("CREATE USER w WITH PASSWORD 'right' WITH ALL PRIVILEGES")
	proxy := faultproxy.Start(t, strings.TrimPrefix(influxd.URL, "http://"))
	other := redistest.Start(t)
	redisd := redistest.Start(t, "--maxmemory-policy", "noeviction")
	dir := t.TempDir()
	l := startLine(t, dir, func(c *configs.Config) {
		c.InfluxDB.URL, c.InfluxDB.Token = "http://"+proxy.Addr(), "w:right"
		c.Redis.URL = redisd.URL("")
	})
	now := time.Now()
	sim, err := demo.NewCluster(now.Truncate(time.Minute).Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	feedSteps(t, sim, l.url, 3)
	hasFollowed(t, l.url, dir, "influxdb")
	hasFollowed(t, l.url, dir, "redis")

	f := func(name, follower, sane string, trouble, mend func(), wants ...string) {
		t.Helper()
		trouble()
		feedSteps(t, sim, l.url, 2)
		if err := eventually(name, func() error {
			_, text, err := get(l.url + "/-/ready")
			for _, want := range wants {
				if err != nil || !strings.Contains(text, want) {
					return fmt.Errorf("readiness has no %q: %s, %w", want, text, err)
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		hasFollowed(t, l.url, dir, sane)
		mend()
		hasFollowed(t, l.url, dir, follower)
	}
	asAdmin := func(args ...any) {
		t.Helper()
		c := goredis.NewClient(&goredis.Options{Addr: redisd.Addr, Password: "s3cret"})
		defer c.Close()
		if err := c.Do(t.Context(), args...).Err(); err != nil {
			t.Error(err)
		}
	}
	do := func(args ...any) func() { return func() { redisd.Do(args...) } }
	f("wrong token", "influxdb", "redis", func() { must("SET PASSWORD FOR w = 'wrong'") }, func() { must("SET PASSWORD FOR w = 'right'") },
		"influxdb.token: 401", "user:password")
	f("bucket dropped", "influxdb", "redis", func() {
		proxy.Set(faultproxy.Fault{When: "CREATE+DATABASE", Status: 403, Body: `{"error":"not authorized"}`})
		must(`DROP DATABASE "power_metrics"`)
	}, proxy.Clear, "influxdb.bucket: 403", "influx -execute 'CREATE DATABASE")
	f("disk full", "influxdb", "redis", func() {
		proxy.Set(faultproxy.Fault{When: "POST /api/v2/write", Status: 500, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"code":"internal error","message":"engine: no space left on device"}`})
		proxy.Cut()
	}, proxy.Clear, "influxdb.url: 500 engine: no space left on device; make room on InfluxDB's disk")
	f("OOM", "redis", "influxdb", do("CONFIG", "SET", "maxmemory", "1"), do("CONFIG", "SET", "maxmemory", "0"), "redis.url: the server is full (maxmemory)", "OOM")
	f("NOAUTH", "redis", "influxdb", func() {
		redisd.Do("CONFIG", "SET", "requirepass", "s3cret")
		asAdmin("CLIENT", "KILL", "TYPE", "normal") // who is in stays in
	}, func() { asAdmin("CONFIG", "SET", "requirepass", "") }, "redis.url: the server wants a password", "NOAUTH")
	f("READONLY", "redis", "influxdb", do("REPLICAOF", "127.0.0.1", strconv.Itoa(other.Port())), do("REPLICAOF", "NO", "ONE"), "redis.url: the server is a replica", "READONLY")
	l.stop()

	books, err := local.Open(filepath.Join(dir, "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	ic := influx.DefaultConfig()
	ic.URL, ic.Token = influxd.URL, influxd.Token
	sameSums(t, books, ic, now)
	from, to := now.Add(-12*time.Hour).UnixMilli(), now.Add(time.Hour).UnixMilli()
	agree(t, redisd, "wattledger:{0}:charges", books.WindowsBetween, from, to)
}
