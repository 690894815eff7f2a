package local

import "github.com/wattledger/wattledger/power"

// recent mirrors the newest rows, so that current power is answered without
// reading a file. It holds absolute rows, as the file does, and is read again
// from it on start.
type recent struct {
	seconds int64
	from    int64 // rows that start before are not held
	starts  map[int64]*recentStart
}

type recentStart struct {
	index map[int32]int32 // holder → rows
	rows  []recentRow
}

type recentRow struct {
	energy   [power.NumComponents]int64
	revision uint64
	lastOff  int64
	holder   int32
	seconds  int32
	seenMs   int32
	price    int32
}

func newRecent(seconds int64) *recent {
	return &recent{seconds: seconds, starts: map[int64]*recentStart{}}
}

// put takes a row unless a newer one is held.
func (m *recent) put(r *row) {
	if r.start < m.from {
		return
	}
	st := m.starts[r.start]
	if st == nil {
		st = &recentStart{index: map[int32]int32{}}
		m.starts[r.start] = st
	}
	i, ok := st.index[r.holder]
	if !ok {
		i = int32(len(st.rows))
		st.index[r.holder] = i
		st.rows = append(st.rows, recentRow{})
	} else if r.revision < st.rows[i].revision {
		return
	}
	st.rows[i] = recentRow{r.energy, r.revision, r.lastOff, r.holder, r.seconds, r.seenMs, r.price}
}

// advance lets go of what is too old once newest is the newest row.
func (m *recent) advance(newest int64) {
	from := newest - m.seconds
	if from <= m.from {
		return
	}
	m.from = from
	for start := range m.starts {
		if start < from {
			delete(m.starts, start)
		}
	}
}
