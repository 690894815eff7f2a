package transform

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/transform/tariff"
)

func TestConfigCheck(t *testing.T) {
	if err := DefaultConfig().Check(); err != nil {
		t.Errorf("default: %v", err)
	}
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := DefaultConfig()
		change(&c)
		err := c.Check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
	rate := 0.2
	kg := 0.4
	band := func(b tariff.Band) func(*Config) { return func(c *Config) { c.Cost.Bands = []tariff.Band{b} } }
	f("pue needs cost_model physical", func(c *Config) { c.Cost.PUE = 1.3 })
	f("carbon_intensity_kg_kwh needs cost_model physical", func(c *Config) { c.Cost.CarbonKgPerKWh = 0.4 })
	f("carbon_intensity_kg_kwh needs cost_model physical", band(tariff.Band{From: "01:00", To: "02:00", CarbonKgPerKWh: &kg}))
	f("needs one of 1 or above", func(c *Config) { c.Cost.Model = tariff.PhysicalModel })
	f(`cost_model "fancy"`, func(c *Config) { c.Cost.Model = "fancy" })
	f("electricity_rate -1", func(c *Config) { c.Cost.ElectricityPerKWh = -1 })
	f("carbon_rate NaN", func(c *Config) { c.Cost.CarbonRate = math.NaN() })
	f(`time_zone "Mars"`, func(c *Config) { c.Cost.TimeZone = "Mars" })
	f(`idle_policy "free"`, func(c *Config) { c.IdlePolicy = "free" })
	f("divide an hour", func(c *Config) { c.Window = 7 * time.Minute })
	f(`from "25:00"`, band(tariff.Band{From: "25:00", To: "02:00", ElectricityPerKWh: &rate}))
	f("no time at all", band(tariff.Band{From: "02:00", To: "02:00", ElectricityPerKWh: &rate}))
	f(`days "funday"`, band(tariff.Band{Days: []string{"funday"}, ElectricityPerKWh: &rate}))
	f("changes nothing", band(tariff.Band{From: "01:00", To: "02:00"}))
	f("go together", band(tariff.Band{FromDate: "06-01", ElectricityPerKWh: &rate}))
	f(`until_date "02-30"`, band(tariff.Band{FromDate: "06-01", UntilDate: "02-30", ElectricityPerKWh: &rate}))
	f("inside a window", func(c *Config) {
		c.Window = 5 * time.Minute
		c.Cost.Bands = []tariff.Band{{From: "01:02", To: "02:00", ElectricityPerKWh: &rate}}
	})
	f("whole windows", func(c *Config) {
		c.Window, c.Cost.TimeZone = 30*time.Minute, "Asia/Kathmandu"
		c.Cost.Bands = []tariff.Band{{From: "01:00", To: "02:00", ElectricityPerKWh: &rate}}
	})
}
