package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/internal/durable"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

const hourMs = int64(time.Hour / time.Millisecond)

// A restater puts what a Prometheus has stored of a stretch of time in the place
// of what the books hold of it.
type restater struct {
	cfg    *ledger.Config
	l      *ledger.Ledger
	source *Source
	tell   func(Event)

	samples int
}

// leads are how far before the range a seam is looked for; each is tried when
// the one before was too short.
var leads = []time.Duration{30 * time.Minute, 2 * time.Hour, 8 * time.Hour, 24 * time.Hour}

// maxBehind is how far behind the range a seam is looked for.
const maxBehind = 24 * time.Hour

// A plan is what is to be replaced. It is kept in a file while that goes on, so
// that it can go on after an interruption: in the middle of a stretch the books
// are right on neither side.
type plan struct {
	FromMs int64     `json:"from_ms"` // as it was asked for
	ToMs   int64     `json:"to_ms"`
	DoneMs int64     `json:"done_ms"` // everything before is done
	Nodes  []planned `json:"nodes"`
	edges  map[nodeKey]*planned
	hours  bookedHours
	batch  store.Batch
}

type planned struct {
	Cluster string            `json:"cluster"`
	Node    string            `json:"node"`
	FromMs  int64             `json:"from_ms"`
	ToMs    int64             `json:"to_ms"`
	Windows int               `json:"windows"`
	Gained  power.Microjoules `json:"gained_uj"`
	Skipped string            `json:"skipped,omitempty"`
}

// restate works on [fromMs, toMs). openMs says from when on a node's windows
// are open in memory: those the line itself will write again.
func (b *restater) restate(ctx context.Context, fromMs, toMs int64, dry bool, openMs func(nodeKey) int64) (*plan, error) {
	p, err := unfinished(b.cfg.Path, fromMs, toMs)
	switch {
	case err != nil:
		return nil, err
	case p != nil:
		b.tell(Event{Text: "going on where the last run stopped, at " + clock(p.DoneMs)})
	default:
		if p, err = b.examine(ctx, fromMs, toMs, openMs); err != nil || dry {
			return p, err
		}
	}
	return p, b.replace(ctx, p)
}

// unfinished returns the plan of a backfill that was cut short. One of another
// range is an error: it has to end first.
func unfinished(dir string, fromMs, toMs int64) (*plan, error) {
	p, err := loadPlan(dir)
	if err == nil && p != nil && (p.FromMs != fromMs || p.ToMs != toMs) {
		return nil, fmt.Errorf("a backfill was interrupted at %s and must end first: %s", clock(p.DoneMs), backfillLine(p.FromMs, p.ToMs))
	}
	return p, err
}

// backfillLine is the command that does a backfill.
func backfillLine(fromMs, toMs int64) string {
	return "wattledger backfill --from=" + clock(fromMs) + " --to=" + clock(toMs)
}

// examine finds where rows have to be replaced. It writes nothing.
func (b *restater) examine(ctx context.Context, fromMs, toMs int64, openMs func(nodeKey) int64) (*plan, error) {
	endMs := min(toMs+maxBehind.Milliseconds(), time.Now().UnixMilli())
	enough := toMs + b.cfg.HorizonMs() + 3*b.cfg.Transform.Window.Milliseconds()
	var x *examination
	for i, lead := range leads {
		x = newExamination(b.l.Books, b.cfg.Transform.Window.Milliseconds(), fromMs, toMs)
		begin := fromMs - lead.Milliseconds()
		last := i == len(leads)-1
		tooShort := false
		err := runShadow(ctx, b.l, b.source, begin, endMs,
			func(fedMs int64) bool {
				tooShort = fedMs >= min(fromMs+2*b.cfg.HorizonMs(), toMs) && x.loose() && !last
				return !tooShort && (fedMs < enough || x.waiting())
			},
			func(w *shadowWindow) error { return x.take(ctx, w) },
			func(s *shadow, fedMs int64) error {
				b.samples += s.samples
				s.samples = 0
				b.progress(fedMs, 0.5*float64(fedMs-begin)/float64(enough-begin))
				return nil
			})
		if err != nil {
			return nil, err
		}
		if !x.loose() {
			break
		}
	}
	x.end(openMs)
	p := &plan{FromMs: fromMs, ToMs: toMs, DoneMs: toMs}
	for k, n := range x.nodes {
		if n.differs == 0 && n.skipped == "" {
			continue
		}
		p.Nodes = append(p.Nodes, planned{
			Cluster: k.cluster, Node: k.node, FromMs: n.fromMs, ToMs: max(n.toMs, n.fromMs), Skipped: n.skipped,
			Windows: n.differs, Gained: n.found[0].Total() - n.booked[0].Total(),
		})
		if n.skipped == "" {
			p.DoneMs = min(p.DoneMs, n.fromMs)
		}
	}
	slices.SortFunc(p.Nodes, func(a, b planned) int { return strings.Compare(a.Cluster+"\x00"+a.Node, b.Cluster+"\x00"+b.Node) })
	return p, nil
}

// replace does what a plan says.
func (b *restater) replace(ctx context.Context, p *plan) error {
	p.edges, p.hours = map[nodeKey]*planned{}, bookedHours{books: b.l.Books, of: map[nodeKey]bookedHour{}}
	last := p.DoneMs
	for i := range p.Nodes {
		if n := &p.Nodes[i]; n.Skipped == "" {
			p.edges[nodeKey{n.Cluster, n.Node}] = n
			last = max(last, n.ToMs)
		}
	}
	if len(p.edges) == 0 {
		return nil
	}
	if err := p.save(b.cfg.Path); err != nil {
		return err
	}
	begin := p.DoneMs - leads[0].Milliseconds()
	end := last + b.cfg.HorizonMs() + 3*b.cfg.Transform.Window.Milliseconds()
	err := runShadow(ctx, b.l, b.source, begin, end,
		func(int64) bool { return true },
		func(w *shadowWindow) error { return b.replaceWindow(ctx, p, w) },
		func(s *shadow, fedMs int64) error {
			if err := b.write(ctx, p); err != nil {
				return err
			}
			b.samples += s.samples
			s.samples = 0
			b.progress(fedMs, 0.5+0.5*float64(fedMs-begin)/float64(end-begin))
			p.DoneMs = max(p.DoneMs, s.heldMs(fedMs, func(k nodeKey) bool { return p.edges[k] != nil }))
			return p.save(b.cfg.Path)
		})
	if err == nil {
		err = b.write(ctx, p)
	}
	if err != nil {
		return err
	}
	return os.Remove(planFile(b.cfg.Path))
}

func (b *restater) progress(atMs int64, share float64) {
	b.tell(Event{Progress: &Progress{At: time.UnixMilli(atMs).UTC(), Share: min(max(share, 0), 1), Samples: b.samples}})
}

// replaceWindow puts a window into the batch, at the revision that follows what
// the books have, unless they hold the same.
func (b *restater) replaceWindow(ctx context.Context, p *plan, w *shadowWindow) error {
	k, start := w.key(), w.node.StartMs
	edges := p.edges[k]
	if edges == nil || start < edges.FromMs || start >= edges.ToMs {
		return nil
	}
	booked, err := p.hours.at(ctx, k, start)
	if err != nil {
		return err
	}
	if same, _ := compare(w, booked); same {
		return nil
	}
	revision := uint64(0)
	var price *power.Price // what the window was booked at stays
	have := map[power.HolderKey]power.Charge{}
	for _, c := range booked.Charges {
		revision, price = max(revision, c.Revision), c.Price
		have[c.Holder.HolderKey] = c
	}
	if booked.Node != nil {
		revision = max(revision, booked.Node.Revision)
	}
	revision++
	for key, c := range w.charges {
		c.Revision = revision
		if price != nil {
			c.Price = price
		}
		c.Holder = b.describe(c.Holder, start)
		if old, ok := have[key]; ok && sameCharge(old, c) {
			delete(have, key)
			continue
		}
		delete(have, key)
		p.batch.Charges = append(p.batch.Charges, c)
	}
	for _, c := range have { // the line knew no better than to book something here
		if c.Energy != (power.Energy{}) {
			p.batch.Charges = append(p.batch.Charges, power.Charge{
				Holder: c.Holder, StartMs: start, Seconds: c.Seconds, LastMs: start, Price: c.Price, Revision: revision,
			})
		}
	}
	w.node.Revision = revision
	p.batch.Nodes = append(p.batch.Nodes, w.node)
	return nil
}

// describe returns what the books know of a holder, unless that was a guess and
// h is none.
func (b *restater) describe(h *power.Holder, startMs int64) *power.Holder {
	known := b.l.Books.Holder(h.HolderKey, startMs)
	if known == nil || (known.Inferred || known.Pod == "") && !h.Inferred && h.Pod != "" || h.SinceMs > known.SinceMs {
		return h
	}
	return known
}

func sameCharge(a, b power.Charge) bool {
	return a.Energy == b.Energy && a.Idle == b.Idle && a.Counter == b.Counter && a.SeenMs == b.SeenMs && a.LastMs == b.LastMs && a.Integrated == b.Integrated
}

// rowsPerAppend bounds how long the line waits for its own turn to write.
const rowsPerAppend = 20_000

// write appends what has been gathered, an hour's rows of a node at once: closed
// hours are written as a whole.
func (b *restater) write(ctx context.Context, p *plan) error {
	charges, nodes := p.batch.Charges, p.batch.Nodes
	p.batch = store.Batch{}
	byHour := func(ms int64) int64 { return ms - ms%hourMs }
	slices.SortStableFunc(charges, func(x, y power.Charge) int { return int(byHour(x.StartMs)/1000 - byHour(y.StartMs)/1000) })
	slices.SortStableFunc(nodes, func(x, y power.NodeWindow) int { return int(byHour(x.StartMs)/1000 - byHour(y.StartMs)/1000) })
	for len(charges) > 0 || len(nodes) > 0 {
		n := min(len(charges), rowsPerAppend)
		for n < len(charges) && byHour(charges[n].StartMs) == byHour(charges[n-1].StartMs) && n < 4*rowsPerAppend {
			n++
		}
		part := store.Batch{Charges: charges[:n]}
		charges = charges[n:]
		if len(charges) == 0 {
			part.Nodes, nodes = nodes, nil
		}
		if err := b.l.Books.Append(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

func planFile(dir string) string { return filepath.Join(dir, "backfill.json") }

// loadPlan returns the plan of a backfill that was interrupted, nil if there is none.
func loadPlan(dir string) (*plan, error) {
	text, err := os.ReadFile(planFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	p := &plan{}
	if err == nil {
		err = json.Unmarshal(text, p)
	}
	if err != nil {
		return nil, fmt.Errorf("the plan of the backfill that was interrupted: %w", err)
	}
	return p, nil
}

// save writes the plan so that a power cut leaves the one before or this one.
func (p *plan) save(dir string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return durable.WriteFile(planFile(dir), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// result is what a plan came to.
func (p *plan) result(dry bool, samples int) *Result {
	out := &Result{DryRun: dry, Samples: samples}
	for _, n := range p.Nodes {
		out.Nodes = append(out.Nodes, Node{
			Cluster: n.Cluster, Node: n.Node, From: time.UnixMilli(n.FromMs).UTC(), To: time.UnixMilli(n.ToMs).UTC(),
			Windows: n.Windows, GainedKWh: n.Gained.KWh(), Skipped: n.Skipped,
		})
	}
	return out
}
