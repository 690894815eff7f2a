package faultproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// keeper is an HTTP server that notes the bodies that came whole.
type keeper struct {
	*Proxy
	t      *testing.T
	client *http.Client

	mu   sync.Mutex
	kept []string // guarded by mu
}

func startKeeper(t *testing.T) *keeper {
	k := &keeper{t: t, client: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		k.mu.Lock()
		k.kept = append(k.kept, string(body[:min(8, len(body))]))
		k.mu.Unlock()
		io.WriteString(w, strings.Repeat("kept ", 1000))
	}))
	t.Cleanup(server.Close)
	t.Cleanup(k.client.CloseIdleConnections)
	k.Proxy = Start(t, server.Listener.Addr().String())
	return k
}

// post returns the status and the length of the answer. A body that is not
// rewindable is sent once only.
func (k *keeper) post(body string) (status, length int, err error) {
	r, err := http.NewRequestWithContext(k.t.Context(), http.MethodPost, "http://"+k.Addr()+"/write", io.MultiReader(strings.NewReader(body)))
	if err != nil {
		return 0, 0, err
	}
	r.ContentLength = int64(len(body))
	res, err := k.client.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, len(answer), err
}

func (k *keeper) has(body string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.kept {
		if strings.HasPrefix(body, b) {
			return true
		}
	}
	return false
}

func TestFaults(t *testing.T) {
	k := startKeeper(t)
	n := 0
	f := func(name string, fault Fault, wantStatus int, wantKept bool) {
		t.Helper()
		n++
		body := fmt.Sprintf("body %02d ", n) + strings.Repeat("x", 300_000)
		if status, _, err := k.post("before"); err != nil || status != 200 {
			t.Fatalf("%s: before it %d, %v", name, status, err)
		}
		k.Set(fault)
		status, length, err := k.post(body)
		if (err == nil) != (wantStatus != 0) || err == nil && status != wantStatus {
			t.Errorf("%s: %d with %d bytes, %v; want %d", name, status, length, err, wantStatus)
		}
		if n := k.Struck(); n != 1 && !(fault.Refuse && n > 1) {
			t.Errorf("%s struck %d times", name, k.Struck())
		}
		k.Clear()
		if k.has(body) != wantKept {
			t.Errorf("%s: the server has it: %v, want %v", name, !wantKept, wantKept)
		}
		if status, _, err := k.post(body); err != nil || status != 200 || !k.has(body) {
			t.Errorf("%s: after it %d, %v", name, status, err)
		}
	}
	f("refuse", Fault{Refuse: true}, 0, false)
	f("cut after 100 bytes up", Fault{CutUp: 100}, 0, false)
	f("cut in the middle of the body", Fault{CutUp: 200_000}, 0, false)
	f("cut in the middle of the answer", Fault{CutDown: 500}, 0, true)
	f("mute", Fault{Mute: true}, 0, false)
	k.Set(Fault{When: "what nobody sends", CutDown: 1})
	if status, _, err := k.post("x"); err != nil || status != 200 || k.Struck() != 0 {
		t.Errorf("a reply that is not meant: %d, %v", status, err)
	}
	f("reply dropped", Fault{DropReply: true}, 0, true)
	f("slow", Fault{Delay: 20 * time.Millisecond}, 200, true)
	f("another answer", Fault{Status: 503, Header: http.Header{"Retry-After": {"7"}}, Body: "busy"}, 503, false)
	f("only what says so", Fault{When: "POST /write", DropReply: true}, 0, true)
}

func TestAnswerAndTimes(t *testing.T) {
	k := startKeeper(t)
	k.Set(Fault{Status: 507, Header: http.Header{"Retry-After": {"7"}}, Body: "no space left on device", Times: 2})
	for i := range 4 {
		res, err := k.client.Post("http://"+k.Addr()+"/write", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if i < 2 && (res.StatusCode != 507 || string(text) != "no space left on device" || res.Header.Get("Retry-After") != "7") || i >= 2 && res.StatusCode != 200 {
			t.Errorf("answer %d is %s %q", i, res.Status, text)
		}
	}
	if k.Struck() != 2 {
		t.Errorf("struck %d times, want 2", k.Struck())
	}
	k.Set(Fault{When: "GET /other", Status: 500})
	if status, _, err := k.post("x"); status != 200 || err != nil || k.Struck() != 0 {
		t.Errorf("a request that is not meant: %d, %v, struck %d times", status, err, k.Struck())
	}
}

// A connection that has exchanged something already loses what comes next, and
// to the byte.
func TestOpenConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		hello, _ := r.ReadString('\n')
		io.WriteString(c, "hello back\n")
		rest, _ := io.ReadAll(r)
		got <- hello + string(rest)
	}()
	p := Start(t, l.Addr().String())
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "hello\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "hello back\n" {
		t.Fatalf("%q, %v", line, err)
	}
	p.Set(Fault{When: "XADD", CutUp: 6})
	io.WriteString(c, "MULTI XADD a b c")
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still there")
	}
	if text, want := <-got, "hello\nMULTI XADD a"; text != want {
		t.Errorf("the server got %q, want %q", text, want)
	}
}

func TestClose(t *testing.T) {
	k := startKeeper(t)
	k.Set(Fault{Delay: time.Hour})
	done := make(chan error, 1)
	go func() {
		_, _, err := k.post("x")
		done <- err
	}()
	for k.Struck() == 0 {
		time.Sleep(time.Millisecond)
	}
	k.Close()
	if err := <-done; err == nil {
		t.Error("what hangs in a proxy that is closed goes well")
	}
}
