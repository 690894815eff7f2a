package receiver

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wattledger/wattledger/receiver/decode"
	"github.com/wattledger/wattledger/receiver/journal"
)

// senderIdle is how long a sender must have been silent before another may take
// its place.
const senderIdle = 10 * time.Minute

// logEvery is the least time between two log lines about one sender.
const logEvery = 10 * time.Second

// A senderKey tells senders apart: two replicas behind one address are two.
type senderKey struct{ product, host, replica string }

func keyOf(r *http.Request) senderKey {
	return senderKey{product: decode.Clip(product(r.UserAgent()), 64), host: host(r.RemoteAddr)}
}

func (k senderKey) name() string {
	if k.replica == "" {
		return k.product + "@" + k.host
	}
	return k.product + "@" + k.host + "/" + k.replica
}

// A senders tells a bounded number of senders apart.
type senders struct {
	max    int
	mu     sync.RWMutex
	known  map[senderKey]*sender // guarded by mu
	newest map[senderKey]*sender // guarded by mu; the one that was added last, by what its key is without a replica
	others *sender               // all beyond max
}

func newSenders(max int) *senders {
	return &senders{
		max:    max,
		known:  make(map[senderKey]*sender),
		newest: make(map[senderKey]*sender),
		others: &sender{name: "others", agent: "others"},
	}
}

// A sender is what is known of one of those who write to us.
type sender struct {
	name string // product@host
	agent,
	address string

	mu          sync.Mutex // guards the rest
	lastSeen    time.Time
	lastLogged  time.Time
	protocol    journal.Protocol
	encoding    journal.Encoding
	requests    int
	retries     int
	codes       map[int]int
	samples     int
	filtered    int // series
	usable      int // series
	newestMs    int64
	aheadMs     int64 // the most that a sample was ahead of our clock
	rejected    [decode.NumReasons]int
	example     [decode.NumReasons]string
	generations []string
	prometheus  string
	replica     string
	families    map[string]decode.Family
	lastRefusal string
}

// find returns the sender of a request, nil if it is not known. A request that
// was refused before it was read is that of whoever was at its address before.
// The caller holds s.mu.
func (s *senders) find(key senderKey) *sender {
	if known := s.known[key]; known != nil || key.replica != "" {
		return known
	}
	return s.newest[key]
}

// of returns the sender of a request.
func (s *senders) of(key senderKey, now time.Time) *sender {
	s.mu.RLock()
	known := s.find(key)
	s.mu.RUnlock()
	if known != nil {
		return known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known = s.find(key); known != nil {
		return known
	}
	place := senderKey{product: key.product, host: key.host}
	if first := s.known[place]; first != nil && first.blank() { // refused until now, and now it is read
		delete(s.known, place)
	}
	if len(s.known) >= s.max && !s.forget(now) {
		return s.others
	}
	key = senderKey{strings.Clone(key.product), strings.Clone(key.host), strings.Clone(key.replica)}
	known = &sender{name: key.name(), agent: key.product, address: key.host, replica: key.replica, lastSeen: now}
	s.known[key] = known
	s.newest[senderKey{product: key.product, host: key.host}] = known
	return known
}

// unknown reports whether it is worth parsing a series to learn about the sender:
// its series may all be known from another.
func (s *senders) unknown(key senderKey) bool {
	s.mu.RLock()
	known := s.find(key)
	s.mu.RUnlock()
	return known == nil || known.unknown()
}

// forget makes room for a sender by forgetting the one that has been silent for
// longest. The caller holds s.mu.
func (s *senders) forget(now time.Time) bool {
	var oldest senderKey
	at := now
	for key, one := range s.known {
		one.mu.Lock()
		seen := one.lastSeen
		one.mu.Unlock()
		if seen.Before(at) {
			oldest, at = key, seen
		}
	}
	if now.Sub(at) < senderIdle {
		return false
	}
	if place := (senderKey{product: oldest.product, host: oldest.host}); s.newest[place] == s.known[oldest] {
		delete(s.newest, place)
	}
	delete(s.known, oldest)
	return true
}

// blank reports whether nothing of this sender was ever read.
func (s *sender) blank() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples == 0 && len(s.generations) == 0
}

// unknown reports whether nothing is known of what this sender sends.
func (s *sender) unknown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.generations) == 0
}

// note takes down a request that was answered. It says whether to log it.
func (s *sender) note(f form, code int, t *decode.Tally, seen *decode.Sighting, err error, now time.Time) (log bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastSeen = now
	s.requests++
	if f.attempt > 0 {
		s.retries++
	}
	if f.protocol != 0 {
		s.protocol = f.protocol
	}
	if f.encoding != 0 {
		s.encoding = f.encoding
	}
	if s.codes == nil {
		s.codes = make(map[int]int)
	}
	s.codes[code]++
	if err == nil || errors.Is(err, errRejected) {
		s.samples += t.Samples
		s.filtered += t.FilteredSeries
		s.usable += t.UsableSeries
		if t.SamplesWritten > 0 {
			s.newestMs = max(s.newestMs, t.NewestMs)
			s.aheadMs = max(s.aheadMs, t.NewestMs-now.UnixMilli())
		}
		if t.ExampleHasTime && t.AllAhead() {
			s.aheadMs = max(s.aheadMs, t.ExampleMs-now.UnixMilli())
		}
		for why, n := range t.Rejected {
			s.rejected[why] += n
			if s.example[why] == "" {
				s.example[why] = t.ExampleOfSeries[why]
			}
		}
		s.learn(seen)
	} else {
		s.lastRefusal = decode.Clip(err.Error(), 200)
	}
	if err == nil || code == http.StatusServiceUnavailable || now.Sub(s.lastLogged) < logEvery {
		return false
	}
	s.lastLogged = now
	return true
}

// learn takes down what new series tell. The caller holds s.mu.
func (s *sender) learn(seen *decode.Sighting) {
	if seen.Generation != "" && !slices.Contains(s.generations, seen.Generation) && len(s.generations) < 8 {
		s.generations = append(s.generations, seen.Generation)
	}
	if seen.Prometheus != "" {
		s.prometheus = seen.Prometheus
	}
	if seen.Replica != "" {
		s.replica = seen.Replica
	}
	for _, f := range seen.Families {
		if s.families == nil {
			s.families = make(map[string]decode.Family)
		}
		if _, ok := s.families[f.Name]; ok || len(s.families) < decode.MaxFamilies {
			s.families[f.Name] = f
		}
	}
}
