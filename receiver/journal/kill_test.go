package journal

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
)

const childDir = "JOURNAL_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		appendForEver(dir)
		return
	}
	os.Exit(m.Run())
}

// appendForEver appends from several writers and prints each position with the
// number its record follows from, until it is killed.
func appendForEver(dir string) {
	j, err := Open(dir, Config{MaxBytes: 64 << 20, SegmentBytes: 4 * pageBytes}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				n := w*1_000_000 + i
				position, err := j.Append(context.Background(), record(n, 100+n*7919%30_000))
				mu.Lock()
				if err != nil {
					fmt.Println("append:", err)
					os.Exit(1)
				}
				fmt.Println(position, n)
				mu.Unlock()
			}
		}()
	}
	select {}
}

// Whatever was acknowledged before SIGKILL is there afterwards, equal and in order.
func TestKilledAtRandomMoments(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[uint64]int{}
	for round := range 8 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		kill := 1 + rand.IntN(150) // acknowledgements until the kill
		lines := 0
		scanner := bufio.NewScanner(out)
		for scanner.Scan() { // to the end: what was printed was acknowledged
			var position uint64
			var n int
			if _, err := fmt.Sscan(scanner.Text(), &position, &n); err != nil {
				t.Fatalf("round %d: child says %q", round, scanner.Text())
			}
			if _, taken := acknowledged[position]; taken {
				t.Fatalf("round %d: position %d handed out again", round, position)
			}
			acknowledged[position] = n
			if lines++; lines == kill {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || lines < kill {
			t.Fatalf("round %d: child ended by itself after %d acknowledgements: %v", round, lines, err)
		}

		j := mustOpen(t, dir, small)
		got := readAll(t, j, 1)
		for position, n := range acknowledged {
			r, ok := got[position]
			if !ok {
				t.Fatalf("round %d: acknowledged position %d is lost; the journal ends at %d", round, position, j.Last())
			}
			sameRecords(t, map[uint64]Record{position: r}, map[uint64]Record{position: *record(n, 100+n*7919%30_000)})
		}
		// Those that were durable and whose acknowledgement did not come out are
		// taken: their positions must not be handed out again either.
		for position := range got {
			if _, ok := acknowledged[position]; !ok {
				delete(got, position)
			}
		}
		mustClose(t, j)
	}
	if len(acknowledged) == 0 {
		t.Fatal("nothing was acknowledged")
	}
}
