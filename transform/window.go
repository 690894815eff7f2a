package transform

import (
	"math/bits"
	"slices"

	"github.com/wattledger/wattledger/power"
)

// A window is one node's energy in one aligned stretch of time, whole and by
// holder. Sums are kept as readings come, so that closing it costs nothing.
type window struct {
	startMs    int64
	node       *node
	touchedMs  int64 // arrival of the last record that touched it
	revision   uint64
	dirty      bool
	used       power.Energy
	active     power.Energy
	idle       power.Energy
	containers power.Energy // idle shares included
	vms        power.Energy
	idleShares power.Energy
	knows      [3]uint8 // by measure: components with a reading of the node's own
	span       span
	rows       []row
	byHolder   map[*holder]int32
}

// A row is one holder's energy in one window.
type row struct {
	holder     *holder
	energy     power.Energy
	idle       power.Microjoules
	counter    power.Energy
	revision   uint64
	span       span
	integrated bool
	dirty      bool
}

// A span is how much of a window samples have covered.
type span struct {
	seenMs int64
	endMs  int64 // covered up to here
}

func (s *span) cover(fromMs, toMs int64) {
	if from := max(fromMs, s.endMs); toMs > from {
		s.seenMs += toMs - from
		s.endMs = toMs
	}
}

// book splits a reading over the windows it covers. The parts sum to the whole.
func (s *Stage) book(l *ledger, h *holder, r *power.Reading) {
	n := h.node
	n.newestMs = max(n.newestMs, r.EndMs)
	if n.checked != l.position {
		n.checked = l.position
		n.seal(s, l.arrivalMs)
	}
	first, last := s.windowOf(r.StartMs+1), s.windowOf(r.EndMs)
	if r.StartMs >= r.EndMs {
		first = last
	}
	if first == last {
		s.bookPart(l, h, r, first, r.Energy, r.StartMs, r.EndMs)
		return
	}
	var done power.Microjoules
	for at := first; at <= last; at += s.windowMs {
		from, to := max(r.StartMs, at), min(r.EndMs, at+s.windowMs)
		upTo := share(r.Energy, to-r.StartMs, r.EndMs-r.StartMs)
		s.bookPart(l, h, r, at, upTo-done, from, to)
		done = upTo
	}
}

// windowOf returns the start of the window that ends the reading at ms: a
// sample on the edge belongs to the window before.
func (s *Stage) windowOf(ms int64) int64 {
	ms--
	r := ms % s.windowMs
	if r < 0 {
		r += s.windowMs
	}
	return ms - r
}

// share returns e·part/whole, rounded towards zero, so that what is taken back
// equals what was booked.
func share(e power.Microjoules, part, whole int64) power.Microjoules {
	if e < 0 {
		return -share(-e, part, whole)
	}
	hi, lo := bits.Mul64(uint64(e), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return power.Microjoules(q)
}

// seal closes the windows that neither the event time nor the arrival of
// samples can reach any more. Both come from the journal, so replay seals alike.
func (n *node) seal(s *Stage, arrivalMs int64) {
	for _, w := range n.windows {
		end := w.startMs + s.windowMs
		if end > n.newestMs-s.horizonMs || w.touchedMs > arrivalMs-s.horizonMs {
			return
		}
		n.sealedMs = max(n.sealedMs, end)
	}
}

// window returns the node's window that starts at startMs, or the oldest one
// still open if that one is sealed: late energy is booked late, not lost.
func (n *node) window(startMs int64) *window {
	startMs = max(startMs, n.sealedMs)
	i := len(n.windows)
	for i > 0 && n.windows[i-1].startMs >= startMs {
		i--
	}
	if i < len(n.windows) && n.windows[i].startMs == startMs {
		return n.windows[i]
	}
	w := &window{startMs: startMs, node: n}
	size := 0
	if i > 0 { // most of its holders will be back
		size = len(n.windows[i-1].rows)
	}
	w.rows, w.byHolder = make([]row, 0, size+size/16), make(map[*holder]int32, size)
	n.windows = slices.Insert(n.windows, i, w)
	return w
}

// bookPart books the part of a reading that lies in one window.
func (s *Stage) bookPart(l *ledger, h *holder, r *power.Reading, startMs int64, e power.Microjoules, fromMs, toMs int64) {
	w := h.last
	if w == nil || w.startMs != startMs || startMs < h.node.sealedMs {
		w = h.node.window(startMs)
	}
	w.dirty, w.revision, w.touchedMs = true, l.position, l.arrivalMs
	inPlace := w.startMs == startMs
	if h.key.Kind == power.Node {
		h.last = w
		w.bookNode(r, e)
		if inPlace && r.Measure == power.Used && r.Energy >= 0 {
			w.span.cover(fromMs, toMs)
		}
		return
	}
	x := w.row(h)
	x.dirty, x.revision = true, l.position
	x.energy[r.Component] += e
	x.integrated = x.integrated || r.Integrated
	if r.Measure == power.IdleShare {
		x.idle += e
		w.idleShares[r.Component] += e
	}
	if h.key.Kind == power.VM {
		w.vms[r.Component] += e
	} else {
		w.containers[r.Component] += e
	}
	if inPlace && r.Energy >= 0 {
		if toMs >= x.span.endMs && toMs == r.EndMs && r.Counter != 0 {
			x.counter[r.Component] = r.Counter
		}
		x.span.cover(fromMs, toMs)
	}
}

func (w *window) bookNode(r *power.Reading, e power.Microjoules) {
	switch r.Measure {
	case power.Used:
		w.used[r.Component] += e
	case power.Active:
		w.active[r.Component] += e
	case power.NodeIdle:
		w.idle[r.Component] += e
	}
	if int(r.Measure) < len(w.knows) {
		w.knows[r.Measure] |= 1 << r.Component
	}
}

func (w *window) know(m power.Measure, c int) bool { return w.knows[m]>>c&1 != 0 }

func (w *window) row(h *holder) *row {
	if h.last == w {
		return &w.rows[h.lastRow]
	}
	i, ok := w.byHolder[h]
	if !ok {
		i = int32(len(w.rows))
		w.rows = append(w.rows, row{holder: h, span: span{endMs: w.startMs}})
		w.byHolder[h] = i
	}
	h.last, h.lastRow = w, i
	return &w.rows[i]
}
