package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// A run is one life of the harness: rounds of load and faults, each of which
// ends with a look at everything.
type run struct {
	rig    *rig
	worlds []*world
	speed  float64
	random *rand.Rand // of the plan
	out    io.Writer
	began  time.Time
	open   []net.Conn // requests that were begun and not finished

	mu      sync.Mutex
	counts  map[string]int    // faults and events by name; guarded by mu
	kills   map[string]int    // SIGKILLs by process; guarded by mu
	notes   map[string]int    // what happened beside; guarded by mu
	missing map[string]string // faults this machine does not allow, and why; guarded by mu
	defects []string          // guarded by mu

	version string // of the server

	checks int
	totals totals
	quiet  usage // of a server that has nothing to do
	peak   usage
}

// usage is what a process holds.
type usage struct {
	descriptors, goroutines int
	resident                int64
}

// options are those of the command.
type options struct {
	binary   string
	dir      string
	seed     uint64
	duration time.Duration // of the wall, about
	round    time.Duration
	speed    float64
	span     time.Duration // of simulated time that the run may take, at most
}

func newRun(ctx context.Context, o options, out io.Writer) (*run, error) {
	rig, err := newRig(ctx, o.binary, o.dir, true)
	if err != nil {
		return nil, err
	}
	// Simulated time ends before now; whole minutes make the first one whole.
	start := time.Now().Add(-o.span).Truncate(time.Minute)
	worlds, err := newWorlds(o.seed, start, "http://"+rig.toServer.Addr()+"/api/v1/write")
	if err != nil {
		rig.close()
		return nil, err
	}
	version, err := exec.Command(o.binary, "version").Output()
	if err != nil {
		rig.close()
		return nil, err
	}
	return &run{
		version: strings.TrimSpace(string(version)), rig: rig, worlds: worlds, speed: o.speed, random: newRandom(o.seed), out: out, began: time.Now(),
		counts: map[string]int{}, kills: map[string]int{}, notes: map[string]int{}, missing: map[string]string{},
	}, nil
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

func (r *run) close() {
	for _, c := range r.open {
		c.Close()
	}
	for _, w := range r.worlds {
		w.client.HTTP.CloseIdleConnections()
	}
	r.rig.close()
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.out, "%7.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *run) killed(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kills[name]++
}

func (r *run) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes[what]++
}

// defect notes something that must not be.
func (r *run) defect(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.say("DEFECT %s", text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.defects = append(r.defects, text)
}

// A planned fault is one that will be injected at a moment of a round.
type planned struct {
	fault
	at   time.Duration
	seed uint64
}

// A deck deals faults of one lane, each as often as the others.
type deck struct {
	all, left []fault
}

func (d *deck) deal(random *rand.Rand) fault {
	if len(d.left) == 0 {
		d.left = append(d.left, d.all...)
		random.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	f := d.left[0]
	d.left = d.left[1:]
	return f
}

// newDecks sorts faults by lane.
func newDecks(list []fault) map[string]*deck {
	decks := map[string]*deck{}
	for _, f := range list {
		if decks[f.lane] == nil {
			decks[f.lane] = &deck{}
		}
		decks[f.lane].all = append(decks[f.lane].all, f)
	}
	return decks
}

// plan deals faults for a round: the server meets one every 4 s or so, the
// others one every 8 s.
func (r *run) plan(decks map[string]*deck, lasts time.Duration) (list []planned) {
	for _, lane := range []string{onServer, onRedis, onInflux, onSender} {
		d := decks[lane]
		if d == nil {
			continue
		}
		gap := 8 * time.Second
		if lane == onServer {
			gap = 4 * time.Second
		}
		for at := time.Duration(r.random.Int64N(int64(gap))); at < lasts-time.Second; at += gap/2 + time.Duration(r.random.Int64N(int64(gap))) {
			list = append(list, planned{d.deal(r.random), at, r.random.Uint64()})
		}
	}
	return list
}

// round lets load and faults run for some time and then looks at everything.
func (r *run) round(ctx context.Context, lasts time.Duration, list []planned, happenings int) error {
	for _, w := range r.worlds {
		names, err := w.happen(r.random, time.Duration(float64(lasts)*r.speed), happenings)
		if err != nil {
			return err
		}
		r.count(names...)
	}
	from := r.worlds[0].sim.Now()
	for _, w := range r.worlds {
		from = later(from, w.sim.Now())
	}
	c := &clock{from: from, began: time.Now(), lasts: lasts, speed: r.speed}
	group, loading := errgroup.WithContext(ctx)
	for _, w := range r.worlds {
		group.Go(func() error {
			if err := w.play(loading, c); err != nil {
				return fmt.Errorf("cluster %s: %w", w.name, err)
			}
			return nil
		})
	}
	lanes := map[string][]planned{}
	for _, p := range list {
		lanes[p.lane] = append(lanes[p.lane], p)
	}
	var faulty sync.WaitGroup
	for _, lane := range lanes {
		faulty.Go(func() {
			for _, p := range lane {
				if pause(loading, time.Until(c.began.Add(p.at))) {
					r.suffer(loading, p)
				}
			}
		})
	}
	faulty.Wait()
	r.heal()
	if err := group.Wait(); err != nil {
		return err
	}
	return r.look(ctx)
}

// suffer injects one fault.
func (r *run) suffer(ctx context.Context, p planned) {
	r.say("%s: %s", p.lane, p.name)
	err := p.inject(ctx, r, rand.New(rand.NewPCG(p.seed, 1)))
	var absent notHere
	switch {
	case errors.As(err, &absent):
		r.mu.Lock()
		r.missing[p.name] = absent.why
		r.mu.Unlock()
		return
	case err != nil && ctx.Err() == nil:
		r.defect("%s: %v", p.name, err)
	}
	r.count(p.name)
}

func (r *run) count(names ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		r.counts[name]++
	}
}

// heal makes sure that nothing is wrong any more.
func (r *run) heal() {
	r.rig.toServer.Clear()
	r.rig.toRedis.Clear()
	r.rig.toInflux.Clear()
	for _, p := range []*process{r.rig.server, r.rig.redis, r.rig.influx} {
		if p.alive() {
			p.signal(syscall.SIGCONT)
		} else if err := p.start(); err != nil {
			r.defect("%v", err)
		}
	}
}

// look waits until the server has nothing left to do, checks what it holds and
// says, ends it, compares its books with everything, and starts it again.
func (r *run) look(ctx context.Context) error {
	for try := 0; ; try++ {
		m, err := r.settle(ctx)
		if err != nil {
			return err
		}
		r.closes(m)
		r.leaks(ctx)
		answers, err := r.ask()
		if err != nil {
			r.defect("%v", err)
		}
		if err := r.rig.server.terminate(30 * time.Second); err != nil {
			r.defect("%v", err)
		}
		if out, err := exec.Command(r.rig.server.path, "verify", "--storage.path="+r.rig.storage).CombinedOutput(); err != nil {
			r.defect("verify: %v\n%s", err, out)
		}
		again, err := r.compare(ctx, m, answers)
		if err != nil {
			return err
		}
		if err := r.rig.startServer(ctx); err != nil {
			return err
		}
		if !again || try == 3 {
			break
		}
	}
	for _, w := range r.worlds {
		for _, s := range w.surprises {
			r.defect("%s", s)
		}
		w.surprises = nil
	}
	r.checks++
	said := r.rig.server.said(0)
	for _, word := range []string{"panic:", "goroutine 1 [", "DATA RACE"} {
		if strings.Contains(said, word) {
			return fmt.Errorf("the server's log %s has %q", filepath.Base(r.rig.server.log), word)
		}
	}
	return nil
}

// settle waits until every record is in the books and every follower has them.
func (r *run) settle(ctx context.Context) (m map[string]float64, err error) {
	if err := r.rig.untilReady(ctx); err != nil {
		return nil, err
	}
	calm := 0
	began := time.Now()
	for calm < 4 {
		if !pause(ctx, 600*time.Millisecond) {
			return nil, ctx.Err()
		}
		m, err = r.rig.metrics()
		busy := ""
		switch {
		case err != nil:
			busy = err.Error()
		case m["wattledger_flush_behind_records"] != 0:
			busy = fmt.Sprintf("%v records are not in the books", m["wattledger_flush_behind_records"])
		case sumOf(m, "wattledger_follower_lag_entries") != 0:
			busy = fmt.Sprintf("followers are %v entries behind", sumOf(m, "wattledger_follower_lag_entries"))
		}
		if calm++; busy != "" {
			calm = 0
		}
		if time.Since(began) > 2*patience {
			ready, _ := r.rig.get("/-/ready")
			return nil, fmt.Errorf("not settled within %v: %s; %s", 2*patience, busy, ready)
		}
	}
	return m, nil
}
