package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// The write-ahead log, from https://sqlite.org/filehtml#walformat: a
// header of 32 bytes, then frames of a header of 24 bytes and a page each. Every
// header carries the salts of this round of the log and a checksum that goes on
// from the one before it. The checksum of a frame is of the first 8 bytes of its
// header and the page.
//
// SQLite takes the first frame that does not fit for the end of the log. After a
// power cut it is; with a flipped bit it is not, and commits would be gone
// without a word.
const (
	pageBytes        = 16384
	walHeaderBytes   = 32
	frameHeaderBytes = 24
)

// damage is what is wrong at one place of a file.
type damage struct {
	off  int64
	text string
	// torn: nothing durable follows, so that an interrupted write would look the same.
	torn bool
}

func (d *damage) String() string { return fmt.Sprintf("damaged at offset %d: %s", d.off, d.text) }

type walSum [2]uint32

func (s walSum) add(order binary.ByteOrder, b []byte) walSum {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += order.Uint32(b) + s[1]
		s[1] += order.Uint32(b[4:]) + s[0]
	}
	return s
}

func storedSum(b []byte) walSum {
	return walSum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

// checkWAL reads a log that nobody writes to. It returns nil for none, an empty
// one and a whole one. frames is how many are good.
func checkWAL(path string) (frames int, d *damage, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	var head [walHeaderBytes]byte
	switch n, err := io.ReadFull(f, head[:]); {
	case n == 0 && err == io.EOF:
		return 0, nil, nil
	case err == io.ErrUnexpectedEOF:
		return 0, &damage{text: "the log's header is cut short", torn: true}, nil
	case err != nil:
		return 0, nil, err
	}
	w := wal{file: f, head: head}
	return w.check()
}

type wal struct {
	file  io.Reader
	head  [walHeaderBytes]byte
	order binary.ByteOrder
	page  int
}

func (w *wal) check() (frames int, d *damage, err error) {
	w.order = binary.LittleEndian
	if w.head[3]&1 == 1 {
		w.order = binary.BigEndian
	}
	w.page = int(binary.BigEndian.Uint32(w.head[8:]))
	magic := binary.BigEndian.Uint32(w.head[:]) &^ 1
	if w.head == [walHeaderBytes]byte{} {
		return 0, &damage{text: "the log has no header", torn: true}, nil
	}
	if sum := (walSum{}).add(w.order, w.head[:24]); magic != 0x377f0682 || sum != storedSum(w.head[24:]) || w.page != pageBytes {
		return 0, &damage{text: "the log's header does not fit its checksum"}, nil
	}
	seeds := []walSum{storedSum(w.head[24:])} // what the chain may go on from
	frame := make([]byte, frameHeaderBytes+w.page)
	committed := false // after the damage
	for off := int64(walHeaderBytes); ; off += int64(len(frame)) {
		n, err := io.ReadFull(w.file, frame)
		salted := n >= 16 && string(frame[8:16]) == string(w.head[16:24])
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if d == nil && salted {
				d = &damage{off: off, text: "the last frame is cut short", torn: true}
			}
			return frames, d, nil
		case err != nil:
			return frames, d, err
		}
		whole := false
		var sum walSum
		for _, seed := range seeds {
			sum = seed.add(w.order, frame[:8]).add(w.order, frame[frameHeaderBytes:])
			if whole = sum == storedSum(frame[16:]); whole {
				break
			}
		}
		seeds = append(seeds[:0], storedSum(frame[16:]))
		switch {
		case d == nil && whole && salted:
			frames++
			continue
		case d == nil && !whole && !salted:
			return frames, nil, nil // frames of an earlier round
		case d == nil:
			d = &damage{off: off, text: "a frame does not fit its checksum or its log", torn: true}
			seeds = append(seeds, sum) // perhaps just the stored one is damaged
		case whole && salted && committed:
			d.torn = false // a commit is durable before the next is begun
			return frames, d, nil
		}
		committed = committed || binary.BigEndian.Uint32(frame[4:]) != 0
	}
}
