package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// buildServer builds the program as users run it.
func buildServer(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "wattledger")
	cmd := exec.Command("go", "build", "-o", binary, "github.com/wattledger/wattledger/cmd/wattledger")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the server: %v\n%s", err, out)
	}
	return binary
}

// testWriter gives what a run says to the test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// TestTorture is a run of less than a minute: InfluxDB away, Redis killed and
// empty, the server killed, and then a round of every kind of fault. `make
// torture` does the same for as long as one likes.
func TestTorture(t *testing.T) {
	t.Parallel()
	binary := buildServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	o := options{binary: binary, dir: t.TempDir(), seed: 20, speed: 20, round: 12 * time.Second, span: 3 * time.Hour}
	r, err := newRun(ctx, o, testWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	defer func() {
		if t.Failed() {
			t.Logf("the server said:\n%s", tail(r.rig.server.said(0), 8000))
		}
	}()
	if err := r.round(ctx, 3*time.Second, nil, 0); err != nil {
		t.Fatal(err)
	}
	p, err := r.outage(ctx, 12*time.Second, 4)
	if err != nil {
		t.Fatal(err)
	}
	if p.totals.sent == 0 || p.totals.sent != p.totals.booked || p.totals.redisRows == 0 || r.kills["wattledger"] != 4 || r.kills["redis"] != 1 || r.kills["influxdb"] != 1 {
		t.Errorf("after an outage %+v, %v", p.totals, r.kills)
	}
	if err := r.round(ctx, o.round, r.plan(newDecks(faults), o.round), 3); err != nil {
		t.Fatal(err)
	}
	if r.checks != 3 || r.totals.sent <= p.totals.sent || r.totals.minutes == 0 || len(r.counts) < 10 {
		t.Errorf("compared %d times, %+v, %v", r.checks, r.totals, r.counts)
	}
	for _, d := range r.defects {
		t.Errorf("%s", d)
	}
	for name, why := range r.missing {
		t.Logf("%s is not possible here: %s", name, why)
	}
}

// TestFollowersAway bounds what the server holds in memory while no follower
// can be reached.
func TestFollowersAway(t *testing.T) {
	t.Parallel()
	binary := buildServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	p, err := away(ctx, options{binary: binary, dir: t.TempDir(), seed: 3}, 150, t.Errorf)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(p.text)
	if p.totals.sent == 0 || p.totals.redisRows == 0 {
		t.Errorf("%+v", p.totals)
	}
}

func TestPlanRepeats(t *testing.T) {
	plan := func(seed uint64) (moments []string) {
		r := &run{random: newRandom(seed)}
		for _, p := range r.plan(newDecks(faults), time.Minute) {
			moments = append(moments, p.name+" "+p.at.String())
		}
		return moments
	}
	if a := plan(5); !slices.Equal(a, plan(5)) || len(a) < 20 {
		t.Errorf("one seed, two plans: %v and %v", a, plan(5))
	}
	if slices.Equal(plan(5), plan(6)) {
		t.Error("two seeds, one plan")
	}
}

func TestChosenFaults(t *testing.T) {
	if list, err := chosen("redis-kill,server-kill"); err != nil || len(list) != 2 || list[0].name != "redis-kill" {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := chosen("redis-kill,earthquake"); err == nil {
		t.Error("an earthquake is no fault of ours")
	}
}
