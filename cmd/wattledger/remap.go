package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"text/tabwriter"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/store/local"
)

var remapCommand = taskCommand{name: "remap", route: "/-/remap", whole: true, here: remapHere, result: printRemapped}

// remapHere gives the energy in a storage that nobody uses its dimensions.
func remapHere(ctx context.Context, cfg *configs.Config, r httpapi.TaskRange, logger *slog.Logger, tell func(httpapi.Event)) (err error) {
	of, err := cfg.Ledger()
	if err != nil {
		return err
	}
	books, err := local.Open(filepath.Join(cfg.Storage.Path, "books.db"), of.Store, logger, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, books.Close()) }()
	got, err := ledger.RemapBooks(ctx, books, of, r.DryRun, remapProgress(tell))
	return tellRemapped(got, err, r, tell)
}

// remap does so while the ledger is in use.
func remap(ctx context.Context, l *ledger.Ledger, r httpapi.TaskRange, tell func(httpapi.Event)) error {
	got, err := l.Remap(ctx, r.DryRun, remapProgress(tell))
	return tellRemapped(got, err, r, tell)
}

func remapProgress(tell func(httpapi.Event)) func(float64) {
	return func(share float64) { tell(httpapi.Event{Progress: &httpapi.Progress{Share: share}}) }
}

func tellRemapped(got local.Remapped, err error, r httpapi.TaskRange, tell func(httpapi.Event)) error {
	if err != nil {
		return err
	}
	out := httpapi.Remapped{DryRun: r.DryRun, Holders: got.Holders, Moves: []httpapi.Move{}}
	for _, m := range got.Moves {
		out.Moves = append(out.Moves, httpapi.Move{Dimension: m.Dimension, Before: m.Before, After: m.After, EnergyKWh: m.Energy.KWh()})
	}
	tell(httpapi.Event{Remapped: &out})
	return nil
}

// printRemapped prints the table of what energy goes from where to where.
func printRemapped(w io.Writer, e httpapi.Event) (bool, error) {
	r := e.Remapped
	if r == nil {
		return false, nil
	}
	if len(r.Moves) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "dimension\tfrom\tto\tenergy kWh")
		for _, m := range r.Moves {
			fmt.Fprintf(t, "%s\t%s\t%s\t%.6f\n", m.Dimension, m.Before, m.After, m.EnergyKWh)
		}
		if err := t.Flush(); err != nil {
			return true, err
		}
	}
	verb := "have"
	if r.DryRun {
		verb = "would have"
	}
	fmt.Fprintf(w, "%d containers and virtual machines %s other labels or dimensions\n", r.Holders, verb)
	return true, nil
}
