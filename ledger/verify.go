package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/store/local"
)

// A Verdict is what was found in a ledger's folder.
type Verdict struct {
	Journal   journal.Verified
	Snapshots journal.Verified
	Books     local.Verified
	Unchecked []string // what was not looked at, and why
}

// Verify reads everything in a ledger's folder and changes nothing. running
// says that a server may use it meanwhile.
func Verify(ctx context.Context, path string, running bool) (v Verdict, err error) {
	if v.Journal, err = journal.Verify(filepath.Join(path, "journal"), running); err != nil {
		return v, err
	}
	if v.Snapshots, err = journal.VerifySnapshots(filepath.Join(path, "snapshots")); err != nil {
		return v, err
	}
	if v.Books, err = local.Verify(ctx, filepath.Join(path, "books.db"), !running); err != nil {
		return v, err
	}
	if v.Books.Unchecked != "" {
		v.Unchecked = append(v.Unchecked, v.Books.Unchecked)
	}
	others, err := otherFiles(path)
	v.Unchecked = append(v.Unchecked, others...)
	return v, err
}

// Findings are a line for each damaged place, files named below path.
func (v Verdict) Findings(path string) (lines []string) {
	for _, problems := range [][]journal.CorruptError{v.Journal.Problems, v.Snapshots.Problems} {
		for _, p := range problems {
			name, err := filepath.Rel(path, p.File)
			if err != nil {
				name = p.File
			}
			lines = append(lines, fmt.Sprintf("%s: offset %d: %v", name, p.Offset, p.Reason))
		}
	}
	for _, p := range v.Books.Problems {
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

// Watch keeps a server from starting until unlock, or says that one runs.
func Watch(path string) (running bool, unlock func(), err error) {
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
