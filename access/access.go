// Package access says who may do what: the tokens of a file, their scopes, the
// clusters they are confined to and the rates they are held to.
//
// A request that came with a token carries its Grant in its context. Without a
// tokens file there are no grants; the nil Grant allows what it is asked.
package access

import (
	"context"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// A Scope is one kind of thing a token may do.
type Scope string

const (
	Write Scope = "write" // remote write
	Read  Scope = "read"  // ask the books
	Admin Scope = "admin" // what looks inside the process or changes it
)

// Scopes lists all of them.
var Scopes = []Scope{Write, Read, Admin}

// A Grant is what the bearer of one token may do. It is safe for concurrent use.
type Grant struct {
	name     string
	scopes   []Scope
	clusters []string // sorted; nil: all
	samples  *rate.Limiter
	queries  *rate.Limiter
}

// Name returns the token's name, which is no secret.
func (g *Grant) Name() string {
	if g == nil {
		return ""
	}
	return g.name
}

// Scopes returns what the token may do.
func (g *Grant) Scopes() []Scope {
	if g == nil {
		return nil
	}
	return g.scopes
}

// May reports whether the token has a scope.
func (g *Grant) May(s Scope) bool { return g == nil || slices.Contains(g.scopes, s) }

// Clusters returns the clusters that the token is confined to, sorted; nil means
// all. The caller must not change it.
func (g *Grant) Clusters() []string {
	if g == nil {
		return nil
	}
	return g.clusters
}

// Ask takes one question off the token's rate. It returns after how long to ask
// again when there are none left.
func (g *Grant) Ask(now time.Time) (wait time.Duration, ok bool) {
	if g == nil || g.queries == nil || g.queries.AllowN(now, 1) {
		return 0, true
	}
	return until(g.queries, now, 1), false
}

// SamplesDue returns how long a sender has to wait before its next request may
// be read, 0 when it need not. How many samples a body holds is known only
// after it has been read, so a request is let in while there is anything left,
// and may leave a debt.
func (g *Grant) SamplesDue(now time.Time) time.Duration {
	if g == nil || g.samples == nil || g.samples.TokensAt(now) > 0 {
		return 0
	}
	return max(until(g.samples, now, 0), time.Millisecond)
}

// SpendSamples takes n samples off the token's rate, as a debt if need be.
func (g *Grant) SpendSamples(now time.Time, n int) {
	if g == nil || g.samples == nil {
		return
	}
	for n > 0 {
		part := min(n, g.samples.Burst())
		g.samples.ReserveN(now, part)
		n -= part
	}
}

// SamplesPerSecond returns the rate the token's samples are held to, 0 for none.
func (g *Grant) SamplesPerSecond() float64 {
	if g == nil || g.samples == nil {
		return 0
	}
	return float64(g.samples.Limit())
}

func until(l *rate.Limiter, now time.Time, n float64) time.Duration {
	return time.Duration((n - l.TokensAt(now)) / float64(l.Limit()) * float64(time.Second))
}

// burstSeconds is how many seconds' worth of a rate may be used at once: senders
// and pages come in bursts.
const burstSeconds = 5

// limiter returns what holds to perSecond, nil where that is 0. One that was
// there before keeps its level, so that reading the file again gives nothing away.
func limiter(before *rate.Limiter, perSecond float64) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	burst := max(1, int(perSecond*burstSeconds))
	switch {
	case before == nil:
		return rate.NewLimiter(rate.Limit(perSecond), burst)
	case before.Limit() != rate.Limit(perSecond):
		before.SetLimit(rate.Limit(perSecond))
		before.SetBurst(burst)
	}
	return before
}

type key struct{}

// With returns a context that carries g.
func With(ctx context.Context, g *Grant) context.Context { return context.WithValue(ctx, key{}, g) }

// From returns the grant of a request's context; nil where there is none.
func From(ctx context.Context) *Grant {
	g, _ := ctx.Value(key{}).(*Grant)
	return g
}
