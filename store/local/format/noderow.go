package format

import (
	"encoding/binary"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A NodeRow is the identity of one node in one window. The parts are
// containers, vms, system, idle and unattributed energy, in this order.
type NodeRow struct {
	Start      int64 // Unix seconds
	Node       int32
	Seconds    int32
	Used       power.Energy
	Parts      [5]power.Energy
	SeenMs     int32
	LastOff    int64
	Generation string
	Revision   uint64
}

const nodeVersion = 1

// AppendNodeRows encodes rows of one node that start in the hour or window
// key names. What a node used is kept as what its parts do not add up to.
func AppendNodeRows(dst []byte, key int64, rows []NodeRow) []byte {
	at := len(dst)
	dst = append(dst, nodeVersion)
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	var names []string
	for i := range rows {
		if !slices.Contains(names, rows[i].Generation) {
			names = append(names, rows[i].Generation)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, n := range names {
		dst = binary.AppendUvarint(dst, uint64(len(n)))
		dst = append(dst, n...)
	}
	base := KeyStart(key)
	col := make([]int64, len(rows))
	put := func(f func(r *NodeRow) int64) {
		for i := range rows {
			col[i] = f(&rows[i])
		}
		dst = appendColumn(dst, col)
	}
	put(func(r *NodeRow) int64 { return r.Start - base })
	put(func(r *NodeRow) int64 { return int64(r.Seconds) })
	put(func(r *NodeRow) int64 { return int64(r.SeenMs) })
	put(func(r *NodeRow) int64 { return r.LastOff })
	put(func(r *NodeRow) int64 { return int64(slices.Index(names, r.Generation)) })
	put(func(r *NodeRow) int64 { return int64(r.Revision) })
	for c := range power.NumComponents {
		for p := range rows[0].Parts {
			put(func(r *NodeRow) int64 { return int64(r.Parts[p][c]) })
		}
		put(func(r *NodeRow) int64 { return int64(r.Used[c]) - r.explained(c) })
	}
	return binary.LittleEndian.AppendUint32(dst, blobSum(key, dst[at:]))
}

func (r *NodeRow) explained(c int) (sum int64) {
	for p := range r.Parts {
		sum += int64(r.Parts[p][c])
	}
	return sum
}

// ReadNodeRows decodes what appendNodeRows wrote.
func ReadNodeRows(key int64, b []byte) ([]NodeRow, error) {
	n, b, err := openBlob(key, b, nodeVersion, MaxHourRows)
	if err != nil {
		return nil, err
	}
	return decodeNodeRows(key, n, b)
}

// decodeNodeRows is safe on any bytes.
func decodeNodeRows(key int64, n int, b []byte) ([]NodeRow, error) {
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
	rows, col := make([]NodeRow, n), make([]int64, n)
	var err error
	column := func(set func(r *NodeRow, v int64)) {
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
	base, node := KeyStart(key), KeyID(key)
	column(func(r *NodeRow, v int64) { r.Start, r.Node = base+v, node })
	column(func(r *NodeRow, v int64) { r.Seconds = int32(v) })
	column(func(r *NodeRow, v int64) { r.SeenMs = int32(v) })
	column(func(r *NodeRow, v int64) { r.LastOff = v })
	column(func(r *NodeRow, v int64) {
		if v >= 0 && v < int64(len(names)) {
			r.Generation = names[v]
		} else {
			err = store.ErrCorrupt
		}
	})
	column(func(r *NodeRow, v int64) { r.Revision = uint64(v) })
	for c := range power.NumComponents {
		for p := range rows[0].Parts {
			column(func(r *NodeRow, v int64) { r.Parts[p][c] = power.Microjoules(v) })
		}
		column(func(r *NodeRow, v int64) { r.Used[c] = power.Microjoules(v + r.explained(c)) })
	}
	if err != nil {
		return nil, err
	}
	if len(b) != 0 {
		return nil, store.ErrCorrupt
	}
	return rows, nil
}
