package decode

import (
	"bytes"
	"unicode/utf8"

	"github.com/wattledger/wattledger/power"
)

// A neighbour is the series of a request whose labels passed the checks last.
// Those of the next are nearly the same, for a scrape writes down one container
// after another: what is the same is neither parsed nor checked nor copied again.
type neighbour struct {
	labels []rawLabel // canonical, as checkLabels leaves them
	size   int        // bytes of their names and values
	owned  []power.Label
	stale  places // labels that owned need not agree with

	next []rawLabel // the labels that are being parsed
	same places     // those of next that are in labels at the same place
}

// places are a set of them in a label set. All from the last on are in it
// together.
type places uint64

const (
	lastPlace        = 63
	all       places = 1<<64 - 1
)

func place(i int) places { return 1 << min(i, lastPlace) }

// reset makes b the neighbour of nothing, and lets go of the body.
func (b *neighbour) reset() {
	clear(b.labels[:cap(b.labels)])
	clear(b.next[:cap(b.next)])
	b.labels, b.next, b.stale = b.labels[:0], b.next[:0], all
}

// begin begins the labels of another series.
func (b *neighbour) begin() { b.next, b.same = b.next[:0], 0 }

// again takes the next label from b where it stands at the front of rest as it
// does there, and returns how many bytes it has.
func (b *neighbour) again(rest []byte) int {
	i := len(b.next)
	if i >= min(len(b.labels), lastPlace) {
		return 0
	}
	l := &b.labels[i]
	if len(l.wire) == 0 || !bytes.HasPrefix(rest, l.wire) {
		return 0
	}
	b.next = append(b.next, *l)
	b.same |= place(i)
	return len(l.wire)
}

// check does with b.next what checkLabels does. If nothing is wrong with it, it
// takes the place of b.labels.
func (b *neighbour) check(limits *Limits) (kept []rawLabel, why Reason, culprit []byte) {
	kept = b.next
	if !b.alike(limits) {
		if kept, why, culprit = checkLabels(b.next, limits); why != accepted {
			return nil, why, culprit
		}
		b.size, b.stale = 0, all
		for _, l := range kept {
			b.size += len(l.name) + len(l.value)
		}
	}
	b.labels, b.next = kept, b.labels
	return kept, accepted, nil
}

// alike reports whether b.next has the names of b.labels, in the same order, and
// values with which nothing is wrong. Then it is canonical as it is.
func (b *neighbour) alike(limits *Limits) bool {
	if len(b.next) != len(b.labels) || len(b.next) == 0 {
		return false
	}
	size, stale := b.size, b.stale
	for i := range b.next {
		if b.same&place(i) != 0 {
			continue
		}
		l, was := &b.next[i], &b.labels[i]
		if !bytes.Equal(l.name, was.name) ||
			len(l.value) == 0 || len(l.value) > limits.MaxLabelValueBytes || !utf8.Valid(l.value) {
			return false
		}
		size += len(l.value) - len(was.value)
		stale |= place(i)
	}
	if size > limits.MaxLabelSetBytes {
		return false
	}
	b.size, b.stale = size, stale
	return true
}

// own returns copies of b's labels whose strings may be kept. The slice is good
// until the next call.
func (b *neighbour) own(strings *interner) []power.Label {
	if b.stale == 0 {
		return b.owned
	}
	for len(b.owned) < len(b.labels) {
		b.owned = append(b.owned, power.Label{})
	}
	b.owned = b.owned[:len(b.labels)]
	strings.mu.Lock()
	defer strings.mu.Unlock()
	for i := range b.labels {
		if b.stale&place(i) == 0 {
			continue
		}
		l, o := &b.labels[i], &b.owned[i]
		if o.Name != string(l.name) {
			o.Name = strings.intern(l.name)
		}
		if o.Value != string(l.value) {
			o.Value = strings.intern(l.value)
		}
	}
	b.stale = 0
	return b.owned
}
