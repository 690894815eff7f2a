package configs

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/transform/tariff"
)

const masked = "<secret>"

// Masked returns the configuration as YAML with its secrets masked.
func (c *Config) Masked() []byte {
	safe := *c
	mask(reflect.ValueOf(&safe).Elem())
	text, err := yaml.Marshal(&safe)
	if err != nil {
		// Nothing in Config can fail to be written.
		return []byte("# " + err.Error() + "\n")
	}
	return text
}

// mask hides the fields with a tag secret: all of the value, or the password and
// the query of a URL.
func mask(v reflect.Value) {
	for i := range v.NumField() {
		f, secret := v.Field(i), v.Type().Field(i).Tag.Get("secret")
		switch {
		case secret == "" && f.Kind() == reflect.Struct:
			mask(f)
		case secret == "" || f.String() == "":
		case secret == "url":
			f.SetString(maskURL(f.String()))
		default:
			f.SetString(masked)
		}
	}
}

func maskURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" {
		return masked
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "SECRET")
	}
	if u.RawQuery != "" {
		u.RawQuery = "SECRET"
	}
	u.Fragment = ""
	return strings.ReplaceAll(u.String(), "SECRET", masked)
}

// Notices says what in c has no effect, or one that may surprise.
func (c *Config) Notices() []string {
	var list []string
	if c.Metrics.Book == "psys" {
		list = append(list, "metrics.book psys: nodes without a psys zone, and legacy nodes, book nothing under it for what only package and dram show")
	}
	if c.Web.Open() {
		list = append(list, "everybody who reaches "+c.Web.Address()+" may write and read: give web.tokens_file (wattledger token new), or listen on 127.0.0.1")
	}
	return list
}

// Explain says in words what the configuration does: what each row of the metric
// table books, what energy costs and what that implies, and the limits.
func (c *Config) Explain(w io.Writer) error {
	table, rules, err := c.Tables()
	if err != nil {
		return err
	}
	tariff, err := tariff.New(c.Transform.Cost)
	if err != nil {
		return fmt.Errorf("transform: cost: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "The configuration is valid.\n\nMetrics (book %s):\n", c.Metrics.Book)
	var rows bytes.Buffer
	if err := table.Explain(&rows); err != nil {
		return err
	}
	for line := range strings.Lines(rows.String()) {
		b.WriteString("  " + line)
	}

	fmt.Fprintf(&b, "\nClassification: %d rules, %s\n", len(rules.Rules()), orBuiltIn(c.Transform.RulesFile))
	b.WriteString("\nLimits:\n")
	for _, s := range []struct {
		name  string
		value any
	}{{"receiver", c.Receiver}, {"journal", c.Journal}, {"accounting", c.Accounting}, {"store", c.Store}, {"api", c.API}} {
		text, err := yaml.Marshal(s.value)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for line := range strings.Lines(string(text)) {
			b.WriteString("  " + s.name + "." + line)
		}
	}
	for _, notice := range c.Notices() {
		b.WriteString("\nNote: " + notice + "\n")
	}
	p, cost := tariff.Flat(), c.Transform.Cost
	each := p.Cost(power.MicrojoulesPerKWh)
	fmt.Fprintf(&b, "\nCost model %s:\n", p.Model)
	fmt.Fprintf(&b, "  1 kWh costs %.6g %s: electricity %.6g, cooling %.6g, carbon %.6g (%.6g kgCO2e)\n",
		each.Total(), p.Currency, each.Electricity, each.Cooling, each.Carbon, each.CarbonKg)
	fmt.Fprintf(&b, "  this implies a PUE of %.6g and %.6g kgCO2e for each kWh used by the machines\n", p.ImpliedPUE(), p.ImpliedCarbonKgPerKWh())
	if len(cost.Bands) == 0 {
		b.WriteString("  at all times\n")
	} else {
		fmt.Fprintf(&b, "  outside these bands, in the local time of %s; the first that holds decides:\n", cost.TimeZone)
		for i, band := range cost.Bands {
			fmt.Fprintf(&b, "    %d. %s\n", i+1, band)
		}
	}
	fmt.Fprintf(&b, "  idle energy: %s\n", c.Transform.IdlePolicy)
	_, err = w.Write(b.Bytes())
	return err
}

func orBuiltIn(path string) string {
	if path == "" {
		return "built in"
	}
	return "from " + path
}
