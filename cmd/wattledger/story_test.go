package main

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestStories runs testdata/*.txtar: the program as users meet it. Beside the
// usual commands of testscript there are:
//
//	start [flag...]     start the program in the background, wait until it is ready
//	sigkill             end it with SIGKILL
//	sigterm             end it with SIGTERM; its exit code must be 0
//	exits code cmd...   run a command that must end with the exit code
//	post status file [header=value...]   post a captured body, some headers changed
//	get status path     ask it; the answer is in the file "answer"
//	until path text...  ask until the answer holds the texts, in the file "answer"
//	logged text         the program's log holds the text
//	flip file offset    flip a bit of the byte
//	sql file statement  run a statement on a database
func TestStories(t *testing.T) {
	captured, err := filepath.Abs(filepath.Join("testdata", "captured"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("CAPTURED", captured)
			e.Values[running{}] = new(*process)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"start": start, "sigkill": sigkill, "sigterm": sigterm, "exits": exits,
			"post": postFile, "get": getPath, "until": until, "logged": logged, "sql": runSQL, "flip": flip,
		},
	})
}

// running is the key of the process that a script has started.
type running struct{}

func processOf(ts *testscript.TestScript) **process { return ts.Value(running{}).(**process) }

// address returns where the script's process listens.
func address(ts *testscript.TestScript) string {
	p := *processOf(ts)
	if p == nil {
		ts.Fatalf("nothing has been started")
	}
	return p.url
}

func need(ts *testscript.TestScript, neg bool, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, *processOf(ts) == nil, "start [flag...], once at a time")
	p, err := startProcess(ts.Getenv("WORK"), []string{"TMPDIR=" + ts.Getenv("WORK"), "GOGC=" + ts.Getenv("GOGC")}, append([]string{"serve", "--web.listen-address=127.0.0.1:0"}, args...)...)
	ts.Check(err)
	*processOf(ts) = p
	ts.Defer(p.kill)
	if err := untilReady(p.url); err != nil {
		ts.Fatalf("%v\n%s", err, p.log())
	}
}

func sigkill(ts *testscript.TestScript, neg bool, args []string) {
	p := *processOf(ts)
	need(ts, neg, p != nil && len(args) == 0, "sigkill")
	p.kill()
	*processOf(ts) = nil
}

func sigterm(ts *testscript.TestScript, neg bool, args []string) {
	p := *processOf(ts)
	need(ts, neg, p != nil && len(args) == 0, "sigterm")
	ts.Check(p.terminate())
	*processOf(ts) = nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 1, "exits code cmd...")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func postFile(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 1, "post status file [header=value...]")
	b, err := readBody(ts.MkAbs(args[1]))
	if errors.Is(err, os.ErrNotExist) && b.content != nil {
		err = nil // without headers beside it: all are given here
	}
	ts.Check(err)
	for _, arg := range args[2:] {
		name, value, ok := strings.Cut(arg, "=")
		need(ts, neg, ok, "post status file [header=value...]")
		b.header.Set(name, value)
	}
	status, reason, err := post(context.Background(), address(ts), b)
	ts.Check(err)
	answered(ts, args[0], status, reason)
}

// answered keeps an answer and checks its status.
func answered(ts *testscript.TestScript, want string, status int, text string) {
	ts.Check(os.WriteFile(ts.MkAbs("answer"), []byte(text), 0o600))
	if strconv.Itoa(status) != want {
		ts.Fatalf("%d %s, want %s: %s", status, http.StatusText(status), want, text)
	}
}

func getPath(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "get status path")
	status, text, err := get(address(ts) + args[1])
	ts.Check(err)
	answered(ts, args[0], status, text)
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 1, "until path text...")
	ts.Check(eventually(args[0], func() error {
		status, text, err := get(address(ts) + args[0])
		if err != nil {
			return err
		}
		for _, want := range args[1:] {
			if !strings.Contains(text, want) {
				return errors.New(strconv.Itoa(status) + " " + text + " holds no " + want)
			}
		}
		return os.WriteFile(ts.MkAbs("answer"), []byte(text), 0o600)
	}))
}

func logged(ts *testscript.TestScript, neg bool, args []string) {
	p := *processOf(ts)
	need(ts, false, p != nil && len(args) == 1, "[!] logged text")
	if strings.Contains(p.log(), args[0]) == neg {
		ts.Fatalf("the log:\n%s", p.log())
	}
}

func flip(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "flip file offset")
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	data[at] ^= 4
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "sql file statement")
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(err)
	ts.Check(db.Close())
}
