// Command wattledger keeps the energy and cost books of Kubernetes clusters: it
// takes the kepler_* series by Prometheus remote write and answers what draws
// power and what it costs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/suggest"
)

// version is set by the linker.
var version = ""

const usage = `Usage: wattledger [command] [flags]

Commands:
  serve         take remote write and answer queries (the default)
  query cost    print what teams, namespaces, labels … used and cost, as a table, JSON or CSV
  check-config  say what the configuration means, or what is wrong with it
  backfill      book what a Prometheus has stored and the books lack
  rerate        give stored rows the prices in force, after these have changed
  remap         give past energy its dimensions, after their rules have changed
  dead-letter   list, retry or drop what the server of a follower refused
  verify        check every byte of a storage path, also beside a running server
  repair        keep what is good of a damaged storage path, and say what is lost
  demo          serve a simulated cluster from an empty temporary store
  token new     make a token for web.tokens_file
  version       print the version

Run "wattledger help COMMAND" for the flags of a command.
`

// errUsage marks mistakes of the caller: wrong flags, a wrong configuration, a
// storage path that cannot be used. The exit code is 2.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "wattledger:", strings.TrimPrefix(err.Error(), errUsage.Error()+": "))
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "wattledger:", err)
		os.Exit(1)
	}
}

// command runs one subcommand.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	name := "serve"
	switch {
	case len(args) == 0:
	case !strings.HasPrefix(args[0], "-"):
		name, args = args[0], args[1:]
	case len(args) == 1: // what people try first, beside the flags of serve
		switch strings.TrimLeft(args[0], "-") {
		case "h", "help":
			name = "help"
		case "version":
			name = "version"
		}
	}
	switch name {
	case "serve", "demo":
		return serveCommand(ctx, name, args, stderr)
	case "check-config":
		return checkConfig(args, stdout, stderr)
	case "query":
		return queryCommand(ctx, args, stdout)
	case "backfill":
		return backfillCommand.run(ctx, args, stdout, stderr)
	case "remap":
		return remapCommand.run(ctx, args, stdout, stderr)
	case "rerate":
		return rerateCommand.run(ctx, args, stdout, stderr)
	case "dead-letter":
		return deadLetter(ctx, args, stdout, stderr)
	case "token":
		return tokenCommand(args, stdout, stderr)
	case "verify":
		return verify(ctx, args, stdout, stderr)
	case "repair":
		return repair(ctx, args, stdout, stderr)
	case "version":
		fmt.Fprintf(stdout, "wattledger %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	case "help":
		if len(args) == 0 {
			fmt.Fprint(stdout, usage)
			return nil
		}
		return help(ctx, args, stdout, stderr)
	}
	fmt.Fprint(stderr, usage)
	return fmt.Errorf("%w: unknown command %q%s", errUsage, name, guess(name, commands()))
}

// help tells of one command what its own -h does.
func help(ctx context.Context, words []string, stdout, stderr io.Writer) error {
	if !slices.Contains(commands(), words[0]) {
		return fmt.Errorf("%w: unknown command %q%s", errUsage, words[0], guess(words[0], commands()))
	}
	switch words[0] {
	case "help", "version":
		fmt.Fprint(stdout, usage)
		return nil
	case "token":
		words = []string{"token", "new"}
	case "query":
		words = []string{"query", "cost"}
	}
	return command(ctx, append(slices.Clone(words), "-h"), stdout, stderr)
}

// commands are those that the usage lists, and help.
func commands() (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+) `).FindAllStringSubmatch(usage, -1) {
		names = append(names, m[1])
	}
	return append(names, "help")
}

// guess says what somebody may have meant.
func guess(name string, known []string) string {
	if near := suggest.Nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// flagError says what is wrong with the flags of a command.
func flagError(set *flag.FlagSet, err error) error {
	hint := ""
	if _, name, ok := strings.Cut(err.Error(), "flag provided but not defined: -"); ok {
		var known []string
		set.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
		err = fmt.Errorf("unknown flag --%s", strings.TrimPrefix(name, "-"))
		if near := suggest.Nearest(strings.TrimPrefix(name, "-"), known); near != "" {
			hint = "; did you mean --" + near + "?"
		}
	}
	return fmt.Errorf("%w: %w%s; %s -h lists the flags", errUsage, err, hint, set.Name())
}

// flags returns the flags that every command which reads the configuration has.
// Only what was given on the command line overrides the rest.
func flags(name string) (set *flag.FlagSet, given func() map[string]string) {
	set = flag.NewFlagSet("wattledger "+name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // a mistake is told once, in one line
	for _, f := range configs.Flags {
		set.String(f.Name, "", f.Usage)
	}
	return set, func() map[string]string {
		m := make(map[string]string)
		set.Visit(func(f *flag.Flag) {
			if slices.ContainsFunc(configs.Flags, func(s configs.Setting) bool { return s.Name == f.Name }) {
				m[f.Name] = f.Value.String()
			}
		})
		return m
	}
}

// load parses the command line of a command without flags of its own, and the
// configuration.
func load(name string, args []string, stderr io.Writer) (*configs.Config, error) {
	set, given := flags(name)
	return loadFlags(name, set, given, args, stderr)
}

// loadFlags parses the command line and the configuration.
func loadFlags(name string, set *flag.FlagSet, given func() map[string]string, args []string, stderr io.Writer) (*configs.Config, error) {
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			set.SetOutput(stderr)
			set.Usage()
			return nil, err
		}
		return nil, flagError(set, err)
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("%w: unexpected argument %q", errUsage, set.Arg(0))
	}
	cfg, err := configs.Load(given(), os.Getenv)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return cfg, nil
}

func serveCommand(ctx context.Context, name string, args []string, stderr io.Writer) error {
	cfg, err := load(name, args, stderr)
	if err != nil {
		return err
	}
	logger := newLogger(cfg.Log, stderr)
	tuneCollector()
	if name == "demo" {
		return demoCommand(ctx, cfg, logger)
	}
	var listening func(string)
	if isTerminal(stderr) {
		listening = func(address string) { fmt.Fprint(stderr, banner(cfg, address)) }
	}
	return run(ctx, cfg, logger, listening)
}

func checkConfig(args []string, stdout, stderr io.Writer) error {
	cfg, err := load("check-config", args, stderr)
	if err != nil {
		return err
	}
	return cfg.Explain(stdout)
}

func newLogger(cfg configs.Log, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}
