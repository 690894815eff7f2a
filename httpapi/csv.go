package httpapi

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// writeCSV writes one line for each entry, or for each entry and group where
// groups were asked for. An empty cell is an unknown number. What the money
// rests on closes each line, so that a sheet can be read by itself.
func (h costAnalysis) writeCSV(w http.ResponseWriter, r *http.Request) error {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	header := []string{"hour", "partial"}
	if h.cut.date != "" {
		header = []string{"date", "start", "end", "partial"}
	}
	header = append(header, h.dims...)
	header = append(header,
		"energy_kwh", "idle_energy_kwh", "electricity_cost", "cooling_cost", "carbon_cost", "total_cost", "carbon_kg",
		"currency", "coverage", "cost_model", "implied_pue", "implied_carbon_kg_per_kwh")
	shared := h.Totals.Shared != nil
	if shared {
		header = append(header, "own_energy_kwh", "own_cost", "shared_energy_kwh", "shared_cost")
	}
	out.Write(header)
	line := func(e entry, values []string, c Cost) {
		var cells []string
		if h.cut.date != "" {
			cells = []string{e.Date, e.Start.String(), e.End.String()}
		} else {
			cells = []string{e.Hour.String()}
		}
		cells = append(cells, strconv.FormatBool(e.Partial))
		for _, v := range values {
			cells = append(cells, cellText(v))
		}
		for _, f := range []*float64{c.EnergyKWh, c.IdleEnergyKWh, c.ElectricityCost, c.CoolingCost, c.CarbonCost, c.TotalCost, c.CarbonKg} {
			cells = append(cells, cellNumber(f))
		}
		cells = append(cells, cellString(c.Currency), cellNumber(c.Coverage),
			cellString(h.CostModel), cellNumber(h.ImpliedPUE), cellNumber(h.ImpliedCarbonKgPerKWh))
		if shared {
			for _, part := range []*Cost{c.Own, c.Shared} {
				if part == nil { // of nothing, in a step where nothing ran
					part = &Cost{}
				}
				cells = append(cells, cellNumber(part.EnergyKWh), cellNumber(part.TotalCost))
			}
		}
		out.Write(cells)
	}
	for _, e := range h.CostAnalysis {
		if len(h.dims) == 0 {
			line(e, nil, e.Cost)
			continue
		}
		if len(e.Groups) == 0 { // so that no hour is missing from the sheet
			line(e, make([]string, len(h.dims)), e.Cost)
		}
		for _, g := range e.Groups {
			line(e, g.values, g.cost)
		}
		if e.Others != nil { // so that a sheet adds up
			line(e, slices.Repeat([]string{"__others__"}, len(h.dims)), *e.Others)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	w.Header().Set("Content-Disposition", `attachment; filename="wattledger-cost-`+h.cut.name+`.csv"`)
	return writeBody(w, r, http.StatusOK, "text/csv; charset=utf-8; header=present", b.Bytes())
}

func cellNumber(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'f', -1, 64)
}

func cellString(s *string) string {
	if s == nil {
		return ""
	}
	return cellText(*s)
}

// cellText keeps a spreadsheet from taking a name for a formula.
func cellText(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
