package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/transform/tariff"
)

var rerateCommand = taskCommand{name: "rerate", route: "/-/rerate", here: rerateHere, result: printRerated}

// rerateHere gives the rows of a storage that nobody uses their prices.
func rerateHere(ctx context.Context, cfg *configs.Config, r httpapi.TaskRange, logger *slog.Logger, tell func(httpapi.Event)) (err error) {
	prices, err := tariff.New(cfg.Transform.Cost)
	if err != nil {
		return err
	}
	cfg.Store.Followers = cfg.Followers() // they are told at the next start
	books, err := local.Open(filepath.Join(cfg.Storage.Path, "books.db"), cfg.Store, logger, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, books.Close()) }()
	return rerate(ctx, books, prices, r, tell)
}

// rerate gives stored rows the prices in force and tells what that comes to.
func rerate(ctx context.Context, books *local.Store, prices *tariff.Tariff, r httpapi.TaskRange, tell func(httpapi.Event)) error {
	from, to := r.From.UnixMilli(), r.To.UnixMilli()
	got, err := books.Rerate(ctx, from, to, prices, r.DryRun, func(doneMs int64) {
		tell(httpapi.Event{Progress: &httpapi.Progress{
			At: time.UnixMilli(doneMs).UTC(), Share: min(1, float64(doneMs-from)/float64(to-from)),
		}})
	})
	if err != nil {
		return err
	}
	out := httpapi.Rerated{DryRun: r.DryRun, Rows: got.Rows, Spaces: []httpapi.RatedSpace{}, Kept: []time.Time{}}
	for _, s := range got.Spaces {
		out.Spaces = append(out.Spaces, httpapi.RatedSpace{
			Cluster: s.Cluster, Namespace: s.Namespace, EnergyKWh: s.Energy.KWh(),
			CurrencyBefore: s.CurrencyBefore, CurrencyAfter: s.CurrencyAfter,
			CostBefore: s.Before.Total(), CostAfter: s.After.Total(),
		})
	}
	for _, hour := range got.Kept {
		out.Kept = append(out.Kept, time.UnixMilli(hour).UTC())
	}
	tell(httpapi.Event{Rerated: &out})
	return nil
}

// printRerated prints the table of what costs were and are.
func printRerated(w io.Writer, e httpapi.Event) (bool, error) {
	r := e.Rerated
	if r == nil {
		return false, nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "cluster\tnamespace\tenergy kWh\tcost before\tcost after\tdifference\t")
	line := func(s httpapi.RatedSpace) {
		difference := "–" // between two currencies there is none
		if s.CurrencyBefore == s.CurrencyAfter {
			difference = fmt.Sprintf("%+.6f %s", s.CostAfter-s.CostBefore, s.CurrencyAfter)
		}
		fmt.Fprintf(t, "%s\t%s\t%.6f\t%.6f %s\t%.6f %s\t%s\t\n", s.Cluster, s.Namespace, s.EnergyKWh,
			s.CostBefore, s.CurrencyBefore, s.CostAfter, s.CurrencyAfter, difference)
	}
	var totals []httpapi.RatedSpace // by currencies: one, unless they have changed
	for _, s := range r.Spaces {
		line(s)
		i := slices.IndexFunc(totals, func(x httpapi.RatedSpace) bool {
			return x.CurrencyBefore == s.CurrencyBefore && x.CurrencyAfter == s.CurrencyAfter
		})
		if i < 0 {
			i = len(totals)
			totals = append(totals, httpapi.RatedSpace{Cluster: "total", CurrencyBefore: s.CurrencyBefore, CurrencyAfter: s.CurrencyAfter})
		}
		totals[i].EnergyKWh += s.EnergyKWh
		totals[i].CostBefore += s.CostBefore
		totals[i].CostAfter += s.CostAfter
	}
	for _, s := range totals {
		line(s)
	}
	if err := t.Flush(); err != nil {
		return true, err
	}
	verb := "got"
	if r.DryRun {
		verb = "would get"
	}
	fmt.Fprintf(w, "%d rows %s another price\n", r.Rows, verb)
	if n := len(r.Kept); n > 0 {
		fmt.Fprintf(w, "%d hours from %s to %s keep their prices: only their sums are left, and the price changes within them or the range holds a part of them\n",
			n, r.Kept[0].Format(time.RFC3339), r.Kept[n-1].Add(time.Hour).Format(time.RFC3339))
	}
	return true, nil
}
