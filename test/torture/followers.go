package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// compareRedis holds both streams against the books, read as docs/redis.md says.
func (r *run) compareRedis(ctx context.Context, b *books, t *totals, d *differ) error {
	for _, s := range []struct {
		key  string
		rows []store.WindowRow
	}{{"wattledger:{0}:charges", b.windows}, {"wattledger:{0}:hours", b.hours}} {
		entries, rows, err := compareStream(ctx, r.rig.client, s.key, s.rows, d)
		if err != nil {
			return err
		}
		t.redisCharges += entries
		t.redisRows += rows
	}
	return nil
}

type streamRow struct {
	uj, nano int64
	revision uint64
}

// compareStream also counts entries that are there twice.
func compareStream(ctx context.Context, c *goredis.Client, key string, rows []store.WindowRow, d *differ) (entries, windows int, err error) {
	type sum struct {
		streamRow
		cost float64
	}
	want := map[string]*sum{}
	for i := range rows {
		w := &rows[i]
		k := w.Workload.ID() + "@" + strconv.FormatInt(w.StartMs, 10) + "+" + strconv.Itoa(int(w.Seconds))
		s := want[k]
		if s == nil {
			s = &sum{}
			want[k] = s
		}
		s.uj += int64(w.Energy.Total())
		s.cost += w.Cost.Total()
		s.revision = max(s.revision, w.Revision)
	}
	got, seen := map[string]streamRow{}, map[string]string{}
	for from := "-"; ; {
		list, err := c.XRangeN(ctx, key, from, "+", 5000).Result()
		if err != nil {
			return 0, 0, fmt.Errorf("read %s: %w", key, err)
		}
		for _, m := range list {
			entries++
			from = "(" + m.ID
			if text := fmt.Sprint(m.Values); seen[text] != "" {
				d.add("%s has twice, %s and %s: %s", key, seen[text], m.ID, text)
			} else {
				seen[text] = m.ID
			}
			k := fmt.Sprint(m.Values["workload_id"], "@", m.Values["start"], "+", m.Values["seconds"])
			var row streamRow
			var errs [3]error
			row.uj, errs[0] = strconv.ParseInt(fmt.Sprint(m.Values["energy_uj"]), 10, 64)
			row.nano, errs[1] = strconv.ParseInt(fmt.Sprint(m.Values["cost_nano"]), 10, 64)
			row.revision, errs[2] = strconv.ParseUint(fmt.Sprint(m.Values["revision"]), 10, 64)
			if err := errors.Join(errs[:]...); err != nil {
				return 0, 0, fmt.Errorf("%s %s: %w", key, m.ID, err)
			}
			if before, ok := got[k]; !ok || row.revision >= before.revision {
				got[k] = row
			}
		}
		if len(list) < 5000 {
			break
		}
	}
	for k, w := range want {
		g, ok := got[k]
		delete(got, k)
		// Money is rounded once for each entry, and the sum is of several floats.
		if !ok || g.uj != w.uj || g.revision != w.revision || math.Abs(float64(g.nano)-w.cost*1e9) > 1 {
			d.add("%s %s: it has %+v, the books %+v", key, k, g, *w)
		}
	}
	for k, g := range got {
		if g.uj != 0 {
			d.add("%s %s: it has %+v, the books nothing", key, k, g)
		}
	}
	return entries, len(want), nil
}

// compareInflux holds the points of both buckets against the books.
func (r *run) compareInflux(ctx context.Context, b *books, t *totals, d *differ) error {
	for _, s := range []struct {
		bucket string
		rows   []store.WindowRow
	}{{"power_metrics", b.windows}, {"power_metrics_hourly", b.hours}} {
		points, err := influxPoints(ctx, r.rig.influxURL, s.bucket, "energy")
		if err != nil {
			return err
		}
		for i := range s.rows {
			w := &s.rows[i]
			k := influxKey{workload: w.Workload, node: w.Node, typ: w.Type, startMs: w.StartMs}
			g, ok := points[k]
			delete(points, k)
			want := influxRow{
				energy: w.Energy, total: w.Energy.Total(), idle: w.Idle, nano: int64(math.Round(w.Cost.Total() * 1e9)),
				seen: w.SeenMs, held: w.HeldMs, last: w.LastMs, containers: int64(w.Containers), revision: int64(w.Revision), seconds: int64(w.Seconds),
			}
			if !ok || g != want {
				d.add("%s %+v: it has %+v, the books %+v", s.bucket, k, g, want)
			}
		}
		t.influxRows += len(s.rows)
		for k, g := range points {
			if g.total != 0 || g.containers != 0 {
				d.add("%s %+v: it has %+v, the books nothing", s.bucket, k, g)
			}
		}
	}
	return r.compareSpaces(ctx, b, t, d)
}

// compareSpaces holds the sums by namespace that InfluxDB has against the hours
// they are sums of.
func (r *run) compareSpaces(ctx context.Context, b *books, t *totals, d *differ) error {
	points, err := influxPoints(ctx, r.rig.influxURL, "power_metrics_hourly", "namespaces")
	if err != nil {
		return err
	}
	add := func(sums map[influxKey]influxRow, k influxKey, energy power.Energy, total, idle power.Microjoules, seen, held int64) {
		// One point for each node, workload and price there, one for each price here.
		k = influxKey{workload: power.Workload{Cluster: k.workload.Cluster, Namespace: k.workload.Namespace}, typ: k.typ, startMs: k.startMs}
		s := sums[k]
		s.energy.Add(energy)
		s.total, s.idle, s.seen, s.held = s.total+total, s.idle+idle, s.seen+seen, s.held+held
		sums[k] = s
	}
	want, got := map[influxKey]influxRow{}, map[influxKey]influxRow{}
	for i := range b.hours {
		w := &b.hours[i]
		add(want, influxKey{workload: w.Workload, typ: w.Type, startMs: w.StartMs}, w.Energy, w.Energy.Total(), w.Idle, w.SeenMs, w.HeldMs)
	}
	for k, p := range points {
		add(got, k, p.energy, p.total, p.idle, p.seen, p.held)
	}
	t.influxSums = len(want)
	for k, w := range want {
		if got[k] != w {
			d.add("namespaces %+v: it has %+v, the books %+v", k, got[k], w)
		}
		delete(got, k)
	}
	for k, g := range got {
		if g != (influxRow{}) {
			d.add("namespaces %+v: it has %+v, the books nothing", k, g)
		}
	}
	return nil
}

type influxKey struct {
	workload power.Workload
	node     string
	typ      power.Type
	startMs  int64
	price    string // where it is a tag
}

type influxRow struct {
	energy                                          power.Energy
	total, idle                                     power.Microjoules
	nano                                            int64
	seen, held, last, containers, revision, seconds int64
}

// influxPoints reads every point of a measurement.
func influxPoints(ctx context.Context, address, bucket, measurement string) (map[influxKey]influxRow, error) {
	form := url.Values{"db": {bucket}, "q": {"SELECT * FROM " + measurement}, "epoch": {"ms"}, "chunked": {"true"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/query?"+form.Encode(), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	points := map[influxKey]influxRow{}
	answer := json.NewDecoder(res.Body)
	answer.UseNumber()
	for {
		var part struct {
			Results []struct {
				Series []struct {
					Columns []string
					Values  [][]any
				}
				Error string
			}
			Error string
		}
		if err := answer.Decode(&part); errors.Is(err, io.EOF) {
			return points, nil
		} else if err != nil {
			return nil, fmt.Errorf("ask InfluxDB: %w", err)
		}
		for _, result := range part.Results {
			if result.Error != "" {
				return nil, fmt.Errorf("ask InfluxDB: %s", result.Error)
			}
			for _, s := range result.Series {
				for _, values := range s.Values {
					k, row := influxPoint(s.Columns, values)
					points[k] = row
				}
			}
		}
	}
}

func influxPoint(columns []string, values []any) (k influxKey, r influxRow) {
	text := func(v any) string { s, _ := v.(string); return s }
	for i, name := range columns {
		n := int64(0)
		if v, ok := values[i].(json.Number); ok {
			n, _ = v.Int64() // floats are not compared
		}
		switch name {
		case "time":
			k.startMs = n
		case "cluster":
			k.workload.Cluster = text(values[i])
		case "namespace":
			k.workload.Namespace = text(values[i])
		case "workload_kind":
			k.workload.Kind = text(values[i])
		case "workload":
			k.workload.Name = text(values[i])
		case "workload_type":
			k.typ = power.Type(text(values[i]))
		case "price":
			k.price = text(values[i])
		case "node":
			k.node = text(values[i])
		case "energy_uj":
			r.total = power.Microjoules(n)
		case "cpu_uj":
			r.energy[power.CPU] = power.Microjoules(n)
		case "dram_uj":
			r.energy[power.DRAM] = power.Microjoules(n)
		case "gpu_uj":
			r.energy[power.GPU] = power.Microjoules(n)
		case "other_uj":
			r.energy[power.Other] = power.Microjoules(n)
		case "idle_uj":
			r.idle = power.Microjoules(n)
		case "cost_nano":
			r.nano = n
		case "seen_ms":
			r.seen = n
		case "held_ms":
			r.held = n
		case "last_ms":
			r.last = n
		case "containers":
			r.containers = n
		case "revision":
			r.revision = n
		case "seconds":
			r.seconds = n
		}
	}
	return k, r
}
