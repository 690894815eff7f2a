package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/store/local"
)

const deadLetterUsage = `Usage: wattledger dead-letter list|retry|drop [flags] [--all | id ...]

What the server of a follower refused for good is set aside here: the rest went on.
It works on the storage path, whether wattledger serve is running or not.

  list    show all of it, or what the ids name
  retry   write it again; what is accepted is removed here
  drop    remove it here

Flags:
`

// deadLetter runs wattledger dead-letter.
func deadLetter(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	set, given := flags("dead-letter")
	all := set.Bool("all", false, "Retry or drop everything that is set aside.")
	help := func() error {
		fmt.Fprint(stderr, deadLetterUsage)
		set.SetOutput(stderr)
		set.PrintDefaults()
		return flag.ErrHelp
	}
	if len(args) == 0 {
		return help()
	}
	verb := args[0]
	ids, err := parseIDs(set, args[1:])
	if errors.Is(err, flag.ErrHelp) || verb == "-h" || verb == "--help" {
		return help()
	}
	if err != nil {
		return fmt.Errorf("%w: dead-letter: %w", errUsage, err)
	}
	switch {
	case verb != "list" && verb != "retry" && verb != "drop":
		return fmt.Errorf("%w: dead-letter: %q is none of list, retry, drop", errUsage, verb)
	case *all && len(ids) > 0:
		return fmt.Errorf("%w: dead-letter: ids or --all, not both", errUsage)
	case verb != "list" && !*all && len(ids) == 0:
		return fmt.Errorf("%w: dead-letter %s: say which: ids as wattledger dead-letter list shows them, or --all", errUsage, verb)
	}
	settings := given()
	delete(settings, "all")
	cfg, err := configs.Load(settings, os.Getenv)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	letters, err := local.OpenDeadLetters(ctx, filepath.Join(cfg.Storage.Path, "books.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	list, err := letters.List(ctx, ids...)
	if err != nil {
		return err
	}
	if err := missing(ids, list); err != nil {
		return err
	}
	switch verb {
	case "retry":
		return retryLetters(ctx, cfg, letters, list, stdout)
	case "drop":
		for _, d := range list {
			if err := letters.Remove(ctx, d); err != nil {
				return err
			}
		}
		fmt.Fprintf(stdout, "%d dropped\n", len(list))
		return nil
	}
	for _, d := range list {
		fmt.Fprintf(stdout, "%d  %s  %s %s, entries %d to %d\n  reason: %s\n  line:   %s\n", d.ID, time.UnixMilli(d.AtMs).UTC().Format(time.RFC3339),
			d.Follower, d.Bucket, d.FromSeq, d.ToSeq, d.Reason, d.Line)
	}
	fmt.Fprintf(stdout, "%d set aside\n", len(list))
	return nil
}

// parseIDs parses flags and ids in any order.
func parseIDs(set *flag.FlagSet, args []string) (ids []int64, err error) {
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return ids, nil
		}
		id, err := strconv.ParseInt(set.Arg(0), 10, 64)
		if err != nil || id <= 0 {
			return nil, fmt.Errorf("%q is no id", set.Arg(0))
		}
		ids, args = append(ids, id), set.Args()[1:]
	}
}

// missing returns an error that names the ids which list lacks.
func missing(ids []int64, list []local.DeadLetter) error {
	has := map[int64]bool{}
	for _, d := range list {
		has[d.ID] = true
	}
	var lacks []string
	for _, id := range ids {
		if !has[id] {
			lacks = append(lacks, strconv.FormatInt(id, 10))
		}
	}
	if lacks == nil {
		return nil
	}
	return fmt.Errorf("dead-letter: nothing set aside has the id %s", strings.Join(lacks, ", "))
}

// retryLetters writes letters again and removes those that are accepted. A
// server that cannot be asked ends it; one that refuses a letter again does not.
func retryLetters(ctx context.Context, cfg *configs.Config, letters *local.DeadLetters, list []local.DeadLetter, stdout io.Writer) error {
	if len(list) == 0 {
		fmt.Fprintln(stdout, "0 retried")
		return nil
	}
	if cfg.InfluxDB.URL == "" {
		return fmt.Errorf("%w: influxdb.url is not set: retry needs the configuration of wattledger serve", errUsage)
	}
	unused := func(context.Context, influx.Rejected) error { return errors.New("refused") }
	engine, err := influx.New(cfg.InfluxDB, unused, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer engine.Close()
	refused := 0
	for _, d := range list {
		err := engine.Retry(ctx, rejectedOf(d))
		if influx.Refused(err) {
			refused++
			fmt.Fprintf(stdout, "%d  refused again: %v\n", d.ID, err)
			continue
		}
		if err == nil {
			err = letters.Remove(ctx, d)
		}
		if err != nil {
			return fmt.Errorf("dead letter %d: %w", d.ID, err)
		}
	}
	fmt.Fprintf(stdout, "%d retried, %d accepted, %d refused again\n", len(list), len(list)-refused, refused)
	if refused > 0 {
		return fmt.Errorf("dead-letter: %d of %d lines are refused again; they stay set aside", refused, len(list))
	}
	return nil
}

func letterOf(r influx.Rejected, follower string) local.DeadLetter {
	return local.DeadLetter{
		Follower: follower, Bucket: r.Bucket, Key: r.Key(), Line: r.Line, Reason: r.Reason,
		FromSeq: r.FromSeq, ToSeq: r.ToSeq, AtMs: time.Now().UnixMilli(),
	}
}

func rejectedOf(d local.DeadLetter) influx.Rejected {
	return influx.Rejected{Bucket: d.Bucket, Line: d.Line, Reason: d.Reason, FromSeq: d.FromSeq, ToSeq: d.ToSeq}
}
