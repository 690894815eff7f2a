package loopback

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// No two processes get the same address, whether a server listens there or not.
func TestAddress(t *testing.T) {
	if os.Getenv("LOOPBACK_TEST") != "" { // a process beside
		for range ports / 40 {
			address, err := Address()
			if err != nil {
				t.Fatal(err)
			}
			println("got " + address)
		}
		return
	}
	mine := map[string]bool{}
	for range ports / 40 {
		address, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		if mine[address] {
			t.Fatalf("%s came twice", address)
		}
		mine[address] = true
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAddress$")
	cmd.Env = append(os.Environ(), "LOOPBACK_TEST=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	theirs := 0
	for line := range strings.Lines(string(out)) {
		if address, ok := strings.CutPrefix(strings.TrimSpace(line), "got "); ok {
			theirs++
			if mine[address] {
				t.Errorf("%s was given to two processes", address)
			}
		}
	}
	if theirs != ports/40 {
		t.Errorf("the process beside got %d addresses:\n%s", theirs, out)
	}
}
