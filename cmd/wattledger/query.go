package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/wattledger/wattledger/httpapi"
)

const queryUsage = "wattledger query cost [--window=month] [--aggregate=team] [--output=table|json|csv] [--server=http://localhost:9201] [FILTER=VALUE …]"

// queryCommand asks a server what was used and what it cost.
func queryCommand(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 || args[0] != "cost" && !strings.HasPrefix(args[0], "-") {
		return fmt.Errorf("%w: query: say what is asked for: cost. %s", errUsage, queryUsage)
	}
	set := flag.NewFlagSet("wattledger query cost", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	server := set.String("server", "http://localhost:9201", "URL of the service.")
	tokenFile := set.String("token-file", "", "File with a token of scope read, for a service that wants one.")
	output := set.String("output", "table", "table, json or csv.")
	window := set.String("window", "month", "today, yesterday, week, lastweek, month, lastmonth, -7d, or a date.")
	end := set.String("end", "", "End, for a window that is no word: RFC 3339, a date, Unix seconds, -1d.")
	step := set.String("step", "day", "hour, day or month: the lines of csv and the entries of json.")
	q := url.Values{}
	for _, name := range []struct{ flag, usage string }{
		{"aggregate", "Dimensions joined by commas: team, namespace, workload, label:app …"},
		{"tz", "Time zone of words, dates and days."},
		{"share", "What is divided over the others: idle, system, unattributed, namespaces, DIMENSION=VALUE."},
		{"share_by", "energy, even or weights."}, {"share_weights", "NAME:NUMBER joined by commas."},
		{"search", "A part of the names that are listed."}, {"sort", "name, energy_kwh, total_cost or carbon_kg."},
		{"order", "asc or desc."}, {"limit", "How many groups are listed."},
	} {
		set.Func(strings.ReplaceAll(name.flag, "_", "-"), name.usage, func(v string) error {
			q.Set(name.flag, v)
			return nil
		})
	}
	if err := set.Parse(args[min(1, len(args)):]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stdout, "Usage: "+queryUsage)
			set.SetOutput(stdout)
			set.PrintDefaults()
			return flag.ErrHelp
		}
		return fmt.Errorf("%w: query: %w", errUsage, err)
	}
	route := map[string]string{"hour": "/cost/hourly", "day": "/cost/daily", "month": "/cost/monthly"}[*step]
	switch {
	case route == "":
		return fmt.Errorf("%w: query: --step %q: allowed are hour, day, month", errUsage, *step)
	case !slices.Contains([]string{"table", "json", "csv"}, *output):
		return fmt.Errorf("%w: query: --output %q: allowed are table, json, csv", errUsage, *output)
	}
	q.Set("start", *window)
	if *end != "" {
		q.Set("end", *end)
	}
	if q.Get("aggregate") != "" && !q.Has("sort") {
		q.Set("sort", "total_cost")
		if !q.Has("limit") {
			q.Set("limit", "10000")
		}
	}
	for _, filter := range set.Args() {
		name, value, ok := strings.Cut(filter, "=")
		if !ok {
			return fmt.Errorf("%w: query: %q: a filter is NAME=VALUE, such as namespace=shop or label:app=web", errUsage, filter)
		}
		q.Set(name, value)
	}
	if *output == "csv" {
		q.Set("format", "csv")
	}
	body, err := askServer(ctx, *server, route+"?"+q.Encode(), *tokenFile)
	if err != nil || *output != "table" {
		stdout.Write(body)
		return err
	}
	return printCosts(stdout, body, q.Get("aggregate"))
}

// askServer asks a server, and says in its words what is wrong.
func askServer(ctx context.Context, server, path, tokenFile string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(server, "/")+path, nil)
	if err != nil || req.URL.Host == "" {
		return nil, fmt.Errorf("%w: query: --server: want a URL that begins with http:// or https://", errUsage)
	}
	if tokenFile != "" {
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, fmt.Errorf("%w: query: --token-file: %w", errUsage, err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("query: %w; --server names another service", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("query: %w", refusal(req.URL, resp.Status, resp.Body))
	}
	return io.ReadAll(resp.Body)
}

// printCosts prints a line for each group, the dearest first, and their sum.
func printCosts(w io.Writer, body []byte, aggregate string) error {
	var answer struct {
		Groups []struct {
			Name string `json:"name"`
			httpapi.Cost
		} `json:"groups"`
		Others *httpapi.Cost `json:"others"`
		Totals httpapi.Cost  `json:"totals"`
		Period string        `json:"period"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("query: the server answers what is no cost: %w", err)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	number := func(f *float64, digits int) string {
		if f == nil {
			return "–"
		}
		unit := math.Pow10(digits)
		return fmt.Sprintf("%.*f", digits, math.Round(*f*unit)/unit+0) // + 0, because −0.00 is no amount
	}
	line := func(name string, c httpapi.Cost) {
		currency := ""
		if c.Currency != nil {
			currency = " " + *c.Currency
		}
		fmt.Fprintf(t, "%s\t%s\t%s%s\t%s\t\n", name, number(c.EnergyKWh, 3), number(c.TotalCost, 4), currency, number(c.CarbonKg, 3))
	}
	if aggregate == "" {
		aggregate = "all"
	}
	fmt.Fprintf(t, "%s\tenergy kWh\tcost\tcarbon kg\t\n", aggregate)
	for _, g := range answer.Groups {
		line(g.Name, g.Cost)
	}
	if answer.Others != nil && answer.Others.EnergyKWh != nil && *answer.Others.EnergyKWh != 0 {
		line("others", *answer.Others)
	}
	line("total", answer.Totals)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, answer.Period)
	return err
}
