package redis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/test/redistest"
)

func follower(t *testing.T, url string) *Follower {
	t.Helper()
	return logging(t, url, slog.DiscardHandler)
}

func logging(t *testing.T, url string, h slog.Handler) *Follower {
	t.Helper()
	f, err := New(Config{URL: url}, slog.New(h))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

var price = power.Price{Model: "seed", Currency: "USD", ElectricityPerKWh: 0.12, Overhead: 0.3, CarbonFactor: 1, CarbonKgPerKWh: 0.5, CarbonPerKg: 0.02}

// row returns a window of a minute, in which one container drew watts.
func row(node, name string, at time.Time, watts int64, revision uint64) store.WindowRow {
	e := power.Microjoules(watts * 60 * 1e6)
	return store.WindowRow{
		Node: node, Workload: power.Workload{Cluster: "c1", Namespace: "shop", Kind: "deployment", Name: name}, Type: power.Web,
		StartMs: at.UnixMilli(), Seconds: 60, Energy: power.Energy{power.CPU: e}, Cost: price.Cost(e), Price: price,
		SeenMs: 60_000, LastMs: at.UnixMilli() + 60_000, Containers: 1, Revision: revision,
	}
}

func minute() time.Time { return time.Now().Truncate(time.Minute).Add(-time.Minute) }

func delivery(seq uint64, rows ...store.WindowRow) store.Delivery {
	return store.Delivery{FromSeq: seq, ToSeq: seq, CommitMs: time.Now().UnixMilli(), Windows: rows}
}

func write(t *testing.T, f *Follower, d store.Delivery) {
	t.Helper()
	if err := f.Write(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// resync sends rows as a worker does that was told that the place is lost.
func resync(t *testing.T, f *Follower, seq uint64, rows ...store.WindowRow) {
	t.Helper()
	d := store.Delivery{FromSeq: seq, ToSeq: seq, CommitMs: time.Now().UnixMilli(), Resync: true}
	for _, r := range rows {
		d.Windows = []store.WindowRow{r}
		write(t, f, d)
	}
	d.Windows = nil
	write(t, f, d)
}

const (
	charges = "wattledger:{0}:charges"
	hours   = "wattledger:{0}:hours"
)

// books are what the entries of a stream amount to for a consumer, and an error
// if any of them came twice or their ids do not rise.
func books(t *testing.T, list []goredis.XMessage) map[string]string {
	t.Helper()
	held, seen := map[string]string{}, map[string]bool{}
	var last entryID
	for _, m := range list {
		if id := parseID(m.ID); !last.less(id) {
			t.Errorf("entry %s after %s", id, last)
		} else {
			last = id
		}
		v := valuesOf(m)
		if whole := strings.Join(v, "|"); seen[whole] {
			t.Errorf("twice: %s", whole)
		} else {
			seen[whole] = true
		}
		held[v[10]+"@"+v[1]] = v[7] + " uJ " + v[8] + " rev " + v[9]
	}
	return held
}

func TestContract(t *testing.T) {
	s := redistest.Start(t)
	f := follower(t, s.URL(""))
	ctx, c := t.Context(), s.Client()
	live := c.Subscribe(ctx, "wattledger:{0}:live")
	defer live.Close()
	if _, err := live.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	at := minute()
	hour := row("n1", "cart", at.Truncate(time.Hour).Add(-time.Hour), 100, 6)
	hour.Seconds = 3600
	d := delivery(1, row("n1", "cart", at, 100, 7), row("n2", "cart", at, 50, 8), row("n1", "search \"x\"=1,한글\\", at, 10, 7))
	idle := row("n1", power.Idle.PseudoName(), at, 500, 7)
	idle.Workload.Namespace, idle.Workload.Kind = idle.Workload.Name, "node"
	d.Windows = append(d.Windows, idle)
	d.Hours = []store.WindowRow{hour}
	d.CommitMs = at.Add(65 * time.Second).UnixMilli()
	write(t, f, d)

	list := s.Stream(charges)
	if len(list) != 3 {
		t.Fatalf("%d entries, want one for each workload and window: %v", len(list), list)
	}
	if want := strconv.FormatInt(d.CommitMs, 10) + "-0"; list[0].ID != want {
		t.Errorf("id %s, want %s", list[0].ID, want)
	}
	cart := list[1]
	if list[0].Values["workload"] == "cart" {
		cart = list[0]
	}
	want := map[string]any{
		"version": "1", "start": strconv.FormatInt(at.UnixMilli(), 10), "seconds": "60", "cluster": "c1", "namespace": "shop",
		"workload": "cart", "workload_type": "web", "energy_uj": "9000000000",
		"cost_nano": strconv.FormatInt(nano(price.Cost(9_000_000_000).Total()), 10),
		"revision":  "8", "workload_id": "c1:shop:deployment:cart",
	}
	if !reflect.DeepEqual(cart.Values, want) {
		t.Errorf("entry is\n%v, want\n%v", cart.Values, want)
	}
	if list := s.Stream(hours); len(list) != 1 || list[0].Values["seconds"] != "3600" || list[0].Values["energy_uj"] != "6000000000" {
		t.Errorf("hours are %v", list)
	}

	near := func(key, field string, want float64) {
		t.Helper()
		got, err := c.HGet(ctx, key, field).Float64()
		if err != nil || got < want*(1-1e-12) || got > want*(1+1e-12) {
			t.Errorf("%s %s is %v, %v; want %v", key, field, got, err, want)
		}
	}
	key := "wattledger:{0}:current:workload:c1:shop:deployment:cart"
	near(key, "power_watts", 150)
	near(key, "cost_per_hour", price.Cost(150*3600*1e6).Total())
	near(key, "time", float64(at.UnixMilli()+60_000))
	hash := c.HGetAll(ctx, key).Val()
	delete(hash, "power_watts")
	delete(hash, "cost_per_hour")
	delete(hash, "time")
	if want := map[string]string{"version": "1", "cluster": "c1", "namespace": "shop", "workload": "cart", "workload_type": "web"}; !reflect.DeepEqual(hash, want) {
		t.Errorf("the rest of %s is %v, want %v", key, hash, want)
	}
	near("wattledger:{0}:current:namespace:c1:shop", "power_watts", 160)
	near("wattledger:{0}:current:namespace:c1:shop", "version", 1)
	for _, key := range c.Keys(ctx, "wattledger:{0}:current:*").Val() {
		if ttl := c.PTTL(ctx, key).Val(); ttl <= 0 || ttl > 90*time.Second {
			t.Errorf("%s lives for %v, want at most three intervals", key, ttl)
		}
	}
	top := c.ZRevRangeWithScores(ctx, "wattledger:{0}:top:power_watts", 0, -1).Val()
	if len(top) != 2 || top[0].Member != "c1:shop:deployment:cart" || top[0].Score != 150 || top[1].Score != 10 {
		t.Errorf("top is %v", top)
	}
	if n := c.ZCard(ctx, "wattledger:{0}:top:cost_per_hour").Val(); n != 2 {
		t.Errorf("%d workloads in the list by cost", n)
	}
	meta := c.HGetAll(ctx, "wattledger:{0}:meta").Val()
	for field, want := range map[string]string{"version": "1", "producer": "wattledger", "last_id": list[2].ID, "seq": "1"} {
		if meta[field] != want {
			t.Errorf("meta %s is %q, want %q", field, meta[field], want)
		}
	}
	for _, key := range c.Keys(ctx, "*").Val() {
		if strings.Contains(key, "building") || !strings.HasPrefix(key, "wattledger:{0}:") {
			t.Errorf("key %s is none of the contract", key)
		}
	}
	m, err := live.ReceiveMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got frame
	if err := json.Unmarshal([]byte(m.Payload), &got); err != nil || got.Version != 1 || len(got.Workloads) != 3 {
		t.Errorf("frame %s: %v", m.Payload, err)
	}
}

func TestCurrentValuesExpire(t *testing.T) {
	s := redistest.Start(t)
	f, err := New(Config{URL: s.URL(""), Interval: 100 * time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := row("n1", "cart", time.Now().Add(-time.Minute).Truncate(time.Millisecond), 100, 1)
	write(t, f, delivery(1, r))
	redistest.Eventually(t, "only the streams and meta are left", func() error {
		if keys := s.Client().Keys(t.Context(), "*").Val(); len(keys) != 2 {
			return fmt.Errorf("keys %v", keys)
		}
		return nil
	})
	// What is over does not come back as current.
	r.Revision++
	write(t, f, delivery(2, r))
	if keys := s.Client().Keys(t.Context(), "*").Val(); len(keys) != 2 {
		t.Errorf("keys %v", keys)
	}
}

func TestReplayWritesNothingTwice(t *testing.T) {
	s := redistest.Start(t)
	at := minute()
	var all []store.WindowRow
	for i := range 2500 { // several transactions
		all = append(all, row("n1", fmt.Sprint("w", i), at, int64(i), 3))
	}
	d := delivery(1, all...)
	f := follower(t, s.URL(""))
	write(t, f, d)
	before := s.Stream(charges)
	write(t, f, d)
	write(t, follower(t, s.URL("")), d) // another process: it reads back what was written

	// One that had heard of nothing, regrouped with what came after.
	d.ToSeq = 2
	d.Windows = append(d.Windows[:len(all):len(all)], row("n1", "w7", at, 8, 4))
	d.Windows[7] = d.Windows[len(all)]
	d.Windows = d.Windows[:len(all)]
	write(t, follower(t, s.URL("")), d)
	after := s.Stream(charges)
	if len(before) != 2500 || len(after) != 2501 || !reflect.DeepEqual(after[:2500], before) {
		t.Fatalf("%d entries, then %d", len(before), len(after))
	}
	if held := books(t, after); held["c1:shop:deployment:w7@"+fmt.Sprint(at.UnixMilli())] != fmt.Sprintf("480000000 uJ %d rev 4", nano(price.Cost(480_000_000).Total())) {
		t.Errorf("w7 holds %v", held)
	}
}

// A row that went to another workload and back is written each time, though the
// third time it is as it was the first.
func TestThereAndBack(t *testing.T) {
	s := redistest.Start(t)
	f := follower(t, s.URL(""))
	here := row("n1", "cart", minute(), 100, 1)
	gone := here
	gone.Energy, gone.Cost, gone.Containers = power.Energy{}, power.Cost{}, 0
	for i, r := range []store.WindowRow{here, gone, here} {
		write(t, f, delivery(uint64(i+1), r))
	}
	list := s.Stream(charges)
	if len(list) != 3 || list[2].Values["energy_uj"] != "6000000000" || list[1].Values["energy_uj"] != "0" {
		t.Errorf("entries are %v", list)
	}
	if n := s.Do("EXISTS", "wattledger:{0}:current:workload:c1:shop:deployment:cart"); n != "1" {
		t.Error("the workload has no current value")
	}
}

func TestRestartEmpty(t *testing.T) {
	s := redistest.Start(t)
	f := follower(t, s.URL(""))
	at := minute()
	rows := []store.WindowRow{row("n1", "a", at.Add(-time.Minute), 1, 1), row("n1", "b", at, 2, 2), row("n1", "c", at, 3, 3)}
	write(t, f, delivery(1, rows[0]))
	write(t, f, delivery(2, rows[1]))

	s.Kill()
	if err := f.Check(t.Context(), 2); err == nil || errors.Is(err, store.ErrLostPlace) {
		t.Errorf("a server that is down: %v", err)
	}
	s.Run()
	for _, err := range []error{f.Check(t.Context(), 2), f.Write(t.Context(), delivery(3, rows[2])), follower(t, s.URL("")).Write(t.Context(), delivery(3, rows[2]))} {
		if !errors.Is(err, store.ErrLostPlace) {
			t.Fatalf("a server that came back empty: %v, want %v", err, store.ErrLostPlace)
		}
	}

	// It comes back empty once more while it is being filled.
	d := store.Delivery{FromSeq: 2, ToSeq: 2, CommitMs: time.Now().UnixMilli(), Resync: true, Windows: rows[:1]}
	write(t, f, d)
	s.Kill()
	s.Run()
	d.Windows = rows[1:2]
	if err := f.Write(t.Context(), d); !errors.Is(err, store.ErrLostPlace) {
		t.Fatalf("empty again: %v", err)
	}
	resync(t, f, 2, rows[:2]...)
	if err := f.Check(t.Context(), 2); err != nil {
		t.Error(err)
	}
	write(t, f, delivery(3, rows[2]))
	if held := books(t, s.Stream(charges)); len(held) != 3 {
		t.Errorf("the stream holds %v", held)
	}
	if n := s.Do("EXISTS", "wattledger:{0}:current:workload:c1:shop:deployment:b", "wattledger:{0}:current:workload:c1:shop:deployment:c"); n != "2" {
		t.Errorf("%s of 2 current values are back", n)
	}
}

// A server that came back with what it had some time ago is filled up, and what
// it had is not written again.
func TestRestartOlder(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "no")
	f := follower(t, s.URL(""))
	at := minute()
	rows := []store.WindowRow{row("n1", "a", at, 1, 1), row("n1", "b", at, 2, 2), row("n1", "c", at, 3, 3)}
	write(t, f, delivery(1, rows[0]))
	s.Do("SAVE")
	write(t, f, delivery(2, rows[1]))
	s.Kill()
	s.Run() // loads dump.rdb
	if n := s.Do("XLEN", charges); n != "1" {
		t.Fatalf("the server came back with %s entries, want the one it saved", n)
	}
	f = follower(t, s.URL(""))
	if err := f.Write(t.Context(), delivery(3, rows[2])); !errors.Is(err, store.ErrLostPlace) {
		t.Fatalf("a server that is behind: %v", err)
	}
	resync(t, f, 2, rows[:2]...)
	write(t, f, delivery(3, rows[2]))
	if held := books(t, s.Stream(charges)); len(held) != 3 {
		t.Errorf("the stream holds %v", held)
	}

	s.Do("DEL", charges)
	if err := f.Check(t.Context(), 3); !errors.Is(err, store.ErrLostPlace) {
		t.Errorf("the stream was deleted: %v", err)
	}
	s.Do("FLUSHALL")
	if err := f.Check(t.Context(), 3); !errors.Is(err, store.ErrLostPlace) {
		t.Errorf("everything was deleted: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	at := minute()
	d := delivery(1, row("n1", "a", at, 1, 1), row("n1", "b", at, 2, 2))
	refused := func(t *testing.T, f *Follower, want string) {
		t.Helper()
		for range 2 {
			err := f.Write(t.Context(), d)
			if err == nil || !strings.Contains(err.Error(), "redis.url: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("error is %v, want one with redis.url and %q", err, want)
			}
			if errors.Is(err, store.ErrLostPlace) {
				t.Errorf("%v: nothing was lost", err)
			}
		}
	}
	accepted := func(t *testing.T, s *redistest.Server, f *Follower) {
		t.Helper()
		write(t, f, d)
		if held := books(t, s.Stream(charges)); len(held) != 2 {
			t.Errorf("the stream holds %v", held)
		}
	}

	t.Run("OOM", func(t *testing.T) {
		s := redistest.Start(t, "--maxmemory-policy", "noeviction")
		f := follower(t, s.URL(""))
		s.Do("CONFIG", "SET", "maxmemory", "1")
		refused(t, f, "give it more memory")
		s.Do("CONFIG", "SET", "maxmemory", "0")
		accepted(t, s, f)
	})
	t.Run("OOM on the way", func(t *testing.T) {
		s := redistest.Start(t, "--maxmemory-policy", "noeviction")
		f := follower(t, s.URL(""))
		write(t, f, delivery(1, row("n1", "a", at, 1, 1)))
		used, _ := strconv.Atoi(strings.TrimSpace(strings.Split(strings.Split(s.Do("INFO", "memory"), "used_memory:")[1], "\r\n")[0]))
		s.Do("CONFIG", "SET", "maxmemory", used+2<<20)
		var rows []store.WindowRow
		for i := range 20_000 {
			rows = append(rows, row("n1", fmt.Sprint("w", i), at, int64(i), 2))
		}
		err := f.Write(t.Context(), delivery(2, rows...))
		if err == nil || !strings.Contains(err.Error(), "give it more memory") {
			t.Fatalf("error is %v", err)
		}
		n, _ := strconv.Atoi(s.Do("XLEN", charges))
		if n <= 1 || n >= 20_001 || (n-1)%chunkEntries != 0 {
			t.Errorf("%d entries: want some whole transactions, not all", n)
		}
		s.Do("CONFIG", "SET", "maxmemory", "0")
		write(t, f, delivery(2, rows...))
		if held := books(t, s.Stream(charges)); len(held) != 20_001 {
			t.Errorf("the stream holds %d windows", len(held))
		}
	})
	t.Run("NOAUTH", func(t *testing.T) {
		s := redistest.Start(t, "--requirepass", "s3cret")
		refused(t, follower(t, s.URL("")), "wants a password")
		refused(t, follower(t, s.URL(":wrong@")), "refuses the user or password")
		f := follower(t, s.URL(":s3cret@"))
		write(t, f, d)
	})
	t.Run("password not wanted", func(t *testing.T) {
		s := redistest.Start(t)
		refused(t, follower(t, s.URL("someone:s3cret@")), "refuses the user or password")
	})
	t.Run("NOPERM", func(t *testing.T) {
		s := redistest.Start(t)
		s.Do("ACL", "SETUSER", "poor", "on", ">pw", "+@read", "+@connection", "~*")
		refused(t, follower(t, s.URL("poor:pw@")), "may not do all that is needed")
		s.Do("ACL", "SETUSER", "enough", "on", ">pw", "~wattledger:*", "&wattledger:*", "+@read", "+@write", "+@transaction", "+@connection", "+publish", "+info")
		f := follower(t, s.URL("enough:pw@"))
		if err := f.Check(t.Context(), 0); err != nil {
			t.Error(err)
		}
		accepted(t, s, f)
	})
	t.Run("no live frames", func(t *testing.T) {
		s := redistest.Start(t)
		s.Do("ACL", "SETUSER", "mute", "on", ">pw", "~wattledger:*", "+@read", "+@write", "+@transaction", "+@connection", "+info")
		log := &bytes.Buffer{}
		f := logging(t, s.URL("mute:pw@"), slog.NewTextHandler(log, nil))
		accepted(t, s, f)
		write(t, f, delivery(2, row("n1", "c", at, 3, 3)))
		if n := strings.Count(log.String(), "does not take live frames"); n != 1 {
			t.Errorf("%d lines:\n%s", n, log)
		}
	})
	t.Run("READONLY", func(t *testing.T) {
		primary := redistest.Start(t)
		s := redistest.Start(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(primary.Port()))
		f := follower(t, s.URL(""))
		redistest.Eventually(t, "the replica has loaded", func() error {
			if err := f.Check(t.Context(), 0); err != nil {
				return err
			}
			return nil
		})
		refused(t, f, "is a replica")
		s.Do("REPLICAOF", "NO", "ONE")
		accepted(t, s, f)
	})
	t.Run("MOVED", func(t *testing.T) {
		a, b := redistest.Start(t, "--cluster-enabled", "yes"), redistest.Start(t, "--cluster-enabled", "yes")
		b.Do("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
		a.Do("CLUSTER", "MEET", "127.0.0.1", b.Port())
		redistest.Eventually(t, "the nodes know each other", func() error {
			for _, s := range []*redistest.Server{a, b} {
				if state := s.Do("CLUSTER", "INFO"); !strings.Contains(state, "cluster_state:ok") {
					return errors.New(state)
				}
			}
			return nil
		})
		refused(t, follower(t, a.URL("")), "name its nodes")
		accepted(t, b, follower(t, a.URL("")+"?addr="+a.Addr))
	})
	t.Run("another program's key", func(t *testing.T) {
		s := redistest.Start(t)
		s.Do("SET", charges, "mine")
		f := follower(t, s.URL(""))
		refused(t, f, "another program")
		s.Do("DEL", charges)
		accepted(t, s, f)
	})
	t.Run("down", func(t *testing.T) {
		s := redistest.Start(t)
		f := follower(t, s.URL("u:s3cret@"))
		s.Kill()
		refused(t, f, "connection refused")
		if err := f.Write(t.Context(), d); strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v tells the password", err)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		s := redistest.Start(t)
		f := follower(t, s.URL(""))
		write(t, f, delivery(1, row("n1", "a", at, 1, 1)))
		s.Do("CLIENT", "PAUSE", 2000, "ALL")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := f.Write(ctx, d); err == nil || time.Since(began) > 1500*time.Millisecond {
			t.Errorf("a context of 200 ms took %v: %v", time.Since(began), err)
		}
		accepted(t, s, f)
	})
}

func TestEvictionPolicy(t *testing.T) {
	s := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	log := &bytes.Buffer{}
	f := logging(t, s.URL(""), slog.NewTextHandler(log, nil))
	for range 3 {
		if err := f.Check(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "maxmemory_policy=allkeys-lru"); n != 1 {
		t.Errorf("%d lines warn:\n%s", n, log)
	}
	s.Do("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
	log.Reset()
	if err := f.Check(t.Context(), 0); err != nil || log.Len() > 0 {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestStreamsAreTrimmed(t *testing.T) {
	s := redistest.Start(t)
	f := follower(t, s.URL(""))
	now := time.Now()
	for i := range 500 { // trimming takes whole nodes of a hundred entries
		s.Do("XADD", charges, fmt.Sprintf("%d-%d", now.Add(-25*time.Hour).UnixMilli(), i), "version", "1")
	}
	write(t, f, delivery(1, row("n1", "a", minute(), 1, 1)))
	if n, _ := strconv.Atoi(s.Do("XLEN", charges)); n > 101 {
		t.Errorf("%d entries", n)
	}
	// Windows of before do not fill the stream; their hours are told instead.
	write(t, f, delivery(2, row("n1", "old", now.Add(-25*time.Hour), 1, 2)))
	for _, m := range s.Stream(charges) {
		if m.Values["workload"] == "old" {
			t.Errorf("a window of yesterday: %v", m)
		}
	}
}

func TestDial(t *testing.T) {
	f := func(url, want string) {
		t.Helper()
		c, err := dial(url)
		got := ""
		switch c := c.(type) {
		case *goredis.Client:
			o := c.Options()
			got = fmt.Sprintf("%s %s %s:%s %d tls=%v %d %v", o.Network, o.Addr, o.Username, o.Password, o.DB, o.TLSConfig != nil, o.MaxRetries, o.ContextTimeoutEnabled)
		case *goredis.ClusterClient:
			o := c.Options()
			got = fmt.Sprintf("cluster %v %s:%s tls=%v %d %v", o.Addrs, o.Username, o.Password, o.TLSConfig != nil, o.MaxRetries, o.ContextTimeoutEnabled)
		}
		if err != nil {
			got = err.Error()
		} else {
			c.Close()
		}
		if got != want {
			t.Errorf("dial(%q) = %s\nwant %s", url, got, want)
		}
	}
	f("redis://h", "tcp h:6379 : 0 tls=false 0 true")
	f("rediss://u:p%40ss@h:7000/3?max_retries=5", "tcp h:7000 u:p@ss 3 tls=true 0 true")
	f("unix://u:p@/run/redis.sock?db=2", "unix /run/redis.sock u:p 2 tls=false 0 true")
	f("rediss://u:p@a:1?addr=b:2&addr=c:3", "cluster [a:1 b:2 c:3] u:p tls=true -1 true")
	f("redis://u:p@a:26379/2?addr=b:26379&master_name=m", "tcp FailoverClient u:p 2 tls=false 0 true")
	f("http://u:p@h", "invalid URL scheme: http")
	f("redis://u:p:@h:x:y/\x7f", "not a URL")
	f("redis://:s3cret@h/x?s3cret=1", `invalid database number: "x"`)
}

func BenchmarkWrite(b *testing.B) {
	s := redistest.Start(b)
	f, err := New(Config{URL: s.URL("")}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	at := minute()
	var rows []store.WindowRow
	for i := range 5000 {
		rows = append(rows, row("n1", fmt.Sprint("w", i), at, int64(i), 0))
	}
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		for i := range rows {
			rows[i].Revision = seq
		}
		if err := f.Write(b.Context(), delivery(seq, rows...)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(seq)*float64(len(rows))/b.Elapsed().Seconds(), "rows/s")
}
