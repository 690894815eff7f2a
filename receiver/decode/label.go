package decode

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A rawLabel points into a decoded body and is good as long as that is.
type rawLabel struct {
	name, value []byte
	wire        []byte // how it stands there: where the same bytes begin, the same label does; empty if it is in pieces
}

// checkLabels puts a label set into its canonical form: sorted by name, empty
// values left out (which is what they mean), and the labels that describe the
// metric rather than identify the series left out too. It works in place.
// culprit is the name of a label that is there twice.
func checkLabels(labels []rawLabel, limits *Limits) (kept []rawLabel, why Reason, culprit []byte) {
	if len(labels) > limits.MaxLabelsPerSeries {
		return nil, limitLabels, nil
	}
	size := 0
	for _, l := range labels {
		switch {
		case len(l.name) == 0:
			return nil, emptyLabelName, nil
		case len(l.name) > limits.MaxLabelNameBytes:
			return nil, limitLabelName, nil
		case len(l.value) > limits.MaxLabelValueBytes:
			return nil, limitLabelValue, nil
		case !utf8.Valid(l.name) || !utf8.Valid(l.value):
			return nil, badUTF8, nil
		}
		size += len(l.name) + len(l.value)
	}
	if size > limits.MaxLabelSetBytes {
		return nil, limitLabelSet, nil
	}
	// Senders sort already, and sets are short.
	for i := 1; i < len(labels); i++ {
		for j := i; j > 0 && bytes.Compare(labels[j].name, labels[j-1].name) < 0; j-- {
			labels[j], labels[j-1] = labels[j-1], labels[j]
		}
	}
	named := false
	kept = labels[:0]
	var last []byte
	for i, l := range labels {
		if i > 0 && bytes.Equal(l.name, last) {
			return nil, duplicateLabel, l.name
		}
		last = l.name
		if len(l.value) == 0 || string(l.name) == "__type__" || string(l.name) == "__unit__" {
			continue
		}
		if string(l.name) == "__name__" {
			named = true
		}
		kept = append(kept, l)
	}
	if !named {
		return nil, noName, nil
	}
	return kept, accepted, nil
}

func metricName(labels []rawLabel) []byte {
	for _, l := range labels {
		if string(l.name) == "__name__" {
			return l.value
		}
	}
	return nil
}

// An interner keeps one copy of each string that new series bring. Kepler
// repeats a container's labels in some ten series, and a string cut from a body
// would keep the whole body in memory. A string has one place, by its hash, and
// takes it from the one before: finding it is one look, and what comes often is
// soon back.
type interner struct {
	mu    sync.Mutex
	seed  maphash.Seed
	slots []string // guarded by mu; nil until the first
}

const (
	internSlots      = 1 << 16 // a power of two
	maxInternedBytes = 256     // of one string; longer ones seldom repeat
)

// intern returns b as a string that may be kept. The interner is locked.
func (n *interner) intern(b []byte) string {
	if len(b) > maxInternedBytes {
		return string(b)
	}
	if n.slots == nil {
		n.slots, n.seed = make([]string, internSlots), maphash.MakeSeed()
	}
	slot := &n.slots[maphash.Bytes(n.seed, b)%internSlots]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}

// describe prints a series for people, within 300 bytes. Labels without a name or
// a value help nobody to find it and are left out; "" says that none is left.
func describe(labels []rawLabel) string {
	var b strings.Builder
	b.Write(metricName(labels))
	separator, left := "{", 0
	for _, l := range labels {
		switch {
		case string(l.name) == "__name__" && len(l.value) > 0:
			continue
		case len(l.name) == 0 || len(l.value) == 0:
			left++
			continue
		}
		b.WriteString(separator)
		separator = ","
		b.WriteString(Clip(string(l.name), 64))
		b.WriteByte('=')
		b.WriteString(strconv.Quote(Clip(string(l.value), 80)))
		if b.Len() > 300 {
			break
		}
	}
	if separator == "," {
		b.WriteString("}")
	}
	if left > 0 && b.Len() > 0 {
		fmt.Fprintf(&b, " and %d labels without a name or a value", left)
	}
	return Clip(b.String(), 300)
}
