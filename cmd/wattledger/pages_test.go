package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"testing"
)

// What of SQLite's files is in use, from https://sqlite.org/fileformat.html.

const sqlitePage = 16384

// walLeftover says whether a byte of a log lies in frames of an earlier round.
func walLeftover(t testing.TB, name string, at int64) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const head, frame = 32, 24 + sqlitePage
	if at < head {
		return ""
	}
	first := head + (at-head)/frame*frame
	if string(data[first+8:first+16]) != string(data[16:24]) {
		return "a frame of an earlier round of the log"
	}
	return ""
}

// unusedInPage says why a byte of a database is not in use. The page it reads is
// the file's; where the log has a newer one, that counts.
func unusedInPage(t testing.TB, name string, at int64) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	number := at/sqlitePage + 1
	if newerInLog(t, name+"-wal", number) {
		return "the log has a newer version of the page"
	}
	if freePages(data)[number] {
		return "a free page"
	}
	page := data[(number-1)*sqlitePage : number*sqlitePage]
	head, in := int64(0), at%sqlitePage
	if number == 1 {
		switch {
		case in >= 40 && in < 44:
			return "the schema's cookie"
		case in >= 96 && in < 100:
			return "the version of SQLite"
		}
		head = 100
	}
	size := int64(8)
	switch page[head] {
	case 2, 5:
		size = 12
	case 10, 13:
	default:
		// The list of free pages, or a page that a long row runs over to: the
		// former says how many it lists, the latter is the last when nothing follows it.
		next, listed := int64(binary.BigEndian.Uint32(page)), int64(binary.BigEndian.Uint32(page[4:]))
		if trunks(data)[number] {
			if in >= 8+4*listed {
				return "behind the list of free pages"
			}
			return ""
		}
		if next == 0 && len(bytes.Trim(page[in+1:], "\x00")) == 0 {
			return "behind the end of a long row"
		}
		return ""
	}
	cells := int64(binary.BigEndian.Uint16(page[head+3:]))
	start := int64(binary.BigEndian.Uint16(page[head+5:]))
	if in >= head+size+2*cells && in < start {
		return "between the cells of a page and the list of them"
	}
	if page[head] == 13 && firstType(page, head+size, cells)[in] {
		return "the place of the key in its row, which has it elsewhere"
	}
	for free := int64(binary.BigEndian.Uint16(page[head+1:])); free != 0; free = int64(binary.BigEndian.Uint16(page[free:])) {
		if in >= free+4 && in < free+int64(binary.BigEndian.Uint16(page[free+2:])) {
			return "a free block in a page"
		}
	}
	return ""
}

// trunks are the pages that list the free ones.
func trunks(data []byte) map[int64]bool {
	list := map[int64]bool{}
	for trunk := int64(binary.BigEndian.Uint32(data[32:])); trunk != 0; {
		list[trunk] = true
		trunk = int64(binary.BigEndian.Uint32(data[(trunk-1)*sqlitePage:]))
	}
	return list
}

func freePages(data []byte) map[int64]bool {
	free := map[int64]bool{}
	for trunk := int64(binary.BigEndian.Uint32(data[32:])); trunk != 0; {
		page := data[(trunk-1)*sqlitePage:]
		for i := range binary.BigEndian.Uint32(page[4:]) {
			free[int64(binary.BigEndian.Uint32(page[8+4*i:]))] = true
		}
		trunk = int64(binary.BigEndian.Uint32(page))
	}
	return free
}

// newerInLog says whether a log has a page, committed.
func newerInLog(t testing.TB, name string, page int64) bool {
	t.Helper()
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	const frame = 24 + sqlitePage
	seen, committed := false, false
	for at := 32; at+frame <= len(data) && string(data[at+8:at+16]) == string(data[16:24]); at += frame {
		seen = seen || int64(binary.BigEndian.Uint32(data[at:])) == page
		committed = committed || seen && binary.BigEndian.Uint32(data[at+4:]) != 0
	}
	return committed
}

// pageStart is the beginning of the page a byte lies in.
func pageStart(t testing.TB, name string, at int64) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	start := at / sqlitePage * sqlitePage
	return data[start:min(start+16, int64(len(data)))]
}

// firstType are the places where the rows of a leaf say what type their first
// column has. Where that is the integer key, it is not read.
func firstType(page []byte, list, cells int64) map[int64]bool {
	places := map[int64]bool{}
	for i := range cells {
		at := int64(binary.BigEndian.Uint16(page[list+2*i:]))
		for range 2 { // length and key
			for page[at]&0x80 != 0 {
				at++
			}
			at++
		}
		places[at+1] = true
	}
	return places
}
