package main

import (
	"os"
	"runtime/debug"
)

// collectPercent is GOGC where the environment does not set it. What lives is
// series, holders and open windows, most of it without pointers, so looking through
// it twice as often costs little, while Go's own 100 lets as much garbage lie about
// as there is memory in use; docs/benchmarks.md has what both come to.
const collectPercent = 50

func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectPercent)
	}
}
