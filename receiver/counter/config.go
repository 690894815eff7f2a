package counter

import (
	"fmt"
	"time"
)

// A Config says how samples are taken for readings.
type Config struct {
	// MaxSeries bounds the accounts and the pods' series that are remembered;
	// samples of further new series are refused.
	MaxSeries int `yaml:"max_series"`
	// ReorderWindow is how much older than an account's newest sample a sample
	// may be and still be told apart exactly.
	ReorderWindow time.Duration `yaml:"reorder_window"`
	// HAFailover is how long the elected replica of a pair may be silent before
	// the other one is listened to.
	HAFailover time.Duration `yaml:"ha_failover"`
	// MaxNodeWatts is the most a node can draw; more is quarantined.
	MaxNodeWatts float64 `yaml:"max_node_watts"`
	// MaxGaugeGap is the longest gap between two samples of a power gauge that
	// is integrated.
	MaxGaugeGap time.Duration `yaml:"max_gauge_gap"`
	// ForgetAfter is how long an account may be silent before its memory is
	// given back. Its last value is kept for ten times as long.
	ForgetAfter time.Duration `yaml:"forget_after"`
}

// DefaultConfig returns the configuration that wattledger.yaml documents.
func DefaultConfig() Config {
	return Config{
		MaxSeries:     4_000_000,
		ReorderWindow: 5 * time.Minute,
		HAFailover:    45 * time.Second,
		MaxNodeWatts:  20_000,
		MaxGaugeGap:   90 * time.Second,
		ForgetAfter:   24 * time.Hour,
	}
}

// Check says what is wrong with c.
func (c Config) Check() error {
	for _, f := range []struct {
		key string
		bad bool
	}{
		{"max_series", c.MaxSeries <= 0},
		{"reorder_window", c.ReorderWindow <= 0 || c.ReorderWindow > time.Hour},
		{"ha_failover", c.HAFailover <= 0},
		{"max_node_watts", !(c.MaxNodeWatts > 0 && c.MaxNodeWatts <= 1e6)},
		{"max_gauge_gap", c.MaxGaugeGap <= 0},
		{"forget_after", c.ForgetAfter < c.ReorderWindow},
	} {
		if f.bad {
			return fmt.Errorf("accounting.%s is out of range", f.key)
		}
	}
	return nil
}
