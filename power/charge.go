package power

// A Charge is what one holder used in one window, with everything needed to
// price it. Values are absolute: a later charge for the same holder and start
// replaces this one, and Revision tells which is later.
type Charge struct {
	Holder     *Holder
	StartMs    int64 // Unix milliseconds, aligned to the window length
	Seconds    int32 // window length
	Energy     Energy
	Idle       Microjoules // the part of Energy's total that is idle energy allotted to the holder
	Counter    Energy      // the raw counters at LastMs, by component; 0 where there is none
	SeenMs     int32       // how much of the window was covered by samples
	LastMs     int64       // time of the newest sample in the window
	Integrated bool        // some of the energy was integrated from a gauge
	Price      *Price
	Revision   uint64 // journal position of the last record that touched the charge
}

// A NodeWindow is the identity of one node in one window:
//
//	Used = Containers + VMs + System + Idle + Unattributed
//
// component by component, exactly. Unattributed may be negative.
type NodeWindow struct {
	Cluster      string
	Node         string
	StartMs      int64
	Seconds      int32
	Used         Energy
	Containers   Energy
	VMs          Energy
	System       Energy
	Idle         Energy
	Unattributed Energy
	SeenMs       int32
	LastMs       int64
	Generation   string // "kepler-0.10+", "kepler-legacy" or "other"
	Revision     uint64
}

// A Price is everything that turns energy into money and carbon:
//
//	total = E·ElectricityPerKWh·(1+Overhead) + E·CarbonFactor·CarbonKgPerKWh·CarbonPerKg
//
// with E in kWh. In the seed model Overhead is the cooling factor, CarbonFactor
// and CarbonKgPerKWh are 1; in the physical model Overhead is PUE-1 and
// CarbonFactor is PUE. Prices are compared by value.
type Price struct {
	Model             string // "seed" or "physical"
	Currency          string
	ElectricityPerKWh float64
	Overhead          float64
	CarbonFactor      float64
	CarbonKgPerKWh    float64
	CarbonPerKg       float64
}

// Cost is money and carbon for an amount of energy.
type Cost struct {
	Electricity float64 // money
	Cooling     float64 // money
	Carbon      float64 // money
	CarbonKg    float64 // kgCO2e
}

// Total returns the sum of the parts that are money.
func (c Cost) Total() float64 { return c.Electricity + c.Cooling + c.Carbon }

// Add adds d to c.
func (c *Cost) Add(d Cost) {
	c.Electricity += d.Electricity
	c.Cooling += d.Cooling
	c.Carbon += d.Carbon
	c.CarbonKg += d.CarbonKg
}

// Cost prices an amount of energy.
func (p Price) Cost(e Microjoules) Cost {
	kWh := e.KWh()
	electricity := kWh * p.ElectricityPerKWh
	kg := kWh * p.CarbonFactor * p.CarbonKgPerKWh
	return Cost{
		Electricity: electricity,
		Cooling:     electricity * p.Overhead,
		Carbon:      kg * p.CarbonPerKg,
		CarbonKg:    kg,
	}
}

// ImpliedPUE returns the power usage effectiveness the price amounts to.
func (p Price) ImpliedPUE() float64 { return 1 + p.Overhead }

// ImpliedCarbonKgPerKWh returns the carbon, in kgCO2e, counted for each kWh at the IT equipment.
func (p Price) ImpliedCarbonKgPerKWh() float64 { return p.CarbonFactor * p.CarbonKgPerKWh }
