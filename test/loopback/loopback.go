// Package loopback gives tests addresses for servers that run as processes of
// their own and take no listener from whoever starts them.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports from here on are below those the kernel picks for outgoing connections
// and for port 0, which begin at 32768, and so is the port 10,000 further up that
// Redis takes for its cluster. A server can be stopped and started again without
// anything else taking its place meanwhile.
const (
	firstPort = 10_000
	ports     = 12_000
)

var (
	mu     sync.Mutex
	claims []net.Listener // guarded by mu: kept open until this process ends
)

// Address returns a host:port that nobody listens on and that no other process
// gets from here as long as this one lives.
func Address() (string, error) {
	mu.Lock()
	defer mu.Unlock()
	var failed error
	for range 1000 {
		port := firstPort + rand.IntN(ports)
		// A name that only one process can have, and that ends with it.
		claim, err := net.Listen("unix", fmt.Sprintf("@wattledger-test-port-%d", port))
		if err != nil {
			failed = err
			continue
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			claim.Close()
			failed = err
			continue
		}
		l.Close()
		claims = append(claims, claim)
		return address, nil
	}
	return "", fmt.Errorf("no free port from %d to %d: %w", firstPort, firstPort+ports-1, failed)
}
