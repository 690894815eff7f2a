package tariff

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// Cost models: how energy turns into money, by the formula at power.Price.
const (
	// SeedModel is the formula the system was specified with: overhead is the
	// cooling factor, factor and intensity are 1.
	SeedModel = "seed"
	// PhysicalModel is PUE and carbon intensity: overhead is PUE-1, factor is PUE.
	PhysicalModel = "physical"
)

// Config says what energy costs.
type Config struct {
	Model             string  `yaml:"cost_model"`              // seed or physical
	Currency          string  `yaml:"currency"`                // as answers name it
	ElectricityPerKWh float64 `yaml:"electricity_rate"`        // money per kWh, outside all tariff bands
	CoolingFactor     float64 `yaml:"cooling_factor"`          // seed: cooling cost per electricity cost
	CarbonRate        float64 `yaml:"carbon_rate"`             // seed: money per kWh; physical: money per kgCO2e
	PUE               float64 `yaml:"pue"`                     // physical: facility energy per IT energy
	CarbonKgPerKWh    float64 `yaml:"carbon_intensity_kg_kwh"` // physical: kgCO2e per kWh, outside all bands
	TimeZone          string  `yaml:"time_zone"`               // IANA name; bands are in its local time
	Bands             []Band  `yaml:"bands"`                   // the first band that holds decides
}

// A Band is a stretch of the day, the week or the calendar with its own price.
// Every condition that is given must hold.
type Band struct {
	Name              string   `yaml:"name"`
	From              string   `yaml:"from"`       // local time of day, "22:00"; with To before From the band crosses midnight
	To                string   `yaml:"to"`         // exclusive; "24:00" is the end of the day
	Days              []string `yaml:"days"`       // mon tue wed thu fri sat sun; of the day on which the band began
	FromDate          string   `yaml:"from_date"`  // "2026-06-01", or "06-01" for every year
	UntilDate         string   `yaml:"until_date"` // inclusive, in the same form
	ElectricityPerKWh *float64 `yaml:"electricity_rate"`
	CarbonKgPerKWh    *float64 `yaml:"carbon_intensity_kg_kwh"`
}

// DefaultConfig returns the configuration that wattledger.yaml documents.
func DefaultConfig() Config {
	return Config{
		Model:             SeedModel,
		Currency:          "USD",
		ElectricityPerKWh: 0.12,
		CoolingFactor:     1.3,
		CarbonRate:        0.05,
		TimeZone:          "UTC",
	}
}

// IsDefault says that nobody changed a price.
func (c Config) IsDefault() bool {
	if len(c.Bands) == 0 {
		c.Bands = nil
	}
	return reflect.DeepEqual(c, DefaultConfig())
}

func (c Config) check() error {
	amount := func(key string, v float64) error {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return fmt.Errorf("%s %v: must be a number, 0 or above", key, v)
		}
		return nil
	}
	if err := errors.Join(
		amount("electricity_rate", c.ElectricityPerKWh), amount("cooling_factor", c.CoolingFactor), amount("carbon_rate", c.CarbonRate),
		amount("pue", c.PUE), amount("carbon_intensity_kg_kwh", c.CarbonKgPerKWh),
	); err != nil {
		return err
	}
	if c.Currency == "" {
		return errors.New("currency must not be empty")
	}
	intensity := c.CarbonKgPerKWh != 0
	for _, b := range c.Bands {
		intensity = intensity || b.CarbonKgPerKWh != nil
	}
	switch c.Model {
	case SeedModel:
		if c.PUE != 0 {
			return errors.New("pue needs cost_model physical: the seed model has its overhead in cooling_factor")
		}
		if intensity {
			return errors.New("carbon_intensity_kg_kwh needs cost_model physical: the seed model counts 1 kgCO2e for each kWh")
		}
	case PhysicalModel:
		if c.PUE < 1 {
			return fmt.Errorf("pue %v: cost_model physical needs one of 1 or above", c.PUE)
		}
	default:
		return fmt.Errorf("cost_model %q: allowed are seed, physical", c.Model)
	}
	return nil
}

// String says when the band holds and what it changes.
func (b Band) String() string {
	var parts []string
	if b.Name != "" {
		parts = append(parts, b.Name+":")
	}
	if b.FromDate != "" {
		parts = append(parts, "from "+b.FromDate+" until "+b.UntilDate)
	}
	if len(b.Days) > 0 {
		parts = append(parts, "on "+strings.Join(b.Days, " "))
	}
	if b.From != "" {
		parts = append(parts, b.From+" to "+b.To)
	}
	if b.ElectricityPerKWh != nil {
		parts = append(parts, fmt.Sprintf("electricity_rate %g", *b.ElectricityPerKWh))
	}
	if b.CarbonKgPerKWh != nil {
		parts = append(parts, fmt.Sprintf("carbon_intensity_kg_kwh %g", *b.CarbonKgPerKWh))
	}
	return strings.Join(parts, " ")
}
