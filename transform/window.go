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
	rowOf      []int32 // by the holder's seat, plus one; 0 for none
}

// A row is one holder's energy in one window. There are as many as containers
// times open windows, so what few have is apart.
type row struct {
	holder     *holder
	energy     [2]power.Microjoules // of power.CPU and power.DRAM
	counter    [2]power.Microjoules
	rest       *rest // nil for none
	revision   uint64
	seenMs     int32
	endMs      int32 // covered up to here, after the window's start
	integrated bool
	dirty      bool
}

// rest is what containers with a share of the GPUs or of idle energy have.
type rest struct {
	energy  [power.NumComponents - 2]power.Microjoules
	counter [power.NumComponents - 2]power.Microjoules
	idle    power.Microjoules
}

// more returns the rest, to be written to.
func (x *row) more() *rest {
	if x.rest == nil {
		x.rest = new(rest)
	}
	return x.rest
}

func (x *row) add(c power.Component, e power.Microjoules) {
	if int(c) < len(x.energy) {
		x.energy[c] += e
	} else {
		x.more().energy[int(c)-len(x.energy)] += e
	}
}

func (x *row) show(c power.Component, counter power.Microjoules) {
	if int(c) < len(x.counter) {
		x.counter[c] = counter
	} else {
		x.more().counter[int(c)-len(x.counter)] = counter
	}
}

// whole returns energy, counter and idle part, by component.
func (x *row) whole() (energy, counter power.Energy, idle power.Microjoules) {
	copy(energy[:], x.energy[:])
	copy(counter[:], x.counter[:])
	if x.rest != nil {
		copy(energy[len(x.energy):], x.rest.energy[:])
		copy(counter[len(x.counter):], x.rest.counter[:])
		idle = x.rest.idle
	}
	return energy, counter, idle
}

func (x *row) cover(w *window, fromMs, toMs int64) {
	s := span{int64(x.seenMs), w.startMs + int64(x.endMs)}
	s.cover(fromMs, toMs)
	x.seenMs, x.endMs = int32(s.seenMs), int32(s.endMs-w.startMs)
}

// A span is how much of a window samples have covered.
type span struct {
	seenMs int64
	endMs  int64 // covered up to here
}

// cover adds a stretch, in whatever order they come. What is covered is taken to be
// in one piece, up to endMs.
func (s *span) cover(fromMs, toMs int64) {
	beginMs := s.endMs - s.seenMs
	switch {
	case toMs <= fromMs:
		return
	case s.seenMs == 0:
		s.seenMs, s.endMs = toMs-fromMs, toMs
		return
	case fromMs < beginMs:
		s.seenMs += min(toMs, beginMs) - fromMs
	}
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
	w.rows = make([]row, 0, size+size/16)
	n.windows = slices.Insert(n.windows, i, w)
	return w
}

// bookPart books the part of a reading that lies in one window.
func (s *Stage) bookPart(l *ledger, h *holder, r *power.Reading, startMs int64, e power.Microjoules, fromMs, toMs int64) {
	w := h.node.window(startMs)
	w.dirty, w.revision, w.touchedMs = true, l.position, l.arrivalMs
	inPlace := w.startMs == startMs
	if h.info.Kind == power.Node {
		w.bookNode(r, e)
		if inPlace && r.Measure == power.Used && r.Energy >= 0 {
			w.span.cover(fromMs, toMs)
		}
		return
	}
	x := w.row(h)
	x.dirty, x.revision = true, l.position
	x.add(r.Component, e)
	x.integrated = x.integrated || r.Integrated
	if r.Measure == power.IdleShare {
		x.more().idle += e
		w.idleShares[r.Component] += e
	}
	if h.info.Kind == power.VM {
		w.vms[r.Component] += e
	} else {
		w.containers[r.Component] += e
	}
	if inPlace && r.Energy >= 0 {
		if toMs-w.startMs >= int64(x.endMs) && toMs == r.EndMs && r.Counter != 0 {
			x.show(r.Component, r.Counter)
		}
		x.cover(w, fromMs, toMs)
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

// find returns a holder's row, nil for none. A seat that was taken anew may have
// the row of whom had it before.
func (w *window) find(h *holder) *row {
	if int(h.seat) < len(w.rowOf) {
		if i := w.rowOf[h.seat]; i != 0 && w.rows[i-1].holder == h {
			return &w.rows[i-1]
		}
	}
	return nil
}

func (w *window) row(h *holder) *row {
	if x := w.find(h); x != nil {
		return x
	}
	if int(h.seat) >= len(w.rowOf) {
		seats := make([]int32, max(int(w.node.seats), len(w.rowOf)*5/4))
		copy(seats, w.rowOf)
		w.rowOf = seats
	}
	if n := len(w.rows); n == cap(w.rows) {
		// Doubling would leave half of it empty, in every open window of a node.
		w.rows = append(make([]row, 0, n+n/4+16), w.rows...)
	}
	w.rows = append(w.rows, row{holder: h})
	w.rowOf[h.seat] = int32(len(w.rows))
	return &w.rows[len(w.rows)-1]
}
