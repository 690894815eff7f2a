package configs

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/receiver"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/wattledger/wattledger/store/influx"
	"github.com/wattledger/wattledger/store/local"
	"github.com/wattledger/wattledger/store/redis"
	"github.com/wattledger/wattledger/transform"
	"github.com/wattledger/wattledger/transform/tariff"
)

func noEnv(string) string { return "" }

func file(t testing.TB, text string) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wattledger.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"config.file": path}
}

// The shipped file says what each package does where nothing is set.
func TestDefaultIsEveryPackagesDefault(t *testing.T) {
	c, err := Load(nil, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: wattledger.yaml has\n%+v, the package\n%+v", name, got, want)
		}
	}
	f("receiver", c.Receiver, receiver.Default)
	f("journal", c.Journal, journal.Config{MaxBytes: journal.DefaultMaxBytes, SegmentBytes: journal.DefaultSegmentBytes})
	f("metrics", c.Metrics, metric.DefaultConfig())
	f("accounting", c.Accounting, counter.DefaultConfig())
	f("store", c.Store, local.DefaultConfig())
	f("influxdb", c.InfluxDB, influx.DefaultConfig())
	f("redis", c.Redis, redis.DefaultConfig())
	f("prices that nobody changed", c.Transform.Cost.IsDefault(), true)
	f("api", c.API, httpapi.Config{QueryTimeout: 30 * time.Second, MaxQueries: 20, MaxClassifyBodyBytes: 1 << 20, TimeZone: "UTC",
		Share: httpapi.Share{Costs: []string{}, By: "energy", Weights: map[string]uint64{}}})
	want := transform.DefaultConfig()
	want.Cost.Bands = []tariff.Band{}
	f("transform", c.Transform, want)
}

// Every key there is stands in the file, which is its documentation.
func TestShippedFileNamesEveryKey(t *testing.T) {
	var doc yaml.Node
	if err := yaml.Unmarshal(defaults, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(node *yaml.Node, kind reflect.Type, path string)
	walk = func(node *yaml.Node, kind reflect.Type, path string) {
		has := map[string]*yaml.Node{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			has[node.Content[i].Value] = node.Content[i+1]
		}
		for _, field := range reflect.VisibleFields(kind) {
			name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			if name == "-" || name == "" { // left out, or embedded: its fields are visited
				continue
			}
			if has[name] == nil {
				t.Errorf("wattledger.yaml does not have %s%s", path, name)
			} else if field.Type.Kind() == reflect.Struct {
				walk(has[name], field.Type, path+name+".")
			}
		}
	}
	walk(doc.Content[0], reflect.TypeFor[Config](), "")
	for i := range reflect.TypeFor[tariff.Band]().NumField() {
		key := reflect.TypeFor[tariff.Band]().Field(i).Tag.Get("yaml")
		if !regexp.MustCompile(`(?m)^    # .*` + key + `:`).Match(defaults) {
			t.Errorf("wattledger.yaml does not explain the key %s of a band", key)
		}
	}
}

func TestLoadPriority(t *testing.T) {
	flags := file(t, `
web: {listen_address: ":1"}
log: {level: debug}
storage: {path: from-file}
store: {minutes_retention: 60d}
journal: {max_bytes: 8GiB}
transform: {cost: {electricity_rate: 0.2, carbon_rate: 0.06, bands: [{from: "22:00", to: "06:00", electricity_rate: 0.1}]}}
influxdb: {bucket: 123}
`)
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"ELECTRICITY_RATE": "0.3", "KEPLER_METRICS_INTERVAL": "15s", "INFLUXDB_TOKEN_FILE": secret, "REDIS_URL": ""}
	flags["storage.path"] = "from-flag"
	c, err := Load(flags, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	f := func(key string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	f("web.listen_address", c.Web.Address(), ":1")
	f("log.level", c.Log.Level, slog.LevelDebug)
	f("storage.path", c.Storage.Path, "from-flag")
	f("minutes_retention", c.Store.MinutesRetention, 60*24*time.Hour)
	f("max_bytes", c.Journal.MaxBytes, int64(8<<30))
	f("electricity_rate", c.Transform.Cost.ElectricityPerKWh, 0.3)
	f("carbon_rate", c.Transform.Cost.CarbonRate, 0.06)
	f("cooling_factor", c.Transform.Cost.CoolingFactor, 1.3)
	f("bands", len(c.Transform.Cost.Bands), 1)
	f("bucket", c.InfluxDB.Bucket, "123")
	f("token", c.InfluxDB.Token, "s3cret")
	f("interval", c.Kepler.Interval, 15*time.Second)
	f("max_gauge_gap", c.Accounting.MaxGaugeGap, 45*time.Second)
	f("hours_retention", c.Store.HoursRetention, 396*24*time.Hour)
}

func TestLoadErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := Load(file(t, text), noEnv)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nerror is %v, want one with %q", text, err, want)
		}
	}
	f("log: {level: info}\ntransform:\n  windw: 1m\n", `line 3: unknown key "transform.windw"; did you mean "window"?`)
	f("wab: {}", `line 1: unknown key "wab"; did you mean "web"?`)
	f("transform:\n  cost:\n    bands:\n      - {colour: red}\n", `line 4: unknown key "transform.cost.bands.colour"`)
	f("store:\n  minutes_retention: 30 days\n", `line 2: store.minutes_retention: "30 days" is no duration`)
	f("store:\n  minutes_retention: 30\n", "is no duration")
	f("journal:\n  max_bytes: 4 gigs\n", `line 2: journal.max_bytes: "4 gigs" is no size`)
	f("receiver:\n  max_senders: many\n", "line 2: receiver.max_senders: \"many\" is not a whole number")
	f("log:\n  level: loud\n", "loud")
	f("web: 3\n", "line 1: web section: want keys with values")
	f("web: &a {}\nlog: *a\n", "line 2: log: aliases are not understood here")
	f("web: {}\nweb: {}\n", "already defined")
	f("web: {}\n---\nweb: {}\n", "more than one YAML document")
	f("web: [", "line 1")
	f("transform: {cost: {pue: 1.3}}", "transform: cost: pue needs cost_model physical")
	f("transform: {cost: {electricity_rate: .nan}}", "electricity_rate NaN")
	f("metrics: {book: all}", `book "all"`)
	f("metrics: {file: /does/not/exist}", "metrics.file: open /does/not/exist")
	f("transform: {rules_file: /does/not/exist}", "transform.rules_file: open /does/not/exist")
	f("log: {format: xml}", `log.format "xml"`)
	f("web: {max_connections: 0}", "web: max_connections must be above 0")
	f("web: {tokens_file: /does/not/exist}", "web: tokens file /does/not/exist: no such file")
	f("storage: {path: ''}", "storage.path must not be empty")
	f("kepler: {interval: 1h}", "kepler.interval 1h0m0s")
	f("receiver: {max_senders: 0}", "receiver: max_senders")
	f("accounting: {max_series: 0}", "accounting.max_series")
	f("store: {readers: 0}", "store: readers")
	f("redis: {url: 'http://x'}", "redis.url: want a URL that begins with redis://")
	f("redis: {url: 'redis://x', prefix: 'a{b'}", "redis.prefix")
	f("redis: {url: 'redis://x', charges_retention: 1m}", "redis.charges_retention")
	f("query: {engine: duckdb}", `query.engine "duckdb": allowed are local, influx`)
	f("query: {engine: influx}", "query.engine influx: influxdb.url is not set")
	f("influxdb: {url: 'http://x', batch_lines: 0}", "influxdb.batch_lines")
	f("influxdb: {url: 'http://x', minutes_retention: 5m}", "influxdb.minutes_retention")
	f("influxdb: {url: 'http://x', create_buckets: maybe}", `influxdb.create_buckets: "maybe" is not true or false`)

	_, err := Load(nil, func(name string) string { return map[string]string{"COOLING_FACTOR": "warm"}[name] })
	if err == nil || !strings.HasPrefix(err.Error(), "COOLING_FACTOR: ") {
		t.Errorf("error is %v, want one that begins with the variable", err)
	}
	_, err = Load(nil, func(name string) string {
		return map[string]string{"REDIS_URL": "redis://x", "REDIS_URL_FILE": "/x"}[name]
	})
	if err == nil || !strings.Contains(err.Error(), "REDIS_URL and REDIS_URL_FILE are both set") {
		t.Errorf("error is %v", err)
	}
	_, err = Load(nil, func(name string) string {
		return map[string]string{"REDIS_URL": "redis://:hunter2@h:port"}[name]
	})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v, want one without the password", err)
	}
	_, err = Load(map[string]string{"log.level": "loud"}, noEnv)
	if err == nil || err.Error() != `--log.level: "loud" is not debug, info, warn or error` {
		t.Errorf("error is %v, want one that names the flag and what it takes", err)
	}
	_, err = Load(nil, func(name string) string { return map[string]string{"ELECTRICITY_RATE": "0,12"}[name] })
	if err == nil || err.Error() != `ELECTRICITY_RATE: "0,12" is not a number` {
		t.Errorf("error is %v, want one that names the variable and what it takes", err)
	}
}

// All that is wrong is said at once, wherever it stands.
func TestLoadTellsAllFaults(t *testing.T) {
	_, err := Load(file(t, "wab: {}\nlog: {level: loud, format: xml}\nstore: {minutes_retention: 30}\nbackfill: {min_gap: 1s}\n"),
		func(name string) string { return map[string]string{"COOLING_FACTOR": "warm"}[name] })
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, want := range []string{`line 1: unknown key "wab"`, "line 2: log.level", "line 3: store.minutes_retention", "COOLING_FACTOR: ", `log.format "xml"`, "backfill.min_gap 1s"} {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) }) {
			t.Errorf("no line with %q:\n%v", want, err)
		}
	}
	if len(lines) != 6 {
		t.Errorf("%d lines, want 6:\n%v", len(lines), err)
	}
}

// Without tokens nobody but this machine is served, unless somebody says so.
func TestWebAddress(t *testing.T) {
	f := func(w Web, address string, open bool) {
		t.Helper()
		if w.Address() != address || w.Open() != open {
			t.Errorf("%+v listens on %s, open %v; want %s, %v", w, w.Address(), w.Open(), address, open)
		}
	}
	f(Web{}, "127.0.0.1:9201", false)
	f(Web{TokensFile: "x"}, ":9201", false)
	f(Web{ListenAddress: ":1"}, ":1", true)
	f(Web{ListenAddress: "localhost:1"}, "localhost:1", false)
	f(Web{ListenAddress: "[::1]:1"}, "[::1]:1", false)
	f(Web{IngestListenAddress: "10.0.0.1:1"}, "127.0.0.1:9201", true)
	f(Web{ListenAddress: ":1", ConfigFile: "x"}, ":1", false)
}

// The block that is printed is the one that is shipped, with another address.
func TestRemoteWrite(t *testing.T) {
	type block struct {
		Global struct {
			ExternalLabels map[string]string `yaml:"external_labels"`
		} `yaml:"global"`
		RemoteWrite []map[string]any `yaml:"remote_write"`
	}
	var got, want block
	if err := yaml.Unmarshal([]byte(RemoteWrite("http://x/write")), &got); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(prometheus), &want); err != nil {
		t.Fatal(err)
	}
	want.RemoteWrite[0]["url"] = "http://x/write"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMasked(t *testing.T) {
	c := Default()
	c.InfluxDB.Token = "hunter2"
	c.Redis.URL = "redis://user:hunter2@host:6379/0"
	c.InfluxDB.URL = "https://host/?token=hunter2"
	c.Kepler.PrometheusURL = "hunter2:%zz"
	text := c.Masked()
	if bytes.Contains(text, []byte("hunter2")) {
		t.Errorf("a secret shows:\n%s", text)
	}
	if !bytes.Contains(text, []byte("redis://user:")) || !bytes.Contains(text, []byte("host:6379/0")) {
		t.Errorf("more than the secret is masked:\n%s", text)
	}
	if c.InfluxDB.Token != "hunter2" {
		t.Error("Masked changed the configuration")
	}
	// Without secrets it is a configuration that means the same.
	back, err := Load(file(t, string(Default().Masked())), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, Default()) {
		t.Errorf("read back it is\n%+v, was\n%+v", back, Default())
	}
}

func TestExplain(t *testing.T) {
	c := Default()
	night := 0.06
	c.Transform.Cost.Bands = []tariff.Band{{Name: "night", From: "22:00", To: "06:00", ElectricityPerKWh: &night}}
	c.InfluxDB.URL, c.Redis.URL = "http://h", "redis://h"
	var b strings.Builder
	if err := c.Explain(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"kepler_node_cpu_joules_total: used of a node, zone dram as dram, package as cpu, joules, lifetime counter, first value never credited",
		"1 kWh costs 0.326 USD: electricity 0.12, cooling 0.156, carbon 0.05",
		"a PUE of 2.3 and 1 kgCO2e",
		"1. night: 22:00 to 06:00 electricity_rate 0.06",
		"receiver.max_symbols: 300000",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("Explain does not say %q:\n%s", want, b.String())
		}
	}
	for _, wrong := range []string{"redis.url is set", "influxdb.url is set"} {
		if strings.Contains(b.String(), wrong) {
			t.Errorf("Explain says %q:\n%s", wrong, b.String())
		}
	}
}

// The block that users paste lets through all that the metric table maps, and
// not the series it would ignore.
func TestPrometheusKeepRule(t *testing.T) {
	text, err := os.ReadFile("prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		RemoteWrite []struct {
			WriteRelabelConfigs []struct {
				Regex string `yaml:"regex"`
			} `yaml:"write_relabel_configs"`
		} `yaml:"remote_write"`
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	keep := regexp.MustCompile("^(?s:" + doc.RemoteWrite[0].WriteRelabelConfigs[0].Regex + ")$")
	table, _, err := Default().Tables()
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range table.Metrics() {
		if !keep.MatchString(metric) {
			t.Errorf("the keep rule drops %s, which the metric table maps", metric)
		}
	}
	for _, metric := range []string{"kepler_process_cpu_joules_total", "kepler_pod_cpu_watts", "kepler_container_cpu_watts", "kepler_node_cpu_info", "up", "kube_pod_status_phase"} {
		if keep.MatchString(metric) {
			t.Errorf("the keep rule lets %s through, which the metric table ignores", metric)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is needed: apt-get install prometheus")
	}
	if out, err := exec.Command(promtool, "check", "config", "prometheus.yaml").CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func TestDurationAndSize(t *testing.T) {
	d := func(text string, want time.Duration) {
		t.Helper()
		got, err := duration(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("duration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	d("30s", 30*time.Second)
	d("30d", 720*time.Hour)
	d("1w2d3h", (9*24+3)*time.Hour)
	d("0", 0)
	for _, bad := range []string{"", "5", "-5m", "d", "30 d", "999999w", "106751d24h"} {
		d(bad, -1)
	}
	s := func(text string, want int64) {
		t.Helper()
		got, err := size(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("size(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	s("0", 0)
	s("1048576", 1<<20)
	s("32MiB", 32<<20)
	s("1.5 GiB", 3<<29)
	s("4GB", 4e9)
	for _, bad := range []string{"", "MiB", "-1", "1.5", "1e9", "9999999TiB", "5m"} {
		s(bad, -1)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(defaults)
	f.Add([]byte("web: &a {listen_address: *a}\n"))
	f.Add([]byte("transform: {cost: {bands: [{from: 1}]}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := Default()
		if err := c.read(text); err != nil {
			return
		}
		c.Metrics.File, c.Transform.RulesFile = "", "" // no other files
		if c.Check() == nil && len(c.Masked()) == 0 {
			t.Fatal("no configuration to show")
		}
	})
}
