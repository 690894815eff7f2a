package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/access"
)

const tokenUsage = `Usage: wattledger token new --name=NAME --scope=SCOPE[,SCOPE...] [flags]

Prints a new token, once, and the entry to paste into web.tokens_file.

`

// tokenCommand makes a token. Nothing is written anywhere: the token goes to
// whoever is to use it, the entry into the file.
func tokenCommand(args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] != "new" {
		fmt.Fprint(stderr, tokenUsage)
		return fmt.Errorf("%w: token knows one command: new", errUsage)
	}
	set := flag.NewFlagSet("wattledger token new", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	name := set.String("name", "", "What the token is called in logs and answers.")
	scopes := set.String("scope", "", "What it may do: write, read, admin; several joined by commas.")
	clusters := set.String("clusters", "", "The only clusters it may write and see, joined by commas; all without it.")
	samples := set.Float64("samples-per-second", 0, "The rate of remote write it is held to.")
	queries := set.Float64("queries-per-second", 0, "The rate of queries it is held to.")
	if err := set.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, tokenUsage)
			set.SetOutput(stderr)
			set.PrintDefaults()
			return err
		}
		return flagError(set, err)
	}
	if set.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, set.Arg(0))
	}
	token, hash := access.New()
	e := access.Entry{Name: *name, SHA256: hash, Clusters: split(*clusters), SamplesPerSecond: *samples, QueriesPerSecond: *queries}
	for _, s := range split(*scopes) {
		e.Scopes = append(e.Scopes, access.Scope(s))
	}
	if err := e.Check(); err != nil {
		return fmt.Errorf("%w: token new: %w", errUsage, err)
	}
	entry, err := yaml.Marshal([]access.Entry{e})
	if err != nil {
		return fmt.Errorf("token new: %w", err)
	}
	fmt.Fprintf(stdout, "The token, which is shown this once and kept nowhere:\n\n  %s\n\nThe entry below tokens: in web.tokens_file:\n\n", token)
	for line := range strings.Lines(string(entry)) {
		fmt.Fprint(stdout, "  ", line)
	}
	return nil
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
