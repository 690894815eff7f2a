package cluster

// An exporter turns a node's power into counters, with the habits of one
// generation of Kepler.
type exporter interface {
	start()             // begin anew, as after a restart
	stop()              // answer no scrapes until start
	nextRefresh() int64 // Unix milliseconds; the far future while stopped
	refresh()
	ended(l *load) // l has just stopped
	scrape() ([]Series, bool)
	zero(z Zone) // at the next refresh every load's counter of z falls to 0
}

const farFuture = int64(1) << 62
