package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/wattledger/wattledger/power"
)

// closes checks that the server accounts for every sample it received in this
// life.
func (r *run) closes(m map[string]float64) {
	received := sumOf(m, "wattledger_samples_total")
	parts := 0.0
	text := ""
	for _, name := range []string{
		"booked_samples", "facts", "duplicates", "late", "conflicts", "stale_markers", "not_numbers",
		"quarantined_samples", "filtered_samples", "rejected",
	} {
		v := sumOf(m, "wattledger_"+name+"_total")
		parts += v
		text += fmt.Sprintf(" + %v %s", v, name)
	}
	if received != parts {
		r.defect("%v samples were received, and%s are %v", received, text[2:], parts)
	}
}

const (
	moreDescriptors = 24 // connections of pools and readers of the books, which come and go
	moreGoroutines  = 24
	letGo           = 25 * time.Second // headers have 10 s, bodies 5 s here
)

// leaks checks that the server holds no more than it did before anything
// happened to it. It may take its time limits to notice who has gone.
func (r *run) leaks(ctx context.Context) {
	for _, w := range r.worlds {
		w.client.HTTP.CloseIdleConnections()
	}
	var u usage
	err := within(ctx, letGo, "leaks", func() error {
		var err error
		if u, err = r.usage(); err != nil {
			return err
		}
		if r.quiet == (usage{}) {
			return nil
		}
		if u.descriptors > r.quiet.descriptors+moreDescriptors || u.goroutines > r.quiet.goroutines+moreGoroutines {
			return fmt.Errorf("%d descriptors and %d goroutines, at first %d and %d", u.descriptors, u.goroutines, r.quiet.descriptors, r.quiet.goroutines)
		}
		return nil
	})
	if err != nil {
		r.defect("%v", err)
	}
	if r.quiet == (usage{}) {
		r.quiet = u
	}
	r.peak.descriptors = max(r.peak.descriptors, u.descriptors)
	r.peak.goroutines = max(r.peak.goroutines, u.goroutines)
	r.peak.resident = max(r.peak.resident, u.resident)
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
}

func (r *run) usage() (u usage, err error) {
	if u.descriptors, err = r.rig.server.descriptors(); err != nil {
		return u, err
	}
	m, err := r.rig.metrics()
	if err != nil {
		return u, err
	}
	u.goroutines = int(m["go_goroutines"])
	_, u.resident, err = r.rig.server.resident()
	return u, err
}

// ask returns what the API says each container has used, and checks what it
// says of the nodes.
func (r *run) ask() (map[string]power.Microjoules, error) {
	from, to := r.span()
	query := url.Values{
		"start": {time.UnixMilli(from).UTC().Format(time.RFC3339)}, "end": {time.UnixMilli(to).UTC().Format(time.RFC3339)}, "aggregate": {"container_id"},
	}
	text, err := r.rig.get("/cost/hourly?" + query.Encode())
	if err != nil {
		return nil, err
	}
	var costs struct {
		Groups []struct {
			Name string   `json:"name"`
			KWh  *float64 `json:"energy_kwh"`
		} `json:"groups"`
	}
	if err := json.Unmarshal([]byte(text), &costs); err != nil {
		return nil, err
	}
	answers := map[string]power.Microjoules{}
	for _, g := range costs.Groups {
		if g.KWh != nil {
			answers[g.Name] += power.Microjoules(math.Round(*g.KWh * power.MicrojoulesPerKWh))
		}
	}
	if len(answers) == 0 {
		return nil, fmt.Errorf("/cost/hourly has no groups: %.300s", text)
	}
	if text, err = r.rig.get("/power/nodes"); err != nil {
		return nil, err
	}
	var nodes struct {
		Nodes []struct {
			Node     string `json:"node"`
			Identity struct {
				Closes bool `json:"closes"`
			} `json:"identity"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal([]byte(text), &nodes); err != nil {
		return nil, err
	}
	for _, n := range nodes.Nodes {
		if !n.Identity.Closes {
			return nil, fmt.Errorf("/power/nodes: the newest minute of %s does not close", n.Node)
		}
	}
	return answers, nil
}
