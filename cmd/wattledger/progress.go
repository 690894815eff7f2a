package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/wattledger/wattledger/httpapi"
)

// A display shows how far a task is: a bar on a terminal, else log lines now
// and then. It belongs to one goroutine.
type display struct {
	w        io.Writer
	terminal bool
	logger   *slog.Logger
	name     string
	now      func() time.Time

	began  time.Time
	first  httpapi.Progress // what the rate is counted from
	shown  time.Time        // when progress was last shown
	barred bool             // a bar stands on the line
}

func newDisplay(w io.Writer, logger *slog.Logger, name string) *display {
	return &display{w: w, terminal: isTerminal(w), logger: logger, name: name, now: time.Now}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	about, err := f.Stat()
	return err == nil && about.Mode()&os.ModeCharDevice != 0
}

func (d *display) event(e httpapi.Event) {
	switch {
	case e.Text != "":
		d.clear()
		d.logger.Info(e.Text)
	case e.Progress != nil:
		d.progress(*e.Progress)
	}
}

func (d *display) progress(p httpapi.Progress) {
	now := d.now()
	if d.began.IsZero() {
		d.began, d.first = now, p
	}
	pause := 10 * time.Second
	if d.terminal {
		pause = 100 * time.Millisecond
	}
	if now.Sub(d.shown) < pause && p.Share < 1 {
		return
	}
	d.shown = now
	passed := now.Sub(d.began)
	rate, left := "", ""
	if s := passed.Seconds(); s > 0 && p.Samples > d.first.Samples {
		rate = fmt.Sprintf("%.0f samples/s", float64(p.Samples-d.first.Samples)/s)
	}
	if done := p.Share - d.first.Share; done > 0 && p.Share < 1 {
		left = (time.Duration(float64(passed) * (1 - p.Share) / done)).Round(time.Second).String()
	}
	at := p.At.Format("2006-01-02 15:04")
	if !d.terminal {
		d.logger.Info(d.name, "done", fmt.Sprintf("%.0f%%", 100*p.Share), "at", at, "rate", rate, "left", left)
		return
	}
	text := fmt.Sprintf(" %3.0f%%  %s", 100*p.Share, at)
	for _, more := range []string{rate, left} {
		if more != "" {
			text += "  " + more
		}
	}
	if left != "" {
		text += " left"
	}
	const room = 24 // leaves a terminal of 80 columns enough for the rest
	full := int(p.Share * room)
	fmt.Fprintf(d.w, "\r\x1b[K[%s%s]%s", strings.Repeat("█", full), strings.Repeat("·", room-full), text)
	d.barred = true
}

// clear takes the bar away, so that a line can stand in its place.
func (d *display) clear() {
	if d.barred {
		fmt.Fprint(d.w, "\r\x1b[K")
		d.barred = false
	}
}

// end leaves the cursor on a line of its own.
func (d *display) end() {
	if d.barred {
		fmt.Fprintln(d.w)
		d.barred = false
	}
}
