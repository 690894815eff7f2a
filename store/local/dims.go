package local

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/internal/index"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local/format"
)

// A holder is an account holder as rows refer to it.
type holder struct {
	*power.Holder
	id    int32
	node  int32
	space int32
	// workload is the id of what Holder.Workload says.
	workload int32
}

type nodeKey struct{ cluster, name string }

// A space is what sums by dimensions are kept for, and one without tags what sums
// by namespace are kept for.
type space struct {
	cluster, namespace string
	typ                power.Type
	pseudo             bool
	tags               power.Tags // dimensions alone
}

func spaceOf(h *power.Holder) space {
	return space{h.Cluster, value(h, store.Namespace), h.Type, h.Kind.PseudoName() != "", h.Tags.Of(power.DimensionTag)}
}

// whole returns the space that sp is a part of.
func (sp space) whole() space {
	sp.tags = ""
	return sp
}

// A holderID says which of the holders of one key one is.
type holderID struct {
	power.HolderKey
	sinceMs int64
}

func idOf(h *power.Holder) holderID { return holderID{h.HolderKey, h.SinceMs} }

// dims is everything that ids in fact rows stand for, as of one commit. Readers
// share it: slices only grow past their length, and a change inside one is made
// in a copy.
type dims struct {
	holders []*holder // by id; nil where there is none (any more)
	nodes   []nodeKey // by id
	spaces  []space   // by id
	wholes  []int32   // the space that a space is a part of, by id; itself where it has no tags
	prices  []power.Price
	// siblings is never changed, but replaced.
	siblings siblings
}

func (d *dims) holder(id int32) *holder {
	if int(id) >= len(d.holders) || id < 0 {
		return nil
	}
	return d.holders[id]
}

// interns finds ids. It belongs to whoever holds Store.writing.
type interns struct {
	dims        // the committed state, extended and replaced by stage.apply
	byPointer   map[*power.Holder]int32
	byKey       index.Index // holders
	nodeIDs     map[nodeKey]int32
	workloadIDs map[power.Workload]int32
	spaceIDs    map[space]int32
	priceIDs    map[power.Price]int32
	pricePtr    map[*power.Price]int32 // cleared when it grows: prices are few, pointers need not be
	holderSeq   int64                  // id of the newest holder there ever was
}

// find returns the id of a holder.
func (in *interns) find(x holderID) (int32, bool) {
	id, ok := in.byKey.Find(index.Hash(x.HolderKey), func(id uint32) bool { return idOf(in.holders[id].Holder) == x })
	return int32(id), ok
}

// same returns the ids of all the holders of a key.
func (in *interns) same(key power.HolderKey) (ids []int32) {
	in.byKey.Find(index.Hash(key), func(id uint32) bool {
		if in.holders[id].HolderKey == key {
			ids = append(ids, int32(id))
		}
		return false
	})
	return ids
}

func loadInterns(ctx context.Context, w *writer) (*interns, error) {
	in := &interns{
		byPointer: map[*power.Holder]int32{}, nodeIDs: map[nodeKey]int32{},
		workloadIDs: map[power.Workload]int32{}, spaceIDs: map[space]int32{},
		priceIDs: map[power.Price]int32{}, pricePtr: map[*power.Price]int32{},
	}
	err := eachRow(ctx, w, "SELECT id, cluster, name FROM nodes", func(rows *sql.Rows) error {
		var id int32
		var n nodeKey
		err := rows.Scan(&id, &n.cluster, &n.name)
		in.nodeIDs[n] = id
		in.nodes = put(in.nodes, id, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	workloads := map[int32]power.Workload{}
	shared := map[string]power.Tags{} // many holders have the same
	err = eachRow(ctx, w, "SELECT id, cluster, namespace, kind, name FROM workloads", func(rows *sql.Rows) error {
		var id int32
		var x power.Workload
		err := rows.Scan(&id, &x.Cluster, &x.Namespace, &x.Kind, &x.Name)
		in.workloadIDs[x] = id
		workloads[id] = x
		return err
	})
	if err != nil {
		return nil, err
	}
	err = eachRow(ctx, w, "SELECT id, cluster, namespace, workload_type, pseudo, tags FROM spaces ORDER BY length(tags) > 0", func(rows *sql.Rows) error {
		var id int32
		var x space
		var tags sql.RawBytes
		err := rows.Scan(&id, &x.cluster, &x.namespace, &x.typ, &x.pseudo, &tags)
		x.tags = power.Tags(tags)
		in.spaceIDs[x] = id
		in.spaces = put(in.spaces, id, x)
		in.wholes = put(in.wholes, id, in.spaceIDs[x.whole()])
		return err
	})
	if err != nil {
		return nil, err
	}
	err = eachRow(ctx, w, "SELECT id, model, currency, electricity_per_kwh, overhead, carbon_factor, carbon_kg_per_kwh, carbon_per_kg FROM prices", func(rows *sql.Rows) error {
		var id int32
		var p power.Price
		err := rows.Scan(&id, &p.Model, &p.Currency, &p.ElectricityPerKWh, &p.Overhead, &p.CarbonFactor, &p.CarbonKgPerKWh, &p.CarbonPerKg)
		in.priceIDs[p] = id
		in.prices = put(in.prices, id, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = eachRow(ctx, w, `SELECT id, node, kind, name, since, workload, inferred, type, rule, pod, pod_uid, container, image, tags FROM holders`, func(rows *sql.Rows) error {
		var id, node, workload int32
		var tags sql.RawBytes
		h := new(power.Holder)
		err := rows.Scan(&id, &node, &h.Kind, &h.ID, &h.SinceMs, &workload, &h.Inferred, &h.Type, &h.Rule, &h.Pod, &h.PodUID, &h.Container, &h.Image, &tags)
		if err != nil {
			return err
		}
		if int(node) >= len(in.nodes) || node < 0 {
			return fmt.Errorf("holder %d: no node %d: %w", id, node, store.ErrCorrupt)
		}
		n := in.nodes[node]
		h.Cluster, h.Node, h.Workload = n.cluster, n.name, workloads[workload]
		if h.Tags = shared[string(tags)]; h.Tags == "" && len(tags) > 0 {
			h.Tags = power.Tags(tags)
			shared[string(tags)] = h.Tags
		}
		sp, ok := in.spaceIDs[spaceOf(h)]
		if !ok {
			return fmt.Errorf("holder %d: no space %v: %w", id, spaceOf(h), store.ErrCorrupt)
		}
		if others := in.same(h.HolderKey); len(others) > 0 {
			in.dims.siblings = in.dims.siblings.with(h.HolderKey, others, id)
		}
		in.byKey.Add(index.Hash(h.HolderKey), uint32(id))
		in.holders = put(in.holders, id, &holder{Holder: h, id: id, node: node, space: sp, workload: workload})
		return nil
	})
	return in, err
}

func eachRow(ctx context.Context, w *writer, query string, f func(*sql.Rows) error) error {
	rows, err := w.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// put sets element i of a slice that only grows.
func put[T any](s []T, i int32, v T) []T {
	for int(i) >= len(s) {
		var zero T
		s = append(s, zero)
	}
	s[i] = v
	return s
}

// A stage is what one transaction adds to interns. Until it has committed,
// nothing of it may be seen by the next.
type stage struct {
	in *interns
	w  *writer

	holders   map[holderID]*holder // new or described anew
	old       map[int32]*holder    // what the latter were
	first     map[int32]int64      // first row of new holders
	nodes     map[nodeKey]int32
	workloads map[power.Workload]int32
	spaces    map[space]int32
	prices    map[power.Price]int32
	pointers  map[*power.Holder]int32
	holderSeq int64 // id of the newest holder there ever was
	added     []any // rows of new holders that flush has yet to insert
}

func (in *interns) stage(w *writer) *stage {
	return &stage{
		in: in, w: w,
		holders: map[holderID]*holder{}, old: map[int32]*holder{}, first: map[int32]int64{},
		nodes: map[nodeKey]int32{}, workloads: map[power.Workload]int32{}, spaces: map[space]int32{},
		prices: map[power.Price]int32{}, pointers: map[*power.Holder]int32{}, holderSeq: in.holderSeq,
	}
}

// insert runs an INSERT and returns the new row's id.
func (st *stage) insert(ctx context.Context, query string, args ...any) (int32, error) {
	res, err := st.w.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	id, err := res.LastInsertId()
	if err == nil && id > format.IDMask {
		err = fmt.Errorf("id %d does not fit a row key: %w", id, store.ErrFull)
	}
	return int32(id), err
}

// intern returns the id of k, from committed, or else from staged, or else new.
func intern[K comparable](committed, staged map[K]int32, k K, add func() (int32, error)) (int32, error) {
	if id, ok := committed[k]; ok {
		return id, nil
	}
	if id, ok := staged[k]; ok {
		return id, nil
	}
	id, err := add()
	if err == nil {
		staged[k] = id
	}
	return id, err
}

func (st *stage) node(ctx context.Context, n nodeKey) (int32, error) {
	return intern(st.in.nodeIDs, st.nodes, n, func() (int32, error) {
		return st.insert(ctx, "INSERT INTO nodes (cluster, name) VALUES (?, ?)", n.cluster, n.name)
	})
}

func (st *stage) price(ctx context.Context, p *power.Price) (int32, error) {
	if id, ok := st.in.pricePtr[p]; ok {
		return id, nil
	}
	if id, ok := st.in.priceIDs[*p]; ok {
		if len(st.in.pricePtr) > 1024 {
			clear(st.in.pricePtr)
		}
		st.in.pricePtr[p] = id
		return id, nil
	}
	return intern(st.in.priceIDs, st.prices, *p, func() (int32, error) {
		return st.insert(ctx, `INSERT INTO prices (model, currency, electricity_per_kwh, overhead, carbon_factor, carbon_kg_per_kwh, carbon_per_kg)
			VALUES (?, ?, ?, ?, ?, ?, ?)`, p.Model, p.Currency, p.ElectricityPerKWh, p.Overhead, p.CarbonFactor, p.CarbonKgPerKWh, p.CarbonPerKg)
	})
}

func (st *stage) space(ctx context.Context, sp space) (int32, error) {
	return intern(st.in.spaceIDs, st.spaces, sp, func() (int32, error) {
		return st.insert(ctx, "INSERT INTO spaces (cluster, namespace, workload_type, pseudo, tags) VALUES (?, ?, ?, ?, ?)",
			sp.cluster, sp.namespace, string(sp.typ), sp.pseudo, []byte(sp.tags))
	})
}

// describe makes h the newest description of its holder and returns its id.
// start is the start of a row of it, or 0.
func (st *stage) describe(ctx context.Context, h *power.Holder, start int64) (int32, error) {
	known := st.holders[idOf(h)]
	if known == nil {
		if id, ok := st.in.find(idOf(h)); ok {
			known = st.in.holders[id]
		}
	}
	if known != nil && (known.Holder == h || *known.Holder == *h) {
		st.pointers[h] = known.id
		return known.id, nil
	}
	wl := h.Workload
	workload, err := intern(st.in.workloadIDs, st.workloads, wl, func() (int32, error) {
		return st.insert(ctx, "INSERT INTO workloads (cluster, namespace, kind, name) VALUES (?, ?, ?, ?)", wl.Cluster, wl.Namespace, wl.Kind, wl.Name)
	})
	if err != nil {
		return 0, err
	}
	spaceID, err := st.space(ctx, spaceOf(h).whole())
	if err == nil {
		spaceID, err = st.space(ctx, spaceOf(h))
	}
	if err != nil {
		return 0, err
	}
	node, err := st.node(ctx, nodeKey{h.Cluster, h.Node})
	if err != nil {
		return 0, err
	}
	next := &holder{Holder: h, node: node, space: spaceID, workload: workload}
	if known == nil {
		if st.holderSeq == format.IDMask {
			return 0, fmt.Errorf("holder %d does not fit a row key: %w", st.holderSeq+1, store.ErrFull)
		}
		st.holderSeq++
		next.id = int32(st.holderSeq)
		st.first[next.id] = start
		err = st.add(ctx, next, int64(workload), start)
	} else {
		next.id = known.id
		if err := st.flush(ctx); err != nil { // it may be among them
			return 0, err
		}
		_, err = st.w.ExecContext(ctx, `UPDATE holders SET workload = ?, inferred = ?, type = ?, rule = ?, pod = ?, pod_uid = ?, container = ?, image = ?, tags = ? WHERE id = ?`,
			workload, h.Inferred, string(h.Type), h.Rule, h.Pod, h.PodUID, h.Container, h.Image, []byte(h.Tags), known.id)
		if _, ok := st.old[known.id]; !ok && st.in.dims.holder(known.id) != nil {
			st.old[known.id] = st.in.holders[known.id]
		}
	}
	st.holders[idOf(h)] = next
	st.pointers[h] = next.id
	return next.id, err
}

// New holders are inserted many to a statement: a statement of its own for each,
// with the pages that SQLite puts aside for taking it back, costs as much again.
const (
	holderColumns    = 17
	holdersPerInsert = 50
)

var (
	insertHolder  = insertHoldersOf(1)
	insertHolders = insertHoldersOf(holdersPerInsert)
)

func insertHoldersOf(n int) string {
	row := "(?" + strings.Repeat(", ?", holderColumns-1) + ")"
	return "INSERT INTO holders (id, node, kind, name, since, workload, inferred, type, rule, pod, pod_uid, container, image, tags, first, last, sum) VALUES " +
		row + strings.Repeat(", "+row, n-1)
}

// add has a new holder inserted, at the latest by flush.
func (st *stage) add(ctx context.Context, h *holder, workload, start int64) error {
	inferred := int64(0)
	if h.Inferred {
		inferred = 1
	}
	at := len(st.added)
	st.added = append(st.added, int64(h.id), int64(h.node), int64(h.Kind), h.ID, h.SinceMs, workload, inferred, string(h.Type), h.Rule,
		h.Pod, h.PodUID, h.Container, h.Image, []byte(h.Tags), start, start)
	st.added = append(st.added, holdersTable.sum(st.added[at:]...))
	if len(st.added) < holdersPerInsert*holderColumns {
		return nil
	}
	_, err := st.w.ExecContext(ctx, insertHolders, st.added...)
	st.added = st.added[:0]
	return err
}

// flush inserts the new holders that are not in their table yet.
func (st *stage) flush(ctx context.Context) error {
	for rest := st.added; len(rest) > 0; rest = rest[holderColumns:] {
		if _, err := st.w.ExecContext(ctx, insertHolder, rest[:holderColumns]...); err != nil {
			return err
		}
	}
	st.added = st.added[:0]
	return nil
}

// holder returns the id of a charge's holder, which h describes.
func (st *stage) holder(ctx context.Context, h *power.Holder, start int64) (int32, error) {
	if id, ok := st.in.byPointer[h]; ok {
		return id, nil // nothing new, and perhaps something old: a pointer describes once
	}
	if id, ok := st.pointers[h]; ok {
		return id, nil
	}
	return st.describe(ctx, h, start)
}

// siblings returns the ids of holders that have several, the stage's included.
func (st *stage) siblings() siblings {
	all, byKey := st.in.dims.siblings, map[power.HolderKey][]int32{}
	for of, h := range st.holders {
		if st.in.dims.holder(h.id) != nil {
			continue
		}
		byKey[of.HolderKey] = append(byKey[of.HolderKey], h.id)
	}
	for key, ids := range byKey {
		if ids = append(st.in.same(key), ids...); len(ids) > 1 {
			all = all.with(key, ids[1:], ids[0])
		}
	}
	return all
}

// moved returns the holders that are in another space than before.
func (st *stage) moved() (ids []int32) {
	for id, was := range st.old {
		if st.holders[idOf(was.Holder)].space != was.space {
			ids = append(ids, id)
		}
	}
	return ids
}

// extended returns dims as they are once the stage's transaction has committed.
func (st *stage) extended() dims {
	d := st.in.dims
	d.siblings = st.siblings()
	for n, id := range st.nodes {
		d.nodes = put(d.nodes, id, n)
	}
	for s, id := range st.spaces {
		d.spaces = put(d.spaces, id, s)
		whole, ok := st.in.spaceIDs[s.whole()]
		if !ok {
			whole = st.spaces[s.whole()]
		}
		d.wholes = put(d.wholes, id, whole)
	}
	for p, id := range st.prices {
		d.prices = put(d.prices, id, p)
	}
	if len(st.old) > 0 {
		d.holders = slices.Clone(d.holders)
	}
	for _, h := range st.holders {
		d.holders = put(d.holders, h.id, h)
	}
	return d
}

// apply makes the stage, and the dims that it extended, part of interns after its
// transaction has committed.
func (st *stage) apply(extended dims) {
	in := st.in
	maps.Copy(in.nodeIDs, st.nodes)
	maps.Copy(in.spaceIDs, st.spaces)
	maps.Copy(in.priceIDs, st.prices)
	maps.Copy(in.workloadIDs, st.workloads)
	in.holderSeq = st.holderSeq
	for k, h := range st.holders {
		if in.dims.holder(h.id) == nil {
			in.byKey.Add(index.Hash(k.HolderKey), uint32(h.id))
		}
	}
	in.dims = extended
	maps.Copy(in.byPointer, st.pointers)
	// A caller that makes a new pointer for every charge must not fill the memory.
	if len(in.byPointer) > 2*len(in.holders)+64 {
		clear(in.byPointer)
	}
}
