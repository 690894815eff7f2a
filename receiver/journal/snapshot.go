package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wattledger/wattledger/internal/durable"
)

// A snapshot file is the state of the books at a position. Numbers are little
// endian, checksums CRC-32C.
//
//	magic 8, position 8, checksum of these 4
//	chunks: length 4 (not 0), checksum of length and bytes 4, bytes
//	end:    0 4, checksum of all but itself 4, length of all bytes 8
//
// Checksums per chunk let a reader use what it reads at once and say where
// damage lies; the end tells a whole file from a truncated one.
const (
	snapshotMagic      = "WTLSNAP1"
	snapshotChunkBytes = 64 << 10
	snapshotPrefix     = "snapshot-"
	snapshotsKept      = 2
)

// WriteSnapshot makes what write produces durable as the state at position, and
// keeps it and the newest before it. A snapshot that was there before stays
// untouched until the new one is durable. There must be one writer per directory.
//
// Release the journal only up to the OLDER of Snapshots, so that losing the
// newest costs a longer replay and nothing else.
func WriteSnapshot(dir string, position uint64, write func(io.Writer) error) error {
	err := writeSnapshot(dir, position, write)
	if err != nil {
		return fmt.Errorf("write snapshot at %d: %w", position, err)
	}
	return nil
}

func writeSnapshot(dir string, position uint64, write func(io.Writer) error) error {
	if position == 0 {
		return errors.New("position 0 is no record's")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	positions, err := Snapshots(dir)
	if err != nil {
		return err
	}
	if len(positions) > 0 && positions[0] > position {
		return fmt.Errorf("there is a newer one at %d", positions[0])
	}
	err = durable.WriteFile(snapshotName(dir, position), func(w io.Writer) error { return fillSnapshot(w, position, write) })
	if err != nil {
		return err
	}
	return dropSnapshots(dir)
}

func fillSnapshot(f io.Writer, position uint64, write func(io.Writer) error) error {
	buf := bufio.NewWriterSize(f, 1<<20)
	w := &chunkWriter{w: buf, chunk: make([]byte, 8, 8+snapshotChunkBytes)}
	head := binary.LittleEndian.AppendUint64([]byte(snapshotMagic), position)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	if _, err := buf.Write(head); err != nil {
		return err
	}
	if err := write(w); err != nil {
		return err
	}
	if err := w.end(); err != nil {
		return err
	}
	return buf.Flush()
}

// dropSnapshots removes all but the newest, and what writers that were killed left.
func dropSnapshots(dir string) error {
	positions, err := Snapshots(dir)
	if err != nil {
		return err
	}
	for _, position := range positions[min(snapshotsKept, len(positions)):] {
		if err := os.Remove(snapshotName(dir, position)); err != nil {
			return err
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, snapshotPrefix+"*.tmp"))
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return durable.SyncDir(dir)
}

// Snapshots returns the positions of the snapshots in dir, newest first. It does
// not read them.
func Snapshots(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var positions []uint64
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), snapshotPrefix)
		if position, err := strconv.ParseUint(digits, 10, 64); ok && err == nil {
			positions = append(positions, position)
		}
	}
	slices.Sort(positions)
	slices.Reverse(positions)
	return positions, nil
}

// ReadSnapshot gives read the newest snapshot and returns its position, or 0 if
// there is none. When it returns an error, what read has built must be thrown
// away: a truncated file shows only at its end.
//
// A damaged snapshot is a CorruptError. ReadSnapshot does not go on to the older
// one by itself: that is a decision, to be made by name with ReadSnapshotAt.
func ReadSnapshot(dir string, read func(position uint64, r io.Reader) error) (uint64, error) {
	positions, err := Snapshots(dir)
	if err != nil {
		return 0, fmt.Errorf("read snapshot: %w", err)
	}
	if len(positions) == 0 {
		return 0, nil
	}
	return positions[0], ReadSnapshotAt(dir, positions[0], read)
}

// ReadSnapshotAt is ReadSnapshot for one of Snapshots.
func ReadSnapshotAt(dir string, position uint64, read func(position uint64, r io.Reader) error) error {
	if err := readSnapshot(snapshotName(dir, position), position, read); err != nil {
		return fmt.Errorf("read snapshot at %d: %w", position, err)
	}
	return nil
}

func readSnapshot(name string, position uint64, read func(position uint64, r io.Reader) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := &chunkReader{name: name, r: bufio.NewReaderSize(f, 1<<20)}
	head := make([]byte, len(snapshotMagic)+12)
	if err := r.fill(head); err != nil {
		return err
	}
	sum := binary.LittleEndian.Uint32(head[16:])
	switch {
	case string(head[:8]) != snapshotMagic:
		return r.corrupt(errors.New("not a snapshot"))
	case crc32.Checksum(head[:16], castagnoli) != sum:
		return r.corrupt(errChecksum)
	case binary.LittleEndian.Uint64(head[8:]) != position:
		return r.corrupt(fmt.Errorf("it is of position %d", binary.LittleEndian.Uint64(head[8:])))
	}
	r.off = int64(len(head))
	err = read(position, r)
	if r.err != nil && !errors.Is(r.err, io.EOF) {
		return r.err // whatever read made of it
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r) // what read left must be good, too
	return err
}

func snapshotName(dir string, position uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%020d", snapshotPrefix, position))
}

var errChecksum = errors.New("checksum does not match")

// chunkWriter cuts what is written to it into chunks.
type chunkWriter struct {
	w     io.Writer
	chunk []byte // room for a chunk's header, then its bytes
	total uint64
}

func (w *chunkWriter) Write(b []byte) (int, error) {
	n := 0
	for len(b) > 0 {
		part := b[:min(len(b), cap(w.chunk)-len(w.chunk))]
		w.chunk = append(w.chunk, part...)
		b = b[len(part):]
		if len(w.chunk) == cap(w.chunk) {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
		n += len(part)
	}
	return n, nil
}

func (w *chunkWriter) flush() error {
	n := len(w.chunk) - 8
	if n == 0 {
		return nil
	}
	binary.LittleEndian.PutUint32(w.chunk, uint32(n))
	binary.LittleEndian.PutUint32(w.chunk[4:], chunkSum(w.chunk[:4], w.chunk[8:]))
	_, err := w.w.Write(w.chunk)
	w.total += uint64(n)
	w.chunk = w.chunk[:8]
	return err
}

func (w *chunkWriter) end() error {
	if err := w.flush(); err != nil {
		return err
	}
	b := make([]byte, 16)
	binary.LittleEndian.PutUint64(b[8:], w.total)
	binary.LittleEndian.PutUint32(b[4:], chunkSum(b[:4], b[8:]))
	_, err := w.w.Write(b)
	return err
}

func chunkSum(length, b []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, b)
}

// chunkReader hands out only bytes whose checksum it has checked.
type chunkReader struct {
	name  string
	r     io.Reader
	off   int64 // of the chunk being read
	chunk []byte
	left  []byte // of chunk, not handed out yet
	total uint64
	err   error // sticky
}

func (r *chunkReader) Read(b []byte) (int, error) {
	for len(r.left) == 0 && r.err == nil {
		r.err = r.next()
	}
	if len(r.left) == 0 {
		return 0, r.err
	}
	n := copy(b, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *chunkReader) next() error {
	var head [8]byte
	if err := r.fill(head[:]); err != nil {
		return err
	}
	n, sum := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[4:])
	ends := n == 0
	if ends {
		n = 8
	}
	if n > snapshotChunkBytes {
		return r.corrupt(fmt.Errorf("chunk of %d bytes", n))
	}
	if cap(r.chunk) < int(n) {
		r.chunk = make([]byte, snapshotChunkBytes)
	}
	r.chunk = r.chunk[:n]
	if err := r.fill(r.chunk); err != nil {
		return err
	}
	if chunkSum(head[:4], r.chunk) != sum {
		return r.corrupt(errChecksum)
	}
	if !ends {
		r.off += int64(len(head)) + int64(n)
		r.left, r.total = r.chunk, r.total+uint64(n)
		return nil
	}
	if total := binary.LittleEndian.Uint64(r.chunk); total != r.total {
		return r.corrupt(fmt.Errorf("%d bytes, want %d: chunks are missing", r.total, total))
	}
	r.off += int64(len(head)) + int64(n)
	switch _, err := io.ReadFull(r.r, head[:1]); err {
	case io.EOF:
		return io.EOF
	case nil:
		return r.corrupt(errors.New("bytes follow its end"))
	default:
		return err
	}
}

func (r *chunkReader) fill(b []byte) error {
	_, err := io.ReadFull(r.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.corrupt(errors.New("file is truncated"))
	}
	return err
}

func (r *chunkReader) corrupt(reason error) error {
	return &CorruptError{File: r.name, Offset: r.off, Reason: reason}
}
