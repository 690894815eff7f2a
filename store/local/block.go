package local

import (
	"context"
	"sync"
)

// blockSeconds divides an hour.
const blockSeconds = 300

func blockOf(start int64) int64 { return start - start%blockSeconds }

// A block is the sums by holder of five minutes of an open hour, made from
// their rows when first asked for and again after an append has touched them.
// Without blocks, every query that reaches into the open hour would read up to
// 70 rows a holder.
type block struct {
	commit uint64 // the append that last touched it
	list   []sums // never changed once here
}

type blockCache struct {
	mu     sync.Mutex
	blocks map[int64]*block // guarded by mu: by start
}

// read returns the sums of the block that starts at start, as of sn.
func (c *blockCache) read(ctx context.Context, sn *snapshot, start int64) ([]sums, error) {
	commit := sn.touched[start]
	c.mu.Lock()
	b := c.blocks[start]
	c.mu.Unlock()
	if b != nil && b.commit == commit {
		return b.list, nil
	}
	byHolder := map[int32]int{}
	var list []sums
	err := scanRows(ctx, sn, start, start+blockSeconds, 0, idMask, func(r *row) error {
		e := r.sums()
		i, ok := byHolder[r.holder]
		if !ok {
			byHolder[r.holder] = len(list)
			list = append(list, e)
			return nil
		}
		if list[i].price == e.price && list[i].add(&e) {
			return nil
		}
		list = accumulate(list, i+1, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.blocks[start]; b == nil || b.commit < commit {
		c.blocks[start] = &block{commit, list}
	}
	return list, nil
}

// blocksWithRows returns the starts of the blocks that have rows in [from, to):
// open hours may lie far apart.
func blocksWithRows(ctx context.Context, w querier, from, to int64) (starts []int64, err error) {
	rows, err := w.QueryContext(ctx, `WITH RECURSIVE blocks(s) AS (
			SELECT (SELECT (key >> 31) / 300 * 300 FROM minutes WHERE key >= ?1 ORDER BY key LIMIT 1)
			UNION ALL
			SELECT (SELECT (key >> 31) / 300 * 300 FROM minutes WHERE key >= (s + 300) << 31 ORDER BY key LIMIT 1) FROM blocks WHERE s < ?2
		)
		SELECT s FROM blocks WHERE s < ?2`, rowKey(from, 0), to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s int64
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		starts = append(starts, s)
	}
	return starts, rows.Err()
}

// drop lets go of the blocks of hours that have been sealed.
func (c *blockCache) drop(before int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for start := range c.blocks {
		if start < before {
			delete(c.blocks, start)
		}
	}
}
