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
	n.mu.Lock()
	defer n.mu.Unlock()
	if id, ok := n.ids[name]; ok {
		return id
	}
	if len(n.list) == 1<<16-1 {
		return 1<<16 - 1
	}
	name = strings.Clone(name)
	id := uint16(len(n.list))
	n.ids[name] = id
	n.list = append(n.list, name)
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

func splitZone(joined string) (zone, source string) {
	zone, source, _ = strings.Cut(joined, "\x00")
	return zone, source
}
