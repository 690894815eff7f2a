package httpapi

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/internal/refusal"
)

// An audience is who a route is for.
type audience uint8

const (
	forAdmins    audience = iota // the zero value, so that a route that says nothing is closed
	forOperators                 // tells of all clusters: admins, and readers who are confined to none
	forReaders
	forWriters
	forAll
)

// audience returns who may use the route. Who asks the books is a reader.
func (rt route) audience() audience {
	if rt.books {
		return forReaders
	}
	return rt.who
}

// authorize says with what grant a request may go on, or why it may not. Without
// a tokens file everybody may do everything, but what is for admins.
func (a *api) authorize(rt route, r *http.Request) (*access.Grant, error) {
	who := rt.audience()
	if err := a.crossOrigin.Check(r); err != nil {
		return nil, a.refuse("cross_origin", newProblem(http.StatusForbidden, "cross-origin", "Cross-origin request",
			"a page of another origin may not change anything here"))
	}
	tokens := a.ops.Tokens
	if tokens == nil && who != forAdmins {
		return nil, nil
	}
	var grant *access.Grant
	secret, given := bearer(r)
	if given && tokens != nil {
		if grant = tokens.Find(secret); grant == nil && who != forAll {
			return nil, a.refuse("unknown_token", unauthorized("the token is not known here; it may have been replaced", `, error="invalid_token"`))
		}
	}
	switch {
	case who == forAll:
		return grant, nil
	case who == forAdmins:
		return grant, a.authorizeAdmin(grant, r)
	case grant == nil:
		return nil, a.refuse("no_token", unauthorized("this route needs a token: Authorization: Bearer wlt_…", ""))
	}
	switch who {
	case forWriters:
		return grant, a.needs(grant, access.Write)
	case forOperators:
		if seesAll(grant) {
			return grant, nil
		}
		if err := a.needs(grant, access.Read); err != nil {
			return grant, err
		}
		return grant, a.refuse("clusters", newProblem(http.StatusForbidden, "confined-token", "Token is confined to clusters",
			fmt.Sprintf("the token %q is confined to clusters, and this route tells of all", grant.Name())))
	}
	if err := a.needs(grant, access.Read); err != nil {
		return grant, err
	}
	if wait, ok := grant.Ask(time.Now()); !ok {
		p := newProblem(http.StatusTooManyRequests, "too-many-requests", "Too many requests",
			fmt.Sprintf("the token %q has used up its queries_per_second", grant.Name()))
		p.retryAfterSeconds = int(math.Ceil(wait.Seconds()))
		return grant, a.refuse("rate", p)
	}
	return grant, nil
}

// seesAll reports whether the bearer may be told of the process as a whole.
func seesAll(grant *access.Grant) bool {
	return grant != nil && (grant.May(access.Admin) || grant.May(access.Read) && grant.Clusters() == nil)
}

// authorizeAdmin lets in who shows an admin's token, and whoever is on this very
// machine as long as there is no such token to show.
func (a *api) authorizeAdmin(grant *access.Grant, r *http.Request) error {
	tokens := a.ops.Tokens
	switch {
	case grant != nil:
		return a.needs(grant, access.Admin)
	case tokens != nil && tokens.Has(access.Admin):
		return a.refuse("no_token", unauthorized("this route needs a token of scope admin: Authorization: Bearer wlt_…", ""))
	case fromHere(r):
		return nil
	}
	return a.refuse("not_local", newProblem(http.StatusForbidden, "local-only", "Answered on its own host only",
		"without a token of scope admin this route answers on its own host only "+
			"(kubectl port-forward leads there); wattledger token new --scope=admin makes a token, web.tokens_file names the file it goes into"))
}

func (a *api) needs(grant *access.Grant, scope access.Scope) error {
	if grant.May(scope) {
		return nil
	}
	var has []string
	for _, s := range grant.Scopes() {
		has = append(has, string(s))
	}
	p := newProblem(http.StatusForbidden, "missing-scope", "Missing scope",
		fmt.Sprintf("the token %q has scope %s; this route needs scope %s", grant.Name(), strings.Join(has, ", "), scope))
	p.challenge = fmt.Sprintf(`, error="insufficient_scope", scope=%q`, scope)
	return a.refuse("scope", p)
}

func unauthorized(detail, challenge string) *Problem {
	p := newProblem(http.StatusUnauthorized, "unauthorized", "Unauthorized", detail)
	p.challenge = challenge
	return p
}

// refuse counts a refusal.
func (a *api) refuse(reason string, p *Problem) error {
	a.metrics.refused.WithLabelValues(reason).Inc()
	return p
}

// refusedEvery is the least time between two log lines about refusals: whoever
// is refused can ask as often as he likes.
const refusedEvery = 10 * time.Second

// maxDrainBytes is how much of a refused body is taken so that its sender hears
// of the refusal; receivers of remote write take no more at a time.
const maxDrainBytes = 32 << 20

// refuseUnread answers a request that may not go on. Of its body nothing has been read.
func (a *api) refuseUnread(rt route, w *recorder, r *http.Request, id string, err error) {
	now := time.Now()
	if last := a.refusedAt.Load(); now.UnixNano()-last > int64(refusedEvery) && a.refusedAt.CompareAndSwap(last, now.UnixNano()) {
		a.logger.Warn("request refused; more within ten seconds are only counted", "route", rt.path, "remote", r.RemoteAddr, "request_id", id, "err", err)
	}
	if r.ContentLength == 0 {
		a.answer(rt, w, r, id, err)
		return
	}
	refusal.Begin(w)
	a.answer(rt, w, r, id, err)
	refusal.Drain(w, r, maxDrainBytes)
}

// bearer returns the token of a request.
func bearer(r *http.Request) (secret string, given bool) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(secret), strings.EqualFold(scheme, "Bearer")
}

// fromHere reports whether a request was made on this host, by somebody who meant
// this host: not one that a proxy here passes on for others, and not one of a
// browser that was told that some other name is 127.0.0.1.
func fromHere(r *http.Request) bool {
	for _, passedOn := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(passedOn)) > 0 {
			return false
		}
	}
	ours := func(ip netip.Addr) bool { return ip.IsLoopback() }
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		// Who comes from the very address that was called is here as well.
		own := addressOf(local.String())
		ours = func(ip netip.Addr) bool { return ip.IsLoopback() || ip.IsValid() && ip == own }
	}
	return ours(addressOf(r.RemoteAddr)) && (ours(addressOf(r.Host)) || strings.EqualFold(hostname(r.Host), "localhost"))
}

// addressOf returns the IP address in host:port or host, the zero one where it is none.
func addressOf(s string) netip.Addr {
	ip, err := netip.ParseAddr(hostname(s))
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap()
}

func hostname(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// maxAuditBytes bounds what of a request's parameters is logged.
const maxAuditBytes = 500

// audit leaves a line about what somebody did, or tried to do, to the process.
func (a *api) audit(rt route, r *http.Request, grant *access.Grant, id string, status int, err error) {
	who := grant.Name()
	if grant == nil {
		if status == http.StatusUnauthorized || status == http.StatusForbidden {
			return // nobody we know; see wattledger_http_refused_total
		}
		who = "this host"
	}
	parameters := access.Mask(r.URL.RawQuery)
	if len(parameters) > maxAuditBytes {
		parameters = strings.ToValidUTF8(parameters[:maxAuditBytes], "") + "…"
	}
	line := []any{"who", who, "remote", r.RemoteAddr, "request_id", id, "method", r.Method,
		"route", rt.path, "path", access.Mask(r.URL.EscapedPath()), "parameters", parameters, "status", status}
	if err != nil {
		line = append(line, "err", access.Mask(err.Error()))
	}
	a.logger.Info("admin action", line...)
}
