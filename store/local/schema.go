package local

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"

	_ "modernc.org/sqlite" // the engine

	"github.com/wattledger/wattledger/store"
)

// applicationID marks a database file as ours ("Watt"), so that a path that
// points at somebody else's database is refused and not written into.
const applicationID = 0x57617474

// A migration brings a database from the version before to its own.
type migration struct {
	version int
	sql     string
}

var migrations = []migration{{1, `
CREATE TABLE state (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO state VALUES ('position', 0), ('sealed_before', 0), ('minutes_from', 0), ('hours_from', 0), ('newest', 0);

CREATE TABLE prices (
	id                  INTEGER PRIMARY KEY,
	model               TEXT NOT NULL,
	currency            TEXT NOT NULL,
	electricity_per_kwh REAL NOT NULL,
	overhead            REAL NOT NULL,
	carbon_factor       REAL NOT NULL,
	carbon_kg_per_kwh   REAL NOT NULL,
	carbon_per_kg       REAL NOT NULL
);
CREATE TABLE nodes (
	id      INTEGER PRIMARY KEY,
	cluster TEXT NOT NULL,
	name    TEXT NOT NULL,
	UNIQUE (cluster, name)
);
CREATE TABLE workloads (
	id        INTEGER PRIMARY KEY,
	cluster   TEXT NOT NULL,
	namespace TEXT NOT NULL,
	kind      TEXT NOT NULL,
	name      TEXT NOT NULL,
	UNIQUE (cluster, namespace, kind, name)
);
-- What hourly sums by namespace are kept for.
CREATE TABLE spaces (
	id            INTEGER PRIMARY KEY,
	cluster       TEXT NOT NULL,
	namespace     TEXT NOT NULL,
	workload_type TEXT NOT NULL,
	pseudo        INTEGER NOT NULL,
	UNIQUE (cluster, namespace, workload_type, pseudo)
);
CREATE TABLE holders (
	id        INTEGER PRIMARY KEY AUTOINCREMENT,
	node      INTEGER NOT NULL REFERENCES nodes,
	kind      INTEGER NOT NULL,
	name      TEXT NOT NULL, -- container or VM id
	workload  INTEGER NOT NULL REFERENCES workloads,
	inferred  INTEGER NOT NULL,
	type      TEXT NOT NULL,
	rule      TEXT NOT NULL,
	pod       TEXT NOT NULL,
	pod_uid   TEXT NOT NULL,
	container TEXT NOT NULL,
	image     TEXT NOT NULL,
	first     INTEGER NOT NULL, -- start of its first and last row, Unix seconds;
	last      INTEGER NOT NULL, -- last is exact for sealed hours
	UNIQUE (node, kind, name)
);

-- Open hours: key is start << 31 | holder, start in Unix seconds.
CREATE TABLE minutes      (key INTEGER PRIMARY KEY, revision INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE node_minutes (key INTEGER PRIMARY KEY, revision INTEGER NOT NULL, data BLOB NOT NULL);
-- Closed hours: key is hour << 31 | holder (or node), one blob of rows each.
CREATE TABLE sealed       (key INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE sealed_nodes (key INTEGER PRIMARY KEY, data BLOB NOT NULL);
-- format.Sums of closed hours: by holder, 64 neighbouring holders to a blob, key is
-- hour << 31 | holder / 64; and by space, one blob an hour, key is hour << 31.
CREATE TABLE hours        (key INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE space_hours  (key INTEGER PRIMARY KEY, data BLOB NOT NULL);
-- Hours whose sums by space have yet to be made again.
CREATE TABLE stale_hours  (from_s INTEGER NOT NULL, to_s INTEGER NOT NULL);

CREATE TABLE outbox (
	seq       INTEGER PRIMARY KEY AUTOINCREMENT,
	commit_ms INTEGER NOT NULL,
	kind      INTEGER NOT NULL,
	data      BLOB NOT NULL
);
CREATE TABLE followers (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;

CREATE VIEW holder_names AS
	SELECT h.id, n.cluster, n.name AS node, h.kind, h.name AS container_id, w.namespace, w.kind AS workload_kind,
		w.name AS workload, h.type AS workload_type, h.pod, h.container, h.image,
		datetime(h.first, 'unixepoch') AS first, datetime(h.last, 'unixepoch') AS last
	FROM holders h JOIN nodes n ON n.id = h.node JOIN workloads w ON w.id = h.workload;
`}, {2, `
-- What a follower's backend refused for good.
CREATE TABLE dead_letters (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	follower TEXT NOT NULL,
	bucket   TEXT NOT NULL,
	key      TEXT NOT NULL,
	line     TEXT NOT NULL,
	reason   TEXT NOT NULL,
	from_seq INTEGER NOT NULL,
	to_seq   INTEGER NOT NULL,
	at_ms    INTEGER NOT NULL,
	UNIQUE (follower, bucket, key)
);
`}, {3, `
INSERT INTO state SELECT 'holder_seq', coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'holders';
INSERT INTO state SELECT 'outbox_seq', coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox';
` + checksums(checkedBefore)}, {4, `
-- A holder has a row for each time its tags changed: since, Unix milliseconds.
-- Rows whose checksum is wrong keep a wrong one.
DROP VIEW holder_names;
CREATE TABLE holders_4 (
	id        INTEGER PRIMARY KEY AUTOINCREMENT,
	node      INTEGER NOT NULL REFERENCES nodes,
	kind      INTEGER NOT NULL,
	name      TEXT NOT NULL, -- container or VM id
	since     INTEGER NOT NULL,
	workload  INTEGER NOT NULL REFERENCES workloads,
	inferred  INTEGER NOT NULL,
	type      TEXT NOT NULL,
	rule      TEXT NOT NULL,
	pod       TEXT NOT NULL,
	pod_uid   TEXT NOT NULL,
	container TEXT NOT NULL,
	image     TEXT NOT NULL,
	tags      BLOB NOT NULL, -- power.Tags
	first     INTEGER NOT NULL, -- start of its first and last row, Unix seconds;
	last      INTEGER NOT NULL, -- last is exact for sealed hours
	sum       INTEGER,
	UNIQUE (node, kind, name, since)
);
INSERT INTO holders_4 (id, node, kind, name, since, workload, inferred, type, rule, pod, pod_uid, container, image, tags, first, last, sum)
	SELECT id, node, kind, name, 0, workload, inferred, type, rule, pod, pod_uid, container, image, X'', first, last,
		CASE WHEN sum IS ` + before("holders").sumOf("") + ` THEN NULL ELSE -1 END FROM holders;
DROP TABLE holders;
ALTER TABLE holders_4 RENAME TO holders;
UPDATE holders SET sum = ` + tableOf("holders").sumOf("") + ` WHERE sum IS NULL;
` + tableOf("holders").triggers() + `
-- And spaces are told apart by the values of dimensions, too; those without any
-- are what sums by namespace are kept for.
CREATE TABLE spaces_4 (
	id            INTEGER PRIMARY KEY,
	cluster       TEXT NOT NULL,
	namespace     TEXT NOT NULL,
	workload_type TEXT NOT NULL,
	pseudo        INTEGER NOT NULL,
	tags          BLOB NOT NULL, -- power.Tags, dimensions alone
	sum           INTEGER,
	UNIQUE (cluster, namespace, workload_type, pseudo, tags)
);
INSERT INTO spaces_4 (id, cluster, namespace, workload_type, pseudo, tags, sum)
	SELECT id, cluster, namespace, workload_type, pseudo, X'',
		CASE WHEN sum IS ` + before("spaces").sumOf("") + ` THEN NULL ELSE -1 END FROM spaces;
DROP TABLE spaces;
ALTER TABLE spaces_4 RENAME TO spaces;
UPDATE spaces SET sum = ` + tableOf("spaces").sumOf("") + ` WHERE sum IS NULL;
` + tableOf("spaces").triggers() + `
-- Sums by these, of hours in which any holder has a dimension.
CREATE TABLE dimension_hours (key INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE VIEW holder_names AS
	SELECT h.id, n.cluster, n.name AS node, h.kind, h.name AS container_id, w.namespace, w.kind AS workload_kind,
		w.name AS workload, h.type AS workload_type, h.pod, h.container, h.image,
		datetime(h.first, 'unixepoch') AS first, datetime(h.last, 'unixepoch') AS last
	FROM holders h JOIN nodes n ON n.id = h.node JOIN workloads w ON w.id = h.workload;
`}}

// dsn returns the data source name of a database file with pragmas.
func dsn(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}}
	q["_pragma"] = append([]string{"busy_timeout(10000)"}, pragmas...)
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// examine looks at a file without opening it as a database. It returns nil if
// there is no file, an empty one, or one that Open may open.
func examine(path string, newest int) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var head [headerBytes]byte
	n, err := io.ReadFull(f, head[:])
	switch {
	case err == io.EOF:
		return nil
	case n < len(head) && (err == nil || err == io.ErrUnexpectedEOF), !bytes.HasPrefix(head[:], []byte("SQLite format 3\x00")):
		return fmt.Errorf("open %s: not a Wattledger database", path)
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
	}
	version := int(binary.BigEndian.Uint32(head[60:]))
	if id := binary.BigEndian.Uint32(head[68:]); id != applicationID {
		return fmt.Errorf("open %s: a database of another application (id %#x)", path, id)
	}
	if version > newest {
		return fmt.Errorf("open %s: %w: schema %d, this version knows %d", path, store.ErrNewerSchema, version, newest)
	}
	return nil
}

// examineDeeper refuses a file whose header or log is damaged where SQLite would
// go on without a word. Nobody may have it open. torn is the end of a log that
// an interrupted write left, if there is one: nothing that was durable.
func examineDeeper(path string) (torn *damage, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, headerBytes)
	if _, err := io.ReadFull(f, head); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if at, text := checkHeader(head); text != "" {
		return nil, fmt.Errorf("%s is %s: %w", path, &damage{off: at, text: text}, store.ErrCorrupt)
	}
	_, d, err := checkWAL(path + "-wal")
	if err != nil {
		return nil, err
	}
	if d != nil && !d.torn {
		return nil, fmt.Errorf("%s-wal is %s: %w", path, d, store.ErrCorrupt)
	}
	return d, nil
}

// migrate brings the database to the newest of ms, after saving a copy of it
// beside it if it holds anything.
func migrate(ctx context.Context, w *sql.Conn, path string, ms []migration) error {
	var version int
	if err := w.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	newest := ms[len(ms)-1].version
	if version > newest {
		return fmt.Errorf("%w: schema %d, this version knows %d", store.ErrNewerSchema, version, newest)
	}
	if version == newest {
		return nil
	}
	if version > 0 {
		backup := fmt.Sprintf("%s.schema%d.bak", path, version)
		// A backup that was cut short by a crash is worth nothing.
		if err := os.Remove(backup); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := w.ExecContext(ctx, "VACUUM INTO ?", backup); err != nil {
			return fmt.Errorf("back up to %s: %w", backup, err)
		}
	}
	for _, m := range ms {
		if m.version <= version {
			continue
		}
		script := strings.Join([]string{
			"BEGIN IMMEDIATE", m.sql,
			fmt.Sprintf("PRAGMA application_id=%d", applicationID),
			fmt.Sprintf("PRAGMA user_version=%d", m.version), "COMMIT",
		}, ";\n")
		if _, err := w.ExecContext(ctx, script); err != nil {
			w.ExecContext(ctx, "ROLLBACK")
			return fmt.Errorf("migrate to schema %d: %w", m.version, err)
		}
	}
	// The header in the file itself must say whose it is, not only the log.
	_, err := w.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}
