package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestQueryCommand(t *testing.T) {
	asked := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path + "?" + r.URL.Query().Encode()
		if r.URL.Query().Get("aggregate") == "teem" {
			w.WriteHeader(400)
			w.Write([]byte(`{"detail":"aggregate: \"teem\" is not a dimension; did you mean \"team\"?"}`))
			return
		}
		if r.URL.Query().Get("format") == "csv" {
			w.Write([]byte("date,team\n"))
			return
		}
		w.Write([]byte(`{"groups":[{"name":"red","energy_kwh":2,"total_cost":0.652,"carbon_kg":1,"currency":"USD"},{"name":"__unattributed__","energy_kwh":-0.00001,"total_cost":null,"carbon_kg":0}],
			"totals":{"energy_kwh":2,"total_cost":0.652,"carbon_kg":1,"currency":"USD"},"period":"a to b"}`))
	}))
	defer s.Close()
	f := func(want, route string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		err := command(t.Context(), append([]string{"query"}, args...), &out, &out)
		text := out.String()
		if err != nil {
			text += err.Error()
		}
		if !strings.Contains(text, want) || route != "" && asked != route {
			t.Errorf("%v: asked %s, want %s; says %s, want %s", args, asked, route, text, want)
		}
	}
	f("red       2.000  0.6520 USD      1.000", "/cost/daily?aggregate=team&limit=10000&sort=total_cost&start=month", "cost", "--aggregate=team", "--server="+s.URL)
	f("0.000", "", "cost", "--aggregate=team", "--server="+s.URL)
	f("a to b", "/cost/hourly?label%3Aapp=web&namespace=shop&start=lastmonth&tz=Asia%2FSeoul", "cost", "--window=lastmonth", "--step=hour", "--tz=Asia/Seoul", "--server="+s.URL, "namespace=shop", "label:app=web")
	f("date,team", "/cost/daily?format=csv&start=month", "cost", "--output=csv", "--server="+s.URL)
	f(`{"groups"`, "", "cost", "--output=json", "--server="+s.URL)
	f(`did you mean "team"`, "", "cost", "--aggregate=teem", "--server="+s.URL)
	f("say what is asked for", "", "power")
	f("allowed are table, json, csv", "", "cost", "--output=xml")
	f("allowed are hour, day, month", "", "cost", "--step=year")
	f("a filter is NAME=VALUE", "", "cost", "--server="+s.URL, "shop")
	f("want a URL", "", "cost", "--server=localhost")
	f("--server names another service", "", "cost", "--server=http://127.0.0.1:1")
}
