package transform

import (
	"errors"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/transform/tariff"
)

// Idle policies: who pays for what a node draws while idle.
const (
	IdleSeparate     = "separate"     // nobody: it stands in the books as __idle__
	IdleProportional = "proportional" // by the energy used in the window
	IdleEven         = "even"         // every container and VM of the node the same
)

// Config says how readings become charges.
type Config struct {
	Window     time.Duration `yaml:"window"`      // length of a window; divides an hour
	IdlePolicy string        `yaml:"idle_policy"` // separate, proportional or even
	RulesFile  string        `yaml:"rules_file"`  // classification rules; empty for the built-in ones
	MaxPods    int           `yaml:"max_pods"`    // pods remembered at once
	// ForgetPodsAfter is how long a pod is remembered from which no container
	// or VM with an open account is described.
	ForgetPodsAfter time.Duration `yaml:"forget_pods_after"`
	Cost            tariff.Config `yaml:"cost"`
}

// DefaultConfig returns the configuration that wattledger.yaml documents.
func DefaultConfig() Config {
	return Config{
		Window:          time.Minute,
		IdlePolicy:      IdleSeparate,
		MaxPods:         200_000,
		ForgetPodsAfter: 48 * time.Hour,
		Cost:            tariff.DefaultConfig(),
	}
}

// Check says what is wrong with c.
func (c Config) Check() error {
	switch c.IdlePolicy {
	case IdleSeparate, IdleProportional, IdleEven:
	default:
		return fmt.Errorf("idle_policy %q: allowed are separate, proportional, even", c.IdlePolicy)
	}
	switch {
	case c.Window < time.Minute || time.Hour%c.Window != 0 || c.Window%time.Minute != 0:
		return fmt.Errorf("window %v: must be whole minutes and divide an hour", c.Window)
	case c.MaxPods <= 0:
		return errors.New("max_pods must be above 0")
	case c.ForgetPodsAfter < time.Hour:
		return fmt.Errorf("forget_pods_after %v: must be at least an hour", c.ForgetPodsAfter)
	}
	t, err := tariff.New(c.Cost)
	if err == nil {
		err = t.Aligned(c.Window)
	}
	if err != nil {
		return fmt.Errorf("cost: %w", err)
	}
	return nil
}
