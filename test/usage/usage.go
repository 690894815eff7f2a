// Package usage says what a test has used of the machine.
package usage

import (
	"syscall"
	"testing"
	"time"
)

// ProcessorTime is what this process has used so far. Unlike time on the clock
// it says something on a busy machine too.
func ProcessorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
