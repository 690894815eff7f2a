package journal

import "fmt"

// Config bounds the local engine. Zero means the default.
type Config struct {
	// MaxBytes is the size of all segments together; beyond it Append answers
	// ErrFull until Release has made room. At least two segments.
	MaxBytes int64 `yaml:"max_bytes"`
	// SegmentBytes is the size of one file, a multiple of 32 KiB. Release frees
	// whole files, and no record is larger than one.
	SegmentBytes int `yaml:"segment_bytes"`
}

const (
	DefaultMaxBytes     = 4 << 30
	DefaultSegmentBytes = 64 << 20
)

func (c Config) withDefaults() (Config, error) {
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	if c.SegmentBytes < 2*pageBytes || c.SegmentBytes%pageBytes != 0 {
		return c, fmt.Errorf("segment_bytes %d: must be a multiple of %d and at least %d", c.SegmentBytes, pageBytes, 2*pageBytes)
	}
	if c.MaxBytes < 2*int64(c.SegmentBytes) {
		return c, fmt.Errorf("max_bytes %d: must be at least twice segment_bytes %d", c.MaxBytes, c.SegmentBytes)
	}
	return c, nil
}
