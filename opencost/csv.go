package opencost

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
	"time"
)

// allocationCSV writes a line for each row of each set.
func allocationCSV(sets []set, q allocationQuestion) (CSV, error) {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	out.Write([]string{"Name", "Window Start", "Window End", "CPUCost", "RAMCost", "NetworkCost", "PVCost", "GPUCost", "ExternalCost", "SharedCost", "TotalCost",
		"EnergyKWh", "CPUEnergyKWh", "RAMEnergyKWh", "GPUEnergyKWh", "OtherEnergyKWh", "IdleEnergyKWh", "CarbonKgCO2e", "Currency"})
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	for _, x := range sets {
		kept := x.page(q)
		for _, a := range x.sorted() {
			if kept[a.Name] == nil {
				continue
			}
			currency := ""
			if a.Currency != nil {
				currency = *a.Currency
			}
			cells := []string{plain(a.Name), x.window.from.Format(time.RFC3339), x.window.to.Format(time.RFC3339)}
			for _, f := range []float64{a.CPUCost, a.RAMCost, 0, 0, a.GPUCost, a.ExternalCost, a.SharedCost, a.TotalCost,
				a.EnergyKWh, a.CPUEnergyKWh, a.RAMEnergyKWh, a.GPUEnergyKWh, a.OtherEnergyKWh, a.IdleEnergyKWh, a.CarbonKgCO2e} {
				cells = append(cells, number(f))
			}
			out.Write(append(cells, currency))
		}
	}
	out.Flush()
	return b.Bytes(), out.Error()
}

// plain keeps a spreadsheet from taking a name for a formula.
func plain(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
