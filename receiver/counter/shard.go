package counter

import (
	"slices"
	"sync"

	"github.com/wattledger/wattledger/internal/index"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/receiver/metric"
)

// A shard keeps the accounts of some of the nodes. A node and everything on it
// live in one shard, so its books have one owner.
type shard struct {
	number int
	sink   Sink

	mu   sync.Mutex // held for one request's samples of this shard
	wake sync.Cond  // on mu; the turn has moved
	turn uint64     // position of the last request applied; guarded by mu

	// The rest is guarded by mu.
	accounts      []account
	freeAccounts  []uint32
	holders       []holder
	freeHolders   []uint32
	holderOf      index.Index // holders by their names
	nodes         []node
	nodeOf        map[nodeName]uint32
	histories     []*history // nil where there is none
	freeHistories []uint32
	meters        []meter
	freeMeters    []uint32
	suspects      map[uint32]point
	pods          map[uint32]Ref   // accounts behind facts that count pods, by the facts' numbers; not state
	sevenths      map[uint32]uint8 // how many slices of a device the holder of an account has
	waiting       map[uint32]point // of legacy counters while the other generation speaks: where they stood when it did last
	quarantined   []Quarantined
	zones         *numbering
	told          announcement // the last one
	near          near
	nextSweepMs   int64
	nowMin        uint32 // arrival of the request being applied, minutes since the epoch

	out    []power.Reading // of the request being applied
	points []point         // scratch: a track unpacked
	before []step          // scratch: what its points have booked
	after  []step          // scratch: what they should have
	heard  []speaker       // scratch: who told them

	// Configuration, in the shard's own units.
	maxPerMs      int64 // microjoules a millisecond
	reorderMs     int64
	haFailoverMs  int64
	maxGaugeGapMs int64
	forgetMs      int64
}

type nodeName struct{ cluster, name string }

// near is what the new series before belonged to: most often the next one does too.
type near struct {
	node, holder uint32
	zones        []zoneNumber // of the last few
}

// An announcement is what the sink is told of a holder.
type announcement struct {
	holder     uint32 // plus one
	attributes power.Attributes
	generation string
}

func newShard(number int, cfg Config, zones *numbering, sink Sink) *shard {
	s := &shard{
		number: number, sink: sink, zones: zones,
		nodeOf:        make(map[nodeName]uint32),
		suspects:      make(map[uint32]point),
		waiting:       make(map[uint32]point),
		sevenths:      make(map[uint32]uint8),
		pods:          make(map[uint32]Ref),
		maxPerMs:      int64(cfg.MaxNodeWatts * 1000),
		reorderMs:     cfg.ReorderWindow.Milliseconds(),
		haFailoverMs:  cfg.HAFailover.Milliseconds(),
		maxGaugeGapMs: cfg.MaxGaugeGap.Milliseconds(),
		forgetMs:      cfg.ForgetAfter.Milliseconds(),
	}
	s.wake.L = &s.mu
	return s
}

// apply books one sample of a known account.
func (s *shard) apply(m *Sample, o *Outcome) {
	i := m.Ref.account()
	if int(i) >= len(s.accounts) || s.accounts[i].flags&flagDead != 0 {
		o.Late++
		return
	}
	a := &s.accounts[i]
	a.seenMin = s.nowMin
	if m.Value != m.Value {
		if isStale(m.Value) {
			o.Stale++ // the series ended; the counter may come back
		} else {
			o.NotNumbers++
		}
		return
	}
	if m.Value > maxFinite || m.Value < -maxFinite {
		o.NotNumbers++
		return
	}
	if a.role == metric.RoleCounter {
		s.count(i, m, o)
	} else {
		s.measureTogether(i, m, o)
	}
	if a.flags&flagWitness != 0 {
		s.see(a.node, m.TMs, m.Ref.origin())
	}
}

// resolve returns the account that a new series belongs to, making what is
// missing of it. fresh says that the account is new.
func (s *shard) resolve(m *metric.Mapping) (i uint32, fresh bool) {
	ni := s.node(m)
	hi := s.holder(ni, m)
	s.tell(hi, m)
	zone := s.zone(m.Zone, m.Source)
	i, ok := s.find(hi, m, zone)
	if !ok && m.Generation == metric.KeplerLegacy && m.Holder.Kind != power.Node {
		// Snapshots may know it without the zone that the table has for it now.
		if i, ok = s.find(hi, m, s.zone("", m.Source)); ok {
			s.accounts[i].zone = zone
		}
	}
	if ok {
		s.accounts[i].scale = float32(m.MicrojoulesPerUnit)
		s.slice(i, m)
		return i, false
	}
	h := &s.holders[hi]
	if k := len(s.freeAccounts); k > 0 {
		i = s.freeAccounts[k-1]
		s.freeAccounts = s.freeAccounts[:k-1]
	} else {
		i = uint32(len(s.accounts))
		s.accounts = append(s.accounts, account{})
	}
	s.accounts[i] = account{
		lastT: never, holder: hi, node: ni, next: h.accounts, seenMin: s.nowMin,
		scale: float32(m.MicrojoulesPerUnit), zone: zone, role: m.Role, measure: m.Measure, comp: m.Component,
	}
	h.accounts = i + 1
	if h.kind == power.Container && m.Generation != metric.OtherSource && !m.Pod {
		h.told, s.nodes[ni].hasContainers = true, true
	}
	s.slice(i, m)
	a := &s.accounts[i]
	if h.kind == power.Node {
		a.flags |= flagNode
		// Other exporters' devices say nothing of when Kepler's counters began to come.
		if m.Role != metric.RoleGauge && (m.Source == "" || m.Generation != metric.OtherSource) {
			a.flags |= flagWitness
		}
	}
	if m.Role != metric.RoleCounter {
		a.side = s.meter(a, m) + 1
	} else if n := &s.nodes[ni]; n.gone != nil {
		name := accountName{localName{h.kind, h.id}, a.measure, a.comp, m.Zone}
		if g, ok := n.gone[name]; ok {
			a.lastT, a.lastV = g.lastT, g.lastV
			delete(n.gone, name)
		}
	}
	if m.Role == metric.RoleGPUCounter {
		s.nodes[ni].gpuShares = true
	}
	if m.Role == metric.RoleCounter && h.kind == power.Node && m.Component == power.GPU && !s.nodes[ni].legacyGPUs {
		s.nodes[ni].legacyGPUs = true
		s.shadowNVIDIA(ni)
	}
	return i, true
}

// slice notes how much of a device the holder of an account has.
func (s *shard) slice(i uint32, m *metric.Mapping) {
	if m.Sevenths != 0 {
		s.sevenths[i] = m.Sevenths
	}
}

// knows says whether the account that a new series belongs to exists.
func (s *shard) knows(m *metric.Mapping) bool {
	ni, ok := s.nodeOf[nodeName{m.Holder.Cluster, m.Holder.Node}]
	if !ok {
		return false
	}
	hi, ok := s.findHolder(holderName{ni, localName{m.Holder.Kind, m.Holder.ID}})
	if !ok {
		return false
	}
	_, ok = s.find(hi, m, s.zone(m.Zone, m.Source))
	return ok
}

// tell announces the holder of a new series, unless all that it says of it was
// told of the series before.
func (s *shard) tell(hi uint32, m *metric.Mapping) {
	h := &s.holders[hi]
	now := announcement{hi + 1, m.Attributes, s.nodes[h.node].generation}
	if s.told != now {
		s.told = now
		s.sink.Holder(s.number, hi, h.key(s), now.attributes, now.generation)
	}
}

// find returns the account of a holder that a series of a zone belongs to.
func (s *shard) find(hi uint32, m *metric.Mapping, zone uint16) (uint32, bool) {
	for next := s.holders[hi].accounts; next != 0; next = s.accounts[next-1].next {
		a := &s.accounts[next-1]
		if a.role == m.Role && a.measure == m.Measure && a.comp == m.Component && a.zone == zone {
			return next - 1, true
		}
	}
	return 0, false
}

func (s *shard) node(m *metric.Mapping) uint32 {
	name := nodeName{m.Holder.Cluster, m.Holder.Node}
	ni := s.near.node
	if int(ni) >= len(s.nodes) || s.nodes[ni].nodeName() != name {
		var ok bool
		if ni, ok = s.nodeOf[name]; !ok {
			ni = uint32(len(s.nodes))
			s.nodes = append(s.nodes, node{
				cluster: name.cluster, name: name.name, generation: m.Generation, inUse: true,
			})
			s.nodeOf[name] = ni
		}
		s.near.node = ni
	}
	if n := &s.nodes[ni]; m.Generation != "" && (n.generation == "" || n.generation == "other") {
		n.generation = m.Generation
	}
	return ni
}

func (s *shard) holder(ni uint32, m *metric.Mapping) uint32 {
	name := holderName{ni, localName{m.Holder.Kind, m.Holder.ID}}
	if hi := s.near.holder; s.holds(hi, name) {
		return hi
	}
	hash := index.Hash(name)
	hi, ok := s.holderOf.Find(hash, func(hi uint32) bool { return s.holds(hi, name) })
	if ok {
		s.near.holder = hi
		return hi
	}
	if k := len(s.freeHolders); k > 0 {
		hi = s.freeHolders[k-1]
		s.freeHolders = s.freeHolders[:k-1]
	} else {
		hi = uint32(len(s.holders))
		s.holders = append(s.holders, holder{})
	}
	s.holders[hi] = holder{node: ni, kind: name.kind, inUse: true, id: name.id}
	s.enlist(hi, hash)
	s.near.holder = hi
	return hi
}

func (s *shard) findHolder(name holderName) (uint32, bool) {
	return s.holderOf.Find(index.Hash(name), func(hi uint32) bool { return s.holds(hi, name) })
}

// holds says whether the holder of a number is the one of a name.
func (s *shard) holds(hi uint32, name holderName) bool {
	return int(hi) < len(s.holders) && s.holders[hi].inUse && s.holders[hi].name() == name
}

// enlist makes a holder known as one of its node's. hash is that of its name.
func (s *shard) enlist(hi, hash uint32) {
	h := &s.holders[hi]
	n := &s.nodes[h.node]
	h.next, n.holders = n.holders, hi+1
	s.holderOf.Add(hash, hi)
}

func (s *shard) delist(hi uint32) {
	h := &s.holders[hi]
	s.holderOf.Remove(index.Hash(h.name()), hi)
	at := &s.nodes[h.node].holders
	for *at != hi+1 {
		at = &s.holders[*at-1].next
	}
	*at = h.next
}

// meter returns the meter that an account shares with the other series of the
// same zone, device or GPU share.
func (s *shard) meter(a *account, m *metric.Mapping) uint32 {
	kind, owner := nodeMeter, a.holder
	switch m.Role {
	case metric.RoleGPUCounter, metric.RoleGPUWatts:
		kind = shareMeter
	case metric.RoleGauge:
		kind = gaugeMeter
	}
	if kind != shareMeter {
		// A device's energy is its node's, whomever the series names as user.
		owner = s.holder(a.node, &metric.Mapping{Holder: power.HolderKey{Kind: power.Node}})
		s.sink.Holder(s.number, owner, s.holders[owner].key(s), power.Attributes{}, s.nodes[a.node].generation)
	}
	source, zone := s.zones.id(m.Source), s.zones.id(m.Zone)
	for i := range s.meters {
		if mt := &s.meters[i]; mt.inUse && mt.node == a.node && mt.holder == owner && mt.kind == kind &&
			mt.comp == a.comp && mt.zone == zone && mt.source == source {
			return uint32(i)
		}
	}
	var i uint32
	if k := len(s.freeMeters); k > 0 {
		i = s.freeMeters[k-1]
		s.freeMeters = s.freeMeters[:k-1]
	} else {
		i = uint32(len(s.meters))
		s.meters = append(s.meters, meter{})
	}
	s.meters[i] = meter{
		kind: kind, inUse: true, first: true, source: source, rank: int32(m.Priority),
		holder: owner, node: a.node, comp: a.comp, zone: zone,
	}
	if kind == shareMeter {
		h, gone := &s.holders[a.holder], s.nodes[a.node].gone
		name := accountName{localName{h.kind, h.id}, power.Used, a.comp, m.Zone}
		if g, ok := gone[name]; ok {
			s.meters[i].first = false
			s.meters[i].base[fieldRaw] = fieldAt{g.lastT, g.lastV, true}
			delete(gone, name)
		}
	}
	if s.bearsWitness(&s.meters[i]) {
		s.nodes[a.node].witnesses[a.comp] = i + 1
	}
	s.rank(a.node, a.comp, zone)
	if s.nodes[a.node].legacyGPUs {
		s.shadowNVIDIA(a.node)
	}
	return i
}

// nvidiaSources measure what legacy Kepler measures, too.
var nvidiaSources = []string{"dcgm", "nvidia-smi"}

// shadowNVIDIA takes the NVIDIA devices of other sources off the books of a node
// whose GPUs legacy Kepler counts: it numbers them, the others know their UUIDs,
// so which is which cannot be told, only that they are the same.
func (s *shard) shadowNVIDIA(ni uint32) {
	for i := range s.meters {
		if m := &s.meters[i]; m.inUse && m.kind != shareMeter && m.node == ni && slices.Contains(nvidiaSources, s.zones.name(m.source)) {
			m.shadow = true
		}
	}
}

// rank leaves one source in charge of each device: the one with the highest
// priority. The same device measured twice is still one device.
func (s *shard) rank(ni uint32, comp power.Component, zone uint16) {
	best := -1
	for i := range s.meters {
		m := &s.meters[i]
		if m.inUse && m.kind != shareMeter && m.node == ni && m.comp == comp && m.zone == zone {
			m.shadow = best >= 0 && s.meters[best].rank >= m.rank
			if !m.shadow {
				if best >= 0 {
					s.meters[best].shadow = true
				}
				best = i
			}
		}
	}
}

// sweep gives back the memory of accounts that have been silent for long. It
// goes in two steps, a period apart, because requests under way may still hold
// a reference from before the first: condemned says that series must be looked
// at anew, freed how many accounts are gone.
func (s *shard) sweep(arrivalMs int64) (condemned bool, freed int) {
	const period = 10 * 60 * 1000
	if arrivalMs < s.nextSweepMs {
		return false, 0
	}
	first := s.nextSweepMs == 0
	s.nextSweepMs = arrivalMs + period
	if first {
		return false, 0
	}
	silent := uint32(max(arrivalMs-s.forgetMs, 0) / 60_000)
	for hi := range s.holders {
		h := &s.holders[hi]
		if !h.inUse || h.kind == power.Node {
			continue
		}
		alive := false
		for next := h.accounts; next != 0; next = s.accounts[next-1].next {
			alive = alive || s.accounts[next-1].seenMin >= silent
		}
		switch {
		case h.accounts == 0:
		case alive:
			for next := h.accounts; next != 0; next = s.accounts[next-1].next {
				s.accounts[next-1].flags &^= flagCondemned
			}
		case s.accounts[h.accounts-1].flags&flagCondemned != 0:
			freed += s.forget(uint32(hi))
		default:
			for next := h.accounts; next != 0; next = s.accounts[next-1].next {
				s.accounts[next-1].flags |= flagCondemned
			}
			condemned = true
		}
	}
	for i := range s.nodes {
		for name, g := range s.nodes[i].gone {
			if int64(g.seenMin)*60_000+10*s.forgetMs < arrivalMs {
				delete(s.nodes[i].gone, name)
			}
		}
		for name, toldMin := range s.nodes[i].booked {
			if int64(toldMin)*60_000+10*s.forgetMs < arrivalMs {
				delete(s.nodes[i].booked, name)
			}
		}
	}
	return condemned, freed
}

// forget gives a holder's memory back and keeps its counters' last values.
func (s *shard) forget(hi uint32) (accounts int) {
	h := &s.holders[hi]
	ni := h.node
	n := &s.nodes[ni]
	name := localName{h.kind, h.id}
	for next := h.accounts; next != 0; {
		i := next - 1
		a := &s.accounts[i]
		next = a.next
		zone, _ := splitZone(s.zones.name(a.zone))
		if a.role == metric.RoleCounter && a.lastT != never {
			n.leave(accountName{name, a.measure, a.comp, zone}, goneAccount{a.lastT, a.lastV, a.seenMin})
		}
		if a.role == metric.RoleCounter && a.side != 0 {
			s.dropHistory(a)
		}
		if mi := a.side; a.role != metric.RoleCounter && s.meters[mi-1].kind == shareMeter && s.meters[mi-1].inUse {
			mt := &s.meters[mi-1]
			if t, v, ok := mt.before(len(mt.points), fieldRaw); ok {
				n.leave(accountName{name, power.Used, a.comp, zone}, goneAccount{t, v, a.seenMin})
			}
			*mt = meter{}
			s.freeMeters = append(s.freeMeters, mi-1)
		}
		s.clear(i, a)
		delete(s.waiting, i)
		delete(s.sevenths, i)
		*a = account{flags: flagDead}
		s.freeAccounts = append(s.freeAccounts, i)
		accounts++
	}
	s.delist(hi)
	if *h = (holder{}); n.hasContainers {
		s.countContainers(ni)
	}
	s.told = announcement{} // the number will be another's
	s.freeHolders = append(s.freeHolders, hi)
	s.sink.Forget(s.number, hi)
	return accounts
}
