package httpapi

import (
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/gorilla/mux"

	"github.com/wattledger/wattledger/internal/suggest"
)

// A handler parses, asks and writes; an error it returns is answered in one place.
type handler func(http.ResponseWriter, *http.Request) error

// A route is one path. Methods not named are answered 405; HEAD follows GET.
type route struct {
	path string
	get  handler
	post handler
	any  handler // whatever the method
	// who may use it. Nobody but admins unless it says so, or asks the books.
	who audience
	// books says that the route asks the store, so its time and its number are bounded.
	books bool
	// envelope says that errors come as OpenCost writes them.
	envelope bool
	// prefix routes everything below path as well.
	prefix bool
}

// routes is the route table: every path that is served, and nothing else is.
func (a *api) routes() []route {
	rs := []route{
		{path: "/", get: a.servePage, who: forAll},
		{path: "/ui/", get: a.servePage, who: forAll, prefix: true},
		{path: "/openapi.yaml", get: a.serveOpenAPI, who: forAll},
		{path: "/docs", get: a.serveDocs, who: forAll},

		{path: "/api/v1/write", post: a.ingest, who: forWriters},
		{path: "/api/v1/push", post: a.ingest, who: forWriters},
		{path: "/api/v1/receive", post: a.ingest, who: forWriters},

		{path: "/power/current", get: a.powerCurrent, books: true},
		{path: "/power/containers", get: a.powerContainers, books: true},
		{path: "/power/nodes", get: a.powerNodes, books: true},
		{path: "/cost/current", get: a.costCurrent, books: true},
		{path: "/cost/summary", get: a.costSummary, books: true},
		{path: "/cost/hourly", get: a.costBy(hourly), books: true},
		{path: "/cost/daily", get: a.costBy(daily), books: true},
		{path: "/cost/monthly", get: a.costBy(monthly), books: true},
		{path: "/cost/workload/{workload_id}", get: a.costWorkload, books: true},
		{path: "/dimensions", get: a.dimensions, books: true},
		{path: "/profile/workload-types", get: a.profileWorkloadTypes, books: true},
		{path: "/profile/classify", post: a.profileClassify, who: forReaders},

		{path: "/-/healthy", get: a.healthy, who: forAll},
		{path: "/health", get: a.healthy, who: forAll},
		{path: "/healthz", get: a.healthy, who: forAll},
		{path: "/live", get: a.healthy, who: forAll},
		{path: "/-/ready", get: a.ready, who: forAll},
		{path: "/ready", get: a.ready, who: forAll},
		{path: "/metrics", get: pass(a.ops.Metrics), who: forOperators},
		{path: "/debug/senders", get: pass(a.ops.Senders)},
		{path: "/debug/quarantine", get: pass(a.ops.Quarantine)},
		{path: "/api/v1/status/config", get: a.statusConfig, who: forOperators},
	}
	rs = append(rs, a.opencostRoutes()...)
	rs = append(rs, a.adminRoutes()...)
	if a.cfg.Pprof {
		rs = append(rs,
			route{path: "/debug/pprof/cmdline", get: pass(http.HandlerFunc(pprof.Cmdline))},
			route{path: "/debug/pprof/profile", get: pass(http.HandlerFunc(pprof.Profile))},
			route{path: "/debug/pprof/symbol", get: pass(http.HandlerFunc(pprof.Symbol)), post: pass(http.HandlerFunc(pprof.Symbol))},
			route{path: "/debug/pprof/trace", get: pass(http.HandlerFunc(pprof.Trace))},
			route{path: "/debug/pprof/", get: pass(http.HandlerFunc(pprof.Index)), prefix: true},
		)
	}
	return rs
}

// A Part is a share of the routes that may have a listener of its own.
type Part uint8

const (
	PartIngest     Part = 1 << iota // remote write
	PartQueries                     // the books, and the page
	PartOperations                  // the process: metrics, debugging, administration
)

// part returns the parts a route belongs to. Health, readiness and the
// description belong to all.
func (rt route) part() Part {
	switch rt.audience() {
	case forWriters:
		return PartIngest
	case forReaders:
		return PartQueries
	case forAll:
		if rt.path == "/" || rt.path == "/ui/" {
			return PartQueries
		}
		return PartIngest | PartQueries | PartOperations
	}
	return PartOperations
}

func (a *api) router(parts Part) http.Handler {
	m := mux.NewRouter()
	// A path is matched as it was sent: an escaped slash in a workload's id is
	// part of the id, and nothing is redirected.
	m.UseEncodedPath()
	m.SkipClean(true)
	var paths []string
	for _, rt := range a.routes() {
		if rt.part()&parts == 0 {
			continue
		}
		if rt.prefix {
			m.PathPrefix(rt.path).Handler(a.serve(rt))
			continue
		}
		m.Path(rt.path).Handler(a.serve(rt))
		paths = append(paths, rt.path)
	}
	m.NotFoundHandler = a.serve(route{path: "none", any: a.notFound(paths), who: forAll})
	return withoutModel(m)
}

// methods returns what a route answers, as the Allow header says it.
func (rt route) methods() string {
	var ms []string
	if rt.get != nil {
		ms = append(ms, "GET", "HEAD")
	}
	if rt.post != nil {
		ms = append(ms, "POST")
	}
	return strings.Join(append(ms, "OPTIONS"), ", ")
}

func (rt route) handler(method string) handler {
	switch {
	case rt.any != nil:
		return rt.any
	case method == http.MethodGet, method == http.MethodHead:
		return rt.get
	case method == http.MethodPost:
		return rt.post
	}
	return nil
}

func (a *api) notFound(paths []string) handler {
	return func(_ http.ResponseWriter, r *http.Request) error {
		p := newProblem(http.StatusNotFound, "not-found", "No such route", "there is no route "+r.URL.Path)
		if n := suggest.Nearest(r.URL.Path, paths); n != "" {
			p.Detail += "; did you mean " + n + "?"
		}
		return p
	}
}

// pass hands a request to a handler of another package.
func pass(h http.Handler) handler {
	if h == nil {
		return func(http.ResponseWriter, *http.Request) error {
			return newProblem(http.StatusNotFound, "not-found", "Not served", "this process does not serve this route")
		}
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}
