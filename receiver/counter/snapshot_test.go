package counter

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/wattledger/wattledger/internal/snapshot"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/test/casetest"
)

func save(t testing.TB, c *Cache) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Save(&b, func(*snapshot.Codec) {}, func(int, *snapshot.Codec) {}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func load(t testing.TB, c *Cache, b []byte) {
	t.Helper()
	if err := c.Load(bytes.NewReader(b), func(*snapshot.Codec) {}, func(int, *snapshot.Codec) {}); err != nil {
		t.Fatal(err)
	}
}

// A cache that is written down and read back after every third request books, to
// the microjoule and in the same minutes, what one does that lives on.
func TestSnapshotInEveryCase(t *testing.T) {
	for _, c := range casetest.All(t, "testdata/cases") {
		t.Run(c.File, func(t *testing.T) {
			book := func(restart bool) *books {
				b := newBench(t)
				for i, step := range c.Steps {
					if step.Kill {
						continue
					}
					if restart && i%3 == 0 {
						state := save(t, b.cache)
						b.cache = New(DefaultConfig(), b.books)
						load(t, b.cache, state)
						if again := save(t, b.cache); !bytes.Equal(again, state) {
							t.Fatal("what was read is not what was written")
						}
					}
					b.play(step)
				}
				return b.books
			}
			if d := difference(book(true).windows, book(false).windows); len(d) != 0 {
				t.Errorf("%v", d[:min(3, len(d))])
			}
		})
	}
}

// Whoever asks while a snapshot is read finds no shard half filled: readiness and
// /debug/senders ask as soon as the port is open.
func TestSnapshotIsReadUnderLock(t *testing.T) {
	b := newBench(t)
	for _, step := range casetest.All(t, "testdata/cases")[0].Steps {
		if !step.Kill {
			b.play(step)
		}
	}
	state := save(t, b.cache)
	again := New(DefaultConfig(), b.books)
	stop, asked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(asked)
		for {
			select {
			case <-stop:
				return
			default:
				again.Findings()
				again.Quarantine()
			}
		}
	}()
	err := again.Load(bytes.NewReader(state), func(*snapshot.Codec) {}, func(i int, _ *snapshot.Codec) {
		if again.shards[i].mu.TryLock() {
			again.shards[i].mu.Unlock()
			t.Errorf("shard %d is read while it is open to others", i)
		}
	})
	close(stop)
	<-asked
	if err != nil {
		t.Fatal(err)
	}
}

// Snapshots of the version before are read: it knew replicas and no exporters.
func TestSnapshotOfVersion3(t *testing.T) {
	state, err := os.ReadFile("testdata/version-3.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	load(t, b.cache, state)
	b.position = b.cache.Position()
	for second := 405.0; second <= 900; second += 15 { // as it went on for 390 s before
		for i, replica := range []string{"a", "b"} {
			b.from(replica)
			at := second + 2*float64(i)
			b.at(at, rawLine("package", 1000+300*second), activeLine("package", 200*(second-290)), idleLine("package", 9000+100*second), wattsLine("package", 300),
				containerLine("c1", "package", 5000+120*second), containerLine("c2", "package", 80*(second-290)), gpuLine("c1", 100*second), gpuWattsLine("c1", 100))
		}
		b.extra = []power.Label{{Name: "instance", Value: "node-l"}}
		b.at(second, fmt.Sprintf(`kepler_node_package_joules_total{package="0",mode="dynamic"} %v`, 7000+200*second),
			fmt.Sprintf(`kepler_node_package_joules_total{package="0",mode="idle"} %v`, 7000+100*second),
			fmt.Sprintf(`kepler_container_package_joules_total{container_id="c9",pod_name="p",container_name="main",container_namespace="ns",mode="dynamic"} %v`, 7000+150*second))
	}
	for name, joules := range map[string]float64{
		"node-a/container/c1 m0 cpu": 120 * 510, "node-a/container/c2 m0 cpu": 80 * 510, "node-a/container/c1 m0 gpu": 100 * 510,
		"node-a/node/ m0 cpu": 300 * 510, "node-a/node/ m1 cpu": 200 * 510, "node-a/node/ m2 cpu": 100 * 510,
		"node-l/container/c9 m0 cpu": 150 * 510, "node-l/node/ m0 cpu": 300 * 510,
	} {
		if got := b.books.totals["default/"+name].Joules(); got != joules {
			t.Errorf("%s: booked %v J since, want %v J", name, got, joules)
		}
	}
}
