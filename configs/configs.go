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
	"net"
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

// Address is where the service listens: on this machine alone, unless the
// configuration says otherwise or tokens say who may do what.
func (w *Web) Address() string {
	switch {
	case w.ListenAddress != "":
		return w.ListenAddress
	case w.TokensFile != "":
		return ":9201"
	}
	return "127.0.0.1:9201"
}

// Open reports whether other machines may do what this one may, without saying who they are.
func (w *Web) Open() bool {
	if w.TokensFile != "" || w.ConfigFile != "" {
		return false
	}
	for _, address := range []string{w.Address(), w.IngestListenAddress, w.OperationsListenAddress} {
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return true
		}
	}
	return false
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
	{"web.listen-address", "web.listen_address", "Address to listen on; 127.0.0.1:9201 without it, :9201 where there are tokens."},
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
	var list faults
	if path := flags["config.file"]; path != "" {
		file, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("config.file: %w", err)
		}
		list.add(path, c.read(file))
	}
	for _, v := range Variables {
		value, err := variable(v.Name, getenv)
		list.add("", err)
		if value != "" {
			list.add(v.Name, c.set(v.Key, value))
		}
	}
	for name, value := range flags {
		i := slices.IndexFunc(Flags, func(s Setting) bool { return s.Name == name })
		if i < 0 {
			list.add("", fmt.Errorf("unknown flag %q", name))
		} else if Flags[i].Key != "" {
			list.add("--"+name, c.set(Flags[i].Key, value))
		}
	}
	if d := Default(); c.Kepler.Interval != d.Kepler.Interval && c.Accounting.MaxGaugeGap == d.Accounting.MaxGaugeGap {
		c.Accounting.MaxGaugeGap = 3 * c.Kepler.Interval
	}
	list.add("", c.Check())
	if err := list.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// faults are all that is wrong, so that people mend it in one go.
type faults []error

// add takes what is wrong with the thing of a name, each fault of several by itself.
func (list *faults) add(name string, err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok && err != nil {
		for _, one := range several.Unwrap() {
			list.add(name, one)
		}
		return
	}
	if err != nil && name != "" {
		err = fmt.Errorf("%s: %w", name, err)
	}
	if err != nil {
		*list = append(*list, err)
	}
}

func (list faults) err() error { return errors.Join(list...) }

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

// Check says all that is wrong with c, the files it names included.
func (c *Config) Check() error {
	var list faults
	unless := func(ok bool, format string, values ...any) {
		if !ok {
			list.add("", fmt.Errorf(format, values...))
		}
	}
	unless(c.Log.Format == "text" || c.Log.Format == "json", "log.format %q: allowed are text, json", c.Log.Format)
	unless(c.Storage.Path != "", "storage.path must not be empty")
	unless(c.Storage.FlushInterval > 0 && c.Storage.FlushInterval <= time.Minute,
		"storage.flush_interval %v: must be above 0 and at most 1m", c.Storage.FlushInterval)
	unless(c.Storage.SnapshotInterval >= c.Storage.FlushInterval,
		"storage.snapshot_interval %v: must not be shorter than flush_interval", c.Storage.SnapshotInterval)
	unless(c.Storage.StopTime > 0, "storage.stop_time %v: must be above 0", c.Storage.StopTime)
	unless(c.Web.StopTime > 0, "web.stop_time %v: must be above 0", c.Web.StopTime)
	unless(c.Web.StopTime+CutOffTime+c.Storage.StopTime < gracePeriod,
		"web.stop_time %v and storage.stop_time %v: with %v for requests that are cut off they must stay below %v, after which Kubernetes kills a pod",
		c.Web.StopTime, c.Storage.StopTime, CutOffTime, gracePeriod)
	unless(c.Storage.InspectInterval >= 0, "storage.inspect_interval %v: must not be below 0", c.Storage.InspectInterval)
	unless(slices.Contains([]string{"off", "warn", "run"}, c.Backfill.OnStart), "backfill.on_start %q: allowed are off, warn, run", c.Backfill.OnStart)
	unless(c.Backfill.OnStart != "run" || c.Kepler.PrometheusURL != "", "backfill.on_start run: needs kepler.prometheus_url")
	unless(c.Backfill.MinGap >= time.Minute, "backfill.min_gap %v: must be at least 1m", c.Backfill.MinGap)
	unless(c.Kepler.Interval >= time.Second && c.Kepler.Interval <= 10*time.Minute, "kepler.interval %v: must be from 1s to 10m", c.Kepler.Interval)
	unless(c.Query.Engine == "local" || c.Query.Engine == "influx", "query.engine %q: allowed are local, influx", c.Query.Engine)
	unless(c.Query.Engine != "influx" || c.InfluxDB.URL != "", "query.engine influx: influxdb.url is not set")
	list.add("receiver", c.Receiver.Check())
	list.add("", c.Accounting.Check()) // names its section itself, as the next
	_, err := dimension.New(c.Dimensions, c.Labels)
	list.add("", err)
	list.add("transform", c.Transform.Check())
	if err := c.API.Check(); err != nil {
		list.add("", fmt.Errorf("api.%w", err))
	}
	list.add("store", c.Store.Check())
	list.add("", c.checkURLs())
	if c.InfluxDB.URL != "" {
		list.add("", c.InfluxDB.Check()) // names its section itself, as the next
	}
	if c.Redis.URL != "" {
		list.add("", c.Redis.Check())
	}
	list.add("web", c.Web.check())
	_, _, err = c.Tables()
	list.add("", err)
	return list.err()
}

func (c *Config) checkURLs() error {
	var list faults
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
			list.add("", fmt.Errorf("%s: want a URL that begins with %s://", u.key, strings.Join(u.schemes, ":// or ")))
		}
	}
	return list.err()
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
