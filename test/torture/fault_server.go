package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"syscall"
	"time"
)

var serverFaults = []fault{
	{"server-kill", onServer, "SIGKILL, started again within 1 s", func(ctx context.Context, r *run, random *rand.Rand) error {
		r.killServer()
		pause(ctx, time.Duration(random.IntN(1000))*time.Millisecond)
		return r.rig.startServer(ctx)
	}},
	{"server-kill-twice", onServer, "SIGKILL, and again within 100 ms of the next start, while it replays", func(ctx context.Context, r *run, random *rand.Rand) error {
		r.killServer()
		if err := r.rig.server.start(); err != nil {
			return err
		}
		pause(ctx, time.Duration(random.IntN(100_000))*time.Microsecond)
		r.killServer()
		return r.rig.startServer(ctx)
	}},
	{"server-freeze", onServer, "SIGSTOP for 1 to 8 s, SIGCONT", func(ctx context.Context, r *run, random *rand.Rand) error {
		return freeze(ctx, r.rig.server, random, 8)
	}},
	{"server-term", onServer, "SIGTERM under load; it must end with code 0", func(ctx context.Context, r *run, _ *rand.Rand) error {
		if err := r.rig.server.terminate(30 * time.Second); err != nil {
			return err
		}
		return r.rig.startServer(ctx)
	}},
	{"fsync-error", onServer, "fsync and fdatasync fail with EIO, 1 to 3 of them (strace)", func(ctx context.Context, r *run, random *rand.Rand) error {
		first := 1 + random.IntN(12)
		return r.inject(ctx, fmt.Sprintf("fsync,fdatasync:error=EIO:when=%d..%d", first, first+random.IntN(3)), seconds(random, 4))
	}},
	{"write-error", onServer, "pwrite64, by which the books are written, fails with EIO for 1 to 3 s (strace)", func(ctx context.Context, r *run, random *rand.Rand) error {
		return r.inject(ctx, "pwrite64:error=EIO:when=1+2", seconds(random, 3))
	}},
	{"slow-disk", onServer, "every fsync takes 200 ms longer for 1 to 4 s (strace)", func(ctx context.Context, r *run, random *rand.Rand) error {
		return r.inject(ctx, "fsync,fdatasync:delay_exit=200000", seconds(random, 4))
	}},
	{"short-writes", onServer, "RLIMIT_FSIZE: writes end in the middle, then fail with EFBIG, for 1 to 4 s", func(ctx context.Context, r *run, random *rand.Rand) error {
		// The journal's files end at 1 MiB; the limit lies inside the present one or the next.
		return r.limit(ctx, "--fsize", fmt.Sprint(random.IntN(1<<20)), seconds(random, 4))
	}},
	{"no-descriptors", onServer, "RLIMIT_NOFILE: nothing can be opened or accepted for 1 to 4 s", func(ctx context.Context, r *run, random *rand.Rand) error {
		return r.limit(ctx, "--nofile", "8", seconds(random, 4))
	}},
}

// killServer ends the server without a warning.
func (r *run) killServer() {
	r.rig.server.kill()
	r.killed("wattledger")
}

// inject makes system calls of the running server fail. strace leaves the
// program itself as it is.
func (r *run) inject(ctx context.Context, what string, lasts time.Duration) error {
	if _, err := exec.LookPath("strace"); err != nil {
		return notHere{"strace is not installed"}
	}
	calls := what[:len(what)-len(what[indexOf(what, ':'):])]
	s := exec.Command("strace", "-f", "-q", "-o", "/dev/null", "-p", fmt.Sprint(r.rig.server.pid()), "-e", "trace="+calls, "-e", "inject="+what)
	began := time.Now()
	if err := s.Start(); err != nil {
		return notHere{"strace: " + err.Error()}
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	select {
	case err := <-ended:
		if r.rig.server.alive() && time.Since(began) < 500*time.Millisecond {
			return notHere{fmt.Sprintf("strace may not attach: %v", err)}
		}
	case <-time.After(lasts):
		_ = s.Process.Signal(syscall.SIGINT) // it lets go and ends
		<-ended
	case <-ctx.Done():
		_ = s.Process.Signal(syscall.SIGINT)
		<-ended
	}
	return r.reviveJournal(ctx)
}

// reviveJournal does what the manual says of a journal that could not take back
// a failed write: it starts the server again.
func (r *run) reviveJournal(ctx context.Context) error {
	if !r.rig.server.alive() {
		return fmt.Errorf("the server ended by itself:\n%s", tail(r.rig.server.said(0), 2000))
	}
	m, err := r.rig.metrics()
	if err != nil {
		return err
	}
	if m["wattledger_journal_failed"] != 1 {
		return nil
	}
	r.note("journal failed, started again")
	r.killServer()
	return r.rig.startServer(ctx)
}

// limit sets a resource limit of the running server for a while.
func (r *run) limit(ctx context.Context, which, soft string, lasts time.Duration) error {
	pid := fmt.Sprint(r.rig.server.pid())
	if out, err := exec.Command("prlimit", "--pid", pid, which+"="+soft+":").CombinedOutput(); err != nil {
		return notHere{fmt.Sprintf("prlimit: %v %s", err, out)}
	}
	pause(ctx, lasts)
	wide := "unlimited"
	if which == "--nofile" {
		wide = "4096"
	}
	if !r.rig.server.alive() {
		return fmt.Errorf("the server ended by itself:\n%s", tail(r.rig.server.said(0), 2000))
	}
	if out, err := exec.Command("prlimit", "--pid", pid, which+"="+wide+":").CombinedOutput(); err != nil {
		return fmt.Errorf("prlimit: %w %s", err, out)
	}
	return r.reviveJournal(ctx)
}

// halfOpen begins requests that never end. The server must let go of them by itself.
func halfOpen(ctx context.Context, r *run, _ *rand.Rand) error {
	for i := range 20 {
		c, err := net.Dial("tcp", r.rig.direct)
		if err != nil {
			continue // it may be away
		}
		text := "POST /api/v1/write HTTP/1.1\r\nHost: wattledger\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n"
		if i%2 == 0 {
			text += "Content-Length: 5000\r\n\r\nhalf a body"
		}
		_, _ = c.Write([]byte(text)) // it may be away
		r.open = append(r.open, c)
	}
	return nil
}

func indexOf(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return len(s)
}
