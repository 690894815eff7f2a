// Command loadgen makes Kepler-shaped load with known truth: an exporter to
// scrape, a remote-write sender, and a benchmark of a receiver. It is a tool
// for tests and measurements and is not shipped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: loadgen <command> [flags]

  exporter  serve /metrics of simulated nodes, and the truth
  send      remote-write a simulated cluster and print the truth
  bench     measure a remote-write receiver
  peers     measure receivers beside each other

loadgen <command> -h lists the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("which command?")
	}
	switch args[0] {
	case "exporter":
		return runExporter(ctx, args[1:], os.Stdout)
	case "send":
		return runSend(ctx, args[1:], os.Stdout)
	case "bench":
		return runBench(ctx, args[1:], os.Stdout)
	case "peers":
		return runPeers(ctx, args[1:], os.Stdout)
	}
	fmt.Fprint(os.Stderr, usage)
	return fmt.Errorf("unknown command %q", args[0])
}
