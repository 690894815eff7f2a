// Command redis-consumer shows how a program takes Wattledger's charges from
// Redis without losing any: it keeps a ledger of its own in a file and prints
// what each workload has used.
//
//	redis-consumer --redis=redis://localhost:6379 --ledger=ledger.jsonl
//
// Four habits make it safe. It acknowledges an entry only after its own durable
// write. It takes over entries that a consumer which is gone had begun
// (XAUTOCLAIM). It takes an entry by workload, start and seconds, and a later one
// in its place unless its revision is lower: entries may come twice. And it makes
// its group again, from the first entry, when Redis has forgotten it (NOGROUP).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	url := flag.String("redis", "redis://localhost:6379", "URL of the Redis")
	stream := flag.String("stream", "wattledger:{0}:charges", "stream to read")
	group := flag.String("group", "example", "consumer group")
	name := flag.String("name", "consumer-1", "name of this consumer within the group; keep it across restarts")
	path := flag.String("ledger", "ledger.jsonl", "file of the consumer's own books")
	idle := flag.Duration("claim-after", time.Minute, "take over what another consumer has not acknowledged for so long")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	options, err := redis.ParseURL(*url)
	if err != nil {
		log.Fatal("redis: ", err)
	}
	options.MaxRetries = -1 // errors are dealt with here
	options.ContextTimeoutEnabled = true
	books, err := openLedger(*path)
	if err != nil {
		log.Fatal(err)
	}
	c := consumer{client: redis.NewClient(options), stream: *stream, group: *group, name: *name, claimAfter: *idle, books: books}
	err = c.run(ctx)
	c.client.Close()
	books.print(os.Stdout)
	if err := errors.Join(err, books.Close()); err != nil {
		log.Fatal(err)
	}
}

type consumer struct {
	client     *redis.Client
	stream     string
	group      string
	name       string
	claimAfter time.Duration
	books      *ledger
}

// run reads until ctx ends or the ledger cannot be written. Redis may come and go.
func (c *consumer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := c.read(ctx)
		switch {
		case err == nil, ctx.Err() != nil:
		case errors.Is(err, errLedger):
			return err
		case redis.HasErrorPrefix(err, "NOGROUP"):
			// The group is new, or Redis came back empty. From the first entry:
			// those that are known change nothing.
			err = c.client.XGroupCreateMkStream(ctx, c.stream, c.group, "0").Err()
			if err == nil {
				log.Printf("group %s of %s made", c.group, c.stream)
			} else if !redis.HasErrorPrefix(err, "BUSYGROUP") {
				log.Print("make group: ", err)
				pause(ctx, time.Second)
			}
		default:
			log.Print(err)
			pause(ctx, time.Second)
		}
	}
	return nil
}

// read books what was left behind, and then what is new, for a while.
func (c *consumer) read(ctx context.Context) error {
	for start := "0-0"; ; {
		list, next, err := c.client.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: c.stream, Group: c.group, Consumer: c.name, MinIdle: c.claimAfter, Start: start, Count: 100,
		}).Result()
		if err != nil {
			return fmt.Errorf("claim: %w", err)
		}
		if err := c.book(ctx, list); err != nil {
			return err
		}
		if start = next; next == "0-0" {
			break
		}
	}
	// "0": what this very consumer was given and has not acknowledged, then
	// ">": what nobody was given yet.
	for _, from := range []string{"0", ">"} {
		streams, err := c.client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: c.group, Consumer: c.name, Streams: []string{c.stream, from}, Count: 500, Block: time.Second,
		}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read: %w", err)
		}
		for _, s := range streams {
			if err := c.book(ctx, s.Messages); err != nil {
				return err
			}
		}
	}
	return nil
}

// book writes entries to the ledger and only then acknowledges them.
func (c *consumer) book(ctx context.Context, list []redis.XMessage) error {
	if len(list) == 0 {
		return nil
	}
	if err := c.books.add(list); err != nil {
		return fmt.Errorf("%w: %w", errLedger, err)
	}
	ids := make([]string, len(list))
	for i, m := range list {
		ids[i] = m.ID
	}
	if err := c.client.XAck(ctx, c.stream, c.group, ids...).Err(); err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// errLedger says that the ledger could not be written.
var errLedger = errors.New("ledger")

// A ledger is a file of rows, one a line, and what they amount to.
type ledger struct {
	file *os.File
	rows map[key]row
}

type key struct {
	Workload string `json:"workload"`
	StartMs  int64  `json:"start"`
	Seconds  int64  `json:"seconds"`
}

type row struct {
	key
	EnergyUJ int64  `json:"energy_uj"`
	CostNano int64  `json:"cost_nano"`
	Revision uint64 `json:"revision"`
}

// openLedger reads the file at path, or makes it. A last line that was cut off
// by a crash was never acknowledged and is dropped.
func openLedger(path string) (*ledger, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	l := &ledger{file: file, rows: map[key]row{}}
	whole := int64(0)
	for r := bufio.NewReader(file); ; {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		var e row
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s at byte %d: %w", path, whole, err)
		}
		l.take(e)
		whole += int64(len(line))
	}
	if err := file.Truncate(whole); err != nil {
		return nil, err
	}
	_, err = file.Seek(whole, io.SeekStart)
	return l, err
}

// take puts a row in the place of an earlier one, unless it is older.
func (l *ledger) take(r row) bool {
	have, ok := l.rows[r.key]
	if ok && (r.Revision < have.Revision || r == have) {
		return false
	}
	l.rows[r.key] = r
	return true
}

// add makes entries durable. It returns nil only when they would survive a power cut.
func (l *ledger) add(list []redis.XMessage) error {
	var lines []byte
	for _, m := range list {
		r, err := parse(m)
		if err != nil {
			log.Printf("entry %s is skipped: %v", m.ID, err)
			continue
		}
		if !l.take(r) {
			continue
		}
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	if len(lines) == 0 {
		return nil
	}
	if _, err := l.file.Write(lines); err != nil {
		return err
	}
	return l.file.Sync()
}

// parse reads an entry. A version it does not know may mean anything.
func parse(m redis.XMessage) (r row, err error) {
	text := func(field string) string { s, _ := m.Values[field].(string); return s }
	if v := text("version"); v != "1" {
		return r, fmt.Errorf("version %q", v)
	}
	number := func(field string) int64 {
		n, e := strconv.ParseInt(text(field), 10, 64)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", field, e))
		}
		return n
	}
	r.Workload = text("workload_id")
	r.StartMs, r.Seconds = number("start"), number("seconds")
	r.EnergyUJ, r.CostNano, r.Revision = number("energy_uj"), number("cost_nano"), uint64(number("revision"))
	return r, err
}

// print writes what each workload has used.
func (l *ledger) print(w io.Writer) {
	type sum struct {
		workload string
		uj, nano int64
		windows  int
	}
	by := map[string]*sum{}
	var list []*sum
	for k, r := range l.rows {
		s := by[k.Workload]
		if s == nil {
			s = &sum{workload: k.Workload}
			by[k.Workload] = s
			list = append(list, s)
		}
		s.uj, s.nano, s.windows = s.uj+r.EnergyUJ, s.nano+r.CostNano, s.windows+1
	}
	slices.SortFunc(list, func(a, b *sum) int { return strings.Compare(a.workload, b.workload) })
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%d windows\t%.3f kWh\t%.6f\n", s.workload, s.windows, float64(s.uj)/3.6e12, float64(s.nano)/1e9)
	}
}

func (l *ledger) Close() error { return l.file.Close() }
