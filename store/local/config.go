package local

import (
	"fmt"
	"time"
)

// Config is what a user may set about the local engine.
type Config struct {
	// MinutesRetention is how long single windows are kept, in event time.
	MinutesRetention time.Duration `yaml:"minutes_retention"`
	// HoursRetention is how long hourly sums are kept, in event time.
	HoursRetention time.Duration `yaml:"hours_retention"`
	// SealAfter is how long after its end, in event time, an hour stays open
	// for late charges. Later ones are still booked, at a higher price.
	SealAfter time.Duration `yaml:"seal_after"`
	// RecentWindow is how far back current power is answered from memory.
	RecentWindow time.Duration `yaml:"recent_window"`
	// Readers is how many queries may read at once.
	Readers int `yaml:"readers"`
	// Followers names the engines fed from this one. While it is empty the
	// outbox stays empty.
	Followers []string `yaml:"-"`
	// OutboxMaxBytes and OutboxMaxAge bound the outbox. A follower that is
	// further behind loses its place and has to resynchronise.
	OutboxMaxBytes int64         `yaml:"outbox_max_bytes"`
	OutboxMaxAge   time.Duration `yaml:"outbox_max_age"`
	// MaxDeadLetters is how much of what followers' backends refused is kept. A
	// follower that would need more waits until there is room.
	MaxDeadLetters int `yaml:"max_dead_letters"`
}

// DefaultConfig returns the configuration that is used where nothing is set.
func DefaultConfig() Config {
	return Config{
		MinutesRetention: 30 * 24 * time.Hour,
		HoursRetention:   396 * 24 * time.Hour, // 13 months
		SealAfter:        10 * time.Minute,
		RecentWindow:     10 * time.Minute,
		Readers:          4,
		OutboxMaxBytes:   1 << 30,
		OutboxMaxAge:     7 * 24 * time.Hour,
		MaxDeadLetters:   100_000,
	}
}

// Check returns an error that names the first setting that makes no sense.
func (c Config) Check() error {
	switch {
	case c.MinutesRetention < 2*time.Hour:
		return fmt.Errorf("minutes_retention: %v is shorter than 2h", c.MinutesRetention)
	case c.HoursRetention < c.MinutesRetention:
		return fmt.Errorf("hours_retention: %v is shorter than minutes_retention %v", c.HoursRetention, c.MinutesRetention)
	case c.SealAfter < 0 || c.SealAfter > c.MinutesRetention/2:
		return fmt.Errorf("seal_after: %v is not between 0 and half of minutes_retention", c.SealAfter)
	case c.RecentWindow < 0 || c.RecentWindow > time.Hour:
		return fmt.Errorf("recent_window: %v is not between 0 and 1h", c.RecentWindow)
	case c.Readers < 1:
		return fmt.Errorf("readers: %d is less than 1", c.Readers)
	case c.OutboxMaxBytes < 1<<20:
		return fmt.Errorf("outbox_max_bytes: %d is less than 1 MiB", c.OutboxMaxBytes)
	case c.OutboxMaxAge < time.Minute:
		return fmt.Errorf("outbox_max_age: %v is less than 1m", c.OutboxMaxAge)
	case c.MaxDeadLetters < 0:
		return fmt.Errorf("max_dead_letters: %d is less than 0", c.MaxDeadLetters)
	}
	return nil
}
