// Package durable writes files so that a power cut leaves what was there before
// or what was to be, and nothing in between.
package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// WriteFile puts what write produces in the place of a file. It returns nil only
// when the file would survive a power cut; after an error the one before is there.
func WriteFile(name string, write func(io.Writer) error) error {
	temp := name + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return SyncDir(filepath.Dir(name))
}

// SyncDir makes durable which files a folder has.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
