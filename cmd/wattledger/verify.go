package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/store/local"
)

// A verdict is what verify found in a storage path.
type verdict struct {
	journal   journal.Verified
	snapshots journal.Verified
	books     local.Verified
	unchecked []string
}

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
	running, unlock, err := watchStorage(cfg.Storage.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	defer unlock()
	v, err := verifyStorage(ctx, cfg.Storage.Path, running)
	if err != nil {
		return err
	}
	findings := v.findings(cfg.Storage.Path)
	for _, line := range findings {
		fmt.Fprintln(stdout, line)
	}
	for _, line := range v.unchecked {
		fmt.Fprintln(stdout, "not checked:", line)
	}
	if len(findings) > 0 {
		return fmt.Errorf("verify %s: %d findings", cfg.Storage.Path, len(findings))
	}
	fmt.Fprintf(stdout, "ok: %d records in %d journal segments, %d snapshots, %d rows of the books, %d frames of their log\n",
		v.journal.Records, v.journal.Segments, v.snapshots.Snapshots, v.books.Rows, v.books.Frames)
	return nil
}

// verifyStorage reads everything in a storage path and changes nothing. running
// says that a server may use it meanwhile.
func verifyStorage(ctx context.Context, path string, running bool) (v verdict, err error) {
	if v.journal, err = journal.Verify(filepath.Join(path, "journal"), running); err != nil {
		return v, err
	}
	if v.snapshots, err = journal.VerifySnapshots(filepath.Join(path, "snapshots")); err != nil {
		return v, err
	}
	if v.books, err = local.Verify(ctx, filepath.Join(path, "books.db"), !running); err != nil {
		return v, err
	}
	if v.books.Unchecked != "" {
		v.unchecked = append(v.unchecked, v.books.Unchecked)
	}
	others, err := otherFiles(path)
	v.unchecked = append(v.unchecked, others...)
	return v, err
}

// findings are the lines verify prints, files below path.
func (v verdict) findings(path string) (lines []string) {
	for _, problems := range [][]journal.CorruptError{v.journal.Problems, v.snapshots.Problems} {
		for _, p := range problems {
			name, err := filepath.Rel(path, p.File)
			if err != nil {
				name = p.File
			}
			lines = append(lines, fmt.Sprintf("%s: offset %d: %v", name, p.Offset, p.Reason))
		}
	}
	for _, p := range v.books.Problems {
		lines = append(lines, strings.ReplaceAll(p.String(), "\n", " "))
	}
	return lines
}

// otherFiles lists what lies in a storage path and is not part of it. The index
// of the log is made again from the log whenever the first process opens it.
func otherFiles(path string) (names []string, err error) {
	known := []string{"lock", "books.db", "books.db-wal", "books.db-shm", "journal/lock", "journal/[0-9]*", "snapshots/snapshot-*[0-9]"}
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil {
			return err
		}
		if name, err = filepath.Rel(path, name); err != nil {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(name, "damaged-") {
				names = append(names, name+": set aside by a repair")
				return fs.SkipDir
			}
			return nil
		}
		for _, pattern := range known {
			if ok, _ := filepath.Match(pattern, name); ok {
				return nil
			}
		}
		names = append(names, name+": not part of the books")
		return nil
	})
	return names, err
}

// watchStorage keeps a server from starting until unlock, or says that one runs.
func watchStorage(path string) (running bool, unlock func(), err error) {
	f, err := os.Open(filepath.Join(path, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, func() {}, nil // never used, or a copy
	}
	if err != nil {
		return false, nil, fmt.Errorf("storage.path %s: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		f.Close()
		return true, func() {}, nil
	}
	return false, func() { f.Close() }, nil
}
