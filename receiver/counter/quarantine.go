package counter

import (
	"fmt"
	"slices"

	"github.com/wattledger/wattledger/power"
)

// A Quarantined is a sample that cannot be true. It is not booked and not
// dropped: its raw values stay visible.
type Quarantined struct {
	Holder     power.HolderKey
	Component  power.Component
	Zone       string
	Reason     string
	TMs        int64   // of the sample, Unix milliseconds
	Value      float64 // as it came, in the series' own unit
	LastTMs    int64   // of the sample before, Unix milliseconds; 0 for none
	LastJoules float64 // counter of the sample before
}

// quarantineKept is how many quarantined samples each shard shows.
const quarantineKept = 64

func (s *shard) quarantine(a *account, m *Sample, o *Outcome) {
	o.Quarantined++
	zone, _ := splitZone(s.zones.name(a.zone))
	q := Quarantined{
		Holder: s.holders[a.holder].key(s), Component: a.comp, Zone: zone,
		Reason: s.impossible(a, m), TMs: m.TMs, Value: m.Value,
	}
	if a.lastT != never {
		q.LastTMs, q.LastJoules = a.lastT, float64(a.lastV)/1e6
	}
	if len(s.quarantined) == quarantineKept {
		s.quarantined = append(s.quarantined[:0], s.quarantined[1:]...)
	}
	s.quarantined = append(s.quarantined, q)
}

// wasQuarantined says whether the same sample was set aside before.
func (s *shard) wasQuarantined(a *account, m *Sample) bool {
	key := s.holders[a.holder].key(s)
	zone, _ := splitZone(s.zones.name(a.zone))
	return slices.ContainsFunc(s.quarantined, func(q Quarantined) bool {
		return q.TMs == m.TMs && q.Value == m.Value && q.Holder == key && q.Component == a.comp && q.Zone == zone
	})
}

// impossible says why a sample cannot be true.
func (s *shard) impossible(a *account, m *Sample) string {
	v, ok := micro(m.Value, a.scale)
	watts := float64(s.maxPerMs) / 1000
	switch {
	case !ok:
		return fmt.Sprintf("a counter shows a number of joules from 0 on, and this is %g of its unit", m.Value)
	case a.lastT != never && m.TMs > a.lastT && v > a.lastV:
		joules, seconds := float64(v-a.lastV)/1e6, float64(m.TMs-a.lastT)/1000
		return fmt.Sprintf("%.0f J in %.1f s are %.0f W, more than accounting.max_node_watts (%.0f)", joules, seconds, joules/seconds, watts)
	}
	return fmt.Sprintf("among its other samples it would mean more than accounting.max_node_watts (%.0f)", watts)
}

// suspect holds back a sample that is too far above the one before. The next
// sample tells: either the counter goes on from where it was, and the suspect
// was an outlier, or it goes on from the suspect, and the jump alone is
// quarantined.
func (s *shard) suspect(i uint32, a *account, x point, m *Sample, o *Outcome) {
	if before, ok := s.suspects[i]; ok && x.v >= before.v && x.t > before.t && s.plausible(x.v-before.v, before.t, x.t) {
		s.clear(i, a)
		s.book(a, before.t, x.t, x.v-before.v, x.v)
		a.lastT, a.lastV, a.startT = x.t, x.v, x.start
		if a.side != 0 {
			s.dropHistory(a)
		}
		o.Booked++
		return
	}
	s.quarantine(a, m, o)
	if x.t > a.lastT {
		s.suspects[i] = x
		a.flags |= flagSuspected
	}
}

func (s *shard) clear(i uint32, a *account) {
	delete(s.suspects, i)
	a.flags &^= flagSuspected
}
