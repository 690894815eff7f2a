package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

const (
	topLength   = 1000 // workloads in a top list
	frameLength = 500  // workloads in a live frame
)

// now is what workloads draw at present. Nodes are heard of one after the
// other, so each one's share counts until it is too old, and a workload's sum
// does not dip whenever some of its nodes have begun a new window.
type now struct {
	ttl       time.Duration
	workloads map[power.Workload]map[shareKey]share
	all       bool // the server has none of it
}

type shareKey struct {
	node string
	typ  power.Type
}

type share struct {
	startMs, lastMs    int64
	watts, costPerHour float64
}

// A draw is the power of a workload or namespace.
type draw struct {
	lastMs             int64
	watts, costPerHour float64
}

func (d *draw) add(lastMs int64, watts, costPerHour float64) {
	d.lastMs = max(d.lastMs, lastMs)
	d.watts += watts
	d.costPerHour += costPerHour
}

func newNow(ttl time.Duration) *now {
	return &now{ttl: ttl, workloads: map[power.Workload]map[shareKey]share{}, all: true}
}

// forget notes that the server has none of it any more.
func (n *now) forget() { n.all = true }

// take updates shares from windows and returns the workloads that changed.
func (n *now) take(rows []store.WindowRow, at time.Time) map[power.Workload]bool {
	oldest := at.Add(-n.ttl).UnixMilli()
	changed := map[power.Workload]bool{}
	for i := range rows {
		r := &rows[i]
		if r.StartMs+int64(r.Seconds)*1000 < oldest {
			continue
		}
		k := shareKey{r.Node, r.Type}
		shares := n.workloads[r.Workload]
		if shares[k].startMs > r.StartMs {
			continue
		}
		if r.Containers == 0 {
			if _, ok := shares[k]; ok {
				delete(shares, k)
				changed[r.Workload] = true
			}
			continue
		}
		// SeenMs counts every container's time; together they were seen so long.
		seconds := float64(r.SeenMs) / 1000 / float64(r.Containers)
		if seconds <= 0 || r.LastMs < oldest {
			continue
		}
		if shares == nil {
			shares = map[shareKey]share{}
			n.workloads[r.Workload] = shares
		}
		shares[k] = share{r.StartMs, r.LastMs, r.Energy.Total().Joules() / seconds, r.Cost.Total() / seconds * 3600}
		changed[r.Workload] = true
	}
	for w, shares := range n.workloads {
		for k, s := range shares {
			if s.lastMs < oldest {
				delete(shares, k)
			}
		}
		if len(shares) == 0 {
			delete(n.workloads, w)
		}
	}
	return changed
}

// of returns the power of a workload, and the type most of it is drawn as.
func (n *now) of(w power.Workload) (d draw, typ power.Type) {
	most := -1.0
	for k, s := range n.workloads[w] {
		d.add(s.lastMs, s.watts, s.costPerHour)
		if s.watts > most || s.watts == most && k.typ < typ {
			most, typ = s.watts, k.typ
		}
	}
	return d, typ
}

// writeNow writes the current values that windows changed, the lists of those
// that draw most, and a frame for screens.
func (f *Follower) writeNow(ctx context.Context, rows []store.WindowRow, at time.Time) error {
	n := f.now
	changed := n.take(rows, at)
	if n.all {
		for w := range n.workloads {
			changed[w] = true
		}
	}
	if len(changed) == 0 {
		return nil
	}
	type space struct{ cluster, namespace string }
	spaces, touched := map[space]draw{}, map[space]bool{}
	var byWatts, byCost []goredis.Z
	frame := frame{Version: 1, TimeMs: at.UnixMilli(), Workloads: []frameRow{}}
	tx := f.client.TxPipeline()
	for w := range n.workloads {
		d, typ := n.of(w)
		sp := space{w.Cluster, w.Namespace}
		sum := spaces[sp]
		sum.add(d.lastMs, d.watts, d.costPerHour)
		spaces[sp] = sum
		id := w.ID()
		if !strings.HasPrefix(w.Name, "__") { // what no workload used is not in the lists
			byWatts = append(byWatts, goredis.Z{Score: d.watts, Member: id})
			byCost = append(byCost, goredis.Z{Score: d.costPerHour, Member: id})
		}
		if !changed[w] {
			continue
		}
		touched[sp] = true
		f.setDraw(ctx, tx, at, f.key("current", "workload", id), d,
			"cluster", w.Cluster, "namespace", w.Namespace, "workload", w.Name, "workload_type", string(typ))
		if len(frame.Workloads) < frameLength {
			frame.Workloads = append(frame.Workloads, frameRow{id, d.watts, d.costPerHour})
		}
	}
	for w := range changed {
		if n.workloads[w] == nil {
			tx.Del(ctx, f.key("current", "workload", w.ID()))
		}
	}
	for sp := range touched {
		f.setDraw(ctx, tx, at, f.key("current", "namespace", sp.cluster, sp.namespace), spaces[sp])
	}
	cmds, err := tx.Exec(ctx)
	if err := firstError(cmds, err); err != nil {
		return fmt.Errorf("write current values: %w", err)
	}
	if err := f.setTop(ctx, "power_watts", byWatts); err != nil {
		return err
	}
	if err := f.setTop(ctx, "cost_per_hour", byCost); err != nil {
		return err
	}
	n.all = false
	return f.publish(ctx, frame)
}

// A frame is for screens: whoever is not listening misses it.
type frame struct {
	Version   int        `json:"version"`
	TimeMs    int64      `json:"time"`
	Workloads []frameRow `json:"workloads"`
}

type frameRow struct {
	WorkloadID  string  `json:"workload_id"`
	PowerWatts  float64 `json:"power_watts"`
	CostPerHour float64 `json:"cost_per_hour"`
}

// publish sends a frame. A server that does not allow that has all the rest.
func (f *Follower) publish(ctx context.Context, fr frame) error {
	body, err := json.Marshal(fr)
	if err != nil {
		return fmt.Errorf("live frame: %w", err)
	}
	err = f.client.Publish(ctx, f.key("live"), body).Err()
	var answer goredis.Error
	if errors.As(err, &answer) {
		if !f.mute {
			f.log.Warn("redis does not take live frames; all else is written", "setting", "redis.url", "err", err)
		}
		f.mute = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// setDraw writes a current value that expires three intervals after its newest
// sample. tx is a transaction: a value that never expired would be a lie.
func (f *Follower) setDraw(ctx context.Context, tx goredis.Pipeliner, at time.Time, key string, d draw, more ...any) {
	left := time.UnixMilli(d.lastMs).Add(f.now.ttl).Sub(at)
	left = min(max(left, time.Millisecond), f.now.ttl)
	values := append([]any{
		"version", version, "time", d.lastMs,
		"power_watts", number(d.watts), "cost_per_hour", number(d.costPerHour),
	}, more...)
	tx.HSet(ctx, key, values...)
	tx.PExpire(ctx, key, left)
}

// setTop makes a list under another name and then puts it in its place: readers
// see the old one or the new one, whole.
func (f *Follower) setTop(ctx context.Context, by string, list []goredis.Z) error {
	key := f.key("top", by)
	building := key + ":building"
	tx := f.client.TxPipeline()
	if len(list) == 0 {
		tx.Del(ctx, key)
	} else {
		tx.Del(ctx, building)
		tx.ZAdd(ctx, building, list...)
		if len(list) > topLength {
			tx.ZRemRangeByRank(ctx, building, 0, int64(len(list)-topLength-1))
		}
		tx.PExpire(ctx, building, f.now.ttl)
		tx.Rename(ctx, building, key)
	}
	cmds, err := tx.Exec(ctx)
	if err := firstError(cmds, err); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
