package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wattledger/wattledger/internal/cluster"
)

// events are what happens in the clusters themselves and to their Prometheus, in
// simulated time: no fault of the server, and nothing it may be misled by.
var events = []struct{ name, about string }{
	{"exporter-restart", "Kepler is away for 8 to 40 s and begins its counters anew"},
	{"container-restart", "a container ends and another, with a new id, takes its place: labels change in its first scrapes"},
	{"job", "a short job of 40 W"},
	{"counters-zero", "the counters of every container of a node fall to 0 in mid life"},
	{"outlier", "one sample claims 40 MJ more"},
	{"failover", "one replica of the pair is away for 60 to 150 s"},
	{"clock-step", "the sender's clock is ahead for a while, and then set back"},
	{"clock-future", "the sender's clock is hours ahead: what it sends is refused"},
}

var containers = [][3]string{
	{"shop", "web-%d", "nginx"}, {"shop", "postgres-%d", "postgres"}, {"data", "scoring-%d", "flink"}, {"ml", "train-%d", "trainer"}, {"shop", "redis-%d", "redis"},
}

// happen schedules some events in the next stretch of simulated time and
// returns their names. Nothing is on its way in w.
func (w *world) happen(random *rand.Rand, stretch time.Duration, n int) (names []string, err error) {
	from := w.sim.Now()
	at := func() time.Time { return from.Add(time.Duration(random.Int64N(int64(stretch)*3/4 + 1))) }
	node := w.nodes[random.IntN(len(w.nodes))]
	do := func(name string, f func() error) {
		if err == nil {
			if err = f(); err == nil {
				names = append(names, name)
			}
		}
	}
	// A counter that starts again and soon shows more than it did before cannot be
	// told from one that ran on. So nothing is born shortly before a restart.
	if w.inOrder && w.births && n > 0 && random.IntN(2) == 0 {
		if random.IntN(3) == 0 {
			do("counters-zero", func() error { return w.sim.ZeroCounters(at(), node, cluster.Package) })
		} else {
			down := 8*time.Second + seconds(random, 32)
			do("exporter-restart", func() error { return w.sim.RestartExporter(at(), node, down) })
		}
		return names, err
	}
	for range n {
		switch {
		case w.name == "clock" || w.name == "agent":
			w.step, w.stepTo = seconds(random, 200), from.Add(seconds(random, 100))
			name := "clock-step"
			if w.name == "clock" && random.IntN(3) == 0 {
				w.step, name = time.Since(from)+30*time.Minute, "clock-future"
			}
			do(name, func() error { return nil })
			return names, err
		case w.replicas > 1 && random.IntN(2) == 0:
			w.silent[random.IntN(2)] = from.Add(seconds(random, 91) + time.Minute)
			do("failover", func() error { return nil })
		case !w.births:
			return names, err
		case random.IntN(2) == 0:
			c := containers[random.IntN(len(containers))]
			do("container-restart", func() error {
				return w.sim.RestartContainer(at(), c[0], fmt.Sprintf(c[1], 1+random.IntN(len(w.nodes))), c[2])
			})
		case random.IntN(3) == 0:
			w.jobs++
			do("job", func() error {
				return w.sim.RunJob(at(), node, "batch", fmt.Sprintf("job-%d", w.jobs), 40, 10*time.Second+seconds(random, 60))
			})
		case w.name == "plain" && random.IntN(2) == 0:
			w.outlier = true
			do("outlier", func() error { return nil })
		}
	}
	return names, err
}
