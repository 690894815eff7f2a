package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process is a server that the harness starts, stops and ends. It is used by
// one goroutine at a time.
type process struct {
	name string
	path string
	args []string
	log  string // file that takes what it says, of all its lives

	cmd   *exec.Cmd
	ended chan struct{} // closed when this life is over
}

func (p *process) start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Dir = filepath.Dir(p.log)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(ended)
	}()
	return nil
}

func (p *process) alive() bool {
	if p.ended == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // it may be gone already

// kill ends the process without a warning and returns when it is gone.
func (p *process) kill() {
	if p.alive() {
		p.signal(syscall.SIGKILL)
		<-p.ended
	}
}

// terminate asks the process to end; it must do so with exit code 0.
func (p *process) terminate(patience time.Duration) error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("%s still runs %v after SIGTERM", p.name, patience)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with code %d after SIGTERM", p.name, code)
	}
	return nil
}

// said returns what the process has logged from an offset on.
func (p *process) said(from int64) string {
	text, err := os.ReadFile(p.log)
	if err != nil || int64(len(text)) < from {
		return ""
	}
	return string(text[from:])
}

func (p *process) logged() int64 {
	stat, err := os.Stat(p.log)
	if err != nil {
		return 0
	}
	return stat.Size()
}

// descriptors counts the open files of the process.
func (p *process) descriptors() (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid()))
	return len(list), err
}

// resident returns the resident size and its peak in bytes.
func (p *process) resident() (now, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch {
		case name == "VmRSS" && err == nil:
			now = kib << 10
		case name == "VmHWM" && err == nil:
			peak = kib << 10
		}
	}
	if now == 0 {
		return 0, 0, errors.New("no resident size")
	}
	return now, peak, nil
}
