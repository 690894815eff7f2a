package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wattledger/wattledger/test/faultproxy"
)

// A fault is one thing that goes wrong and is healed again. Inject returns when
// it is healed; an error is a defect of the server, errNotHere says that this
// machine does not allow it.
type fault struct {
	name   string
	lane   string // faults of one lane come one after the other, lanes at the same time
	about  string // for the report
	inject func(ctx context.Context, r *run, random *rand.Rand) error
}

type notHere struct{ why string }

func (e notHere) Error() string { return e.why }

const (
	onServer = "server"
	onRedis  = "redis"
	onInflux = "influxdb"
	onSender = "sender"
)

var faults = slices.Concat(serverFaults, storageFaults, []fault{
	{"redis-kill", onRedis, "SIGKILL; it comes back empty", killRedis},
	{"redis-freeze", onRedis, "SIGSTOP for 1 to 8 s, SIGCONT", func(ctx context.Context, r *run, random *rand.Rand) error {
		return freeze(ctx, r.rig.redis, random, 8)
	}},
	{"redis-flush", onRedis, "FLUSHALL behind the server's back", func(ctx context.Context, r *run, _ *rand.Rand) error {
		_ = r.rig.client.FlushAll(ctx) // it may be frozen by nobody else here
		return nil
	}},
	{"redis-refuse", onRedis, "connections are reset for 1 to 8 s", broken(toRedis, faultproxy.Fault{Refuse: true}, 8)},
	{"redis-mute", onRedis, "requests go nowhere for 1 to 8 s", broken(toRedis, faultproxy.Fault{Mute: true}, 8)},
	{"redis-lost-reply", onRedis, "what is written arrives, the answers do not, for 1 to 8 s", broken(toRedis, faultproxy.Fault{DropReply: true}, 8)},
	{"redis-lost-commit", onRedis, "the answer to one EXEC is lost", broken(toRedis, faultproxy.Fault{When: "exec", DropReply: true, Times: 1}, 4)},
	{"redis-slow", onRedis, "every piece 100 ms late for 1 to 8 s", broken(toRedis, faultproxy.Fault{Delay: 100 * time.Millisecond}, 8)},

	{"influxdb-kill", onInflux, "SIGKILL; it comes back with what it had acknowledged", killInflux},
	{"influxdb-empty", onInflux, "SIGKILL; it comes back empty", emptyInflux},
	{"influxdb-freeze", onInflux, "SIGSTOP for 1 to 8 s, SIGCONT", func(ctx context.Context, r *run, random *rand.Rand) error {
		return freeze(ctx, r.rig.influx, random, 8)
	}},
	{"influxdb-refuse", onInflux, "connections are reset for 1 to 8 s", broken(toInflux, faultproxy.Fault{Refuse: true}, 8)},
	{"influxdb-lost-reply", onInflux, "what is written arrives, the answers do not, for 1 to 8 s", broken(toInflux, faultproxy.Fault{DropReply: true}, 8)},
	{"influxdb-503", onInflux, "it answers 503 for 1 to 8 s", broken(toInflux, faultproxy.Fault{Status: 503, Body: "busy"}, 8)},
	{"influxdb-slow", onInflux, "every piece 100 ms late for 1 to 8 s", broken(toInflux, faultproxy.Fault{Delay: 100 * time.Millisecond}, 8)},

	{"cut-before-body", onSender, "connections end after 60 bytes of the headers, for 1 to 3 s", broken(toServer, faultproxy.Fault{When: "POST ", CutUp: 60}, 3)},
	{"cut-in-body", onSender, "connections end 2,000 bytes into a request, for 1 to 3 s", broken(toServer, faultproxy.Fault{When: "POST ", CutUp: 2000}, 3)},
	{"lost-response", onSender, "requests arrive, the answers do not, for 1 to 3 s", broken(toServer, faultproxy.Fault{DropReply: true}, 3)},
	{"cut-in-response", onSender, "the answer ends after 20 bytes, for 1 to 3 s", broken(toServer, faultproxy.Fault{CutDown: 20}, 3)},
	{"sender-mute", onSender, "requests go nowhere for 1 to 3 s", broken(toServer, faultproxy.Fault{Mute: true}, 3)},
	{"sender-slow", onSender, "every piece 50 ms late for 1 to 4 s", broken(toServer, faultproxy.Fault{Delay: 50 * time.Millisecond}, 4)},
	{"sender-refuse", onSender, "connections are reset for 1 to 3 s", broken(toServer, faultproxy.Fault{Refuse: true}, 3)},
	{"half-open", onSender, "20 requests begin and are never finished", halfOpen},
	{"duplicates", onSender, "10 batches of each sender come again", func(_ context.Context, r *run, _ *rand.Rand) error {
		for _, w := range r.worlds {
			w.again.Store(10)
		}
		return nil
	}},
})

// chosen returns the faults whose names are in list, separated by commas; all
// of them if it is empty.
func chosen(list string) ([]fault, error) {
	if list == "" {
		return faults, nil
	}
	var some []fault
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		if i < 0 {
			var names []string
			for _, f := range faults {
				names = append(names, f.name)
			}
			return nil, fmt.Errorf("no fault %q; there are %s", name, strings.Join(names, ", "))
		}
		some = append(some, faults[i])
	}
	return some, nil
}

// seconds returns a duration between 1 s and most.
func seconds(random *rand.Rand, most int) time.Duration {
	return time.Second + time.Duration(random.Int64N(int64(most-1)*int64(time.Second)))
}

func toServer(r *rig) *faultproxy.Proxy { return r.toServer }
func toRedis(r *rig) *faultproxy.Proxy  { return r.toRedis }
func toInflux(r *rig) *faultproxy.Proxy { return r.toInflux }

// broken sets a fault of a proxy for a while.
func broken(of func(*rig) *faultproxy.Proxy, f faultproxy.Fault, most int) func(context.Context, *run, *rand.Rand) error {
	return func(ctx context.Context, r *run, random *rand.Rand) error {
		of(r.rig).Set(f)
		pause(ctx, seconds(random, most))
		of(r.rig).Clear()
		return nil
	}
}

func freeze(ctx context.Context, p *process, random *rand.Rand, most int) error {
	p.signal(syscall.SIGSTOP)
	pause(ctx, seconds(random, most))
	p.signal(syscall.SIGCONT)
	return nil
}

func killRedis(ctx context.Context, r *run, random *rand.Rand) error {
	r.rig.redis.kill()
	r.killed("redis")
	pause(ctx, seconds(random, 6))
	return r.rig.redis.start()
}

func killInflux(ctx context.Context, r *run, random *rand.Rand) error {
	r.rig.influx.kill()
	r.killed("influxdb")
	pause(ctx, seconds(random, 6))
	return r.rig.influx.start()
}

func emptyInflux(ctx context.Context, r *run, random *rand.Rand) error {
	r.rig.influx.kill()
	r.killed("influxdb")
	for _, part := range []string{"data", "meta", "wal"} {
		if err := os.RemoveAll(filepath.Join(r.rig.dir, "influx", part)); err != nil {
			return err
		}
	}
	pause(ctx, seconds(random, 6))
	return r.rig.influx.start()
}
