package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// TestCrash posts real bodies to the program, ends it at random moments and
// goes on where the acknowledgements ended: the books are those of a line that
// was never interrupted.
func TestCrash(t *testing.T) {
	v1, v2 := capturedBodies(t, "v1"), capturedBodies(t, "v2")
	var bodies []body
	for i := range v1 {
		bodies = append(bodies, v1[i])
		if i < len(v2) {
			bodies = append(bodies, v2[i])
		}
	}
	want := book(t, v1...)
	seeds := uint64(2)
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			dir := crash(t, bodies, rand.New(rand.NewPCG(seed, 26)))
			got := readBooks(t, dir, capturedFromMs, capturedToMs)
			checkIdentity(t, got)
			same(t, got, want)
		})
	}
}

var fromSnapshot = regexp.MustCompile(`msg="books are up to date" records=([1-9]\d*) samples=\d+ booked=\d+ from=([2-9]|[1-9]\d+) `)

// crash posts the bodies over eight lives of the program and returns its storage path.
func crash(t *testing.T, bodies []body, random *rand.Rand) (dir string) {
	const lives = 8
	home := t.TempDir()
	config := []byte("storage: {flush_interval: 15ms, snapshot_interval: 40ms}\n")
	if err := os.WriteFile(filepath.Join(home, "wattledger.yaml"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	start := func() *process {
		t.Helper()
		p, err := startProcess(home, nil, "--config.file=wattledger.yaml", "--storage.path=data", "--web.listen-address=127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		return p
	}
	sent, unanswered, again, withTail := 0, 0, 0, 0
	for life := range lives {
		switch life { // two short ones end while they replay
		case 2:
			p := start()
			time.AfterFunc(time.Duration(random.IntN(5000))*time.Microsecond, p.kill)
			<-p.ended
		case 5:
			if err := start().terminate(); err != nil {
				t.Fatal(err)
			}
		}
		p := start()
		fail := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("life %d, %d bodies sent: %v\n%s", life, sent, err, p.log())
			}
		}
		if sent > 0 && random.IntN(2) == 0 { // answers were lost: what was acknowledged comes again
			for _, b := range bodies[max(0, sent-1-random.IntN(6)):sent] {
				_, err := deliver(t, p, b)
				fail(err)
				again++
			}
		}
		upTo := len(bodies) * (life + 1) / lives
		alive, err := true, error(nil)
		for i := 0; alive && sent < upTo; i++ {
			if i == 2 && life%2 == 1 { // what follows is the tail of a snapshot
				fail(eventually("snapshot", func() error { return snapshotTaken(p) }))
			}
			if sent == upTo-1 && life < lives-1 { // this one may be on its way when the end comes
				time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, p.kill)
			}
			alive, err = deliver(t, p, bodies[sent])
			fail(err)
			if alive {
				sent++
			} else {
				unanswered++
			}
		}
		if life == lives/2 || life == lives-1 { // in between and at the end it is told to stop
			if life < lives-1 {
				<-p.ended
				p = start()
				fail(untilReady(p.url))
			}
			fail(p.terminate())
		}
		<-p.ended
		if fromSnapshot.MatchString(p.log()) {
			withTail++
		}
	}
	if sent != len(bodies) {
		t.Fatalf("sent %d bodies of %d", sent, len(bodies))
	}
	if withTail == 0 {
		t.Error("no life began with a snapshot and the tail of the journal")
	}
	t.Logf("%d bodies, %d without an answer, %d once more; %d lives began with a snapshot and a tail", sent, unanswered, again, withTail)
	return filepath.Join(home, "data")
}

// deliver posts a body until it is taken. It says false when the process ended
// before it answered.
func deliver(t *testing.T, p *process, b body) (taken bool, err error) {
	for {
		status, reason, err := post(t.Context(), p.url, b)
		switch {
		case err != nil:
			select {
			case <-p.ended:
				return false, nil
			case <-time.After(patience):
				return false, fmt.Errorf("post %s: %w", b.name, err)
			}
		case status == http.StatusNoContent:
			return true, nil
		case status != http.StatusServiceUnavailable:
			return false, fmt.Errorf("post %s: %d %s", b.name, status, reason)
		}
		err = eventually("ready", func() error {
			select {
			case <-p.ended:
				return nil
			default:
				return ready(p.url)
			}
		})
		if err != nil {
			return false, err
		}
	}
}

var snapshotsTotal = regexp.MustCompile(`(?m)^wattledger_snapshots_total [1-9]`)

func snapshotTaken(p *process) error {
	_, text, err := get(p.url + "/metrics")
	if err == nil && !snapshotsTotal.MatchString(text) {
		err = fmt.Errorf("none is counted")
	}
	return err
}
