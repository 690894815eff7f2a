package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/cluster"
	"github.com/wattledger/wattledger/internal/cluster/remotewrite"
	"github.com/wattledger/wattledger/internal/demo"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/test/promtest"
	"github.com/wattledger/wattledger/test/redistest"
)

// A scrape is what every target showed at one time.
type scrape struct {
	at      time.Time
	samples []remotewrite.Sample
}

// The world of these tests: two hours of the simulated cluster, long enough ago
// that nothing is open any more. In the gap an exporter and a
// container start again, a GPU process ends, and jobs live and die.
const (
	worldStep   = 30 * time.Second
	worldLength = 115 * time.Minute
	gapFrom     = 41*time.Minute + 5*time.Second
	gapTo       = 84*time.Minute + 20*time.Second
)

func simulate() (scrapes []scrape, err error) {
	start := time.Now().Truncate(time.Hour).Add(-5 * time.Hour)
	// Three of the demo's nodes: each kind is there, and the race detector is slow.
	cfg := cluster.Demo(1, start)
	only := []string{"worker-2", "gpu-1", "legacy-1"}
	cfg.Nodes = slices.DeleteFunc(cfg.Nodes, func(n cluster.NodeConfig) bool { return !slices.Contains(only, n.Name) })
	cfg.Workloads = slices.DeleteFunc(cfg.Workloads, func(x cluster.Workload) bool {
		return !slices.Contains([]string{"llama-finetune", "vllm", "etl", "report", "checkout", "notebook", "kube-proxy", "kepler"}, x.Name)
	})
	for i := range cfg.Workloads {
		x := &cfg.Workloads[i]
		x.Replicas = min(x.Replicas, 2)
		x.Nodes = slices.DeleteFunc(slices.Clone(x.Nodes), func(n string) bool { return !slices.Contains(only, n) })
	}
	sim, err := cluster.New(cfg)
	if err != nil {
		return nil, err
	}
	for _, err := range []error{
		sim.RestartExporter(start.Add(52*time.Minute+7*time.Second), "worker-2", 90*time.Second),
		sim.RestartContainer(start.Add(60*time.Minute+11*time.Second), "shop", "checkout", "checkout"),
		sim.EndGPUProcess(start.Add(70*time.Minute+31*time.Second), "ml-platform", "llama-finetune"),
	} {
		if err != nil {
			return nil, err
		}
	}
	for at := start.Add(worldStep); at.Before(start.Add(worldLength)); at = at.Add(worldStep) {
		sim.Advance(at)
		facts := at.Sub(start)%(5*time.Minute) < worldStep
		samples := demo.Samples(sim, nil, func(name string, labels []cluster.Label) bool { return demo.Needed(name, labels, facts) })
		scrapes = append(scrapes, scrape{at, samples})
	}
	return scrapes, nil
}

// A world is what a Prometheus scraped, and the books of two lines it sent that
// to: one missed nothing, one has a gap.
type world struct {
	scrapes    []scrape
	begin, end time.Time
	server     *promtest.Server
	holed      string // folder of the books with the gap; copy it
	want       map[minuteKey]minute
}

func newWorld(t *testing.T) *world {
	t.Helper()
	scrapes, err := simulate()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{scrapes: scrapes, begin: scrapes[0].at.Add(-worldStep), end: scrapes[len(scrapes)-1].at, holed: t.TempDir()}
	w.server = prometheusWith(t, scrapes, "{cluster: demo}")
	whole := t.TempDir()
	bookScrapes(t, whole, scrapes, func(scrape) bool { return true })
	bookScrapes(t, w.holed, scrapes, func(s scrape) bool { return !w.gap(s) })
	w.want = booksOf(t, whole)
	return w
}

// gap says whether a scrape was lost on the way to the books.
func (w *world) gap(s scrape) bool {
	after := s.at.Sub(w.begin)
	return after > gapFrom && after < gapTo
}

// copyHoled returns a folder of its own with the books that have the gap.
func (w *world) copyHoled(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(w.holed)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// command returns a backfill of a stretch after the begin of the world.
func (w *world) command(dir string, from, to time.Duration, more ...string) []string {
	return append([]string{"backfill", "--storage.path=" + dir, "--from=" + w.begin.Add(from).Format(time.RFC3339), "--to=" + w.begin.Add(to).Format(time.RFC3339)}, more...)
}

func TestBackfill(t *testing.T) {
	w := newWorld(t)
	t.Run("gap", w.testGap)
	t.Run("through the service", w.testServing)
	t.Run("goes on", w.testGoesOn)
	t.Run("interrupted", w.testInterrupted)
	t.Run("history", w.testHistory)
	t.Run("leaves as it is", w.testLeavesAsItIs)
	t.Run("any gaps", w.testAnyGaps)
}

// prometheusWith returns a Prometheus that has scraped all of it. Its series have
// no cluster: that is an external label.
func prometheusWith(t *testing.T, scrapes []scrape, external string) *promtest.Server {
	t.Helper()
	server := promtest.Start(t, external)
	for part := range slices.Chunk(scrapes, 20) {
		byLabels := map[string]*prompb.TimeSeries{}
		for _, s := range part {
			for _, x := range s.samples {
				var key strings.Builder
				for _, l := range x.Labels {
					fmt.Fprintf(&key, "%s=%s|", l.Name, l.Value)
				}
				ts := byLabels[key.String()]
				if ts == nil {
					ts = &prompb.TimeSeries{}
					for _, l := range x.Labels {
						if l.Name != "cluster" {
							ts.Labels = append(ts.Labels, prompb.Label{Name: l.Name, Value: l.Value})
						}
					}
					byLabels[key.String()] = ts
				}
				ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: x.TMs, Value: x.Value})
			}
		}
		var list []prompb.TimeSeries
		for _, ts := range byLabels {
			list = append(list, *ts)
		}
		server.Write(list)
	}
	return server
}

func testConfig(dir string, change func(*configs.Config)) *configs.Config {
	cfg := configs.Default()
	cfg.Storage.Path = dir
	if change != nil {
		change(cfg)
	}
	return cfg
}

func ledgerConfig(t *testing.T, cfg *configs.Config) ledger.Config {
	t.Helper()
	c, err := cfg.Ledger()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bookScrapes sends scrapes to a line on dir as they came, each at its time.
func bookScrapes(t *testing.T, dir string, scrapes []scrape, keep func(scrape) bool) {
	t.Helper()
	l, err := ledger.Open(ledgerConfig(t, testConfig(dir, nil)), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Replay(t.Context()); err != nil {
		t.Fatal(err)
	}
	format := remotewrite.Format{Version: 1, Encoding: "snappy"}
	for i, s := range scrapes {
		if !keep(s) {
			continue
		}
		body, err := format.Encode(s.samples)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Take(t.Context(), &journal.Record{Protocol: journal.V1, Encoding: journal.Snappy, ArrivalMs: s.at.UnixMilli() + 400, Sender: "test", Body: body}); err != nil {
			t.Fatal(err)
		}
		if i%30 == 0 {
			if err := l.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, err := range []error{l.Flush(t.Context()), l.Snapshot(), l.Books.Maintain(t.Context()), l.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A minute is what the books hold of a node in a window, whoever wrote it.
type minute struct {
	node    power.NodeWindow
	holders map[power.HolderKey]power.Energy
}

type nodeKey struct{ cluster, node string }

type minuteKey struct {
	nodeKey
	startMs int64
}

// booksOf reads every minute of the books in dir.
func booksOf(t *testing.T, dir string) map[minuteKey]minute {
	t.Helper()
	books, err := local.Open(filepath.Join(dir, "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	all := map[minuteKey]minute{}
	for _, n := range books.BookedNodes() {
		windows, err := books.Booked(t.Context(), n.Cluster, n.Node, 0, time.Now().UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		for start, w := range windows {
			m := minute{holders: map[power.HolderKey]power.Energy{}}
			var sum power.Energy
			for _, c := range w.Charges {
				sum.Add(c.Energy)
				if c.Energy != (power.Energy{}) {
					m.holders[c.Holder.HolderKey] = c.Energy
				}
			}
			if w.Node == nil || w.Node.Used != sum {
				t.Fatalf("%s %s: the rows add up to %v, the node to %+v", n.Node, clock(start), sum, w.Node)
			}
			m.node = *w.Node
			m.node.Revision, m.node.Generation = 0, ""
			all[minuteKey{nodeKey{n.Cluster, n.Node}, start}] = m
		}
	}
	checked, err := local.Verify(t.Context(), filepath.Join(dir, "books.db"), true)
	if err != nil || len(checked.Problems) > 0 {
		t.Fatalf("verify: %v, %v", checked.Problems, err)
	}
	return all
}

// totals adds minutes up by holder.
func totals(all map[minuteKey]minute, from, to time.Time) map[power.HolderKey]power.Energy {
	sum := map[power.HolderKey]power.Energy{}
	for k, m := range all {
		if k.startMs < from.UnixMilli() || k.startMs >= to.UnixMilli() {
			continue
		}
		for holder, e := range m.holders {
			total := sum[holder]
			total.Add(e)
			sum[holder] = total
		}
		node := power.HolderKey{Cluster: k.cluster, Node: k.node, Kind: power.Node}
		total := sum[node]
		total.Add(m.node.Used)
		sum[node] = total
	}
	return sum
}

// differing lists what two books do not hold alike, to the microjoule.
func differing(got, want map[minuteKey]minute, from, to time.Time) (list []string) {
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for k := range keys {
		if k.startMs < from.UnixMilli() || k.startMs >= to.UnixMilli() {
			continue
		}
		g, w := got[k], want[k]
		if g.node != w.node || !maps.Equal(g.holders, w.holders) {
			text := fmt.Sprintf("%s %s: used %v, want %v", k.node, clock(k.startMs), g.node.Used, w.node.Used)
			for h, e := range w.holders {
				if g.holders[h] != e {
					text += fmt.Sprintf("\n   %v %s: %v, want %v", h.Kind, h.ID, g.holders[h], e)
				}
			}
			list = append(list, text)
		}
	}
	slices.Sort(list)
	return list
}

func requireSame(t *testing.T, what string, got, want map[minuteKey]minute, from, to time.Time) {
	t.Helper()
	if list := differing(got, want, from, to); len(list) > 0 {
		t.Errorf("%s: %d minutes differ\n%s", what, len(list), strings.Join(list[:min(len(list), 5)], "\n"))
	}
	if g, w := totals(got, from, to), totals(want, from, to); !maps.Equal(g, w) {
		for h, e := range w {
			if g[h] != e {
				t.Errorf("%s: %s %v %s has %v in all, want %v", what, h.Node, h.Kind, h.ID, g[h], e)
			}
		}
	}
}

// A gap is filled so that the books are those of a line that was never
// interrupted: every account to the microjoule, and every minute.
func (w *world) testGap(t *testing.T) {
	t.Setenv("KEPLER_PROMETHEUS_URL", w.server.URL)
	dir := w.copyHoled(t)
	before := booksOf(t, dir)
	if n := len(differing(before, w.want, w.begin, w.end)); n < 100 {
		t.Fatalf("only %d minutes differ before: the gap is none", n)
	}
	middle := func(more ...string) []string { // it is widened to the whole
		return w.command(dir, gapFrom+5*time.Minute, gapTo-4*time.Minute, more...)
	}
	out, err := runCommand(t, middle("--dry-run")...)
	if err != nil || !strings.Contains(out, "would be restated") {
		t.Fatal(out, err)
	}
	requireSame(t, "after a dry run", booksOf(t, dir), before, w.begin, w.end)
	if _, err := runCommand(t, middle()...); err != nil {
		t.Fatal(err)
	}
	requireSame(t, "after", booksOf(t, dir), w.want, w.begin, w.end)
	for _, again := range [][]string{middle(), w.command(dir, 30*time.Minute, worldLength-10*time.Minute)} {
		out, err = runCommand(t, again...)
		if err != nil || !strings.HasPrefix(out, "0 windows of nodes restated") {
			t.Errorf("once more: %v\n%s", err, out)
		}
	}
	requireSame(t, "once more", booksOf(t, dir), w.want, w.begin, w.end)
}

// The same through a running service, up to now, where its newest minutes are
// still open; what follows the books is given the restated rows.
func (w *world) testServing(t *testing.T) {
	cache, dir := redistest.Start(t), w.copyHoled(t)
	l := startLine(t, dir, func(c *configs.Config) {
		c.Kepler.PrometheusURL, c.Redis.URL = w.server.URL, cache.URL("")
	})
	if out, err := runCommand(t, w.command(dir, gapFrom, gapTo)[:3]...); err != nil || strings.Contains(out, "\n0 windows") || strings.Contains(out, "left as it is") {
		t.Fatal(out, err)
	}
	tookAll(t, dir, cache)
	l.stop()
	requireSame(t, "through the service", booksOf(t, dir), w.want, w.begin, w.end)
	books, err := local.Open(filepath.Join(dir, "books.db"), local.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	agree(t, cache, "wattledger:{0}:charges", books.WindowsBetween, w.begin.UnixMilli(), w.end.UnixMilli())
	agree(t, cache, "wattledger:{0}:hours", books.HoursBetween, w.begin.UnixMilli(), w.end.UnixMilli())
}

// Where nothing was booked after a moment, the line itself goes on from there:
// on a storage that nobody uses, and before a start takes its first sample. What
// Prometheus sends again then changes nothing.
func (w *world) testGoesOn(t *testing.T) {
	t.Setenv("KEPLER_PROMETHEUS_URL", w.server.URL)
	cut, started, empty := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{cut, started} {
		bookScrapes(t, dir, w.scrapes, func(s scrape) bool { return s.at.Sub(w.begin) < gapFrom })
	}
	if _, err := runCommand(t, w.command(cut, gapFrom, worldLength)...); err != nil {
		t.Fatal(err)
	}
	requireSame(t, "on the storage", booksOf(t, cut), w.want, w.begin, w.end)
	bookScrapes(t, cut, w.scrapes, func(s scrape) bool { return s.at.Sub(w.begin) > gapTo })
	requireSame(t, "sent again", booksOf(t, cut), w.want, w.begin, w.end)

	p, err := startProcess(t.TempDir(), nil, "serve", "--web.listen-address=127.0.0.1:0", "--storage.path="+started)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if err := untilReady(p.url); err != nil {
		t.Fatal(err)
	}
	if err := p.terminate(); err != nil {
		t.Error(err)
	}
	newest := w.scrapes[0].at
	for _, s := range w.scrapes {
		if s.at.Sub(w.begin) < gapFrom {
			newest = s.at
		}
	}
	if want := "wattledger backfill --from=" + newest.UTC().Format(time.RFC3339) + " --to="; !strings.Contains(p.log(), want) {
		t.Errorf("the start does not warn with %s:\n%s", want, p.log())
	}
	l := startLine(t, started, func(c *configs.Config) { c.Kepler.PrometheusURL, c.Backfill.OnStart = w.server.URL, "run" })
	l.stop()
	requireSame(t, "at the start", booksOf(t, started), w.want, w.begin, w.end)

	// From nothing at all: the first scrape is where counting begins, as ever.
	if _, err := runCommand(t, w.command(empty, 0, worldLength)...); err != nil {
		t.Fatal(err)
	}
	requireSame(t, "from nothing", booksOf(t, empty), w.want, w.begin, w.end)
}

// Cut short anywhere, a backfill goes on where it stopped, and nothing else may
// come between.
func (w *world) testInterrupted(t *testing.T) {
	target, err := url.Parse(w.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var left atomic.Int64
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if left.Add(-1) < 0 {
			http.Error(w, "enough", http.StatusForbidden)
			return
		}
		// Read before it is passed on: a ReverseProxy does not get along with
		// answers that begin while it still looks for the end of the body.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	defer broken.Close()
	t.Setenv("KEPLER_PROMETHEUS_URL", broken.URL)
	dir := w.copyHoled(t)
	differed := len(differing(booksOf(t, dir), w.want, w.begin, w.end))
	left.Store(1 << 40)
	if _, err := runCommand(t, w.command(dir, gapFrom, gapTo, "--dry-run")...); err != nil {
		t.Fatal(err)
	}
	looking := 1<<40 - left.Load() // requests before anything is written
	for i, allowed := range []int64{looking / 2, looking + 6, 2} {
		left.Store(allowed)
		if _, err := runCommand(t, w.command(dir, gapFrom, gapTo)...); err == nil || !strings.Contains(err.Error(), "403 Forbidden: enough") {
			t.Fatalf("%d requests: %v", allowed, err)
		}
		_, err := os.Stat(filepath.Join(dir, "backfill.json"))
		if begun := err == nil; begun != (i > 0) {
			t.Errorf("%d requests: writing has begun: %v", allowed, begun)
		}
	}
	if n := len(differing(booksOf(t, dir), w.want, w.begin, w.end)); n == 0 || n >= differed {
		t.Errorf("%d minutes differ in the middle of it", n)
	}
	if _, err := runCommand(t, w.command(dir, gapFrom, gapTo+2*time.Hour)...); err == nil || !strings.Contains(err.Error(), "was interrupted at") || !strings.Contains(err.Error(), "wattledger backfill --from=") {
		t.Errorf("another range in between: %v", err)
	}
	left.Store(1 << 40)
	if out, err := runCommand(t, w.command(dir, gapFrom, gapTo)...); err != nil {
		t.Fatal(out, err)
	}
	requireSame(t, "in the end", booksOf(t, dir), w.want, w.begin, w.end)
	if _, err := os.Stat(filepath.Join(dir, "backfill.json")); !os.IsNotExist(err) {
		t.Errorf("the plan is still there: %v", err)
	}
}

// Whatever gaps there are and whichever of them a range touches: those are
// mended as a whole, and no other minute is touched.
func (w *world) testAnyGaps(t *testing.T) {
	t.Setenv("KEPLER_PROMETHEUS_URL", w.server.URL)
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 7))
		seconds := func(most time.Duration) time.Duration {
			return time.Duration(r.Int64N(int64(most/time.Second))) * time.Second
		}
		lost := map[time.Time]bool{}
		for at := 8*time.Minute + seconds(25*time.Minute); ; at += 5*time.Minute + seconds(25*time.Minute) {
			end := at + time.Minute + seconds(30*time.Minute)
			if end > worldLength-8*time.Minute {
				break
			}
			for _, s := range w.scrapes {
				if after := s.at.Sub(w.begin); after > at && after < end {
					lost[s.at] = true
				}
			}
			at = end
		}
		dir := t.TempDir()
		bookScrapes(t, dir, w.scrapes, func(s scrape) bool { return !lost[s.at] })
		before := booksOf(t, dir)
		from := 5*time.Minute + seconds(60*time.Minute)
		to := from + time.Minute + seconds(40*time.Minute)
		if _, err := runCommand(t, w.command(dir, from, to)...); err != nil {
			t.Fatal(err)
		}
		after, mended := booksOf(t, dir), 0
		same := func(a, b minute) bool { return a.node == b.node && maps.Equal(a.holders, b.holders) }
		for k, want := range w.want {
			at := time.UnixMilli(k.startMs).Sub(w.begin)
			switch {
			case same(after[k], want):
				if !same(before[k], want) {
					mended++
				}
			case !same(after[k], before[k]):
				t.Errorf("seed %d, %v to %v: %s at %v is neither what it was nor what it should be", seed, from, to, k.node, at)
			case at >= from && at < to:
				t.Errorf("seed %d, %v to %v: %s at %v was not mended", seed, from, to, k.node, at)
			}
		}
		t.Logf("seed %d, %v to %v: %d scrapes lost, %d minutes mended", seed, from, to, len(lost), mended)
	}
}

// What was before the first sample the books ever saw is booked up to there, and
// joined to what follows.
func (w *world) testHistory(t *testing.T) {
	t.Setenv("KEPLER_PROMETHEUS_URL", w.server.URL)
	dir := t.TempDir()
	bookScrapes(t, dir, w.scrapes, func(s scrape) bool { return s.at.Sub(w.begin) >= gapTo })
	const before = 20 * time.Minute // there is more, that nobody asks for
	if out, err := runCommand(t, w.command(dir, before, worldLength)...); err != nil || strings.Contains(out, "left as it is") {
		t.Fatal(out, err)
	}
	got := booksOf(t, dir)
	requireSame(t, "with its history", got, w.want, w.begin.Add(before), w.end)
	for k := range got {
		if k.startMs < w.begin.Add(before).UnixMilli() {
			t.Fatalf("%s was booked, which nobody asked for", clock(k.startMs))
		}
	}
}

// Where it cannot tell, a backfill changes nothing and says why.
func (w *world) testLeavesAsItIs(t *testing.T) {
	f := func(what, dir string, from *promtest.Server, says string) {
		t.Helper()
		before := booksOf(t, dir)
		t.Setenv("KEPLER_PROMETHEUS_URL", from.URL)
		out, err := runCommand(t, w.command(dir, gapFrom, gapTo)...)
		if err != nil || strings.Count(out, says) != 3 || !strings.Contains(out, "\n0 windows of nodes restated") {
			t.Errorf("%s: %v\n%s\nwant %q of three nodes", what, err, out, says)
		}
		requireSame(t, what, booksOf(t, dir), before, w.begin, w.end)
	}
	var without []scrape
	for _, s := range w.scrapes {
		if !w.gap(s) {
			without = append(without, s)
		}
	}
	other := prometheusWith(t, w.scrapes, "{cluster: other}")
	f("another cluster", w.copyHoled(t), other, "the books have it in cluster demo: does external_labels name the cluster")
	f("no seam before", w.copyHoled(t), prometheusWith(t, w.scrapes[len(w.scrapes)/2:], "{cluster: demo}"), "there is no minute before")
	whole := t.TempDir()
	bookScrapes(t, whole, w.scrapes, func(scrape) bool { return true })
	f("it has the gap itself", whole, prometheusWith(t, without, "{cluster: demo}"), "and this Prometheus has none")

	// Nor does the line take what would be other nodes to it; the start goes on without.
	before := booksOf(t, w.holed)
	dir := w.copyHoled(t)
	t.Setenv("KEPLER_PROMETHEUS_URL", other.URL)
	if _, err := runCommand(t, w.command(dir, gapFrom, worldLength+time.Hour)...); err == nil || !strings.Contains(err.Error(), "in cluster other, and the books have it in cluster demo") {
		t.Errorf("another cluster, going on: %v", err)
	}
	startLine(t, dir, func(c *configs.Config) { c.Kepler.PrometheusURL, c.Backfill.OnStart = other.URL, "run" }).stop()
	requireSame(t, "another cluster, going on", booksOf(t, dir), before, w.begin, w.end)
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
