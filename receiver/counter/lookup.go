package counter

// lookup maps keys to refs: open addressing with linear probing over flat,
// pointer-free entries, so that a million series cost the collector nothing.
// It is cut into parts that grow one by one, which bounds the pause of a growth.
// Not safe for concurrent use; the Cache guards it.
type lookup struct {
	parts [lookupParts]part
}

const lookupParts = 64

type part struct {
	entries []entry // length is a power of two, or 0
	used    int
}

// An entry is free when its ref is zero.
type entry struct {
	key Key
	ref Ref
}

func (l *lookup) get(k Key) Ref {
	p := &l.parts[k.Hi%lookupParts]
	if len(p.entries) == 0 {
		return 0
	}
	mask := uint64(len(p.entries) - 1)
	for i := k.Lo & mask; ; i = (i + 1) & mask {
		e := &p.entries[i]
		if e.ref == 0 || e.key == k {
			return e.ref
		}
	}
}

func (l *lookup) put(k Key, r Ref) {
	p := &l.parts[k.Hi%lookupParts]
	if (p.used+1)*4 > len(p.entries)*3 {
		p.grow()
	}
	if p.set(k, r) {
		p.used++
	}
}

// set writes an entry and says whether it is a new one.
func (p *part) set(k Key, r Ref) bool {
	mask := uint64(len(p.entries) - 1)
	for i := k.Lo & mask; ; i = (i + 1) & mask {
		e := &p.entries[i]
		if e.ref == 0 || e.key == k {
			fresh := e.ref == 0
			*e = entry{k, r}
			return fresh
		}
	}
}

func (p *part) grow() {
	old := p.entries
	p.entries = make([]entry, max(16, 2*len(old)))
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
	mask := uint64(len(p.entries) - 1)
	i := k.Lo & mask
	for p.entries[i].key != k {
		if p.entries[i].ref == 0 {
			return
		}
		i = (i + 1) & mask
	}
	p.used--
	for j := (i + 1) & mask; p.entries[j].ref != 0; j = (j + 1) & mask {
		if home := p.entries[j].key.Lo & mask; (j-home)&mask >= (j-i)&mask {
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
		old := p.entries
		live := 0
		for _, e := range old {
			if e.ref != 0 && !gone(e.ref) {
				live++
			}
		}
		if live == p.used {
			continue
		}
		size := 16
		for size*3 < (live+1)*4 {
			size *= 2
		}
		p.entries, p.used = make([]entry, size), live
		for _, e := range old {
			if e.ref != 0 && !gone(e.ref) {
				p.set(e.key, e.ref)
			}
		}
	}
}
