// Package redis gives programs what the books learn, as it is learned: what
// every workload draws now, in keys that expire, and what it used in each window
// and hour, in two streams that lose nothing.
//
// Every entry of a stream is absolute: a later one for the same workload, start
// and seconds takes the place of an earlier one with a lower or equal revision.
// docs/redis.md is the contract.
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/store"
)

var _ store.Follower = (*Follower)(nil)

const (
	chargesKept = 1 << 18 // windows remembered, at least
	hoursKept   = 1 << 16
	resyncKept  = 1 << 22 // entries read back before stored rows are sent again
)

// A Follower writes to one Redis. It is the only one to write to its keys, and
// is used by one goroutine at a time.
type Follower struct {
	cfg    Config
	client goredis.UniversalClient
	log    *slog.Logger

	charges, hours *stream
	deep           bool // all of the streams was read back
	now            *now
	policy         string // of the server, as it was last warned of
	mute           bool   // the server does not take live frames
}

// New returns a follower. It does not connect yet: a server that is down is
// waited for.
func New(cfg Config, logger *slog.Logger) (*Follower, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	client, err := dial(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("redis.url: %w", err)
	}
	f := &Follower{cfg: cfg, client: client, log: logger}
	f.charges = newStream(f.key("charges"), "last_id", chargesKept)
	f.hours = newStream(f.key("hours"), "hours_last_id", hoursKept)
	f.now = newNow(3 * cfg.Interval)
	return f, nil
}

// Close closes the connections.
func (f *Follower) Close() error { return f.client.Close() }

// Name returns the follower's name in the outbox.
func (f *Follower) Name() string { return "redis" }

func (f *Follower) key(parts ...string) string {
	return f.cfg.Prefix + ":{" + f.cfg.Shard + "}:" + strings.Join(parts, ":")
}

// Check asks whether the server has everything up to entry seq; see
// store.ErrLostPlace. It also warns of a server that is set up to forget.
func (f *Follower) Check(ctx context.Context, seq uint64) error {
	if err := f.examine(ctx); err != nil {
		return explain(err)
	}
	_, err := f.locate(ctx, seq)
	return explain(err)
}

// Write takes a delivery; see store.Follower. A delivery has all rows, of every
// node, of the workloads and windows in it.
func (f *Follower) Write(ctx context.Context, d store.Delivery) error {
	return explain(f.write(ctx, d))
}

func (f *Follower) write(ctx context.Context, d store.Delivery) error {
	var after uint64
	if !d.Resync && d.FromSeq > 0 {
		after = d.FromSeq - 1
	}
	at, err := f.locate(ctx, after)
	if err != nil {
		return err
	}
	if d.Resync && !f.deep {
		f.charges.forget()
		f.hours.forget()
	}
	for _, s := range []*stream{f.charges, f.hours} {
		limit := s.limit
		if d.Resync {
			limit = resyncKept
		}
		if err := s.catchUp(ctx, f.client, at.last[s.field], limit); err != nil {
			return err
		}
	}
	f.deep = d.Resync

	now := time.Now()
	commit := d.CommitMs
	if commit <= 0 {
		commit = now.UnixMilli()
	}
	chargesFrom, hoursFrom := now.Add(-f.cfg.Charges), now.Add(-f.cfg.Hours)
	if _, err := f.charges.add(ctx, f.client, f.key("meta"), entries(d.Windows, chargesFrom.UnixMilli()), commit); err != nil {
		return err
	}
	if _, err := f.hours.add(ctx, f.client, f.key("meta"), entries(d.Hours, hoursFrom.UnixMilli()), commit); err != nil {
		return err
	}

	pipe := f.client.Pipeline()
	pipe.XTrimMinIDApprox(ctx, f.charges.key, strconv.FormatInt(chargesFrom.UnixMilli(), 10), 0)
	pipe.XTrimMinIDApprox(ctx, f.hours.key, strconv.FormatInt(hoursFrom.UnixMilli(), 10), 0)
	cmds, err := pipe.Exec(ctx)
	if err := firstError(cmds, err); err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	if err := f.writeNow(ctx, d.Windows, now); err != nil {
		return err
	}

	// Last of all: it says that everything before it is there.
	meta := []any{"version", version, "producer", f.cfg.Producer, f.charges.field, f.charges.last.String(), f.hours.field, f.hours.last.String()}
	if !d.Resync || len(d.Windows)+len(d.Hours) == 0 {
		meta = append(meta, "seq", d.ToSeq)
	}
	if err := f.client.HSet(ctx, f.key("meta"), meta...).Err(); err != nil {
		return fmt.Errorf("write meta: %w", err)
	}
	return nil
}

// A location is what the server has.
type location struct {
	seq  uint64             // everything up to this entry
	last map[string]entryID // last id of each stream, by its field in meta
}

// locate asks the server what it has. ErrLostPlace, wrapped: less than after, or
// less than it had.
func (f *Follower) locate(ctx context.Context, after uint64) (at location, err error) {
	pipe := f.client.Pipeline()
	meta := pipe.HMGet(ctx, f.key("meta"), "seq", f.charges.field, f.hours.field)
	about := []*goredis.XInfoStreamCmd{pipe.XInfoStream(ctx, f.charges.key), pipe.XInfoStream(ctx, f.hours.key)}
	_, pipeErr := pipe.Exec(ctx)
	held, err := meta.Result()
	if err == nil && len(held) < 3 {
		err = cmp.Or(pipeErr, errors.New("no answer")) // without a connection nothing was asked
	}
	if err != nil {
		return at, fmt.Errorf("read meta: %w", err)
	}
	text := func(i int) string { s, _ := held[i].(string); return s }
	at.seq, _ = strconv.ParseUint(text(0), 10, 64)
	at.last = map[string]entryID{}
	lost := ""
	for i, s := range []*stream{f.charges, f.hours} {
		info, err := about[i].Result()
		if err != nil && !strings.Contains(err.Error(), "no such key") {
			return at, fmt.Errorf("ask about %s: %w", s.key, err)
		}
		var last entryID
		if err == nil {
			last = parseID(info.LastGeneratedID)
		}
		at.last[s.field] = last
		switch {
		case last.less(s.last):
			lost = fmt.Sprintf("%s ends at %s, after %s had been written", s.key, last, s.last)
			s.forget()
		case after > 0 && last.less(parseID(text(1+i))):
			lost = fmt.Sprintf("%s ends at %s, meta says %s", s.key, last, text(1+i))
		}
	}
	if lost == "" && at.seq < after {
		lost = fmt.Sprintf("it has entries up to %d, %d had been taken", at.seq, after)
	}
	if lost != "" {
		f.now.forget()
		return at, fmt.Errorf("the server came back without what it had: %s: %w", lost, store.ErrLostPlace)
	}
	return at, nil
}

// examine warns once of each thing about the server that would lose data.
func (f *Follower) examine(ctx context.Context) error {
	info, err := f.client.Info(ctx).Result()
	if err != nil {
		var answer goredis.Error
		if errors.As(err, &answer) && strings.HasPrefix(answer.Error(), "NOPERM") {
			return nil // not needed for more than this
		}
		return fmt.Errorf("info: %w", err)
	}
	about := map[string]string{}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			about[name] = value
		}
	}
	state := about["redis_version"] + " " + about["maxmemory_policy"]
	if state == f.policy {
		return nil
	}
	f.policy = state
	if p := about["maxmemory_policy"]; strings.HasPrefix(p, "allkeys-") {
		f.log.Warn("redis evicts streams when it is full, and with them entries that nobody has read: set maxmemory-policy to noeviction or volatile-ttl",
			"setting", "redis.url", "maxmemory_policy", p)
	}
	if major, err := strconv.Atoi(strings.SplitN(about["redis_version"], ".", 2)[0]); err == nil && major < 7 {
		f.log.Warn("redis is older than 7, with which it has been tested", "setting", "redis.url", "redis_version", about["redis_version"])
	}
	return nil
}
