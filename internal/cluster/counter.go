package cluster

// A counter is one cumulative value an exporter reports, in microjoules, beside
// what all scrapes of it together have shown.
type counter struct {
	value int64
	epoch int // rises when the value starts again at 0

	scraped bool
	seen    int64 // value at the newest scrape
	seenIn  int   // epoch at the newest scrape
	shown   int64 // what a reader who knows every reset can have learned
}

func (c *counter) restart() {
	c.value = 0
	c.epoch++
}

// show notes that a scrape has seen the counter. A counter that is new on a
// node that was scraped before started at 0 since; one that is there at the
// node's first scrape is of unknown age, and its value tells nothing.
func (c *counter) show(nodeKnown bool) {
	switch {
	case !c.scraped && !nodeKnown:
	case c.scraped && c.seenIn == c.epoch:
		c.shown += c.value - c.seen
	default:
		c.shown += c.value
	}
	c.scraped, c.seen, c.seenIn = true, c.value, c.epoch
}

// A meter is the energy one load used in one zone.
type meter struct {
	used    int64 // ever, exactly
	pending int64 // used since the exporter's newest refresh
	counter counter
	watts   float64 // mean over the newest refresh interval
}

func (m *meter) add(microjoules int64) {
	m.used += microjoules
	m.pending += microjoules
}

// refresh moves what is pending into the counter.
func (m *meter) refresh(ms int64) {
	m.counter.value += m.pending
	m.watts = watts(m.pending, ms)
	m.pending = 0
}

func watts(microjoules, ms int64) float64 {
	if ms == 0 {
		return 0
	}
	return float64(microjoules) / float64(ms) / 1e3
}

func joules(microjoules int64) float64 { return float64(microjoules) / 1e6 }
