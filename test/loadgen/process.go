package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A process is a server that is being measured; 0 is none.
type process int

// ticksPerSecond is USER_HZ, which Linux fixes for /proc whatever its own tick.
const ticksPerSecond = 100

// cpuSeconds returns the user and system time used by all threads.
func (p process) cpuSeconds() (float64, error) {
	if p == 0 {
		return 0, nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
	if err != nil {
		return 0, err
	}
	return parseStat(string(b))
}

// parseStat reads utime and stime, fields 14 and 15; field 2 is a name in
// parentheses that may hold anything.
func parseStat(stat string) (float64, error) {
	i := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[i+1:])
	if i < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("unexpected /proc stat line %q", stat)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return float64(ticks) / ticksPerSecond, nil
}

// memory returns the resident size and its peak in bytes.
func (p process) memory() (resident, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", name, err)
		}
		if name == "VmRSS" {
			resident = kib * 1024
		} else {
			peak = kib * 1024
		}
	}
	return resident, peak, nil
}
