package counter

import "math/bits"

// lookup maps keys to refs: open addressing with linear probing over flat,
// pointer-free entries, so that a million series cost the collector nothing.
// It is cut into parts that grow one by one, which bounds the pause of a growth,
// and by a quarter, which leaves less of them empty than doubling does.
// Not safe for concurrent use; the Cache guards it.
type lookup struct {
	parts [lookupParts]part
}

const lookupParts = 64

type part struct {
	entries []entry
	used    int
}

// An entry is free when its ref is zero.
type entry struct {
	key Key
	ref Ref
}

// home is where the search for a key begins.
func (p *part) home(k Key) int {
	hi, _ := bits.Mul64(k.Lo, uint64(len(p.entries)))
	return int(hi)
}

func (p *part) after(i int) int {
	if i++; i == len(p.entries) {
		return 0
	}
	return i
}

func (l *lookup) get(k Key) Ref {
	p := &l.parts[k.Hi%lookupParts]
	if len(p.entries) == 0 {
		return 0
	}
	for i := p.home(k); ; i = p.after(i) {
		e := &p.entries[i]
		if e.ref == 0 || e.key == k {
			return e.ref
		}
	}
}

func (l *lookup) put(k Key, r Ref) {
	p := &l.parts[k.Hi%lookupParts]
	if p.full(p.used + 1) {
		p.resize(len(p.entries) + len(p.entries)/4 + 16)
	}
	if p.set(k, r) {
		p.used++
	}
}

// full says whether n entries are too many for the room there is.
func (p *part) full(n int) bool { return n*5 > len(p.entries)*4 }

// set writes an entry and says whether it is a new one.
func (p *part) set(k Key, r Ref) bool {
	for i := p.home(k); ; i = p.after(i) {
		e := &p.entries[i]
		if e.ref == 0 || e.key == k {
			fresh := e.ref == 0
			*e = entry{k, r}
			return fresh
		}
	}
}

func (p *part) resize(size int) {
	old := p.entries
	p.entries = make([]entry, size)
	for _, e := range old {
		if e.ref != 0 {
			p.set(e.key, e.ref)
		}
	}
}

// delete forgets k: entries that probing had pushed past it move back.
func (l *lookup) delete(k Key) {
	p := &l.parts[k.Hi%lookupParts]
	if len(p.entries) == 0 {
		return
	}
	i := p.home(k)
	for p.entries[i].key != k {
		if p.entries[i].ref == 0 {
			return
		}
		i = p.after(i)
	}
	p.used--
	// distance is how far on from a place another one is.
	distance := func(from, to int) int {
		if to < from {
			to += len(p.entries)
		}
		return to - from
	}
	for j := p.after(i); p.entries[j].ref != 0; j = p.after(j) {
		if home := p.home(p.entries[j].key); distance(home, j) >= distance(i, j) {
			p.entries[i] = p.entries[j]
			i = j
		}
	}
	p.entries[i] = entry{}
}

// remove forgets every entry for which gone is true.
func (l *lookup) remove(gone func(Ref) bool) {
	for i := range l.parts {
		p := &l.parts[i]
		live := 0
		for j := range p.entries {
			e := &p.entries[j]
			if e.ref != 0 && gone(e.ref) {
				e.ref = 0
			}
			if e.ref != 0 {
				live++
			}
		}
		if live < p.used {
			p.used = live
			p.resize(live + live/2 + 16)
		}
	}
}
