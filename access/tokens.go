package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/time/rate"

	"github.com/wattledger/wattledger/internal/strictyaml"
)

// An Entry is a token as the file has it. Of the token itself it holds a hash.
type Entry struct {
	Name     string   `yaml:"name"`
	SHA256   string   `yaml:"sha256"`
	Scopes   []Scope  `yaml:"scopes,flow"`
	Clusters []string `yaml:"clusters,flow,omitempty"`
	// SamplesPerSecond and QueriesPerSecond are 0 for no bound.
	SamplesPerSecond float64 `yaml:"samples_per_second,omitempty"`
	QueriesPerSecond float64 `yaml:"queries_per_second,omitempty"`
}

// prefix lets people and secret scanners know a token when they see one.
const prefix = "wlt_"

var pattern = regexp.MustCompile(prefix + `[A-Za-z0-9_-]{43}`)

// Mask returns text with every token in it hidden.
func Mask(text string) string { return pattern.ReplaceAllString(text, prefix+"<secret>") }

// New returns a new token and its hash.
func New() (token, hash string) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	token = prefix + base64.RawURLEncoding.EncodeToString(b[:])
	sum := hashOf(token)
	return token, hex.EncodeToString(sum[:])
}

// hashOf is one round of SHA-256. Slow and salted hashes protect passwords, which
// can be guessed; the 256 random bits of a token cannot, and a slow hash for
// each request would only let anybody keep our processors busy.
func hashOf(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

const (
	maxFileBytes    = 1 << 20
	maxClusterBytes = 16 << 10 // of one token; they are written to the journal with each request
)

// Check says what is wrong with e.
func (e *Entry) Check() error {
	switch {
	case e.Name == "":
		return errors.New("name must not be empty")
	case len(e.Name) > 100 || strings.ContainsFunc(e.Name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("name must be at most 100 bytes without control characters")
	case pattern.MatchString(e.Name):
		return errors.New("name holds a token; give it a name that is no secret, and make a new token")
	case len(e.Scopes) == 0:
		return errors.New("scopes must not be empty: write, read, admin")
	case len(strings.Join(e.Clusters, ",")) > maxClusterBytes:
		return fmt.Errorf("clusters are over %d bytes together", maxClusterBytes)
	case slices.ContainsFunc(e.Clusters, func(c string) bool { return c == "" || strings.ContainsRune(c, 0) }):
		return errors.New("clusters: a name must not be empty; leave clusters out to mean all")
	case e.Clusters != nil && len(e.Clusters) == 0:
		return errors.New("clusters: must not be an empty list; leave it out to mean all")
	case len(e.Clusters) > 0 && slices.Contains(e.Scopes, Admin):
		return errors.New("clusters: a token of scope admin sees everything; make two tokens")
	}
	if sum, err := hex.DecodeString(e.SHA256); err != nil || len(sum) != sha256.Size {
		// What stands there may be the token itself, so it is not repeated.
		return errors.New("sha256 must be 64 hexadecimal digits, as wattledger token new prints them")
	}
	for _, s := range e.Scopes {
		if !slices.Contains(Scopes, s) {
			return fmt.Errorf("scope %q: allowed are write, read, admin", Mask(string(s)))
		}
	}
	for _, r := range []struct {
		name  string
		value float64
	}{{"samples_per_second", e.SamplesPerSecond}, {"queries_per_second", e.QueriesPerSecond}} {
		if !(r.value >= 0) || math.IsInf(r.value, 1) || r.value > 1e9 {
			return fmt.Errorf("%s must be from 0 (no bound) to 1e9", r.name)
		}
	}
	return nil
}

type token struct {
	hash  [sha256.Size]byte
	grant *Grant
}

// parse reads a tokens file.
func parse(file []byte) ([]Entry, error) {
	var doc struct {
		Tokens []Entry `yaml:"tokens"`
	}
	if err := strictyaml.Decode(file, &doc); err != nil {
		return nil, errors.New(Mask(err.Error()))
	}
	if len(doc.Tokens) == 0 {
		return nil, errors.New("holds no tokens: nobody could do anything")
	}
	names, hashes := map[string]bool{}, map[string]bool{}
	for i := range doc.Tokens {
		e := &doc.Tokens[i]
		err := e.Check()
		switch {
		case err != nil:
		case names[e.Name]:
			err = errors.New("the name is there twice")
		case hashes[strings.ToLower(e.SHA256)]:
			err = errors.New("the token is there twice")
		}
		if err != nil {
			return nil, fmt.Errorf("token %d (%.100q): %w", i+1, Mask(e.Name), err)
		}
		names[e.Name], hashes[strings.ToLower(e.SHA256)] = true, true
	}
	return doc.Tokens, nil
}

// grants returns what entries grant. Limiters of tokens that were there before live on.
func grants(entries []Entry, before []token) []token {
	list := make([]token, len(entries))
	for i, e := range entries {
		sum, _ := hex.DecodeString(e.SHA256) // checked
		t := token{hash: [sha256.Size]byte(sum)}
		var samples, queries *rate.Limiter
		if j := slices.IndexFunc(before, func(o token) bool { return o.hash == t.hash }); j >= 0 {
			samples, queries = before[j].grant.samples, before[j].grant.queries
		}
		t.grant = &Grant{name: e.Name, scopes: e.Scopes, samples: limiter(samples, e.SamplesPerSecond), queries: limiter(queries, e.QueriesPerSecond)}
		if len(e.Clusters) > 0 {
			t.grant.clusters = slices.Compact(slices.Sorted(slices.Values(e.Clusters)))
		}
		list[i] = t
	}
	return list
}

// Tokens are the tokens of a file that is read again when it changes.
type Tokens struct {
	path    string
	logger  *slog.Logger
	metrics *metrics

	mu   sync.RWMutex
	file []byte  // as it was read last, good or broken; guarded by mu
	list []token // of the last good one; guarded by mu
}

type metrics struct {
	tokens   prometheus.Gauge
	failures prometheus.Counter
	failing  prometheus.Gauge
}

// Open reads a tokens file. It starts nothing: see Run.
func Open(path string, logger *slog.Logger, reg prometheus.Registerer) (*Tokens, error) {
	f := promauto.With(reg)
	t := &Tokens{path: path, logger: logger, metrics: &metrics{
		tokens:   f.NewGauge(prometheus.GaugeOpts{Name: "wattledger_tokens", Help: "Tokens in force."}),
		failures: f.NewCounter(prometheus.CounterOpts{Name: "wattledger_tokens_reload_failures_total", Help: "Times the tokens file was found broken; the tokens before it stayed in force."}),
		failing:  f.NewGauge(prometheus.GaugeOpts{Name: "wattledger_tokens_reload_failing", Help: "1 while the tokens file is broken and older tokens are in force."}),
	}}
	if _, err := t.read(); err != nil {
		return nil, err
	}
	return t, nil
}

// Check says what is wrong with a tokens file.
func Check(path string) error {
	_, err := Open(path, slog.New(slog.DiscardHandler), nil)
	return err
}

// read takes the file in if it is another than before.
func (t *Tokens) read() (changed bool, err error) {
	file, err := load(t.path)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil && t.file != nil && bytes.Equal(file, t.file) {
		return false, nil
	}
	var entries []Entry
	if err == nil {
		entries, err = parse(file)
	}
	before := t.file
	t.file = append([]byte{}, file...)
	if err != nil {
		// A file that stays away is told once.
		return before == nil || !bytes.Equal(before, t.file), fmt.Errorf("tokens file %s: %w", t.path, err)
	}
	t.list = grants(entries, t.list)
	t.metrics.tokens.Set(float64(len(t.list)))
	return true, nil
}

// load reads a file that may not be larger than tokens need.
func load(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%d bytes are over %d", info.Size(), maxFileBytes)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) { // its path is said already
			return nil, p.Err
		}
	}
	return file, err
}

// every is how often the file is looked at. It is small, and reading it works
// with every way in which files are replaced, Kubernetes' links included.
const every = 2 * time.Second

// Run keeps the tokens as the file says until ctx ends. A file that is broken or
// gone leaves the tokens before it in force: a slip must not lock everybody out,
// since senders drop what is answered 401.
func (t *Tokens) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.reload()
		}
	}
}

func (t *Tokens) reload() {
	if info, err := os.Stat(t.path); err == nil {
		if age := time.Since(info.ModTime()); age >= 0 && age < time.Second {
			return // perhaps it is still being written
		}
	}
	changed, err := t.read()
	switch {
	case !changed:
	case err != nil:
		t.metrics.failures.Inc()
		t.metrics.failing.Set(1)
		t.logger.Error("tokens file not taken; the tokens before it stay in force", "err", err)
	default:
		t.metrics.failing.Set(0)
		t.logger.Info("tokens file read", "tokens", t.Len())
	}
}

// Find returns the grant of a token, nil where nobody has it. It takes the same
// time whatever of a token is right.
func (t *Tokens) Find(secret string) *Grant {
	sum := hashOf(secret)
	t.mu.RLock()
	defer t.mu.RUnlock()
	var found *Grant
	for i := range t.list {
		if subtle.ConstantTimeCompare(t.list[i].hash[:], sum[:]) == 1 {
			found = t.list[i].grant
		}
	}
	return found
}

// Has reports whether any token has a scope.
func (t *Tokens) Has(s Scope) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.ContainsFunc(t.list, func(k token) bool { return k.grant.May(s) })
}

// Len returns how many tokens are in force.
func (t *Tokens) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.list)
}
