// Command torture proves what the manual promises. It runs the real program
// with a real Redis and a real InfluxDB, sends it the counters of simulated
// clusters whose energy is known exactly, does to all of them what machines,
// disks and networks do, and holds the books against what was sent.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("torture", flag.ContinueOnError)
	var o options
	fs.Uint64Var(&o.seed, "seed", 1, "same seed, same clusters and same faults at the same moments")
	fs.DurationVar(&o.duration, "duration", 30*time.Minute, "how long rounds are begun")
	fs.DurationVar(&o.round, "round", 25*time.Second, "how long a round lasts, without the look at everything that follows")
	fs.Float64Var(&o.speed, "speed", 20, "simulated seconds a second")
	names := fs.String("faults", "", "names of the faults to inject, separated by commas; all if empty")
	fs.StringVar(&o.binary, "binary", "bin/wattledger", "the program")
	fs.StringVar(&o.dir, "dir", "", "folder that everything is kept in; a temporary one if empty")
	file := fs.String("report", "", "file to write the report to, in Markdown")
	withProofs := fs.Bool("proofs", false, "the bounded proofs before the rounds of faults: outages of the followers, 20 kills, memory")
	if err := fs.Parse(args); err != nil {
		return err
	}
	list, err := chosen(*names)
	if err != nil {
		return err
	}
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "torture-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	r, proofs, err := torture(ctx, o, list, *withProofs, out)
	if err != nil {
		return err
	}
	if *file != "" {
		if err := os.WriteFile(*file, []byte(r.report(o, list, proofs)), 0o644); err != nil {
			return err
		}
	}
	if n := len(r.defects); n > 0 {
		return fmt.Errorf("%d defects", n)
	}
	return nil
}

// torture runs the proofs, if they are wanted, and then rounds of faults.
func torture(ctx context.Context, o options, list []fault, withProofs bool, out io.Writer) (r *run, proofs []proof, err error) {
	o.span = time.Duration(float64(o.duration)*o.speed) + 2*time.Hour
	if withProofs {
		o := o
		o.dir = filepath.Join(o.dir, "away")
		p, err := away(ctx, o, 100, func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) })
		if err != nil {
			return nil, nil, err
		}
		fmt.Fprintf(out, "%s: %s\n", p.title, p.text)
		proofs = append(proofs, p)
	}
	if r, err = newRun(ctx, o, out); err != nil {
		return nil, nil, err
	}
	defer r.close()
	if err := r.round(ctx, 5*time.Second, nil, 0); err != nil { // what it holds while nothing is wrong
		return nil, nil, err
	}
	if withProofs {
		for _, kills := range []int{0, 20} {
			p, err := r.outage(ctx, time.Minute, kills)
			if err != nil {
				return nil, nil, err
			}
			proofs = append(proofs, p)
		}
	}
	decks := newDecks(list)
	for began := time.Now(); time.Since(began) < o.duration; {
		if err := r.round(ctx, o.round, r.plan(decks, o.round), 3); err != nil {
			return nil, nil, err
		}
	}
	return r, proofs, nil
}
