package influx

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Config says where InfluxDB is and what of it may be changed. The names in
// messages are those of the configuration file.
type Config struct {
	URL    string `yaml:"url" secret:"url"`
	Bucket string `yaml:"bucket"` // windows; hours go to Bucket + "_hourly"
	Org    string `yaml:"org"`    // InfluxDB 2 and later
	Token  string `yaml:"token" secret:"all"`
	// CreateBuckets lets the follower create buckets that are missing.
	CreateBuckets bool `yaml:"create_buckets"`
	// MinutesRetention and HoursRetention are given to buckets created here; 0 keeps for ever.
	MinutesRetention time.Duration `yaml:"minutes_retention"`
	HoursRetention   time.Duration `yaml:"hours_retention"`
	Timeout          time.Duration `yaml:"timeout"`     // of one request
	BatchLines       int           `yaml:"batch_lines"` // in one request
	Gzip             bool          `yaml:"gzip"`
	CAFile           string        `yaml:"ca_file"` // empty: the system's
	CertFile         string        `yaml:"cert_file"`
	KeyFile          string        `yaml:"key_file"`
}

// DefaultConfig returns the defaults; without a URL nothing is written.
func DefaultConfig() Config {
	return Config{
		Bucket:           "power_metrics",
		CreateBuckets:    true,
		MinutesRetention: 30 * 24 * time.Hour,
		HoursRetention:   0,
		Timeout:          30 * time.Second,
		BatchLines:       5000,
		Gzip:             true,
	}
}

// Check reports the first setting that cannot be right.
func (c Config) Check() error {
	u, err := url.Parse(c.URL)
	switch {
	// The error of url.Parse repeats the URL, password included.
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("influxdb.url: want http://host:port or https://host:port")
	case c.Bucket == "" || strings.ContainsAny(c.Bucket, "/\"\n"):
		return fmt.Errorf("influxdb.bucket: %q is not a name of a bucket", c.Bucket)
	case c.MinutesRetention < 0 || c.HoursRetention < 0:
		return errors.New("influxdb.minutes_retention, influxdb.hours_retention: want 0 or more")
	case c.MinutesRetention > 0 && c.MinutesRetention < time.Hour, c.HoursRetention > 0 && c.HoursRetention < time.Hour:
		return errors.New("influxdb.minutes_retention, influxdb.hours_retention: InfluxDB keeps at least an hour")
	case c.Timeout <= 0:
		return errors.New("influxdb.timeout: want more than 0")
	case c.BatchLines < 1:
		return errors.New("influxdb.batch_lines: want 1 or more")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("influxdb.cert_file, influxdb.key_file: want both or neither")
	}
	return nil
}

// hourly is the bucket of hours.
func (c Config) hourly() string { return c.Bucket + "_hourly" }

// client returns what requests are made with.
func (c Config) client() (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("influxdb.ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("influxdb.ca_file: %s holds no certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("influxdb.cert_file: %w", err)
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{cert}
	}
	if c.Gzip {
		return &http.Client{Transport: zipped{t}, Timeout: c.Timeout}, nil
	}
	return &http.Client{Transport: t, Timeout: c.Timeout}, nil
}
