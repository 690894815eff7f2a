package local

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// headerBytes is the length of the header that a database file begins with.
const headerBytes = 100

// What the header of a database made here says, where it is the same in every
// one. The rest is checked where it has a meaning: the schema's version and the
// application by examine, counts of pages and of free ones by SQLite's own
// check of integrity. The schema's cookie (at 40) only tells connections to read
// the schema again, and the version of SQLite (at 96) who wrote last.
var headerFixed = []struct {
	at   int
	want []byte
	what string
}{
	{0, []byte("SQLite format 3\x00"), "file format"},
	{16, []byte{0x40, 0}, "page size"},
	{20, []byte{0, 64, 32, 32}, "page layout"},
	{44, []byte{0, 0, 0, 4}, "schema format"},
	{48, make([]byte, 8), "cache size and vacuum mode"},
	{56, []byte{0, 0, 0, 1}, "text encoding"},
	{64, make([]byte, 4), "vacuum mode"},
	{68, binary.BigEndian.AppendUint32(nil, applicationID), "application id"},
	{72, make([]byte, 20), "reserved bytes"},
}

// checkHeader returns where and how a header differs from what it has to be.
func checkHeader(head []byte) (at int64, text string) {
	for _, f := range headerFixed {
		for i, want := range f.want {
			if head[f.at+i] != want {
				return int64(f.at + i), fmt.Sprintf("%s in the header is %x, want %x", f.what, head[f.at:f.at+len(f.want)], f.want)
			}
		}
	}
	// With a log, and without one in the copy that is made before an upgrade.
	if mode := string(head[18:20]); mode != "\x02\x02" && mode != "\x01\x01" {
		return 18, fmt.Sprintf("journal mode in the header is %x, want 0202", mode)
	}
	if !bytes.Equal(head[24:28], head[92:96]) {
		return 24, fmt.Sprintf("the header's counts of changes differ: %x at 24, %x at 92", head[24:28], head[92:96])
	}
	return 0, ""
}
