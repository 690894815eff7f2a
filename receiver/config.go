package receiver

import (
	"errors"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/receiver/decode"
)

// Config bounds what a sender may ask of the receiver. Every limit is named in
// the answer that it causes.
type Config struct {
	MaxBodyBytes  int `yaml:"max_body_bytes"` // as sent, compressed
	decode.Limits `yaml:",inline"`

	// Of the process. Beyond these the answer is 503.
	MaxConcurrentRequests int           `yaml:"max_concurrent_requests"`
	MaxInflightBodyBytes  int           `yaml:"max_inflight_body_bytes"` // bodies held at once, all requests together
	BodyTimeout           time.Duration `yaml:"body_timeout"`            // for one body to arrive

	// MaxSenders is how many senders are told apart in /debug/senders and in
	// metrics; the rest share one entry.
	MaxSenders int `yaml:"max_senders"`

	// Strict answers a sample that has another value at a time already booked
	// with 400. Otherwise it is counted and the first value stays.
	Strict bool `yaml:"strict"`
}

// Default holds the limits of an installation that sets none.
var Default = Config{
	MaxBodyBytes: 32 << 20,
	Limits: decode.Limits{
		MaxDecodedBytes:      32 << 20,
		MaxSeriesPerRequest:  100_000,
		MaxSamplesPerRequest: 500_000,
		MaxSymbols:           300_000,
		MaxLabelsPerSeries:   64,
		MaxLabelNameBytes:    1 << 10,
		MaxLabelValueBytes:   16 << 10,
		MaxLabelSetBytes:     64 << 10,
		MaxFuture:            10 * time.Minute,
	},
	MaxConcurrentRequests: 512,
	MaxInflightBodyBytes:  128 << 20,
	BodyTimeout:           20 * time.Second,
	MaxSenders:            200,
}

// Check names the first setting that cannot work.
func (c *Config) Check() error {
	for _, l := range []struct {
		name  string
		value int
	}{
		{"max_body_bytes", c.MaxBodyBytes},
		{"max_concurrent_requests", c.MaxConcurrentRequests},
		{"max_inflight_body_bytes", c.MaxInflightBodyBytes},
		{"body_timeout", int(c.BodyTimeout / time.Millisecond)},
		{"max_senders", c.MaxSenders},
	} {
		if l.value <= 0 {
			return fmt.Errorf("%s must be above 0, not %d", l.name, l.value)
		}
	}
	if err := c.Limits.Check(); err != nil {
		return err
	}
	if c.MaxBodyBytes > decode.MaxOffsetBytes {
		return fmt.Errorf("max_body_bytes must not exceed %d", decode.MaxOffsetBytes)
	}
	if c.MaxInflightBodyBytes < c.MaxBodyBytes {
		return errors.New("max_inflight_body_bytes must not be below max_body_bytes")
	}
	return nil
}
