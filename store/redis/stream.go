package redis

import (
	"context"
	"fmt"

	goredis "github.com/redis/go-redis/v9"
)

const (
	chunkEntries = 1000 // of one MULTI: some 0.4 MB
	readBack     = 2000 // entries at a time
)

// A stream is one of the two streams, as far as it is known.
type stream struct {
	key   string
	field string // of meta, that holds the last id
	limit int    // entries that are read back after a start

	last entryID // owned by Write: newest entry that published knows of
	published
}

func newStream(key, field string, size int) *stream {
	return &stream{key: key, field: field, limit: size, published: newPublished(size)}
}

// forget leaves out what was known, because the stream no longer has it.
func (s *stream) forget() {
	s.last, s.published = entryID{}, newPublished(s.size)
}

// catchUp reads what the stream has after s.last up to last, at most limit entries,
// the newest. It is what an earlier process wrote, or this one without hearing so.
func (s *stream) catchUp(ctx context.Context, c goredis.UniversalClient, last entryID, limit int) error {
	if !s.last.less(last) {
		return nil
	}
	var list [][2]uint64 // newest first
	for to := last.String(); len(list) < limit; {
		page, err := c.XRevRangeN(ctx, s.key, to, "("+s.last.String(), readBack).Result()
		if err != nil {
			return fmt.Errorf("read back %s: %w", s.key, err)
		}
		for _, m := range page {
			window, content := hashes(valuesOf(m))
			list = append(list, [2]uint64{window, content})
		}
		if len(page) < readBack {
			break
		}
		to = "(" + page[len(page)-1].ID
	}
	if s.published.len() == 0 {
		for _, e := range list {
			s.older(e[0], e[1])
		}
	} else {
		for i := len(list) - 1; i >= 0; i-- {
			s.put(list[i][0], list[i][1])
		}
	}
	s.last = last
	return nil
}

// add appends entries that are news, some at a time, each time all or none of
// them: that and the last id in meta are one transaction.
func (s *stream) add(ctx context.Context, c goredis.UniversalClient, meta string, list []entry, commitMs int64) (int, error) {
	var news [][]string
	for i := range list {
		values := list[i].values()
		window, content := hashes(values)
		if have, ok := s.get(window); !ok || have != content {
			news = append(news, values)
		}
	}
	for at := 0; at < len(news); at += chunkEntries {
		chunk := news[at:min(at+chunkEntries, len(news))]
		id := s.last
		tx := c.TxPipeline()
		for _, values := range chunk {
			id = id.after(commitMs)
			args := make([]any, 0, 2*len(fields))
			for i, f := range fields {
				args = append(args, f, values[i])
			}
			tx.XAdd(ctx, &goredis.XAddArgs{Stream: s.key, ID: id.String(), Values: args})
		}
		tx.HSet(ctx, meta, s.field, id.String())
		cmds, err := tx.Exec(ctx)
		if err := firstError(cmds, err); err != nil {
			return at, fmt.Errorf("append %d entries to %s: %w", len(chunk), s.key, err)
		}
		s.last = id
		for _, values := range chunk {
			s.put(hashes(values))
		}
	}
	return len(news), nil
}
