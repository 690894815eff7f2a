package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/store/local"
)

// books are what a store holds.
type books struct {
	holders map[holderAt]*holding // containers and VMs, and what no workload used
	nodes   []power.NodeWindow
	rows    map[nodeAt]power.Energy // of each node and minute, all holders
	windows []store.WindowRow
	hours   []store.WindowRow
	lag     uint64 // entries that some follower has not taken
	bytes   int64
}

type holderAt struct{ cluster, node, id string }

type nodeAt struct {
	cluster, node string
	startMs       int64
}

// readBooks reads a copy of a store that no process uses.
func readBooks(ctx context.Context, storage string, fromMs, toMs int64) (b *books, err error) {
	dir, err := os.MkdirTemp("", "torture-books-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	files, err := filepath.Glob(filepath.Join(storage, "books.db*"))
	if err != nil {
		return nil, err
	}
	b = &books{holders: map[holderAt]*holding{}, rows: map[nodeAt]power.Energy{}}
	for _, name := range files {
		n, err := copyFile(filepath.Join(dir, filepath.Base(name)), name)
		if err != nil {
			return nil, err
		}
		b.bytes += n
	}
	cfg := local.DefaultConfig()
	cfg.Followers = []string{"redis", "influxdb"}
	s, err := local.Open(filepath.Join(dir, "books.db"), cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	const hourMs = 60 * minuteMs
	dimensions := []store.Dimension{store.Cluster, store.Node, store.ContainerID}
	for at := fromMs / hourMs * hourMs; at < toMs; at += hourMs {
		list, err := s.Sum(ctx, store.Query{FromMs: at, ToMs: at + hourMs, StepMs: minuteMs, GroupBy: dimensions})
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			k := holderAt{r.Group[0], r.Group[1], r.Group[2]}
			h := b.holders[k]
			if h == nil {
				h = &holding{minutes: map[int64]power.Energy{}}
				b.holders[k] = h
			}
			h.total.Add(r.Energy)
			e := h.minutes[r.StartMs]
			e.Add(r.Energy)
			h.minutes[r.StartMs] = e
			n := nodeAt{k.cluster, k.node, r.StartMs}
			e = b.rows[n]
			e.Add(r.Energy)
			b.rows[n] = e
		}
		for minute := at; minute < at+hourMs; minute += minuteMs {
			nodes, err := s.Nodes(ctx, minute, minute+minuteMs, nil)
			if err != nil {
				return nil, err
			}
			b.nodes = append(b.nodes, nodes...)
		}
	}
	if b.windows, err = s.WindowsBetween(ctx, fromMs, toMs); err != nil {
		return nil, err
	}
	if b.hours, err = s.HoursBetween(ctx, fromMs/hourMs*hourMs, toMs); err != nil {
		return nil, err
	}
	followers, err := s.Followers(ctx)
	for _, f := range followers {
		b.lag = max(b.lag, f.Lag)
	}
	return b, err
}

func copyFile(to, from string) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	return n, errors.Join(err, out.Close())
}

// pseudo says that a holder is what no workload used.
func (k holderAt) pseudo() bool { return strings.HasPrefix(k.id, "__") }
