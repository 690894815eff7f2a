package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/wattledger/wattledger/ledger"
)

// repair is the command: it keeps what is good of a storage path, sets aside
// what is not, and says what is lost.
func repair(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := load("repair", args, stderr)
	if err != nil {
		return err
	}
	if _, err := os.Stat(cfg.Storage.Path); err != nil {
		return fmt.Errorf("%w: storage.path: %w", errUsage, err)
	}
	lock, err := ledger.Lock(cfg.Storage.Path)
	if err != nil {
		return fmt.Errorf("%w: %w; stop it first", errUsage, err)
	}
	defer lock.Release()
	books, err := cfg.Ledger()
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	lost, aside, err := ledger.Repair(ctx, books, newLogger(cfg.Log, stderr))
	if err != nil {
		return err
	}
	if aside == "" {
		fmt.Fprintln(stdout, "ok: nothing to repair")
		return nil
	}
	v, err := ledger.Verify(ctx, cfg.Storage.Path, false)
	if err != nil {
		return err
	}
	if left := v.Findings(cfg.Storage.Path); len(left) > 0 {
		return fmt.Errorf("repair %s: still damaged, and what was there is in %s: %s", cfg.Storage.Path, aside, left[0])
	}
	for _, line := range lost {
		fmt.Fprintln(stdout, "lost:", line)
	}
	if len(lost) == 0 {
		fmt.Fprintln(stdout, "nothing is lost")
	}
	fmt.Fprintln(stdout, "repaired; what was damaged is in", aside)
	return nil
}
