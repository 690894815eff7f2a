// Package configs holds the configuration the product ships with and loads the
// one it runs with: a flag counts before the environment, the environment before
// the file, the file before the default.
//
// wattledger.yaml is embedded. It is the default and its documentation in one,
// so the two cannot disagree.
package configs

import (
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/receiver"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/store/redis"
	"github.com/wattledger/wattledger/transform"
	"github.com/wattledger/wattledger/transform/classify"
	"github.com/wattledger/wattledger/transform/dimension"
)

var (
	//go:embed wattledger.yaml
	defaults []byte
	//go:embed metrics.yaml
	metrics []byte
	//go:embed workloads.yaml
	workloads []byte
)

// Config is the whole configuration. Each package owns its part.
type Config struct {
	Web        Web              `yaml:"web"`
	Log        Log              `yaml:"log"`
	Storage    Storage          `yaml:"storage"`
	Kepler     Kepler           `yaml:"kepler"`
	Backfill   Backfill         `yaml:"backfill"`
	Receiver   receiver.Config  `yaml:"receiver"`
	Journal    journal.Config   `yaml:"journal"`
	Metrics    metric.Config    `yaml:"metrics"`
	Accounting counter.Config   `yaml:"accounting"`
	Transform  transform.Config `yaml:"transform"`
	Store      local.Config     `yaml:"store"`
	Dimensions dimension.Config `yaml:"dimensions"`
	Labels     dimension.Keep   `yaml:"labels"`
	API        httpapi.Config   `yaml:"api"`
	Query      Query            `yaml:"query"`
	InfluxDB   influx.Config    `yaml:"influxdb"`
	Redis      redis.Config     `yaml:"redis"`
}

// Web says where the service listens.
type Web struct {
	ListenAddress string `yaml:"listen_address"`
	ConfigFile    string `yaml:"config_file"`
	TokensFile    string `yaml:"tokens_file"`
	// What has an address of its own is not served at ListenAddress.
	IngestListenAddress     string `yaml:"ingest_listen_address"`
	OperationsListenAddress string `yaml:"operations_listen_address"`
	MaxConnections          int    `yaml:"max_connections"` // of each address
	// StopTime is how long requests in the works may take to end once the service
	// is told to stop.
	StopTime time.Duration `yaml:"stop_time"`
}

// CutOffTime is how long requests that were cut off may take to be booked.
const CutOffTime = 2 * time.Second

// gracePeriod is what Kubernetes gives a pod to stop unless told otherwise.
const gracePeriod = 30 * time.Second

// Log says what is logged and how.
type Log struct {
	Level  slog.Level `yaml:"level"`
	Format string     `yaml:"format"` // text or json
}

// Storage says where the books and the journal lie.
type Storage struct {
	Path             string        `yaml:"path"`
	FlushInterval    time.Duration `yaml:"flush_interval"`
	SnapshotInterval time.Duration `yaml:"snapshot_interval"`
	InspectInterval  time.Duration `yaml:"inspect_interval"` // 0: never
	StopTime         time.Duration `yaml:"stop_time"`        // for the last flush
}

// Query says who answers questions.
type Query struct {
	Engine string `yaml:"engine"` // local or influx
}

// Kepler says what is known of the Prometheus that sends.
type Kepler struct {
	PrometheusURL string        `yaml:"prometheus_url" secret:"url"`
	Interval      time.Duration `yaml:"interval"` // between two samples of a series
}

// Backfill says what a start does about samples that have not come.
type Backfill struct {
	OnStart string        `yaml:"on_start"` // off, warn or run
	MinGap  time.Duration `yaml:"min_gap"`
}

// A Setting is the name a flag or an environment variable has, and the key of
// the file that it takes the place of.
type Setting struct {
	Name, Key, Usage string
}

// Flags are the flags of every command, named as Prometheus names its own.
var Flags = []Setting{
	{"config.file", "", "Configuration file; without it the built-in defaults hold."},
	{"web.listen-address", "web.listen_address", "Address to listen on."},
	{"web.config.file", "web.config_file", "File that enables TLS and authentication."},
	{"storage.path", "storage.path", "Folder of the books and the journal."},
	{"log.level", "log.level", "debug, info, warn or error."},
	{"log.format", "log.format", "text or json."},
}

// Variables are the environment variables that are read. Each may have the
// suffix _FILE and then names a file that holds the value.
var Variables = []Setting{
	{"KEPLER_PROMETHEUS_URL", "kepler.prometheus_url", ""},
	{"KEPLER_METRICS_INTERVAL", "kepler.interval", ""},
	{"ELECTRICITY_RATE", "transform.cost.electricity_rate", ""},
	{"COOLING_FACTOR", "transform.cost.cooling_factor", ""},
	{"CARBON_RATE", "transform.cost.carbon_rate", ""},
	{"REDIS_URL", "redis.url", ""},
	{"INFLUXDB_URL", "influxdb.url", ""},
	{"INFLUXDB_BUCKET", "influxdb.bucket", ""},
	{"INFLUXDB_ORG", "influxdb.org", ""},
	{"INFLUXDB_TOKEN", "influxdb.token", ""},
}

// Load returns the configuration in force, checked. flags holds what was given
// on the command line, by the names in Flags.
func Load(flags map[string]string, getenv func(string) string) (*Config, error) {
	c := Default()
	if path := flags["config.file"]; path != "" {
		file, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("config.file: %w", err)
		}
		if err := c.read(file); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, v := range Variables {
		value, err := variable(v.Name, getenv)
		if err != nil {
			return nil, err
		}
		if value == "" {
			continue
		}
		if err := c.set(v.Key, value); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
	}
	for name, value := range flags {
		i := slices.IndexFunc(Flags, func(s Setting) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown flag %q", name)
		}
		if Flags[i].Key == "" {
			continue
		}
		if err := c.set(Flags[i].Key, value); err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
	}
	if d := Default(); c.Kepler.Interval != d.Kepler.Interval && c.Accounting.MaxGaugeGap == d.Accounting.MaxGaugeGap {
		c.Accounting.MaxGaugeGap = 3 * c.Kepler.Interval
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	return c, nil
}

// Default returns the configuration of wattledger.yaml.
func Default() *Config {
	c := &Config{}
	if err := c.read(defaults); err != nil {
		panic("wattledger.yaml: " + err.Error()) // a test keeps this from ever being built
	}
	return c
}

// variable returns an environment variable's value, or that of the file which
// the variable with the suffix _FILE names.
func variable(name string, getenv func(string) string) (string, error) {
	value, path := getenv(name), getenv(name+"_FILE")
	if path == "" {
		return strings.TrimSpace(value), nil
	}
	if value != "" {
		return "", fmt.Errorf("%s and %s_FILE are both set", name, name)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(content)), nil
}

// Followers lists the engines that are to follow the books.
func (c *Config) Followers() (names []string) {
	if c.InfluxDB.URL != "" {
		names = append(names, "influxdb")
	}
	if c.Redis.URL != "" {
		names = append(names, "redis")
	}
	return names
}

// Ledger returns the configuration of the partition in storage.path.
func (c *Config) Ledger() (ledger.Config, error) {
	table, rules, err := c.Tables()
	if err != nil {
		return ledger.Config{}, err
	}
	dimensions, err := dimension.New(c.Dimensions, c.Labels)
	if err != nil {
		return ledger.Config{}, err
	}
	books := c.Store
	books.Followers = c.Followers()
	return ledger.Config{
		Path: c.Storage.Path, FlushInterval: c.Storage.FlushInterval, SnapshotInterval: c.Storage.SnapshotInterval, StopTime: c.Storage.StopTime,
		Table: table, Rules: rules, Dimensions: dimensions, Limits: c.Receiver.Limits, Accounting: c.Accounting, Transform: c.Transform, Journal: c.Journal, Store: books,
	}, nil
}

// Check says what is wrong with c, the files it names included.
func (c *Config) Check() error {
	switch {
	case c.Web.ListenAddress == "":
		return errors.New("web.listen_address must not be empty")
	case c.Log.Format != "text" && c.Log.Format != "json":
		return fmt.Errorf("log.format %q: allowed are text, json", c.Log.Format)
	case c.Storage.Path == "":
		return errors.New("storage.path must not be empty")
	case c.Storage.FlushInterval <= 0 || c.Storage.FlushInterval > time.Minute:
		return fmt.Errorf("storage.flush_interval %v: must be above 0 and at most 1m", c.Storage.FlushInterval)
	case c.Storage.SnapshotInterval < c.Storage.FlushInterval:
		return fmt.Errorf("storage.snapshot_interval %v: must not be shorter than flush_interval", c.Storage.SnapshotInterval)
	case c.Storage.StopTime <= 0:
		return fmt.Errorf("storage.stop_time %v: must be above 0", c.Storage.StopTime)
	case c.Web.StopTime <= 0:
		return fmt.Errorf("web.stop_time %v: must be above 0", c.Web.StopTime)
	case c.Web.StopTime+CutOffTime+c.Storage.StopTime >= gracePeriod:
		return fmt.Errorf("web.stop_time %v and storage.stop_time %v: with %v for requests that are cut off they must stay below %v, after which Kubernetes kills a pod",
			c.Web.StopTime, c.Storage.StopTime, CutOffTime, gracePeriod)
	case c.Storage.InspectInterval < 0:
		return fmt.Errorf("storage.inspect_interval %v: must not be below 0", c.Storage.InspectInterval)
	case !slices.Contains([]string{"off", "warn", "run"}, c.Backfill.OnStart):
		return fmt.Errorf("backfill.on_start %q: allowed are off, warn, run", c.Backfill.OnStart)
	case c.Backfill.OnStart == "run" && c.Kepler.PrometheusURL == "":
		return errors.New("backfill.on_start run: needs kepler.prometheus_url")
	case c.Backfill.MinGap < time.Minute:
		return fmt.Errorf("backfill.min_gap %v: must be at least 1m", c.Backfill.MinGap)
	case c.Kepler.Interval < time.Second || c.Kepler.Interval > 10*time.Minute:
		return fmt.Errorf("kepler.interval %v: must be from 1s to 10m", c.Kepler.Interval)
	}
	if err := c.Receiver.Check(); err != nil {
		return fmt.Errorf("receiver: %w", err)
	}
	if err := c.Accounting.Check(); err != nil {
		return err // names its section itself
	}
	if err := c.Transform.Check(); err != nil {
		return fmt.Errorf("transform: %w", err)
	}
	if _, err := dimension.New(c.Dimensions, c.Labels); err != nil {
		return err
	}
	if err := c.API.Check(); err != nil {
		return fmt.Errorf("api.%w", err)
	}
	if err := c.Store.Check(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for _, u := range []struct {
		key, value string
		schemes    []string
	}{
		{"kepler.prometheus_url", c.Kepler.PrometheusURL, []string{"http", "https"}},
		{"influxdb.url", c.InfluxDB.URL, []string{"http", "https"}},
		{"redis.url", c.Redis.URL, []string{"redis", "rediss", "unix"}},
	} {
		if u.value == "" {
			continue
		}
		// The error of url.Parse repeats the URL, password included.
		if parsed, err := url.Parse(u.value); err != nil || !slices.Contains(u.schemes, parsed.Scheme) {
			return fmt.Errorf("%s: want a URL that begins with %s://", u.key, strings.Join(u.schemes, ":// or "))
		}
	}
	switch {
	case c.Query.Engine != "local" && c.Query.Engine != "influx":
		return fmt.Errorf("query.engine %q: allowed are local, influx", c.Query.Engine)
	case c.Query.Engine == "influx" && c.InfluxDB.URL == "":
		return errors.New("query.engine influx: influxdb.url is not set")
	}
	if c.InfluxDB.URL != "" {
		if err := c.InfluxDB.Check(); err != nil {
			return err // names its section itself
		}
	}
	if c.Redis.URL != "" {
		if err := c.Redis.Check(); err != nil {
			return err
		}
	}
	if err := c.Web.check(); err != nil {
		return fmt.Errorf("web: %w", err)
	}
	_, _, err := c.Tables()
	return err
}

// check looks into the files that say who may do what as well.
func (w *Web) check() error {
	if w.MaxConnections <= 0 {
		return fmt.Errorf("max_connections must be above 0, not %d", w.MaxConnections)
	}
	if w.TokensFile == "" {
		return nil
	}
	if err := access.Check(w.TokensFile); err != nil {
		return err
	}
	if w.ConfigFile == "" {
		return nil
	}
	file, err := os.ReadFile(w.ConfigFile)
	if err != nil {
		return fmt.Errorf("config_file: %w", err)
	}
	var toolkit struct {
		Users map[string]string `yaml:"basic_auth_users"`
	}
	if err := yaml.Unmarshal(file, &toolkit); err == nil && len(toolkit.Users) > 0 {
		return fmt.Errorf("tokens_file and the basic_auth_users of config_file %s exclude each other: a request has one Authorization header", w.ConfigFile)
	}
	return nil
}

// Tables returns the metric table and the classification rules in force.
func (c *Config) Tables() (*metric.Table, *classify.Classifier, error) {
	table, err := metric.Parse(metrics)
	if err != nil {
		return nil, nil, fmt.Errorf("metrics.yaml: %w", err)
	}
	if c.Metrics.File != "" {
		file, err := os.ReadFile(c.Metrics.File)
		if err != nil {
			return nil, nil, fmt.Errorf("metrics.file: %w", err)
		}
		if table, err = table.Extend(file); err != nil {
			return nil, nil, fmt.Errorf("metrics.file %s: %w", c.Metrics.File, err)
		}
	}
	if table, err = table.Configure(c.Metrics); err != nil {
		return nil, nil, fmt.Errorf("metrics: %w", err)
	}
	name, file := "workloads.yaml", workloads
	if c.Transform.RulesFile != "" {
		name = "transform.rules_file " + c.Transform.RulesFile
		if file, err = os.ReadFile(c.Transform.RulesFile); err != nil {
			return nil, nil, fmt.Errorf("transform.rules_file: %w", err)
		}
	}
	rules, err := classify.ParseRules(file)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return table, rules, nil
}
