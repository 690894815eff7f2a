package receiver

import (
	"encoding/json"
	"net/http"
	"time"
)

// ServeQuarantine answers /debug/quarantine: the newest samples that were set
// aside because they cannot be true.
func (h *Handler) ServeQuarantine(w http.ResponseWriter, _ *http.Request) {
	type sample struct {
		Cluster    string     `json:"cluster"`
		Node       string     `json:"node"`
		Kind       string     `json:"kind"`
		ID         string     `json:"id"`
		Component  string     `json:"component"`
		Zone       string     `json:"zone"`
		Reason     string     `json:"reason"`
		Time       time.Time  `json:"time"`
		Value      float64    `json:"value"` // in the series' own unit
		LastTime   *time.Time `json:"last_time"`
		LastJoules *float64   `json:"last_joules"`
	}
	list := []sample{}
	for _, x := range h.ledger.Quarantine() {
		s := sample{
			Cluster: x.Holder.Cluster, Node: x.Holder.Node, Kind: x.Holder.Kind.String(), ID: x.Holder.ID,
			Component: x.Component.String(), Zone: x.Zone, Reason: x.Reason, Time: time.UnixMilli(x.TMs).UTC(), Value: x.Value,
		}
		if x.LastTMs != 0 {
			last := time.UnixMilli(x.LastTMs).UTC()
			s.LastTime, s.LastJoules = &last, &x.LastJoules
		}
		list = append(list, s)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"quarantine": list}) // an error here is the client's going away
}
