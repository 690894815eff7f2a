package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wattledger/wattledger/configs"
)

// patience bounds every wait of these tests; a machine has to be very busy to need it.
const patience = 2 * time.Minute

// The test binary is also the program: called wattledger, it is main.
func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){"wattledger": main})
}

// tidy removes what tests have in common when they have ended.
type tidy struct{ *testing.M }

func (t tidy) Run() int {
	code := t.M.Run()
	if err := os.RemoveAll(madeUsed); err != nil && code == 0 {
		code = 1
	}
	return code
}

// underRace says whether the race detector is built in.
func underRace() bool {
	build, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// A body is a captured request.
type body struct {
	name    string
	header  http.Header
	content []byte
}

// readBody reads a captured body and the headers beside it.
func readBody(file string) (body, error) {
	b := body{name: filepath.Base(file), header: http.Header{}}
	var err error
	if b.content, err = os.ReadFile(file); err != nil {
		return b, err
	}
	headers, err := os.ReadFile(strings.TrimSuffix(file, ".snappy") + ".headers")
	if err != nil {
		return b, err
	}
	for line := range strings.Lines(string(headers)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			b.header.Set(name, value)
		}
	}
	return b, nil
}

// capturedBodies returns what a real Prometheus sent of a real Kepler by one
// protocol, in order.
func capturedBodies(t testing.TB, protocol string) []body {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "captured", protocol+"-*.snappy"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured bodies of %s: %v", protocol, err)
	}
	slices.Sort(files)
	var all []body
	for _, file := range files {
		b, err := readBody(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// eventually asks until ok holds and says what is still wrong when patience ends.
// It asks less and less often, so that asking does not hold up what is waited for.
func eventually(what string, ok func() error) error {
	deadline := time.Now().Add(patience)
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := ok()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %v: %w", what, patience, err)
		}
		time.Sleep(pause)
	}
}

// get returns the status and the body of an answer.
func get(url string) (int, string, error) {
	r, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	return r.StatusCode, string(content), err
}

// post sends a body to the remote-write route of the line at url.
func post(ctx context.Context, url string, b body) (status int, reason string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/write", bytes.NewReader(b.content))
	if err != nil {
		return 0, "", err
	}
	r.Header = b.header.Clone()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// postAll sends bodies one by one; each must be taken.
func postAll(t testing.TB, url string, bodies ...body) {
	t.Helper()
	for _, b := range bodies {
		if status, reason, err := post(t.Context(), url, b); err != nil || status != http.StatusNoContent {
			t.Fatalf("post %s: %d %s %v", b.name, status, reason, err)
		}
	}
}

// ready returns nil when the line at url takes requests.
func ready(url string) error {
	status, text, err := get(url + "/-/ready")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, text)
	}
	return err
}

func untilReady(url string) error {
	return eventually("ready", func() error { return ready(url) })
}

// A line is the whole program, running in this process.
type line struct {
	url  string
	stop func() // waits until everything has ended
}

// startLine runs the line on a storage path. It is ready when startLine returns.
func startLine(t testing.TB, dir string, change func(*configs.Config)) *line {
	t.Helper()
	cfg := configs.Default()
	cfg.Web.ListenAddress = "127.0.0.1:0"
	cfg.Storage.Path = dir
	cfg.Storage.FlushInterval = 20 * time.Millisecond
	cfg.Storage.SnapshotInterval = time.Hour
	if change != nil {
		change(cfg)
	}
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	var mu sync.Mutex // guards logged
	logger := slog.New(slog.NewTextHandler(lockedWriter{&mu, &logged}, nil))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	listening, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- run(ctx, cfg, logger, func(addr string) { listening <- addr }) }()
	l := &line{}
	select {
	case addr := <-listening:
		l.url = "http://" + addr
	case err := <-ended:
		t.Fatalf("run: %v", err)
	}
	l.stop = sync.OnceFunc(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("run has not ended %v after it was told to", patience)
		}
		if t.Failed() {
			mu.Lock()
			defer mu.Unlock()
			t.Logf("log:\n%s", logged.String())
		}
	})
	t.Cleanup(l.stop)
	if err := untilReady(l.url); err != nil {
		t.Fatal(err)
	}
	return l
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

// A process is the program, running as users run it.
type process struct {
	cmd   *exec.Cmd
	url   string
	ended chan struct{} // closed when the process is gone and read to its end

	mu     sync.Mutex
	stderr bytes.Buffer // guarded by mu
	err    error        // of Wait; good when ended is closed
}

var listeningLine = regexp.MustCompile(`msg=listening address=(\S+)`)

// startProcess starts the program and returns when it listens.
func startProcess(dir string, env []string, args ...string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startProgram(program, dir, env, args...)
}

// startProgram starts a file that is the program.
func startProgram(program, dir string, env []string, args ...string) (*process, error) {
	p := &process{ended: make(chan struct{})}
	p.cmd = exec.Command(program)
	p.cmd.Args = append([]string{"wattledger"}, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	listening := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			if m := listeningLine.FindStringSubmatch(lines.Text()); m != nil {
				listening <- "http://" + m[1]
			}
			p.mu.Lock()
			p.stderr.WriteString(lines.Text() + "\n")
			p.mu.Unlock()
		}
		p.err = p.cmd.Wait()
	}()
	select {
	case p.url = <-listening:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("%s ended (%v):\n%s", args, p.err, p.log())
	case <-time.After(patience):
		p.kill()
		return nil, fmt.Errorf("%s does not listen within %v:\n%s", args, patience, p.log())
	}
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// kill ends the process without a warning.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.ended
	http.DefaultClient.CloseIdleConnections()
}

// terminate asks the process to end and waits until it has.
func (p *process) terminate() error {
	http.DefaultClient.CloseIdleConnections()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("still runs %v after SIGTERM:\n%s", patience, p.log())
	}
	if p.err != nil {
		return fmt.Errorf("after SIGTERM: %w:\n%s", p.err, p.log())
	}
	return nil
}
