package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var storageFaults = []fault{
	{"disk-full", onServer, "the file system has no room for 2 to 6 s", diskFull},
	{"read-only-start", onServer, "SIGKILL, a start on a read-only file system is refused, then a start", readOnlyStart},
	{"torn-journal", onServer, "SIGKILL, garbage after the last record, start", tornJournal},
	{"flipped-journal", onServer, "SIGKILL, a bit flipped before the last records: the start is refused; flipped back, start", flippedJournal},
	{"flipped-snapshot", onServer, "SIGKILL, a bit flipped in the newest snapshot: the start is refused; flipped back, start", flippedSnapshot},
	{"cut-snapshot", onServer, "SIGKILL, the newest snapshot cut short: the start is refused; restored, start", cutSnapshot},
}

func diskFull(ctx context.Context, r *run, random *mathrand.Rand) error {
	if !r.rig.mounted {
		return notHere{"mounting is not allowed"}
	}
	// It grows while one looks, and cannot be made smaller than it is.
	err := eventually(ctx, "a full disk", func() error {
		out, err := exec.Command("df", "--output=used", "-k", r.rig.storage).Output()
		if err != nil {
			return err
		}
		used := strings.TrimSpace(string(out[bytes.IndexByte(out, '\n')+1:]))
		return remount(r.rig.storage, "size="+used+"k")
	})
	if err != nil {
		return err
	}
	pause(ctx, time.Second+seconds(random, 5))
	if err := remount(r.rig.storage, "size="+storageSize); err != nil {
		return err
	}
	return r.reviveJournal(ctx)
}

func remount(path, option string) error {
	if out, err := exec.Command("mount", "-o", "remount,"+option, path).CombinedOutput(); err != nil {
		return fmt.Errorf("remount %s: %w %s", option, err, out)
	}
	return nil
}

func readOnlyStart(ctx context.Context, r *run, _ *mathrand.Rand) error {
	if !r.rig.mounted {
		return notHere{"mounting is not allowed"}
	}
	r.killServer()
	if err := remount(r.rig.storage, "ro"); err != nil {
		return err
	}
	refused := r.mustRefuse(ctx, "read-only")
	if err := remount(r.rig.storage, "rw"); err != nil {
		return err
	}
	return errors.Join(refused, r.rig.startServer(ctx))
}

func tornJournal(ctx context.Context, r *run, random *mathrand.Rand) error {
	r.killServer()
	name, err := newest(r.rig.storage, "journal/0*")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	garbage := make([]byte, 1+random.IntN(3000))
	if random.IntN(2) == 0 {
		_, _ = rand.Read(garbage) // or zeros, as a file system leaves after a power cut
	}
	_, err = f.Write(garbage)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return r.rig.startServer(ctx)
}

func flippedJournal(ctx context.Context, r *run, random *mathrand.Rand) error {
	r.killServer()
	name, err := newest(r.rig.storage, "journal/0*")
	if err != nil {
		return err
	}
	return r.flip(ctx, name, func(size int64) int64 {
		if size < 200_000 {
			return -1 // nothing durable may follow
		}
		return 100 + random.Int64N(size-100_000)
	}, "damaged")
}

func flippedSnapshot(ctx context.Context, r *run, random *mathrand.Rand) error {
	r.killServer()
	name, err := newest(r.rig.storage, "snapshots/snapshot-*")
	if err != nil {
		return errors.Join(r.rig.startServer(ctx)) // there is none yet
	}
	return r.flip(ctx, name, func(size int64) int64 { return random.Int64N(size) }, "snapshot")
}

// flip flips a bit of a file, expects that the server does not start, and flips it back.
func (r *run) flip(ctx context.Context, name string, where func(size int64) int64, word string) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	at := where(int64(len(content)))
	if at < 0 {
		return r.rig.startServer(ctx)
	}
	damaged := slices.Clone(content)
	damaged[at] ^= 1 << (at % 8)
	if err := os.WriteFile(name, damaged, 0o640); err != nil {
		return err
	}
	refused := r.mustRefuse(ctx, word)
	if refused != nil {
		refused = fmt.Errorf("bit flipped at %d of %d in %s: %w", at, len(content), filepath.Base(name), refused)
	}
	r.killServerIfAlive()
	return errors.Join(refused, os.WriteFile(name, content, 0o640), r.rig.startServer(ctx))
}

func cutSnapshot(ctx context.Context, r *run, random *mathrand.Rand) error {
	r.killServer()
	name, err := newest(r.rig.storage, "snapshots/snapshot-*")
	if err != nil {
		return r.rig.startServer(ctx) // there is none yet
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := os.Truncate(name, random.Int64N(int64(len(content)))); err != nil {
		return err
	}
	refused := r.mustRefuse(ctx, "snapshot")
	r.killServerIfAlive()
	return errors.Join(refused, os.WriteFile(name, content, 0o640), r.rig.startServer(ctx))
}

// newest returns the last file of a pattern by name.
func newest(dir, pattern string) (string, error) {
	list, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return "", err
	}
	list = slices.DeleteFunc(list, func(name string) bool { return strings.HasSuffix(name, ".tmp") })
	if len(list) == 0 {
		return "", fmt.Errorf("no %s in %s", pattern, dir)
	}
	slices.Sort(list)
	return list[len(list)-1], nil
}

// mustRefuse starts the server and expects that it ends by itself, with a
// message that has the word.
func (r *run) mustRefuse(ctx context.Context, word string) error {
	from := r.rig.server.logged()
	if err := r.rig.server.start(); err != nil {
		return err
	}
	err := eventually(ctx, "refusal", func() error {
		if r.rig.server.alive() {
			if _, err := r.rig.get("/-/ready"); err == nil {
				return stopTrying{errors.New("the server started on damaged storage")}
			}
			return errors.New("it still runs")
		}
		return nil
	})
	said := r.rig.server.said(from)
	switch {
	case err != nil:
		return fmt.Errorf("%w:\n%s", err, tail(said, 1000))
	case r.rig.server.cmd.ProcessState.ExitCode() <= 0:
		return fmt.Errorf("the refusal has exit code %d:\n%s", r.rig.server.cmd.ProcessState.ExitCode(), tail(said, 1000))
	case !strings.Contains(said, word):
		return fmt.Errorf("the refusal does not say %q:\n%s", word, tail(said, 1000))
	}
	return nil
}

func (r *run) killServerIfAlive() { r.rig.server.kill() }
