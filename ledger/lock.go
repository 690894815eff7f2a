package ledger

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A FolderLock keeps other processes from a ledger's folder, and tells them where
// to ask the one that holds it.
type FolderLock struct{ file *os.File }

// An InUseError says that another process holds the lock, which one, and where it
// listens; empty if it does not say.
type InUseError struct{ Path, Address, Process string }

func (e *InUseError) Error() string {
	text := fmt.Sprintf("storage.path %s: in use by another process", e.Path)
	if e.Process != "" {
		text += ", " + e.Process
	}
	if e.Address != "" {
		text += ", which serves at " + e.Address
	}
	return text
}

// Lock makes sure that no other process uses the storage path.
func Lock(path string) (*FolderLock, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("storage.path %s: %w", path, err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("storage.path %s: not writable: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		said, _ := io.ReadAll(io.LimitReader(f, 256)) // what cannot be read says nothing
		f.Close()
		address, process, _ := strings.Cut(string(said), "\n")
		return nil, &InUseError{path, strings.TrimSpace(address), strings.TrimSpace(process)}
	}
	// What the last holder said is true no more.
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fmt.Errorf("storage.path %s: not writable: %w", path, err)
	}
	l := &FolderLock{f}
	if err := l.tell(""); err != nil {
		f.Close()
		return nil, fmt.Errorf("storage.path %s: not writable: %w", path, err)
	}
	return l, nil
}

// Tell notes in the lock where its holder listens.
func (l *FolderLock) Tell(at net.Addr) error {
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return l.tell(net.JoinHostPort(host, port))
}

// tell writes a line with an address and one with the process.
func (l *FolderLock) tell(address string) error {
	_, err := l.file.WriteAt(fmt.Appendf(nil, "%s\nprocess %d\n", address, os.Getpid()), 0)
	return err
}

// Release lets others in.
func (l *FolderLock) Release() { l.file.Close() }
