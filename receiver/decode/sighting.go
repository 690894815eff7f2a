package decode

import (
	"bytes"
	"math/rand/v2"

	"github.com/wattledger/wattledger/receiver/journal"
	"github.com/wattledger/wattledger/receiver/metric"
)

// A Sighting is what the new series of a request tell of its sender.
type Sighting struct {
	Generation string
	Prometheus string
	Replica    string
	Families   []Family
}

// A Family is what metadata tells of a metric family.
type Family struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Unit string `json:"unit,omitempty"`
}

var metricTypes = [...]string{"unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"}

const MaxFamilies = 128

func (q *Request) addFamily(name []byte, metricType int32, unit []byte) {
	if !bytes.HasPrefix(name, []byte("kepler_")) || len(q.Seen.Families) >= MaxFamilies {
		return
	}
	f := Family{Name: Clip(string(name), 128), Type: metricTypes[0], Unit: Clip(string(unit), 32)}
	if metricType > 0 && int(metricType) < len(metricTypes) {
		f.Type = metricTypes[metricType]
	}
	q.Seen.Families = append(q.Seen.Families, f)
}

// look notes what a series that was parsed tells of its sender.
func (q *Request) look(mapping *metric.Mapping, ok bool) {
	q.looked = true
	s := &q.Seen
	if ok && s.Generation == "" {
		s.Generation = mapping.Generation
	}
	for _, l := range q.near.owned {
		switch l.Name {
		case "prometheus":
			s.Prometheus = l.Value
		case "prometheus_replica", "__replica__":
			s.Replica = l.Value
		}
	}
}

// noteFamily notes the metadata that came with the series parsed last.
func (q *Request) noteFamily(protocol journal.Protocol, name []byte) {
	if protocol != journal.V2 || q.about.metricType == 0 {
		return
	}
	var unit []byte
	if int(q.about.unit) < len(q.symbols) {
		unit = q.symbol(q.about.unit)
	}
	q.addFamily(name, q.about.metricType, unit)
}

// who notes which replica sent a request whose series are all known: two behind one
// address send the same series.
func (d *Decoder) who(q *Request, protocol journal.Protocol) {
	if q.looked {
		return
	}
	for i := range q.rows {
		if q.refs[i] == 0 || q.refs[i].Ignored() || q.rows[i].extra >= 0 {
			continue
		}
		if err := d.rowLabels(q, protocol, &q.rows[i]); err != nil {
			return
		}
		for _, l := range q.near.next {
			if name := string(l.name); name == "prometheus_replica" || name == "__replica__" {
				q.Seen.Replica = string(l.value)
			}
		}
		return
	}
}

// glance maps one of the known series of a request, to learn about a sender
// whose series all came from another one before.
func (d *Decoder) glance(q *Request, protocol journal.Protocol) {
	if q.Seen.Generation != "" || len(q.rows) == 0 {
		return
	}
	begin := rand.IntN(len(q.rows))
	for k := range q.rows {
		i := (begin + k) % len(q.rows)
		if q.refs[i] == 0 || q.refs[i].Ignored() || q.rows[i].extra >= 0 {
			continue
		}
		if err := d.rowLabels(q, protocol, &q.rows[i]); err != nil {
			return
		}
		if labels, why, _ := q.near.check(&d.limits); why == accepted {
			q.noteFamily(protocol, metricName(labels))
			mapping, ok := d.mapper.Map(q.near.own(d.strings))
			q.look(&mapping, ok)
		}
		return
	}
}
