package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/prompb"
)

// maxOverloadBytes is how far above its idle size an attack may drive the
// resident memory of the program.
const maxOverloadBytes = 256 << 20

// A capped is the program as it is shipped, without a race detector, under a
// memory limit; what it needs beyond its idle size is looked at.
type capped struct {
	*process
	t    *testing.T
	idle int64
	good []body // bodies of a well-behaved sender, in order
	sent int
}

func startCapped(t *testing.T, program, config string) *capped {
	t.Helper()
	return startOver(t, program, []string{"GOMEMLIMIT=224MiB"}, config)
}

// startShipped starts the program with no limit but its own.
func startShipped(t *testing.T, program, config string) *capped {
	t.Helper()
	return startOver(t, program, nil, config)
}

func startOver(t *testing.T, program string, environment []string, config string) *capped {
	t.Helper()
	p, err := startProgram(program, t.TempDir(), environment, "--config.file="+configFile(t, config),
		"--storage.path=data", "--web.listen-address=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if err := untilReady(p.url); err != nil {
		t.Fatal(err)
	}
	c := &capped{process: p, t: t, good: kilowattHour(t, time.Now().Add(-2*time.Hour).Truncate(time.Hour))}
	c.isWell()
	c.idle = c.memory("VmRSS")
	return c
}

// memory reads a size of the process from /proc, in bytes.
func (c *capped) memory(name string) int64 {
	c.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		c.t.Fatalf("no %s in %s", name, status)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return kib << 10
}

// isWell sends the next good body, which must be taken.
func (c *capped) isWell() {
	c.t.Helper()
	err := eventually("a good body is taken", func() error {
		status, reason, err := post(c.t.Context(), c.url, c.good[c.sent%len(c.good)])
		if err == nil && status != http.StatusNoContent {
			err = fmt.Errorf("%d %s", status, reason)
		}
		return err
	})
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.log())
	}
	c.sent++
}

// survived checks the size at its largest.
func (c *capped) survived(what string) {
	c.t.Helper()
	c.isWell()
	above := c.memory("VmHWM") - c.idle
	c.t.Logf("%s: idle %d MiB, at most %d MiB above it", what, c.idle>>20, above>>20)
	if above > maxOverloadBytes {
		c.t.Errorf("%s: %d MiB above idle, at most %d are allowed", what, above>>20, int64(maxOverloadBytes)>>20)
	}
}

// metric returns the value of one series of the program's own metrics.
func (c *capped) metric(series string) float64 {
	c.t.Helper()
	_, text, err := get(c.url + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// dial opens a connection and sends a beginning. It is closed with the test.
func (c *capped) dial(beginning string) net.Conn {
	c.t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { connection.Close() })
	if _, err := connection.Write([]byte(beginning)); err != nil {
		c.t.Fatal(err)
	}
	return connection
}

func TestOverload(t *testing.T) {
	program := filepath.Join(t.TempDir(), "wattledger")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Run("bombs", func(t *testing.T) { bombs(startCapped(t, program, "")) })
	t.Run("sixty connections of bombs", func(t *testing.T) { sixtyConnections(startShipped(t, program, "")) })
	t.Run("slow clients", func(t *testing.T) { slowClients(startCapped(t, program, "")) })
	t.Run("headers", func(t *testing.T) { headers(startCapped(t, program, "")) })
	t.Run("new series", func(t *testing.T) {
		seriesStorm(startCapped(t, program, "accounting: {max_series: 200000}\n"), 1_000_000, 200_000)
	})
}

// bombs sends bodies that are small and become huge, many at a time.
func bombs(c *capped) {
	const n = 8 << 20
	tagged := func(tag byte, m []byte) []byte {
		size := []byte{}
		for v := uint64(len(m)); ; v >>= 7 {
			if v < 0x80 {
				size = append(size, byte(v))
				break
			}
			size = append(size, byte(v)|0x80)
		}
		return append(append([]byte{tag}, size...), m...)
	}
	empty := bytes.Repeat([]byte{0x0a, 0x00}, n)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	list := []struct {
		name, encoding string
		content        []byte
		limit          string
	}{
		{"8 Mi empty series", "snappy", snappy.Encode(nil, empty), "max_series_per_request"},
		{"a series of 8 Mi empty labels", "snappy", snappy.Encode(nil, tagged(0x0a, empty)), "max_labels_per_series"},
		{"8 Mi empty series, zstd", "zstd", z.EncodeAll(empty, nil), "max_series_per_request"},
		{"snappy of 1 GB", "snappy", []byte{0x80, 0x80, 0x80, 0x80, 0x04, 0, 0}, "max_decoded_bytes"},
		{"zstd of 256 MB", "zstd", z.EncodeAll(make([]byte, 256<<20), nil), "max_decoded_bytes"},
		{"snappy of 32 MiB of zeros", "snappy", snappy.Encode(nil, make([]byte, 32<<20)), "malformed"},
	}
	if size := len(list[0].content); size > 800_000 {
		c.t.Fatalf("the bomb has %d bytes", size)
	}
	var group sync.WaitGroup
	for range 4 {
		for _, b := range list {
			group.Go(func() {
				header := http.Header{"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {b.encoding}}
				for range 2 {
					status, reason, err := post(c.t.Context(), c.url, body{header: header, content: b.content})
					if err != nil || status != http.StatusBadRequest || !strings.Contains(reason, b.limit) {
						c.t.Errorf("%s: %d %s %v", b.name, status, reason, err)
					}
				}
			})
		}
	}
	group.Wait()
	c.survived("bombs")
}

// sendWhole sends a body to its end before it reads the answer, as simple clients do.
func (c *capped) sendWhole(content []byte) (status int, reason string, err error) {
	connection, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		return 0, "", err
	}
	defer connection.Close()
	_, err = fmt.Fprintf(connection, "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nContent-Length: %d\r\n\r\n", len(content))
	if err != nil {
		return 0, "", err
	}
	if _, err := connection.Write(content); err != nil {
		return 0, "", err
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// maxBombedBytes is what sixty connections of bombs may make the program's
// resident memory, whatever the machine offers.
const maxBombedBytes = 256 << 20

// sixtyConnections sends bombs of three kinds from sixty connections at once. Each
// request gets its status code, on a connection that is still there to read it from.
func sixtyConnections(c *capped) {
	const n = 8 << 20
	empty := bytes.Repeat([]byte{0x0a, 0x00}, n)
	labels := append([]byte{0x0a, 0x80, 0x80, 0x80, 0x08}, empty...) // one series of 16 MiB
	list := []struct {
		name    string
		content []byte
		limit   string
	}{
		{"a series of 8 Mi empty labels", snappy.Encode(nil, labels), "max_labels_per_series"},
		{"8 Mi empty series", snappy.Encode(nil, empty), "max_series_per_request"},
		{"512 MiB of zeros", snappy.Encode(nil, make([]byte, 512<<20)), "max_decoded_bytes"},
	}
	var refused, busy atomic.Int64
	var group sync.WaitGroup
	for i := range 60 {
		group.Go(func() {
			for k := range 4 {
				b := list[(i+k)%len(list)]
				status, reason, err := c.sendWhole(b.content)
				if err != nil {
					c.t.Errorf("%s: %v", b.name, err)
					continue
				}
				switch {
				case status == http.StatusServiceUnavailable:
					busy.Add(1)
				case status == http.StatusBadRequest && strings.Contains(reason, b.limit):
					refused.Add(1)
				default:
					c.t.Errorf("%s: %d %s", b.name, status, reason)
				}
			}
		})
	}
	group.Wait()
	c.isWell()
	peak := c.memory("VmHWM")
	c.t.Logf("%d refused, %d told to come again, at most %d MiB resident", refused.Load(), busy.Load(), peak>>20)
	if peak > maxBombedBytes {
		c.t.Errorf("%d MiB were resident, at most %d are allowed", peak>>20, maxBombedBytes>>20)
	}
}

// slowClients begin bodies that do not come. Who comes after them is refused at
// once and told when to come again; when they are gone, all is well.
func slowClients(c *capped) {
	var slow []net.Conn
	for i := range 1000 {
		size := 1000
		if i%2 == 0 {
			size = 30 << 20
		}
		slow = append(slow, c.dial(fmt.Sprintf("POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\nContent-Length: %d\r\n\r\n", size)))
	}
	drip := func() {
		for _, s := range slow {
			_, _ = s.Write([]byte{1}) // those that were refused may be closed
		}
	}
	drip()
	err := eventually("overload", func() error {
		if status, _, err := post(c.t.Context(), c.url, c.good[0]); err != nil || status != http.StatusServiceUnavailable {
			return fmt.Errorf("%d %v", status, err)
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	best := time.Hour // of a few tries, since the machine may be busy with other things
	for try := 0; try < 8 && best > 50*time.Millisecond; try++ {
		drip()
		best = min(best, c.refusals())
	}
	c.t.Logf("%v requests in the works; p99 of refused requests %v", c.metric("wattledger_requests_inflight"), best)
	if best > 50*time.Millisecond {
		c.t.Errorf("p99 of refused requests is %v, at most 50ms are allowed", best)
	}
	if status, text, err := get(c.url + "/power/nodes"); err != nil || status != http.StatusOK {
		c.t.Errorf("questions are not answered meanwhile: %d %s %v", status, text, err)
	}
	for _, s := range slow {
		s.Close()
	}
	c.survived("1,000 slow clients")
}

// refusals sends good bodies that are refused and returns the p99 of the time it took.
func (c *capped) refusals() time.Duration {
	c.t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for range 200 {
				r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/api/v1/write", bytes.NewReader(c.good[0].content))
				if err != nil {
					c.t.Error(err)
					return
				}
				r.Header = c.good[0].header
				began := time.Now()
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					c.t.Error(err)
					return
				}
				answer.Body.Close()
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
				wait, err := strconv.Atoi(answer.Header.Get("Retry-After"))
				if answer.StatusCode != http.StatusServiceUnavailable || err != nil || wait < 1 || wait > 5 {
					c.t.Errorf("%d, Retry-After %q", answer.StatusCode, answer.Header.Get("Retry-After"))
					return
				}
			}
		})
	}
	group.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}

// headers floods with headers that are large, endless or many.
func headers(c *capped) {
	large := "X-Large: " + strings.Repeat("x", 8000) + "\r\n"
	for i := range 600 {
		switch i % 3 {
		case 0: // as much as is taken, and no end
			c.dial("GET /power/nodes HTTP/1.1\r\nHost: x\r\n" + strings.Repeat(large, 3))
		case 1: // more than is taken
			connection, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
			if err != nil {
				c.t.Fatal(err)
			}
			_, _ = connection.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat(large, 8))) // cut off on the way
			answer := make([]byte, 12)
			if n, _ := connection.Read(answer); n > 0 && string(answer[:n]) != "HTTP/1.1 431" {
				c.t.Errorf("64 KB of headers are answered %q", answer[:n])
			}
			connection.Close()
		case 2: // many
			var all strings.Builder
			for k := range 2500 {
				fmt.Fprintf(&all, "X-%d: %d\r\n", k, k)
			}
			c.dial("POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n" + all.String() + "\r\n")
		}
	}
	if status, text, err := get(c.url + "/-/healthy"); err != nil || status != http.StatusOK {
		c.t.Errorf("health: %d %s %v", status, text, err)
	}
	c.survived("header floods")
}

// A stormSeries is the wire form of one series of a container of its own, with
// places for what tells it from the others: a million are sent, and making each
// from labels takes longer than taking it in.
type stormSeries struct {
	wire                []byte
	id, name, node, pod int // where they are
}

func newStormSeries(t *testing.T) (s stormSeries) {
	t.Helper()
	marks := map[string]string{"container_id": strings.Repeat("#", 32), "container_name": "c@@@@@@@", "node_name": "storm-%%%%", "pod_id": "pod-&&&&&&&"}
	var labels []prompb.Label
	for _, name := range []string{"__name__", "container_id", "container_name", "node_name", "pod_id", "state", "zone"} {
		value := map[string]string{"__name__": "kepler_container_cpu_joules_total", "state": "running", "zone": "package"}[name] + marks[name]
		labels = append(labels, prompb.Label{Name: name, Value: value})
	}
	request := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{Labels: labels, Samples: []prompb.Sample{{Timestamp: time.Now().UnixMilli(), Value: 1}}}}}
	var err error
	if s.wire, err = request.Marshal(); err != nil {
		t.Fatal(err)
	}
	place := func(mark string) int { return bytes.Index(s.wire, []byte(mark)) }
	s.id, s.name, s.node, s.pod = place("####"), place("@@@@"), place("%%%%"), place("&&&&")
	return s
}

func (s *stormSeries) append(dst []byte, i int) []byte {
	at := len(dst)
	dst = append(dst, s.wire...)
	series := dst[at:]
	copy(series[s.id:], fmt.Sprintf("%016x%016x", rand.Uint64(), i))
	copy(series[s.name:], fmt.Sprintf("%07d", i))
	copy(series[s.node:], fmt.Sprintf("%04d", i/200))
	copy(series[s.pod:], fmt.Sprintf("%07d", i))
	return dst
}

// seriesStorm sends new series far beyond the limit, among those that are known.
// These are booked as ever; of the others as many as fit, and the rest are
// refused with the limit's name.
func seriesStorm(c *capped, storm, limit int) {
	const perBody = 1000
	header := http.Header{"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}}
	one := newStormSeries(c.t)
	refused := 0
	var raw, packed []byte
	for first := 0; first < storm; first += perBody {
		raw = raw[:0]
		for i := first; i < first+perBody; i++ {
			raw = one.append(raw, i)
		}
		packed = snappy.Encode(packed[:cap(packed)], raw)
		status, reason, err := post(c.t.Context(), c.url, body{header: header, content: packed})
		switch {
		case err != nil:
			c.t.Fatal(err)
		case status == http.StatusBadRequest && strings.Contains(reason, "limit max_series") && strings.Contains(reason, "samples rejected"):
			refused++
		case status != http.StatusNoContent:
			c.t.Fatalf("the storm is answered %d %s", status, reason)
		}
		if first/perBody%(max(1, storm/perBody/40)) == 0 {
			c.isWell() // its series are all known
		}
	}
	if refused < (storm-limit)/perBody-1 {
		c.t.Errorf("%d requests of the storm were refused, of %d", refused, storm/perBody)
	}
	for c.sent < len(c.good) {
		c.isWell()
	}
	known, rejected := c.metric("wattledger_series"), c.metric(`wattledger_rejected_total{reason="limit_series"}`)
	c.t.Logf("%d new series: %v known at the end, %v refused", storm, known, rejected)
	if known > float64(limit) || known < float64(limit)*0.95 || rejected < float64(storm-limit) {
		c.t.Errorf("%v series are known, %v were refused; the limit is %d", known, rejected, limit)
	}
	c.survived(fmt.Sprintf("a storm of %d new series", storm))
	// The well-behaved sender's kilowatt-hour is whole.
	err := eventually("its energy is booked", func() error {
		_, text, err := get(c.url + "/cost/hourly?start=-4h&aggregate=node&format=csv")
		if err != nil {
			return err
		}
		sum := 0.0
		for line := range strings.Lines(text) {
			if cells := strings.Split(line, ","); len(cells) > 3 && cells[2] == "n1" {
				kWh, err := strconv.ParseFloat(cells[3], 64)
				if err != nil {
					return err
				}
				sum += kWh
			}
		}
		if sum < 1-1e-9 || sum > 1+1e-9 {
			return fmt.Errorf("%v kWh, want 1", sum)
		}
		return nil
	})
	if err != nil {
		c.t.Error(err)
	}
}
