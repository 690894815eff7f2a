package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/backfill"
	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/ledger"
)

var backfillCommand = taskCommand{name: "backfill", route: "/-/backfill", here: backfillHere, result: printBackfilled}

// backfillHere works on a storage that nobody uses.
func backfillHere(ctx context.Context, cfg *configs.Config, r httpapi.TaskRange, logger *slog.Logger, tell func(httpapi.Event)) (err error) {
	books, err := cfg.Ledger()
	if err != nil {
		return err
	}
	l, err := ledger.Open(books, logger, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	b, err := newBackfill(cfg, l, tell)
	if err != nil {
		return err
	}
	if err := l.Replay(ctx); err != nil {
		return err
	}
	return b.Idle(ctx, r.From, r.To, r.DryRun)
}

// backfillServing works inside the service.
func backfillServing(ctx context.Context, cfg *configs.Config, l *ledger.Ledger, r httpapi.TaskRange, tell func(httpapi.Event)) error {
	b, err := newBackfill(cfg, l, tell)
	if err != nil {
		return err
	}
	return b.Serving(ctx, r.From, r.To, r.DryRun)
}

func newBackfill(cfg *configs.Config, l *ledger.Ledger, tell func(httpapi.Event)) (*backfill.Backfill, error) {
	b, err := backfill.New(l, cfg.Kepler.PrometheusURL, func(e backfill.Event) { tell(eventOf(e)) })
	if errors.Is(err, backfill.ErrNoPrometheus) {
		return nil, httpapi.CannotBegin(err.Error())
	}
	return b, err
}

// eventOf is what the API says of an event.
func eventOf(e backfill.Event) httpapi.Event {
	out := httpapi.Event{Text: e.Text, Progress: (*httpapi.Progress)(e.Progress)}
	if r := e.Result; r != nil {
		out.Backfilled = &httpapi.Backfilled{DryRun: r.DryRun, Samples: r.Samples, Nodes: []httpapi.BackfillNode{}}
		for _, n := range r.Nodes {
			out.Backfilled.Nodes = append(out.Backfilled.Nodes, httpapi.BackfillNode(n))
		}
	}
	return out
}

// printBackfilled prints what was done, node by node.
func printBackfilled(w io.Writer, e httpapi.Event) (bool, error) {
	r := e.Backfilled
	if r == nil {
		return false, nil
	}
	windows := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "cluster\tnode\tfrom\tto\tminutes restated\tgained kWh\t")
	for _, n := range r.Nodes {
		if n.Skipped != "" {
			fmt.Fprintf(t, "%s\t%s\tleft as it is: %s\n", n.Cluster, n.Node, n.Skipped)
			continue
		}
		windows += n.Windows
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%.6f\t\n", n.Cluster, n.Node, n.From.Format(time.RFC3339), n.To.Format(time.RFC3339), n.Windows, n.GainedKWh)
	}
	if len(r.Nodes) > 0 {
		if err := t.Flush(); err != nil {
			return true, err
		}
	}
	verb := "restated"
	if r.DryRun {
		verb = "would be restated"
	}
	_, err := fmt.Fprintf(w, "%d windows of nodes %s, from %d samples\n", windows, verb, r.Samples)
	return true, err
}
