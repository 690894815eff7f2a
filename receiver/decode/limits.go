package decode

import (
	"errors"
	"fmt"
	"time"
)

// Limits bound what one request may hold. Every limit is named in the answer
// that it causes.
type Limits struct {
	// Of a request. One that breaks these is refused as a whole.
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
}

// MaxOffsetBytes keeps offsets into a decoded body within 32 bits.
const MaxOffsetBytes = 1 << 30

// Check names the first limit that cannot work.
func (l *Limits) Check() error {
	for _, one := range []struct {
		name  string
		value int
	}{
		{"max_decoded_bytes", l.MaxDecodedBytes},
		{"max_series_per_request", l.MaxSeriesPerRequest},
		{"max_samples_per_request", l.MaxSamplesPerRequest},
		{"max_symbols", l.MaxSymbols},
		{"max_labels_per_series", l.MaxLabelsPerSeries},
		{"max_label_name_bytes", l.MaxLabelNameBytes},
		{"max_label_value_bytes", l.MaxLabelValueBytes},
		{"max_label_set_bytes", l.MaxLabelSetBytes},
		{"max_future", int(l.MaxFuture / time.Millisecond)},
	} {
		if one.value <= 0 {
			return fmt.Errorf("%s must be above 0, not %d", one.name, one.value)
		}
	}
	if l.MaxDecodedBytes > MaxOffsetBytes {
		return fmt.Errorf("max_decoded_bytes must not exceed %d", MaxOffsetBytes)
	}
	return nil
}

// Errors of a body that is refused as a whole.
var (
	ErrWrongSchema = errors.New("body does not fit its content type")
	ErrCompression = errors.New("undecodable body")
	ErrMalformed   = errors.New("malformed protobuf")
	ErrLimit       = errors.New("over a limit")
)

// A limitError says which limit of a request was broken.
type limitError struct {
	name  string // the setting
	limit int
}

func (e *limitError) Error() string {
	return fmt.Sprintf("request is over the limit %s (%d)", e.name, e.limit)
}

func (e *limitError) Is(target error) bool { return target == ErrLimit }

func overLimit(name string, limit int) error { return &limitError{name, limit} }
