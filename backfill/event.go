package backfill

import "time"

// An Event is what a backfill tells while it works; one of its fields is set.
// The last is the Result.
type Event struct {
	Text     string // for the log
	Progress *Progress
	Result   *Result
}

// Progress is how far a backfill is.
type Progress struct {
	At      time.Time // event time that has been worked on
	Share   float64   // of all there is to do, 0 to 1
	Samples int       // read so far
}

// A Result is what a backfill came to.
type Result struct {
	DryRun  bool
	Samples int
	Nodes   []Node
}

// A Node is what became of one node.
type Node struct {
	Cluster, Node string
	From, To      time.Time // the range as it was widened for this node
	Windows       int       // written or restated
	GainedKWh     float64   // that its rows gained, containers included; 0 where joules only moved
	Skipped       string    // why nothing was done
}
