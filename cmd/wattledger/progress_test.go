package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/httpapi"
)

// show tells a display of a task that reads 1000 samples a second and takes 100 s.
func show(d *display) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	d.now = func() time.Time { return now }
	for second := range 101 {
		d.event(httpapi.Event{Progress: &httpapi.Progress{At: now.Truncate(time.Hour), Share: float64(second) / 100, Samples: 1000 * second}})
		if second == 50 {
			d.event(httpapi.Event{Text: "half of it"})
		}
		now = now.Add(time.Second)
	}
	d.end()
}

// On a terminal there is one line, written over and over; text stands above it.
func TestProgressBar(t *testing.T) {
	var screen, log bytes.Buffer
	show(&display{w: &screen, terminal: true, logger: slog.New(slog.NewTextHandler(&log, nil)), name: "backfill"})
	bars := strings.Split(screen.String(), "\r\x1b[K")
	if want := "[██████··················]  25%  2026-03-10 12:00  1000 samples/s  1m15s left"; bars[26] != want {
		t.Errorf("after 25 s:\n%q, want\n%q", bars[26], want)
	}
	if last := bars[len(bars)-1]; last != "["+strings.Repeat("█", 24)+"] 100%  2026-03-10 12:00  1000 samples/s\n" {
		t.Errorf("at the end: %q", last)
	}
	if bars[52] != "" {
		t.Errorf("the bar is in the way of the log: %q", bars[52])
	}
	if !strings.Contains(log.String(), "half of it") {
		t.Errorf("log: %s", log.String())
	}
}

// Elsewhere there is a line now and then, and one at the end.
func TestProgressLines(t *testing.T) {
	var log bytes.Buffer
	show(newDisplay(&log, slog.New(slog.NewTextHandler(&log, nil)), "backfill"))
	if n := strings.Count(log.String(), "msg=backfill"); n != 11 {
		t.Errorf("%d lines, want 11:\n%s", n, log.String())
	}
	for _, want := range []string{`done=50% at="2026-03-10 12:00" rate="1000 samples/s" left=50s`, "half of it", "done=100%"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s:\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "\r") {
		t.Error("a bar in a log")
	}
}
