// Package httpapi answers questions about the books over HTTP: what draws power
// now, what it costs, by hour and by workload, and whether the nodes' sums
// close. It reads only the store; what arrives by remote write is handed to the
// receiver untouched.
//
// A handler is safe for concurrent use and keeps nothing between requests.
package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/opencost"
	"github.com/wattledger/wattledger/period"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/report"
	"github.com/wattledger/wattledger/store"
	"github.com/wattledger/wattledger/transform/classify"
)

// Config is what users may set.
type Config struct {
	// QueryTimeout bounds the work of one answer. 0 means 30 s.
	QueryTimeout time.Duration `yaml:"query_timeout"`
	// MaxQueries is how many questions the store is asked at once; more wait
	// for their turn within their own QueryTimeout. 0 means 20.
	MaxQueries int `yaml:"max_queries"`
	// MaxClassifyBodyBytes bounds the body of POST /profile/classify. 0 means 1 MiB.
	MaxClassifyBodyBytes int64 `yaml:"max_classify_body_bytes"`
	// TimeZone is the zone of words such as "today", plain dates and days where a
	// question names none, as the IANA database calls it. Empty means UTC.
	TimeZone string `yaml:"time_zone"`
	// Pprof serves /debug/pprof/.
	Pprof bool `yaml:"pprof"`
	// Share is what is divided over all others where a question does not say.
	Share Share `yaml:"share"`
	// Now is the clock; nil means time.Now.
	Now func() time.Time `yaml:"-"`
	// Dimensions are the names of those that are configured.
	Dimensions []string `yaml:"-"`
}

func (c Config) withDefaults() Config {
	if c.QueryTimeout <= 0 {
		c.QueryTimeout = 30 * time.Second
	}
	if c.MaxQueries <= 0 {
		c.MaxQueries = 20
	}
	if c.MaxClassifyBodyBytes <= 0 {
		c.MaxClassifyBodyBytes = 1 << 20
	}
	if c.TimeZone == "" {
		c.TimeZone = "UTC"
	}
	if c.Share.By == "" {
		c.Share.By = string(report.ShareByEnergy)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Check says what is wrong with c.
func (c Config) Check() error {
	if err := c.Share.check(); err != nil {
		return err
	}
	if _, err := period.Zone(c.withDefaults().TimeZone); err != nil {
		return fmt.Errorf("time_zone %q %w", c.TimeZone, err)
	}
	return nil
}

// A Classifier tells what type of workload a description is of. It has no side
// effects and may be called concurrently. *classify.Classifier is the one that ships.
type Classifier interface {
	ClassifyWithPower(s classify.Subject, watts []float64, step time.Duration) classify.Classification
}

// Operations are the answers that belong to the process and not to the books.
type Operations struct {
	Ingest  http.Handler // remote write; decides its own status codes
	Senders http.Handler // GET /debug/senders
	// Quarantine answers GET /debug/quarantine: the newest samples that were set
	// aside because they cannot be true.
	Quarantine http.Handler
	Metrics    http.Handler // GET /metrics
	// Ready returns what the process waits for or has trouble with. It is ready
	// when every check is.
	Ready func(context.Context) []Check
	// Reload reads the configuration again; nil when lifecycle is disabled.
	Reload func(context.Context) error
	// Backfill books what a Prometheus has stored and the books lack.
	Backfill Task
	// Rerate gives stored rows the prices in force; nil where it is not served.
	Rerate Task
	// Remap gives past energy its dimensions; nil where it is not served.
	Remap Task
	// ConfigYAML returns the configuration in force with its secrets masked.
	ConfigYAML func() string
	// Tokens says who may do what; nil means that everybody may do everything
	// but what is for admins, which is then for this machine only.
	Tokens *access.Tokens
	// Price returns the price in force at a time in Unix milliseconds. It is
	// asked only when an answer holds no row that would tell; nil means unknown.
	Price func(atMs int64) power.Price
	// DefaultPrices says that nobody set a price: those in force are the built-in ones.
	DefaultPrices bool
	Version       string
}

// A Check is one detail of readiness.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

type api struct {
	cfg        Config
	zone       *time.Location
	books      store.Querier
	reports    *report.Reports
	opencost   *opencost.Server
	classifier Classifier
	ops        Operations
	logger     *slog.Logger
	metrics    metrics
	page       page
	docs       docs
	slots      chan struct{} // one token per question being asked of the store
	busy       sync.Mutex    // held by the one task that may run: two would restate each other's rows
	// crossOrigin keeps pages of other origins from writing with the reach of
	// the browser they are open in.
	crossOrigin *http.CrossOriginProtection
	refusedAt   atomic.Int64 // Unix nanoseconds of the last line about a refusal
}

// Handlers are the routes.
type Handlers struct {
	http.Handler // every route
	api          *api
}

// Of returns the routes of some parts.
func (h Handlers) Of(parts Part) http.Handler { return h.api.router(parts) }

// New returns the routes. It starts nothing.
func New(cfg Config, books store.Querier, classifier Classifier, ops Operations, logger *slog.Logger, reg prometheus.Registerer) Handlers {
	cfg = cfg.withDefaults()
	zone, err := period.Zone(cfg.TimeZone)
	if err != nil { // Check tells of it
		zone = time.UTC
	}
	a := &api{
		cfg:         cfg,
		zone:        zone,
		books:       confined{books},
		reports:     report.New(confined{books}, ops.Price),
		classifier:  classifier,
		ops:         ops,
		logger:      logger,
		metrics:     newMetrics(reg),
		page:        newPage(),
		docs:        newDocs(),
		slots:       make(chan struct{}, cfg.MaxQueries),
		crossOrigin: http.NewCrossOriginProtection(),
	}
	a.opencost = opencost.New(a.reports, cfg.Now)
	return Handlers{a.router(PartIngest | PartQueries | PartOperations), a}
}
