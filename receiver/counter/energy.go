package counter

import "github.com/wattledger/wattledger/power"

// What a point of a meter books: used, active and idle energy of a node or device, a
// container's share of the GPUs, the energy under a power gauge.

// used returns the energy that the whole of the zone or device took between the
// sample before and point k.
func (s *shard) used(m *meter, k int) (b booked, integrated bool) {
	p := &m.points[k]
	switch m.kind {
	case gaugeMeter:
		return s.integrate(m, k), true
	case shareMeter:
		return s.share(m, k)
	}
	raw, ok := p.get(fieldRaw)
	if !ok {
		if m.rawSeen {
			return booked{}, false
		}
		return s.sumOfParts(m, k), false
	}
	t, before, ok := m.before(k, fieldRaw)
	if !ok {
		return booked{}, false
	}
	b = booked{start: t, users: p.users}
	diff := raw - before
	parts := s.sumOfParts(m, k)
	partsKnown := parts.start == t && s.plausible(parts.e, t, p.t)
	switch {
	case p.state&pointAnew != 0:
		// The parts start again, idle with a phantom of the whole register.
		// The register itself is read by the new exporter as by the old.
		// That of several sockets may jump by the range of one.
		watts := s.byWatts(m, k, t)
		if s.plausible(diff, t, p.t) && (watts == 0 || diff <= 4*watts+1e9) {
			b.e = diff
		} else {
			b.e, integrated = watts, true
			if raw > 4*watts+1e9 { // after a reboot it begins at 0
				s.notice(m.node, RegisterJump, p.origin, p.origin)
			}
		}
	case diff < 0 && partsKnown:
		b.e = parts.e // the register wrapped; the parts are wrap-safe
	case diff < 0 && m.comp == power.GPU && s.plausible(raw, t, p.t):
		b.e = raw // a device's counter starts again with its driver
	case diff < 0:
		b.e, integrated = s.byWatts(m, k, t), true
	case partsKnown && parts.e > diff+1e6 && !s.nearer(m, k, t, diff, parts.e):
		b.e = parts.e // it wrapped unseen, within a gap
	case s.plausible(diff, t, p.t):
		b.e = diff
	case partsKnown:
		b.e = parts.e
	default:
		b.e, integrated = s.byWatts(m, k, t), true
	}
	return b, integrated
}

// nearer says whether the power gauge speaks for a rather than for b. Where the
// register and its parts disagree over a gap, either it wrapped unseen or the
// exporter started again unseen and the idle part holds a phantom.
func (s *shard) nearer(m *meter, k int, fromMs, a, b int64) bool {
	e := s.byWatts(m, k, fromMs)
	return e > 0 && max(a-e, e-a) < max(b-e, e-b)
}

// sumOfParts returns active plus idle. It is empty where one is missing, and
// only the active part after a restart.
func (s *shard) sumOfParts(m *meter, k int) booked {
	p := &m.points[k]
	active, okA := p.get(fieldActive)
	idle, okI := p.get(fieldIdle)
	ta, beforeA, okBA := m.before(k, fieldActive)
	ti, beforeI, okBI := m.before(k, fieldIdle)
	if !okA || !okI || !okBA || !okBI || ta != ti || p.state&pointTaken != 0 {
		return booked{}
	}
	b := booked{start: ta, users: p.users}
	if p.state&pointAnew != 0 {
		b.e = active
	} else {
		b.e = active - beforeA + idle - beforeI
	}
	if !s.plausible(b.e, ta, p.t) {
		return booked{}
	}
	return b
}

// byWatts estimates from the power gauge where no counter can tell. Without a
// gauge it is nothing: an unknown is not invented.
func (s *shard) byWatts(m *meter, k int, fromMs int64) int64 {
	microwatts, ok := m.points[k].get(fieldWatts)
	if !ok {
		_, microwatts, ok = m.before(k, fieldWatts)
	}
	if !ok {
		return 0
	}
	e := int64(float64(microwatts) * float64(m.points[k].t-fromMs) / 1000)
	if !s.plausible(e, fromMs, m.points[k].t) {
		return 0
	}
	return e
}

func (s *shard) active(m *meter, k int) booked {
	p := &m.points[k]
	active, ok := p.get(fieldActive)
	t, before, okBefore := m.before(k, fieldActive)
	if !ok || !okBefore {
		return booked{}
	}
	e := active - before
	switch {
	case p.state&pointTaken != 0:
		e = s.own(m, k, fieldActive, t)
	case p.state&pointAnew != 0:
		e = active // it starts at 0 with the exporter
	}
	if !s.plausible(e, t, p.t) {
		return booked{}
	}
	return booked{start: t, e: e}
}

// idle returns the idle part. Over a restart of the exporter it is unknown: the
// counter then begins at the register's value, which nobody used.
func (s *shard) idle(m *meter, k int, used, active booked) booked {
	p := &m.points[k]
	idle, ok := p.get(fieldIdle)
	t, before, okBefore := m.before(k, fieldIdle)
	if !ok || !okBefore || p.state&pointAnew != 0 {
		return booked{}
	}
	e := idle - before
	if p.state&pointTaken != 0 {
		e = s.own(m, k, fieldIdle, t)
	}
	if e < 0 && -e <= idle/100 {
		return booked{start: t, e: e} // a ratio a hair above 1: active has what is missing here
	}
	if used.start == t {
		e = min(e, max(0, used.e-active.e))
	}
	if !s.plausible(e, t, p.t) {
		return booked{}
	}
	return booked{start: t, e: e}
}

// share returns a container's GPU energy. Its counter is a sum over live
// processes: when one ends the sum falls, and only the power gauge knows what
// was used meanwhile.
func (s *shard) share(m *meter, k int) (b booked, integrated bool) {
	p := &m.points[k]
	raw, ok := p.get(fieldRaw)
	if !ok {
		return booked{}, false
	}
	t, before, ok := m.before(k, fieldRaw)
	if !ok {
		n := &s.nodes[m.node]
		known := n.since(p.origin)
		if !m.first || p.t <= known || s.wasBooked(m.holder) || !s.plausible(raw, known, p.t) {
			return booked{}, false
		}
		return booked{start: n.before(p.t), e: raw}, false
	}
	e := raw - before
	if p.state&pointTaken != 0 {
		e = s.own(m, k, fieldRaw, t)
	} else if e < 0 {
		e, integrated = s.byWatts(m, k, t), true
	} else if watts := s.trapezoid(m, k, t); e < watts/5*3 {
		e, integrated = watts, true // a process ended, and others used more than it had
		s.notice(m.node, HiddenProcessEnd, p.origin, p.origin)
	}
	if !s.plausible(e, t, p.t) {
		return booked{}, false
	}
	return booked{start: t, e: e}, integrated
}

// integrate returns the energy under a power gauge, by the trapezoidal rule.
func (s *shard) integrate(m *meter, k int) booked {
	p := &m.points[k]
	w, ok := p.get(fieldWatts)
	t, before, okBefore := m.before(k, fieldWatts)
	if !ok || !okBefore || p.t-t > s.maxGaugeGapMs {
		return booked{}
	}
	e := int64((float64(w) + float64(before)) / 2 * float64(p.t-t) / 1000)
	if !s.plausible(e, t, p.t) {
		return booked{}
	}
	return booked{start: t, e: e, users: p.users}
}

// trapezoid returns the energy under the power gauge since a point at fromMs that
// has both counter and gauge, 0 where that cannot be told.
func (s *shard) trapezoid(m *meter, k int, fromMs int64) int64 {
	w, ok := m.points[k].get(fieldWatts)
	t, before, okBefore := m.before(k, fieldWatts)
	if !ok || !okBefore || t != fromMs || m.points[k].t-t > s.maxGaugeGapMs {
		return 0
	}
	e := int64((float64(w) + float64(before)) / 2 * float64(m.points[k].t-t) / 1000)
	if !s.plausible(e, t, m.points[k].t) {
		return 0
	}
	return e
}
