package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/wattledger/wattledger/test/loopback"
)

// A peer is a remote-write receiver that can be measured beside the others.
type peer struct {
	name      string // of the table and of the program, unless program says otherwise
	program   string
	protocols []int
	write     string // path of its receiver
	ready     string // path that answers 200 once it takes requests
	args      func(dir, address, sink string) ([]string, error)

	durable  string // what is safe on disk before it answers
	computes string // what it makes of a sample
}

// aggregation is what comes nearest, in vmagent, to energy by container: the
// increase and the rate of every counter, by all labels, once a minute.
const aggregation = `- interval: 1m
  match: '{__name__=~"kepler_.*_joules_total"}'
  outputs: [increase, rate_sum]
`

var peers = []peer{
	{
		name: "wattledger", protocols: []int{1, 2}, write: "/api/v1/write", ready: "/-/ready",
		durable: "the whole request", computes: "energy and money by container and minute, labels checked, rows in SQLite",
		args: func(dir, address, _ string) ([]string, error) {
			return []string{"serve", "--storage.path=" + dir, "--web.listen-address=" + address, "--log.level=error"}, nil
		},
	},
	{
		name: "prometheus", protocols: []int{1, 2}, write: "/api/v1/write", ready: "/-/ready",
		durable: "nothing: the log is written, not synced", computes: "stores samples",
		args: func(dir, address, _ string) ([]string, error) {
			config := filepath.Join(dir, "prometheus.yml")
			return []string{
				"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
				"--web.enable-remote-write-receiver", "--log.level=error",
			}, os.WriteFile(config, []byte("global: {}\n"), 0o640)
		},
	},
	{
		name: "victoria-metrics", protocols: []int{1}, write: "/api/v1/write", ready: "/health",
		durable: "nothing: up to 5 s stay in memory", computes: "stores samples",
		args: func(dir, address, _ string) ([]string, error) {
			return []string{"-storageDataPath=" + dir, "-httpListenAddr=" + address, "-loggerLevel=ERROR", "-retentionPeriod=1y"}, nil
		},
	},
	{
		name: "vmagent", protocols: []int{1}, write: "/api/v1/write", ready: "/health",
		durable: "nothing: queued in memory, then on disk", computes: "forwards samples (here to a server that discards them)",
		args: func(dir, address, sink string) ([]string, error) {
			return []string{
				"-remoteWrite.url=" + sink, "-remoteWrite.tmpDataPath=" + dir, "-httpListenAddr=" + address, "-loggerLevel=PANIC",
			}, nil
		},
	},
	{
		name: "vmagent-aggregating", program: "vmagent", protocols: []int{1}, write: "/api/v1/write", ready: "/health",
		durable: "nothing: sums are in memory for a minute", computes: "increase and rate of every counter by all its labels, once a minute",
		args: func(dir, address, sink string) ([]string, error) {
			config := filepath.Join(dir, "aggregation.yml")
			return []string{
				"-remoteWrite.url=" + sink, "-remoteWrite.tmpDataPath=" + dir, "-httpListenAddr=" + address, "-loggerLevel=PANIC",
				"-streamAggr.config=" + config, "-streamAggr.dropInput",
			}, os.WriteFile(config, []byte(aggregation), 0o640)
		},
	},
	{
		name: "telegraf-parser", program: "telegrafparse", protocols: []int{1}, write: "/api/v1/write", ready: "/-/ready",
		durable: "nothing", computes: "parses and discards",
		args: func(_, address, _ string) ([]string, error) { return []string{"-listen=" + address}, nil },
	},
}

// file returns the peer's program in one of the folders.
func (p *peer) file(folders []string) (string, error) {
	name := p.program
	if name == "" {
		name = p.name
	}
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("no program %s in %v", name, folders)
}

func (p *peer) speaks(protocol int) bool { return slices.Contains(p.protocols, protocol) }

// A runningPeer is one that runs, on an empty folder of its own.
type runningPeer struct {
	command *exec.Cmd
	url     string
	dir     string
}

func (p *peer) start(ctx context.Context, program, sink string) (s *runningPeer, err error) {
	address, err := loopback.Address()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench-peer-")
	if err != nil {
		return nil, err
	}
	s = &runningPeer{url: "http://" + address + p.write, dir: dir}
	args, err := p.args(dir, address, sink)
	if err != nil {
		return nil, err
	}
	s.command = exec.Command(program, args...)
	s.command.Stderr = os.Stderr
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	for range 600 {
		if answer, err := http.Get("http://" + address + p.ready); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return s, nil
			}
		}
		if !wait(ctx, 50*time.Millisecond) {
			s.stop()
			return nil, ctx.Err()
		}
	}
	s.stop()
	return nil, fmt.Errorf("%s is not ready after 30 s", p.name)
}

// stop ends the server as an operator would, then for good.
func (s *runningPeer) stop() {
	s.command.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(20*time.Second, func() { s.command.Process.Kill() })
	s.command.Wait()
	kill.Stop()
	os.RemoveAll(s.dir)
}
