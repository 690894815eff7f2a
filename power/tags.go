package power

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Tags are what a holder was tagged with while it used energy: labels and
// annotations of its pod and of its namespace, and the values of the configured
// dimensions. They are one string, so that they can be compared and shared:
// entries sorted by kind and name, each with its length before it.
type Tags string

// A TagKind says who tagged a holder.
type TagKind byte

const (
	PodLabel TagKind = iota + 1
	PodAnnotation
	NamespaceLabel
	NamespaceAnnotation
	NodeLabel
	DimensionTag // the value of a configured dimension
)

// A Tag is a name and a value. Names of labels and annotations are as TagName
// writes them; values are as the cluster says them.
type Tag struct {
	Kind        TagKind
	Name, Value string
}

// TagsOf returns a list of tags as Tags. Of two with one kind and name the first
// counts.
func TagsOf(list []Tag) Tags {
	list = slices.Clone(list)
	slices.SortStableFunc(list, compareTags)
	list = slices.CompactFunc(list, func(a, b Tag) bool { return compareTags(a, b) == 0 })
	var b []byte
	for _, t := range list {
		b = append(b, byte(t.Kind))
		for _, s := range []string{t.Name, t.Value} {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return Tags(b)
}

func compareTags(a, b Tag) int {
	if a.Kind != b.Kind {
		return int(a.Kind) - int(b.Kind)
	}
	return strings.Compare(a.Name, b.Name)
}

// All calls yield with each tag, in order. It is safe on any bytes and ends
// where they are no tags.
func (t Tags) All(yield func(Tag) bool) {
	for len(t) > 0 {
		tag := Tag{Kind: TagKind(t[0])}
		t = t[1:]
		var ok bool
		if tag.Name, t, ok = t.text(); !ok {
			return
		}
		if tag.Value, t, ok = t.text(); !ok {
			return
		}
		if !yield(tag) {
			return
		}
	}
}

// text cuts a text off t.
func (t Tags) text() (text string, rest Tags, ok bool) {
	length, shift := uint64(0), 0
	for i := 0; i < len(t) && shift < 63; i++ {
		length |= uint64(t[i]&0x7f) << shift
		shift += 7
		if t[i] < 0x80 {
			if rest = t[i+1:]; length > uint64(len(rest)) {
				return "", "", false
			}
			return string(rest[:length]), rest[length:], true
		}
	}
	return "", "", false
}

// Valid says that t is what TagsOf makes.
func (t Tags) Valid() bool {
	var list []Tag
	for tag := range t.All {
		list = append(list, tag)
	}
	return TagsOf(list) == t
}

// Get returns the value of a tag, and whether there is one.
func (t Tags) Get(kind TagKind, name string) (value string, ok bool) {
	for tag := range t.All {
		if tag.Kind == kind && tag.Name == name {
			return tag.Value, true
		}
	}
	return "", false
}

// Of returns the tags of some kinds.
func (t Tags) Of(kinds ...TagKind) Tags {
	var list []Tag
	for tag := range t.All {
		if slices.Contains(kinds, tag.Kind) {
			list = append(list, tag)
		}
	}
	return TagsOf(list)
}

// TagName writes the name of a label the way kube-state-metrics does, which is
// how the names of tags are kept: characters that Prometheus does not allow
// become underscores, camel case becomes snake case.
func TagName(name string) string {
	var b strings.Builder
	lower := false // the character before was a lower-case letter or a digit
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			if lower {
				b.WriteByte('_')
			}
			b.WriteByte(c + 'a' - 'A')
			lower = false
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			b.WriteByte(c)
			lower = true
		default:
			b.WriteByte('_')
			lower = false
		}
	}
	return b.String()
}
