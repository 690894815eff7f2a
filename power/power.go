// Package power is the vocabulary of the product: the words every stage of the
// line shares, from a reading of a counter to a priced charge. It holds plain
// values and arithmetic; it does no I/O and imports only the standard library.
package power

// Microjoules is an amount of energy. Integers make sums exact: Kepler's own
// counters are whole microjoules, so nothing is lost in the conversion.
type Microjoules int64

// MicrojoulesPerKWh is the size of one kilowatt-hour.
const MicrojoulesPerKWh = 3_600_000_000_000

// Joules returns e in joules.
func (e Microjoules) Joules() float64 { return float64(e) / 1e6 }

// KWh returns e in kilowatt-hours.
func (e Microjoules) KWh() float64 { return float64(e) / MicrojoulesPerKWh }

// A Component is a part of a machine that draws power.
type Component uint8

const (
	CPU   Component = iota // processor packages (RAPL package, or legacy package)
	DRAM                   // memory (RAPL dram)
	GPU                    // accelerators: GPUs and NPUs
	Other                  // the rest of the platform, where it is booked at all
)

// NumComponents is the length of arrays indexed by Component.
const NumComponents = 4

var componentNames = [NumComponents]string{"cpu", "dram", "gpu", "other"}

func (c Component) String() string { return componentNames[c] }

// Energy is an amount of energy by component.
type Energy [NumComponents]Microjoules

// Total returns the sum over the components.
func (e Energy) Total() Microjoules { return e[CPU] + e[DRAM] + e[GPU] + e[Other] }

// Add adds f to e, component by component.
func (e *Energy) Add(f Energy) {
	for c := range e {
		e[c] += f[c]
	}
}

// Sub returns e minus f, component by component.
func (e Energy) Sub(f Energy) Energy {
	for c := range e {
		e[c] -= f[c]
	}
	return e
}
