package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config is what may be set about the Redis follower. Zero values but for the
// URL stand for the defaults.
type Config struct {
	// URL is redis://, rediss:// or unix://, with user, password and database.
	// With ?addr=host:port (once for each further node) it is a cluster, with
	// ?master_name=… a Sentinel.
	URL      string        `yaml:"url" secret:"url"`
	Prefix   string        `yaml:"prefix"`            // of every key: wattledger
	Interval time.Duration `yaml:"interval"`          // between two samples of a series: 30s; current values live three times as long
	Charges  time.Duration `yaml:"charges_retention"` // how long windows stay in their stream: 24h
	Hours    time.Duration `yaml:"hours_retention"`   // how long hours stay in theirs: 90 days
	Shard    string        `yaml:"-"`                 // the hash tag: 0
	Producer string        `yaml:"-"`                 // who writes, for whoever looks at meta: wattledger
}

// DefaultConfig returns the defaults as they can be written down; without a URL
// nothing is written.
func DefaultConfig() Config {
	return Config{Prefix: "wattledger", Charges: 24 * time.Hour, Hours: 90 * 24 * time.Hour}
}

func (c Config) withDefaults() Config {
	text := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	span := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	d := DefaultConfig()
	text(&c.Prefix, d.Prefix)
	text(&c.Shard, "0")
	text(&c.Producer, "wattledger")
	span(&c.Interval, 30*time.Second)
	span(&c.Charges, d.Charges)
	span(&c.Hours, d.Hours)
	return c
}

// dial returns a client for a URL. It does not connect yet.
//
// A command must never be tried twice behind our back: a lost reply would turn
// one entry into two. And a context that ends must end the command.
func dial(text string) (goredis.UniversalClient, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("not a URL") // its error repeats the password
	}
	query := u.Query()
	switch {
	case query.Has("master_name"):
		o, err := goredis.ParseFailoverURL(text)
		if err != nil {
			return nil, plain(err)
		}
		if o.Username == "" && o.Password == "" {
			o.Username, o.Password = o.SentinelUsername, o.SentinelPassword
			if !query.Has("sentinel_auth") {
				o.SentinelUsername, o.SentinelPassword = "", ""
			}
		}
		o.MaxRetries, o.ContextTimeoutEnabled, o.DialerRetries = -1, true, 1
		return goredis.NewFailoverClient(o), nil
	case query.Has("addr"):
		o, err := goredis.ParseClusterURL(text)
		if err != nil {
			return nil, plain(err)
		}
		o.MaxRetries, o.ContextTimeoutEnabled, o.DialerRetries = -1, true, 1
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		secure(o.TLSConfig)
		return goredis.NewClusterClient(o), nil
	}
	o, err := goredis.ParseURL(text)
	if err != nil {
		return nil, plain(err)
	}
	o.MaxRetries, o.ContextTimeoutEnabled, o.DialerRetries = -1, true, 1
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	secure(o.TLSConfig)
	return goredis.NewClient(o), nil
}

func secure(c *tls.Config) {
	if c != nil && c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
}

// plain leaves out the name of the package. The words that follow do not quote
// the password.
func plain(err error) error { return errors.New(strings.TrimPrefix(err.Error(), "redis: ")) }

// Check reports the first setting that cannot be right.
func (c Config) Check() error {
	switch {
	case c.URL == "":
		return errors.New("redis.url: empty")
	case strings.ContainsAny(c.Prefix+c.Shard, "{}"):
		return fmt.Errorf("redis.prefix %q: braces would change the hash tag", c.Prefix+c.Shard)
	case c.Charges != 0 && c.Charges < time.Hour:
		return fmt.Errorf("redis.charges_retention %v: want an hour or more", c.Charges)
	case c.Hours != 0 && c.Hours < 24*time.Hour:
		return fmt.Errorf("redis.hours_retention %v: want a day or more", c.Hours)
	}
	return nil
}
