package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A Task is work on the books that an operator starts. It tells how far it is
// and, last, what came of it; it must not tell anything after it has returned.
// It ends early when ctx does.
type Task func(ctx context.Context, r TaskRange, tell func(Event)) error

// CannotBegin is the error of a task that lacks something it needs and has done
// nothing; the text says what.
type CannotBegin string

func (e CannotBegin) Error() string { return string(e) }

// A TaskRange is what a task is to work on.
type TaskRange struct {
	From, To time.Time // half open
	DryRun   bool
}

// An Event is one line of a task's answer; one of its fields is set. The last
// line holds the result or Error: an answer without either was cut short.
type Event struct {
	Text       string      `json:"text,omitempty"` // for the log
	Progress   *Progress   `json:"progress,omitempty"`
	Rerated    *Rerated    `json:"rerated,omitempty"`
	Remapped   *Remapped   `json:"remapped,omitempty"`
	Backfilled *Backfilled `json:"backfilled,omitempty"`
	Error      string      `json:"error,omitempty"`
}

// Progress is how far a task is.
type Progress struct {
	At      time.Time `json:"at"`      // event time that has been worked on
	Share   float64   `json:"share"`   // of all there is to do, 0 to 1
	Samples int       `json:"samples"` // read so far; 0 where none are
}

// Rerated is what giving rows the prices in force came to.
type Rerated struct {
	DryRun bool         `json:"dry_run"`
	Rows   int          `json:"rows"` // whose price changed
	Spaces []RatedSpace `json:"spaces"`
	// Kept are hours that stay as they are: only their sums are left, and the
	// price changes within them or the range holds a part of them.
	Kept []time.Time `json:"kept"`
}

// A RatedSpace is one namespace's energy and what it cost before and costs after.
type RatedSpace struct {
	Cluster        string  `json:"cluster"`
	Namespace      string  `json:"namespace"`
	EnergyKWh      float64 `json:"energy_kwh"`
	CurrencyBefore string  `json:"currency_before"`
	CurrencyAfter  string  `json:"currency_after"`
	CostBefore     float64 `json:"cost_before"`
	CostAfter      float64 `json:"cost_after"`
}

// Remapped is what giving past energy its dimensions came to.
type Remapped struct {
	DryRun  bool   `json:"dry_run"`
	Holders int    `json:"holders"` // containers and virtual machines whose labels or dimensions changed
	Moves   []Move `json:"moves"`
}

// A Move is energy that leaves one value of a dimension for another.
type Move struct {
	Dimension string  `json:"dimension"`
	Before    string  `json:"before"`
	After     string  `json:"after"`
	EnergyKWh float64 `json:"energy_kwh"`
}

// Backfilled is what reading counters again came to.
type Backfilled struct {
	DryRun  bool           `json:"dry_run"`
	Samples int            `json:"samples"`
	Nodes   []BackfillNode `json:"nodes"`
}

// A BackfillNode is what became of one node.
type BackfillNode struct {
	Cluster string    `json:"cluster"`
	Node    string    `json:"node"`
	From    time.Time `json:"from"` // the range as it was widened for this node
	To      time.Time `json:"to"`
	Windows int       `json:"windows"` // written or restated
	// Energy that the node's rows gained, containers included; 0 where joules only moved.
	GainedKWh float64 `json:"gained_kwh"`
	Skipped   string  `json:"skipped,omitempty"` // why it was left as it is
}

// adminRoutes is the one place where routes are registered that change the books
// or the process. They say nothing of who may use them, so only admins may.
func (a *api) adminRoutes() []route {
	return []route{
		{path: "/-/reload", post: a.reload},
		{path: "/-/backfill", post: a.task(a.ops.Backfill, "from", "to", "dry_run")},
		{path: "/-/rerate", post: a.task(a.ops.Rerate, "from", "to", "dry_run")},
		{path: "/-/remap", post: a.task(a.ops.Remap, "dry_run")},
	}
}

// task runs t and streams what it tells, one JSON object a line. What takes no range
// works on all there is.
func (a *api) task(t Task, params ...string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if t == nil {
			return newProblem(http.StatusNotFound, "not-found", "Not served", "this process does not serve this route")
		}
		q := a.parse(r, params...)
		span := TaskRange{From: q.span("from", time.Time{}).From, To: q.span("to", q.now).To, DryRun: q.choice("dry_run", "false", "true") == "true"}
		if q.text("from") == "" && slices.Contains(params, "from") {
			q.fail("from", "is needed")
		}
		if err := q.problem(); err != nil {
			return err
		}
		if !span.From.Before(span.To) {
			return invalid(ParamError{Parameter: "to", Reason: "must lie after from"})
		}
		if !a.busy.TryLock() {
			return newProblem(http.StatusConflict, "busy", "Another task runs", "tasks that restate rows run one at a time; try again when it has ended")
		}
		defer a.busy.Unlock()
		return stream(w, r, span, t)
	}
}

func stream(w http.ResponseWriter, r *http.Request, span TaskRange, t Task) error {
	connection := http.NewResponseController(w)
	// The server's time limit for reading a request would end the task.
	_ = connection.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	lines, told := json.NewEncoder(w), false
	tell := func(e Event) {
		// A client that went away is noticed by the request's context.
		_ = lines.Encode(e)
		_ = connection.Flush()
		told = true
	}
	err := t(r.Context(), span, tell)
	if err != nil && !told && errors.As(err, new(CannotBegin)) {
		return newProblem(http.StatusConflict, "cannot-begin", "Cannot begin", err.Error())
	}
	if err != nil {
		tell(Event{Error: err.Error()})
		if r.Context().Err() == nil {
			return fmt.Errorf("task: %w", err)
		}
	}
	return nil
}
