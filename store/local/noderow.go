package local

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A nodeRow is the identity of one node in one window. The parts are
// containers, vms, system, idle and unattributed energy, in this order.
type nodeRow struct {
	start      int64 // Unix seconds
	node       int32
	seconds    int32
	used       power.Energy
	parts      [5]power.Energy
	seenMs     int32
	lastOff    int64
	generation string
	revision   uint64
}

func windowRow(n *power.NodeWindow, node int32) nodeRow {
	return nodeRow{
		start: n.StartMs / 1000, node: node, seconds: n.Seconds, used: n.Used,
		parts:  [5]power.Energy{n.Containers, n.VMs, n.System, n.Idle, n.Unattributed},
		seenMs: n.SeenMs, lastOff: n.LastMs - n.StartMs, generation: n.Generation, revision: n.Revision,
	}
}

func (r *nodeRow) window(k nodeKey) power.NodeWindow {
	return power.NodeWindow{
		Cluster: k.cluster, Node: k.name, StartMs: r.start * 1000, Seconds: r.seconds, Used: r.used,
		Containers: r.parts[0], VMs: r.parts[1], System: r.parts[2], Idle: r.parts[3], Unattributed: r.parts[4],
		SeenMs: r.seenMs, LastMs: r.start*1000 + r.lastOff, Generation: r.generation, Revision: r.revision,
	}
}

// A nodeState is the newest window of a node.
type nodeState struct {
	start      int64
	generation string
}

// noteNode keeps the newest window's generation.
func noteNode(nodes []nodeState, r *nodeRow) {
	if r.start >= nodes[r.node].start {
		nodes[r.node] = nodeState{r.start, r.generation}
	}
}

const nodeVersion = 1

// appendNodeRows encodes rows of one node that start in the hour or window
// key names. What a node used is kept as what its parts do not add up to.
func appendNodeRows(dst []byte, key int64, rows []nodeRow) []byte {
	at := len(dst)
	dst = append(dst, nodeVersion)
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	var names []string
	for i := range rows {
		if !slices.Contains(names, rows[i].generation) {
			names = append(names, rows[i].generation)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, n := range names {
		dst = binary.AppendUvarint(dst, uint64(len(n)))
		dst = append(dst, n...)
	}
	base := keyStart(key)
	col := make([]int64, len(rows))
	put := func(f func(r *nodeRow) int64) {
		for i := range rows {
			col[i] = f(&rows[i])
		}
		dst = appendColumn(dst, col)
	}
	put(func(r *nodeRow) int64 { return r.start - base })
	put(func(r *nodeRow) int64 { return int64(r.seconds) })
	put(func(r *nodeRow) int64 { return int64(r.seenMs) })
	put(func(r *nodeRow) int64 { return r.lastOff })
	put(func(r *nodeRow) int64 { return int64(slices.Index(names, r.generation)) })
	put(func(r *nodeRow) int64 { return int64(r.revision) })
	for c := range power.NumComponents {
		for p := range rows[0].parts {
			put(func(r *nodeRow) int64 { return int64(r.parts[p][c]) })
		}
		put(func(r *nodeRow) int64 { return int64(r.used[c]) - r.explained(c) })
	}
	return binary.LittleEndian.AppendUint32(dst, blobSum(key, dst[at:]))
}

func (r *nodeRow) explained(c int) (sum int64) {
	for p := range r.parts {
		sum += int64(r.parts[p][c])
	}
	return sum
}

// readNodeRows decodes what appendNodeRows wrote.
func readNodeRows(key int64, b []byte) ([]nodeRow, error) {
	n, b, err := openBlob(key, b, nodeVersion, maxHourRows)
	if err != nil {
		return nil, err
	}
	return decodeNodeRows(key, n, b)
}

// decodeNodeRows is safe on any bytes.
func decodeNodeRows(key int64, n int, b []byte) ([]nodeRow, error) {
	var names []string
	count, k := binary.Uvarint(b)
	if k <= 0 || count > uint64(n) {
		return nil, store.ErrCorrupt
	}
	b = b[k:]
	for range count {
		size, k := binary.Uvarint(b)
		if k <= 0 || size > uint64(len(b)-k) {
			return nil, store.ErrCorrupt
		}
		names = append(names, string(b[k:k+int(size)]))
		b = b[k+int(size):]
	}
	rows, col := make([]nodeRow, n), make([]int64, n)
	var err error
	column := func(set func(r *nodeRow, v int64)) {
		if err != nil {
			return
		}
		if b, err = readColumn(b, col); err != nil {
			return
		}
		for i := range rows {
			set(&rows[i], col[i])
		}
	}
	base, node := keyStart(key), keyID(key)
	column(func(r *nodeRow, v int64) { r.start, r.node = base+v, node })
	column(func(r *nodeRow, v int64) { r.seconds = int32(v) })
	column(func(r *nodeRow, v int64) { r.seenMs = int32(v) })
	column(func(r *nodeRow, v int64) { r.lastOff = v })
	column(func(r *nodeRow, v int64) {
		if v >= 0 && v < int64(len(names)) {
			r.generation = names[v]
		} else {
			err = store.ErrCorrupt
		}
	})
	column(func(r *nodeRow, v int64) { r.revision = uint64(v) })
	for c := range power.NumComponents {
		for p := range rows[0].parts {
			column(func(r *nodeRow, v int64) { r.parts[p][c] = power.Microjoules(v) })
		}
		column(func(r *nodeRow, v int64) { r.used[c] = power.Microjoules(v + r.explained(c)) })
	}
	if err != nil {
		return nil, err
	}
	if len(b) != 0 {
		return nil, store.ErrCorrupt
	}
	return rows, nil
}

// upsertNodes writes windows of open hours.
func (s *Store) upsertNodes(ctx context.Context, rows []nodeRow) error {
	for i := range rows {
		r := &rows[i]
		key := rowKey(r.start, r.node)
		if _, err := s.w.ExecContext(ctx, insertNodeMinutes, key, int64(r.revision), appendNodeRows(nil, key, rows[i:i+1])); err != nil {
			return err
		}
	}
	return nil
}

// restateNodes merges windows into closed hours.
func (s *Store) restateNodes(ctx context.Context, rows []nodeRow) error {
	byHour := map[int64][]nodeRow{}
	for _, r := range rows {
		key := rowKey(hourOf(r.start), r.node)
		byHour[key] = append(byHour[key], r)
	}
	for key, add := range byHour {
		data, err := blob(ctx, s.w, "SELECT data FROM sealed_nodes WHERE key = ?", key)
		if err != nil {
			return err
		}
		var have []nodeRow
		if data != nil {
			if have, err = readNodeRows(key, data); err != nil {
				return fmt.Errorf("row %d of sealed_nodes: %w", key, err)
			}
		}
		changed := false
		for _, r := range add {
			i, found := slices.BinarySearchFunc(have, r.start, func(h nodeRow, t int64) int { return int(h.start - t) })
			switch {
			case !found:
				have = slices.Insert(have, i, r)
			case r.revision < have[i].revision || r == have[i]:
				continue
			default:
				have[i] = r
			}
			changed = true
		}
		if !changed {
			continue
		}
		if _, err := s.w.ExecContext(ctx, "INSERT OR REPLACE INTO sealed_nodes VALUES (?, ?)", key, appendNodeRows(nil, key, have)); err != nil {
			return err
		}
	}
	return nil
}
