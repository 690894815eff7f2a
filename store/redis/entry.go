package redis

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// version is that of the contract; every value carries it.
const version = "1"

// An entryID is the id of a stream entry.
type entryID struct {
	ms int64
	n  uint64
}

func parseID(text string) entryID {
	ms, n, _ := strings.Cut(text, "-")
	var id entryID
	id.ms, _ = strconv.ParseInt(ms, 10, 64)
	id.n, _ = strconv.ParseUint(n, 10, 64)
	return id
}

func (id entryID) String() string {
	return strconv.FormatInt(id.ms, 10) + "-" + strconv.FormatUint(id.n, 10)
}

func (id entryID) less(o entryID) bool { return id.ms < o.ms || id.ms == o.ms && id.n < o.n }

// after returns the id of an entry that follows id and was committed at ms.
func (id entryID) after(ms int64) entryID {
	if ms > id.ms {
		return entryID{ms, 0}
	}
	return entryID{id.ms, id.n + 1}
}

// An entry is what a workload used in one window, on all nodes together.
type entry struct {
	workload power.Workload
	typ      power.Type
	startMs  int64
	seconds  int32
	energy   power.Energy
	cost     float64
	revision uint64

	most power.Microjoules // energy of the row that typ is from
	live bool              // typ is from a row that has containers
}

// entries adds rows up by workload and window, sorted by start and workload. A
// delivery has all rows of a workload and window, or none.
func entries(rows []store.WindowRow, fromMs int64) []entry {
	type key struct {
		workload power.Workload
		startMs  int64
	}
	index := map[key]int{}
	var list []entry
	for i := range rows {
		r := &rows[i]
		if r.StartMs+int64(r.Seconds)*1000 <= fromMs {
			continue
		}
		k := key{r.Workload, r.StartMs}
		at, ok := index[k]
		if !ok {
			at = len(list)
			index[k] = at
			list = append(list, entry{workload: r.Workload, startMs: r.StartMs, most: math.MinInt64})
		}
		e := &list[at]
		e.energy.Add(r.Energy)
		e.cost += r.Cost.Total()
		e.seconds = max(e.seconds, r.Seconds)
		e.revision = max(e.revision, r.Revision)
		live, total := r.Containers > 0, r.Energy.Total()
		if live && !e.live || live == e.live && total > e.most {
			e.typ, e.most, e.live = r.Type, total, live
		}
	}
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.startMs, b.startMs), cmp.Compare(a.workload.ID(), b.workload.ID()))
	})
	return list
}

// fields are those of a stream entry, in order.
var fields = []string{
	"version", "start", "seconds", "cluster", "namespace", "workload", "workload_type",
	"energy_uj", "cost_nano", "revision", "workload_id",
}

// values returns what the fields of e hold.
func (e *entry) values() []string {
	return []string{
		version, strconv.FormatInt(e.startMs, 10), strconv.Itoa(int(e.seconds)),
		e.workload.Cluster, e.workload.Namespace, e.workload.Name, string(e.typ),
		strconv.FormatInt(int64(e.energy.Total()), 10), strconv.FormatInt(nano(e.cost), 10),
		strconv.FormatUint(e.revision, 10), e.workload.ID(),
	}
}

// nano returns money in billionths of its unit.
func nano(cost float64) int64 { return int64(math.RoundToEven(cost * 1e9)) }

// hashes returns the hash of the window and of all that was written for it.
func hashes(values []string) (window, content uint64) {
	return hash(values[10], values[1], values[2]), hash(values...)
}

// valuesOf returns the values of an entry that was read back.
func valuesOf(m goredis.XMessage) []string {
	values := make([]string, len(fields))
	for i, f := range fields {
		values[i], _ = m.Values[f].(string)
	}
	return values
}
