package receiver

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds what a sender may ask of the receiver. Every limit is named in
// the answer that it causes.
type Config struct {
	// Of a request. One that breaks these is refused as a whole with 400.
	MaxBodyBytes         int `yaml:"max_body_bytes"`    // as sent, compressed
	MaxDecodedBytes      int `yaml:"max_decoded_bytes"` // decompressed
	MaxSeriesPerRequest  int `yaml:"max_series_per_request"`
	MaxSamplesPerRequest int `yaml:"max_samples_per_request"`
	MaxSymbols           int `yaml:"max_symbols"` // remote write 2.0

	// Of a series. One that breaks these is left out of its request.
	MaxLabelsPerSeries int `yaml:"max_labels_per_series"`
	MaxLabelNameBytes  int `yaml:"max_label_name_bytes"`
	MaxLabelValueBytes int `yaml:"max_label_value_bytes"`
	MaxLabelSetBytes   int `yaml:"max_label_set_bytes"`

	// MaxFuture is how far a sample may lie ahead of the receiver's clock.
	MaxFuture time.Duration `yaml:"max_future"`

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
	MaxBodyBytes:          32 << 20,
	MaxDecodedBytes:       32 << 20,
	MaxSeriesPerRequest:   100_000,
	MaxSamplesPerRequest:  500_000,
	MaxSymbols:            300_000,
	MaxLabelsPerSeries:    64,
	MaxLabelNameBytes:     1 << 10,
	MaxLabelValueBytes:    16 << 10,
	MaxLabelSetBytes:      64 << 10,
	MaxFuture:             10 * time.Minute,
	MaxConcurrentRequests: 512,
	MaxInflightBodyBytes:  128 << 20,
	BodyTimeout:           20 * time.Second,
	MaxSenders:            200,
}

// maxOffsetBytes keeps offsets into a decoded body within 32 bits.
const maxOffsetBytes = 1 << 30

// Validate names the first setting that cannot work.
func (c *Config) Validate() error {
	for _, l := range []struct {
		name  string
		value int
	}{
		{"max_body_bytes", c.MaxBodyBytes},
		{"max_decoded_bytes", c.MaxDecodedBytes},
		{"max_series_per_request", c.MaxSeriesPerRequest},
		{"max_samples_per_request", c.MaxSamplesPerRequest},
		{"max_symbols", c.MaxSymbols},
		{"max_labels_per_series", c.MaxLabelsPerSeries},
		{"max_label_name_bytes", c.MaxLabelNameBytes},
		{"max_label_value_bytes", c.MaxLabelValueBytes},
		{"max_label_set_bytes", c.MaxLabelSetBytes},
		{"max_future", int(c.MaxFuture / time.Millisecond)},
		{"max_concurrent_requests", c.MaxConcurrentRequests},
		{"max_inflight_body_bytes", c.MaxInflightBodyBytes},
		{"body_timeout", int(c.BodyTimeout / time.Millisecond)},
		{"max_senders", c.MaxSenders},
	} {
		if l.value <= 0 {
			return fmt.Errorf("%s must be above 0, not %d", l.name, l.value)
		}
	}
	if c.MaxBodyBytes > maxOffsetBytes || c.MaxDecodedBytes > maxOffsetBytes {
		return fmt.Errorf("max_body_bytes and max_decoded_bytes must not exceed %d", maxOffsetBytes)
	}
	if c.MaxInflightBodyBytes < c.MaxBodyBytes {
		return errors.New("max_inflight_body_bytes must not be below max_body_bytes")
	}
	return nil
}

// A limitError says which limit of a request was broken.
type limitError struct {
	name  string // the setting
	limit int
}

func (e *limitError) Error() string {
	return fmt.Sprintf("request is over the limit %s (%d)", e.name, e.limit)
}

func (e *limitError) Is(target error) bool { return target == errLimit }

func overLimit(name string, limit int) error { return &limitError{name, limit} }
