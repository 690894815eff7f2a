package counter

import (
	"net/netip"
	"strings"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// An address is that of a node, in a cluster. Kepler outside Kubernetes does not know
// its node's name, and its target is an address; kube-state-metrics knows whose.
type address struct {
	cluster string
	ip      netip.Addr
}

// maxAddresses bounds how many nodes' addresses are known.
const maxAddresses = 1 << 16

// name learns the addresses that the new facts of a request tell, and gives the new
// series of nodes that an address names their names. It returns the addresses that
// were news: what is known of nodes by them is another node's. It is called in the
// order of the journal.
func (c *Cache) name(r *Request) (news []address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range r.New {
		m := &r.New[i].Mapping
		if m.Role != metric.RoleFact || (m.Fact != power.NodeFact && m.Fact != power.PodFact) {
			continue
		}
		ip, node := told(r.New[i].Labels, m.Fact)
		news = c.learnAddress(address{m.Holder.Cluster, ip}, node, news)
	}
	inRow := 0
	for i := range r.New {
		m := &r.New[i].Mapping
		if i == 0 || m.Holder.Node != r.New[i-1].Mapping.Holder.Node {
			inRow = 0
		}
		if isKeplerContainer(m) {
			inRow++
			news = c.compareHomes(m, inRow <= fewHomes, news)
		}
	}
	if len(c.addresses) == 0 {
		return nil
	}
	for i := range r.New {
		h := &r.New[i].Mapping.Holder
		if node := c.addresses[address{h.Cluster, ipOf(h.Node)}]; node != "" {
			h.Node = node
		}
	}
	return news
}

// learnAddress notes the node of an address, and adds it to news if it is.
func (c *Cache) learnAddress(at address, node string, news []address) []address {
	if node == "" || !at.ip.IsValid() || c.addresses[at] == node || len(c.addresses) == maxAddresses {
		return news
	}
	at.cluster = strings.Clone(at.cluster)
	c.addresses[at] = strings.Clone(node)
	return append(news, at)
}

// fewHomes of the containers of a node that come together are enough to know it by.
const fewHomes = 8

// compareHomes finds an exporter that is scraped by two jobs, once under its node's
// name and once under an address: its containers are the same.
func (c *Cache) compareHomes(m *metric.Mapping, keep bool, news []address) []address {
	h := &m.Holder
	ip := ipOf(h.Node)
	if ip.IsValid() {
		c.homes.strays = true
	}
	if !keep && !c.homes.strays {
		return news
	}
	of := home{h.Cluster, h.ID}
	before := c.homes.node[of]
	switch ipBefore := ipOf(before); {
	case before == "":
		if keep {
			c.homes.put(of, h.Node)
		}
	case before == h.Node || ip.IsValid() == ipBefore.IsValid():
	case ip.IsValid():
		return c.learnAddress(address{h.Cluster, ip}, before, news)
	default:
		c.homes.put(of, h.Node)
		return c.learnAddress(address{h.Cluster, ipBefore}, h.Node, news)
	}
	return news
}

// isKeplerContainer says whether a series is of a container whose id no other has. A
// name that stands for an id moves from node to node.
func isKeplerContainer(m *metric.Mapping) bool {
	return m.Role != metric.RoleFact && m.Generation != metric.OtherSource && m.Holder.Kind == power.Container && !strings.Contains(m.Holder.ID, "/")
}

// A home is a container, of which the node is known.
type home struct{ cluster, id string }

// homes are those of some of the newest containers.
type homes struct {
	node   map[home]string
	newest []home // a ring
	next   int
	strays bool // some node is named by an address
}

const maxHomes = 4096

func (h *homes) put(of home, node string) {
	if _, known := h.node[of]; !known {
		if len(h.newest) < maxHomes {
			h.newest = append(h.newest, of)
		} else {
			delete(h.node, h.newest[h.next])
			h.newest[h.next] = of
			h.next = (h.next + 1) % maxHomes
		}
	}
	h.node[of] = node
}

// told returns the address of a node and its name, as a fact tells them.
func told(labels []power.Label, kind power.FactKind) (ip netip.Addr, node string) {
	of := "internal_ip"
	if kind == power.PodFact {
		of = "host_ip"
	}
	for _, l := range labels {
		switch l.Name {
		case of:
			ip = ipOf(l.Value)
		case "node":
			node = l.Value
		}
	}
	return ip, node
}

// ipOf returns the address that names a target, with a port or without; the zero Addr
// where a name does.
func ipOf(target string) netip.Addr {
	if target == "" || (target[0] < '0' || target[0] > '9') && target[0] != '[' && !strings.Contains(target, ":") {
		return netip.Addr{}
	}
	if at, err := netip.ParseAddrPort(target); err == nil {
		return at.Addr().Unmap()
	}
	ip, _ := netip.ParseAddr(target)
	return ip.Unmap()
}

// retire ends the accounts of nodes that were known by an address: their series go on
// under the node's name.
func (s *shard) retire(news []address) (retired bool) {
	for i := range s.nodes {
		n := &s.nodes[i]
		ip := ipOf(n.name)
		for _, at := range news {
			if !ip.IsValid() || at != (address{n.cluster, ip}) {
				continue
			}
			retired = true
			for next := n.holders; next != 0; next = s.holders[next-1].next {
				for a := s.holders[next-1].accounts; a != 0; a = s.accounts[a-1].next {
					s.accounts[a-1].flags |= flagDead | flagCondemned
				}
			}
		}
	}
	return retired
}
