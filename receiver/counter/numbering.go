package counter

import (
	"strings"
	"sync"
)

// numbering numbers strings of which there are few: zones and replicas.
type numbering struct {
	mu   sync.Mutex
	ids  map[string]uint16
	list []string
}

func newNumbering() *numbering { return &numbering{ids: map[string]uint16{"": 0}, list: []string{""}} }

// id returns the number of name. Past 65,535 names all further ones share one
// number, which keeps memory bounded at the price of mixing them up.
func (n *numbering) id(name string) uint16 {
	if name == "" {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if id, ok := n.ids[name]; ok {
		return id
	}
	if len(n.list) == 1<<16-1 {
		return 1<<16 - 1
	}
	kept := strings.Clone(name)
	id := uint16(len(n.list))
	n.ids[kept] = id
	n.list = append(n.list, kept)
	return id
}

func (n *numbering) name(id uint16) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if int(id) >= len(n.list) {
		return ""
	}
	return n.list[id]
}

// A zoneNumber is the number of a zone as a source names it.
type zoneNumber struct {
	zone, source string
	id           uint16
}

// zone returns the number of a zone as a source names it. Those of the series
// before are looked for first, without asking the numbering that all shards share.
func (s *shard) zone(zone, source string) uint16 {
	for i := range s.near.zones {
		if n := &s.near.zones[i]; n.zone == zone && n.source == source {
			return n.id
		}
	}
	n := zoneNumber{zone, source, s.zones.id(zone + "\x00" + source)}
	if len(s.near.zones) < 4 {
		s.near.zones = append(s.near.zones, n)
	} else {
		copy(s.near.zones, s.near.zones[1:])
		s.near.zones[3] = n
	}
	return n.id
}

func splitZone(joined string) (zone, source string) {
	zone, source, _ = strings.Cut(joined, "\x00")
	return zone, source
}
