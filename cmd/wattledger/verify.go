package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/wattledger/wattledger/ledger"
)

// verify is the command: one line for each finding, or one that says how much
// was found good.
func verify(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := load("verify", args, stderr)
	if err != nil {
		return err
	}
	if _, err := os.Stat(cfg.Storage.Path); err != nil {
		return fmt.Errorf("%w: storage.path: %w", errUsage, err)
	}
	running, unlock, err := ledger.Watch(cfg.Storage.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer unlock()
	v, err := ledger.Verify(ctx, cfg.Storage.Path, running)
	if err != nil {
		return err
	}
	findings := v.Findings(cfg.Storage.Path)
	for _, line := range findings {
		fmt.Fprintln(stdout, line)
	}
	for _, line := range v.Unchecked {
		fmt.Fprintln(stdout, "not checked:", line)
	}
	if len(findings) > 0 {
		return fmt.Errorf("verify %s: %d findings", cfg.Storage.Path, len(findings))
	}
	fmt.Fprintf(stdout, "ok: %d records in %d journal segments, %d snapshots, %d rows of the books, %d frames of their log\n",
		v.Journal.Records, v.Journal.Segments, v.Snapshots.Snapshots, v.Books.Rows, v.Books.Frames)
	return nil
}
