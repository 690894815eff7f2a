package transform

import "github.com/wattledger/wattledger/internal/index"

// An audience is who has to be described anew when a subject changes: holders, by
// their numbers in the directory. It knows subjects by their hashes alone. Two
// that share one cost a description that turns out to be the same.
type audience struct {
	first     index.Index // the first listener of a subject
	listeners []listener
	free      uint32 // first one of no subject, plus one
}

type listener struct {
	holder uint32
	next   uint32 // plus one
}

// head returns the first listener of a subject.
func (a *audience) head(s uint32) (i uint32, ok bool) {
	return a.first.Find(s, func(uint32) bool { return true })
}

func (a *audience) any(s subject) bool {
	_, ok := a.head(index.Hash(s))
	return ok
}

// of appends to dst who listens to a subject.
func (a *audience) of(s subject, dst []uint32) []uint32 {
	i, ok := a.head(index.Hash(s))
	for ok {
		l := a.listeners[i]
		dst = append(dst, l.holder)
		i, ok = l.next-1, l.next != 0
	}
	return dst
}

func (a *audience) join(s, holder uint32) {
	i := a.free - 1
	if a.free != 0 {
		a.free = a.listeners[i].next
	} else {
		i = uint32(len(a.listeners))
		a.listeners = append(a.listeners, listener{})
	}
	a.listeners[i] = listener{holder: holder}
	if h, ok := a.head(s); ok { // behind the first, so that the index stays as it is
		a.listeners[i].next, a.listeners[h].next = a.listeners[h].next, i+1
		return
	}
	a.first.Add(s, i)
}

func (a *audience) leave(s, holder uint32) {
	head, ok := a.head(s)
	for i, before := head, head; ok; {
		l := a.listeners[i]
		if l.holder != holder {
			before, i, ok = i, l.next-1, l.next != 0
			continue
		}
		switch {
		case i != head:
			a.listeners[before].next = l.next
		case l.next != 0: // the second takes the first one's place
			i = l.next - 1
			a.listeners[head] = a.listeners[i]
		default:
			a.first.Remove(s, i)
		}
		a.listeners[i] = listener{next: a.free}
		a.free = i + 1
		return
	}
}
