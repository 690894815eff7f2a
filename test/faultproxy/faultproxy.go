// Package faultproxy stands between a client and a real server and does to their
// connections what networks and servers in trouble do, for tests.
//
// Without a fault it passes bytes on as they come. A fault holds for what the
// client sends from the moment it is set, on open connections too, so that a
// client that has long shaken hands can lose the reply to its next request.
package faultproxy

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// A Fault is what goes wrong. The zero value is none; of several fields each
// does its part.
type Fault struct {
	// When limits the fault to connections on which the client has sent this text
	// since the fault was set, such as a command or a path. Empty: to all.
	When string
	// Times is how often the fault strikes; after that the proxy is as good as
	// new. 0: until another is set.
	Times int

	// Refuse resets open connections at once and new ones before a byte is read.
	Refuse bool
	// CutUp ends the connection after so many bytes from the client, counted from
	// the text in When, have been passed on. The server sees them and then the
	// end. 0 does not cut; see Mute for nothing at all.
	CutUp int64
	// CutDown ends the connection after so many bytes of the reply.
	CutDown int64
	// Mute passes nothing on to the server and ends the connection.
	Mute bool
	// DropReply lets the server do what it is asked to, throws its reply away and
	// ends the connection.
	DropReply bool
	// Delay holds back what either side sends, each piece for so long. What the
	// client sent still arrives if it does not wait.
	Delay time.Duration
	// Status answers an HTTP request with this status, Header and Body in the
	// server's place; the server sees nothing of it.
	Status int
	Header http.Header
	Body   string
}

// quiet is how long a server must have nothing more to say for its reply to
// count as whole.
const quiet = 100 * time.Millisecond

// A Proxy is safe for concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	done     chan struct{} // closed by Close
	wg       sync.WaitGroup

	mu      sync.Mutex
	fault   Fault          // guarded by mu
	version int            // guarded by mu: counts Set
	struck  int            // guarded by mu: since Set
	pairs   map[*pair]bool // guarded by mu: open connections
	closing bool           // guarded by mu
}

// Start stands in front of target, host:port, until the test ends.
func Start(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := New(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// New returns a proxy that listens on a free port of 127.0.0.1. Close it.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fault proxy: %w", err)
	}
	p := &Proxy{target: target, listener: l, done: make(chan struct{}), pairs: map[*pair]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns host:port to connect to instead of the target.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set lets things go wrong from now on, in place of what went wrong before.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	p.fault, p.struck = f, 0
	p.version++
	if f.Refuse {
		for c := range p.pairs {
			if p.strike() {
				c.reset()
			}
		}
	}
	p.mu.Unlock()
}

// Clear passes bytes on as they come.
func (p *Proxy) Clear() { p.Set(Fault{}) }

// Struck tells how often the fault that was set last has struck.
func (p *Proxy) Struck() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.struck
}

// Cut resets all open connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.reset()
	}
}

// Close stops listening, ends all connections, and waits until that is done.
func (p *Proxy) Close() {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		return
	}
	p.closing = true
	p.mu.Unlock()
	close(p.done)
	p.listener.Close()
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		if p.refused() {
			reset(client)
			continue
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) refused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault.Refuse && p.strike()
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.DialTimeout("tcp", p.target, 10*time.Second)
	if err != nil {
		reset(client) // as the server itself would
		return
	}
	c := &pair{proxy: p, client: client, server: server}
	p.mu.Lock()
	p.pairs[c] = true
	if p.closing {
		c.reset()
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(c.up)
	wg.Go(c.down)
	wg.Wait()
	c.reset()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}

// strike counts, and takes the fault back once it has struck often enough. It
// reports whether there was still one. mu is held.
func (p *Proxy) strike() bool {
	if p.fault.Times > 0 && p.struck >= p.fault.Times {
		return false
	}
	p.struck++
	return true
}

// wait reports whether the proxy is still there after d.
func (p *Proxy) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return false
	case <-t.C:
		return true
	}
}

// reset ends a connection so that the other side sees an error.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // the worst that comes of it is a polite end
	}
	c.Close()
}
