package faultproxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A pair is the connection of a client and the one to the server it belongs to.
type pair struct {
	proxy          *Proxy
	client, server net.Conn

	mu      sync.Mutex
	fault   Fault  // guarded by mu: what goes wrong on this connection
	version int    // guarded by mu: of the proxy's fault that was looked at last
	armed   bool   // guarded by mu: fault holds here
	tail    []byte // guarded by mu: end of what was searched for When
	sent    int64  // guarded by mu: bytes from the client since armed
	got     int64  // guarded by mu: bytes from the server since armed
}

func (c *pair) reset() {
	reset(c.client)
	reset(c.server)
}

// hang ends the connection: the server sees the end after what it was sent, the
// client an error.
func (c *pair) hang() {
	c.server.Close()
	reset(c.client)
}

// look returns the fault that holds for a piece the client sent, and how many
// of its bytes had been counted before.
func (c *pair) look(piece []byte) (f Fault, sent int64) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version != c.proxy.version {
		c.version, c.armed, c.tail, c.sent, c.got = c.proxy.version, false, nil, 0, 0
		c.fault = c.proxy.fault
	}
	if !c.armed && c.fault.strikes() {
		text := append(c.tail, piece...)
		if i := bytes.Index(text, []byte(c.fault.When)); i >= 0 && c.proxy.strike() {
			c.armed = true
			c.sent = -int64(max(0, i-len(c.tail))) // what comes before the text in this piece
		}
		c.tail = bytes.Clone(text[max(0, len(text)-max(0, len(c.fault.When)-1)):])
	}
	if !c.armed {
		return Fault{}, 0
	}
	sent = c.sent
	c.sent += int64(len(piece))
	return c.fault, sent
}

// strikes reports whether a fault does anything to an open connection.
func (f Fault) strikes() bool {
	return f.CutUp > 0 || f.CutDown > 0 || f.Mute || f.DropReply || f.Delay > 0 || f.Status != 0
}

// up passes on what the client sends.
func (c *pair) up() {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.client.Read(buf)
		if n > 0 {
			f, sent := c.look(buf[:n])
			if !c.proxy.wait(f.Delay) {
				return
			}
			switch {
			case f.Mute:
				c.hang()
				return
			case f.Status != 0:
				c.answer(f, buf[:n])
				return
			case f.CutUp > 0 && sent+int64(n) >= f.CutUp:
				_, _ = c.server.Write(buf[:f.CutUp-sent]) // it is the end in any case
				c.hang()
				return
			}
			if _, err := c.server.Write(buf[:n]); err != nil {
				reset(c.client)
				return
			}
		}
		if err != nil {
			if t, ok := c.server.(*net.TCPConn); ok {
				_ = t.CloseWrite() // the reply may still be wanted
			}
			return
		}
	}
}

// answer reads the HTTP request that begins with piece and answers it.
func (c *pair) answer(f Fault, piece []byte) {
	defer c.reset()
	r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(piece), c.client)))
	if err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	reply := http.Response{
		StatusCode: f.Status, ProtoMajor: 1, ProtoMinor: 1, Request: r, Close: true,
		Header: f.Header.Clone(), Body: io.NopCloser(bytes.NewReader([]byte(f.Body))), ContentLength: int64(len(f.Body)),
	}
	if reply.Write(c.client) == nil {
		_ = c.client.(*net.TCPConn).CloseWrite()
		// A reset at once could overtake the answer.
		_ = c.client.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, c.client)
	}
}

// down passes on what the server replies.
func (c *pair) down() {
	buf := make([]byte, 64<<10)
	dropping := false
	for {
		if dropping {
			_ = c.server.SetReadDeadline(time.Now().Add(quiet))
		}
		n, err := c.server.Read(buf)
		if err != nil {
			if dropping {
				c.hang()
			} else if t, ok := c.client.(*net.TCPConn); ok {
				_ = t.CloseWrite()
			}
			return
		}
		c.mu.Lock()
		f, got := Fault{}, c.got
		if c.armed { // what came before does not count
			f = c.fault
			c.got += int64(n)
		}
		c.mu.Unlock()
		if !c.proxy.wait(f.Delay) {
			return
		}
		switch {
		case f.DropReply || dropping:
			dropping = true
			continue
		case f.CutDown > 0 && got+int64(n) >= f.CutDown:
			_, _ = c.client.Write(buf[:f.CutDown-got]) // it is the end in any case
			c.server.Close()
			c.client.Close() // not reset: what was passed on is to arrive
			return
		}
		if _, err := c.client.Write(buf[:n]); err != nil {
			return
		}
	}
}
