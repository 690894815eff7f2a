package local

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// maxAnswerRows bounds what one answer may hold.
const maxAnswerRows = 1_000_000

var errOverflow = errors.New("a sum does not fit into 64 bits of microjoules")

// grouping adds entries up by step and group. Entries must come in the order
// of their steps; then one open step is all it has to hold.
type grouping struct {
	q       store.Query
	dims    dims
	newest  int64 // start of the newest row, Unix seconds
	groups  []group
	byName  map[string]int32
	names   []string // of the holder that is being placed
	key     []byte   // its key in byName
	ofID    []int32  // holder → index into groups + 1; 0 not looked at, -1 left out
	ofSpace []int32  // likewise
	counted []int64  // holder → the step it was last counted in
	step    int64    // start of the open step
	rank    []int32  // group → its place among all, by name
	open    []int32  // groups with entries in the open step
	rows    []store.Row
}

type group struct {
	names   []string
	holders int
	sums    []format.Sums // by price; the open step's
}

func newGrouping(q store.Query, d dims, newest int64) *grouping {
	g := &grouping{q: q, dims: d, newest: newest, byName: map[string]int32{}, ofID: make([]int32, len(d.holders)), step: math.MinInt64}
	g.counted = make([]int64, len(d.holders))
	for i := range g.counted {
		g.counted[i] = math.MinInt64
	}
	g.ofSpace = make([]int32, len(d.spaces))
	return g
}

// stepOf returns the start of the step that a time belongs to.
func (g *grouping) stepOf(ms int64) int64 {
	if g.q.StepMs == 0 {
		return g.q.FromMs
	}
	return ms - ms%g.q.StepMs
}

// add adds an entry of a holder at startMs.
func (g *grouping) add(startMs int64, e *format.Sums) error {
	id := int(e.ID)
	if id >= len(g.ofID) || id < 0 || e.HeldMs == 0 {
		return nil // of no holder, or void
	}
	at := g.ofID[id]
	if at == 0 {
		at = g.place(id)
	}
	if at < 0 {
		return nil
	}
	step := g.stepOf(startMs)
	if err := g.enter(step); err != nil {
		return err
	}
	grp := &g.groups[at-1]
	if len(grp.sums) == 0 {
		g.open = append(g.open, at-1)
	}
	if g.counted[id] != step {
		g.counted[id] = step
		if g.dims.counts(g.dims.holders[id], func(other int32) bool { return g.counted[other] == step && g.ofID[other] == at }) {
			grp.holders++
		}
	}
	return grp.add(e)
}

// addSpace adds an entry of a space at startMs.
func (g *grouping) addSpace(startMs int64, e *format.Sums) error {
	id := int(e.ID)
	if id >= len(g.ofSpace) || id < 0 || e.HeldMs == 0 {
		return nil
	}
	at := g.ofSpace[id]
	if at == 0 {
		at = g.placeSpace(id)
	}
	if at < 0 {
		return nil
	}
	if err := g.enter(g.stepOf(startMs)); err != nil {
		return err
	}
	grp := &g.groups[at-1]
	if len(grp.sums) == 0 {
		g.open = append(g.open, at-1)
	}
	grp.holders += int(e.Holders)
	return grp.add(e)
}

func (grp *group) add(e *format.Sums) error {
	for i := range grp.sums {
		if grp.sums[i].Price == e.Price {
			if !grp.sums[i].Add(e) {
				return fmt.Errorf("group %q: %w", strings.Join(grp.names, ":"), errOverflow)
			}
			return nil
		}
	}
	grp.sums = append(grp.sums, *e)
	return nil
}

// enter closes the open step if step is another.
func (g *grouping) enter(step int64) error {
	if step == g.step {
		return nil
	}
	if err := g.close(); err != nil {
		return err
	}
	g.step = step
	return nil
}

// close turns the open step into rows.
func (g *grouping) close() error {
	g.rankGroups()
	slices.SortFunc(g.open, func(a, b int32) int { return cmp.Compare(g.rank[a], g.rank[b]) })
	g.makeRoom()
	for _, at := range g.open {
		grp := &g.groups[at]
		slices.SortFunc(grp.sums, func(a, b format.Sums) int { return cmp.Compare(a.Price, b.Price) })
		for _, e := range grp.sums {
			if len(g.rows) == maxAnswerRows {
				return fmt.Errorf("%w: %d", store.ErrTooMany, maxAnswerRows)
			}
			r := store.Row{
				StartMs: g.step, Group: grp.names, Idle: power.Microjoules(e.Idle), Price: g.dims.prices[e.Price],
				SeenMs: e.SeenMs, HeldMs: e.HeldMs, LastMs: e.LastMs, Holders: grp.holders,
			}
			for c := range e.Energy {
				r.Energy[c] = power.Microjoules(e.Energy[c])
			}
			g.rows = append(g.rows, r)
		}
		grp.sums, grp.holders = grp.sums[:0], 0
	}
	g.open = g.open[:0]
	return nil
}

// makeRoom makes room for the rows of all steps to come, supposing that they
// have as many as the open one. Growing by doubling took longer than the sums.
func (g *grouping) makeRoom() {
	need := len(g.open)
	if g.q.StepMs > 0 && len(g.rows)+need > cap(g.rows) {
		steps := (min(g.q.ToMs, (g.newest+1)*1000)-g.step)/g.q.StepMs + 1
		need = int(min(steps*int64(need), maxAnswerRows))
		g.rows = slices.Grow(g.rows, max(need, len(g.open), len(g.rows)/4))
	}
}

// rankGroups sorts the groups by their names if there are new ones: steps are
// many, and comparing numbers is cheaper than comparing names in each.
func (g *grouping) rankGroups() {
	if len(g.rank) == len(g.groups) {
		return
	}
	order := make([]int32, len(g.groups))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return slices.Compare(g.groups[a].names, g.groups[b].names) })
	g.rank = make([]int32, len(order))
	for i, at := range order {
		g.rank[at] = int32(i)
	}
}

func (g *grouping) place(id int) int32 {
	at := int32(-1)
	if h := g.dims.holders[id]; h != nil && !(g.q.WorkloadsOnly && h.Kind.PseudoName() != "") && matches(h.Holder, g.q.Match) {
		names := g.names[:0]
		own := ""
		for _, d := range g.q.GroupBy {
			names = append(names, value(h.Holder, d))
			if d == store.ContainerID {
				own = fmt.Sprint(id) // holders stay apart even where their ids are the same
			}
		}
		g.names = names
		at = g.named(names, own)
	}
	g.ofID[id] = at
	return at
}

func (g *grouping) placeSpace(id int) int32 {
	at := int32(-1)
	sp := &g.dims.spaces[id]
	if !(g.q.WorkloadsOnly && sp.pseudo) && sp.matches(g.q.Match) {
		names := make([]string, len(g.q.GroupBy))
		for i, d := range g.q.GroupBy {
			names[i] = sp.value(d)
		}
		at = g.named(names, "")
	}
	g.ofSpace[id] = at
	return at
}

// named returns the index of a group plus one.
func (g *grouping) named(names []string, own string) int32 {
	g.key = append(g.key[:0], own...)
	for _, n := range names {
		g.key = append(strconv.AppendInt(append(g.key, '|'), int64(len(n)), 10), '|')
		g.key = append(g.key, n...)
	}
	at, ok := g.byName[string(g.key)]
	if !ok {
		g.groups = append(g.groups, group{names: slices.Clone(names)})
		at = int32(len(g.groups))
		g.byName[string(g.key)] = at
	}
	return at
}
