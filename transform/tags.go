package transform

import (
	"cmp"
	"maps"
	"slices"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/transform/dimension"
)

// tagged is the labels or the annotations of something, as they were last told.
type tagged struct {
	list      []power.Label
	kept      power.Tags // those that are kept
	atMs      int64      // of the newest sample that told them
	changedMs int64      // when they took the place of others; 0 for never
}

// known says that they were ever told. Where kube-state-metrics is not told to
// show labels it shows none, so none, from the start, is nothing known.
func (t *tagged) known() bool { return len(t.list) > 0 || t.changedMs > 0 }

// take takes in a list that a sample of atMs told, and says whether it is news.
// One of two Prometheus may bring what another has long replaced.
func (t *tagged) take(d *Directory, kind power.TagKind, list []power.Label, atMs int64) bool {
	if atMs < t.atMs {
		return false
	}
	t.atMs = atMs
	if slices.Equal(list, t.list) {
		d.values.told(t.kept, atMs)
		return false
	}
	if t.known() {
		t.changedMs = atMs
	}
	t.list, t.kept = list, d.keep(kind, list, atMs)
	return true
}

// keep returns what is kept of a list.
func (d *Directory) keep(kind power.TagKind, list []power.Label, atMs int64) power.Tags {
	var kept []power.Tag
	for _, l := range list {
		if d.rules.Keeps(kind, l.Name) {
			kept = append(kept, power.Tag{Kind: kind, Name: l.Name, Value: d.values.bound(kind, l.Name, l.Value, d.rules.MaxValues(), atMs)})
		}
	}
	return d.values.shared(power.TagsOf(kept))
}

// kinds is a set of kinds of tags.
type kinds uint8

func (k *kinds) add(kind power.TagKind)     { *k |= 1 << kind }
func (k kinds) has(kind power.TagKind) bool { return k&(1<<kind) != 0 }

// tagging is how the tags of a holder came about.
type tagging struct {
	known     kinds // what was ever told
	changedMs int64 // when anything of it took the place of something else
}

// tags returns the tags of a holder of a pod.
func (v *view) tags(t *told, w power.Workload) power.Tags {
	d := v.directory
	v.tagging = tagging{changedMs: d.rulesMs}
	tags := power.Tags("")
	add := func(kind power.TagKind, x *tagged) {
		if x.known() {
			v.tagging.known.add(kind)
			v.tagging.changedMs = max(v.tagging.changedMs, x.changedMs)
		}
		tags += x.kept // sorted, because they are added by kind
	}
	add(power.PodLabel, &t.labels)
	add(power.PodAnnotation, &t.annotations)
	if p := d.places.get(subject{byNamespace, w.Cluster, w.Namespace, ""}); p != nil {
		add(power.NamespaceLabel, &p.labels)
		add(power.NamespaceAnnotation, &p.annotations)
	}
	return d.values.shared(d.rules.Tag(tags, w))
}

// An era is what a holder was while it had the same tags.
type era struct {
	info  *power.Holder
	known kinds
}

// maxEras bounds the eras of a holder that what is learned late still mends.
const maxEras = 16

// become makes h the description of x and returns what is news. Where tags took
// the place of others, x is another from the window on in which they did; where
// they were only not known before, they were its own all along.
func (x *holder) become(h power.Holder, t *tagging, d *Directory) (news []*power.Holder) {
	h.SinceMs = x.info.SinceMs
	since := t.changedMs - t.changedMs%d.windowMs
	switch {
	case x.settledMs < 0:
		h.SinceMs = since
	case t.changedMs > x.settledMs && since > x.info.SinceMs && h.Tags != x.info.Tags:
		if len(x.past) == maxEras {
			x.past = slices.Delete(x.past, 0, 1)
		}
		x.past = append(x.past, era{x.info, x.known})
		h.SinceMs = since
		x.info, x.told = &power.Holder{}, false
	}
	x.settledMs, x.known = max(x.settledMs, t.changedMs), t.known
	for i := range x.past {
		if x.past[i].mend(h, t.known, d) {
			news = append(news, x.past[i].info)
		}
	}
	switch {
	case !x.told: // nobody has the one there is
		*x.info, x.told = h, true
	case *x.info != h:
		other := h // a copy, so that those who learn nothing leave no garbage
		x.info = &other
	default:
		return news
	}
	return append(news, x.info)
}

// mend brings what is known of an era up to what is known now: who the holder is,
// and tags of kinds that nothing was known of then.
func (e *era) mend(now power.Holder, known kinds, d *Directory) (news bool) {
	was := now
	was.SinceMs, was.Tags = e.info.SinceMs, e.info.Tags
	if late := known &^ e.known; late != 0 {
		e.known |= late
		var list []power.Tag
		for tag := range was.Tags.All {
			list = append(list, tag)
		}
		for tag := range now.Tags.All {
			if late.has(tag.Kind) {
				list = append(list, tag)
			}
		}
		was.Tags = d.values.shared(d.rules.Tag(power.TagsOf(list), was.Workload))
	}
	if *e.info == was {
		return false
	}
	e.info = &was
	return true
}

// remap gives an era the values that rules have now.
func (e *era) remap(d *Directory) (news bool) {
	tags := d.values.shared(d.rules.Tag(e.info.Tags, e.info.Workload))
	if tags == e.info.Tags {
		return false
	}
	was := *e.info
	was.Tags = tags
	e.info = &was
	return true
}

// at returns what x was in the window that starts at startMs.
func (x *holder) at(startMs int64) *power.Holder {
	info := x.info
	for i := len(x.past) - 1; i >= 0 && info.SinceMs > startMs; i-- {
		info = x.past[i].info
	}
	return info
}

// values are the values of tags, so that none has too many, and tags that many
// holders share.
type values struct {
	of   map[power.Tag]map[string]int64 // without Value → value → when it was last told
	over map[power.Tag]uint64           // how often a value was one too many
	warn func(power.Tag)                // told of each when it first was; nil for nobody
	tags map[power.Tags]power.Tags
}

// bound returns value, or dimension.Overflow where it is one too many.
func (v *values) bound(kind power.TagKind, name, value string, most int, ms int64) string {
	key := power.Tag{Kind: kind, Name: name}
	if v.of == nil {
		v.of, v.over = map[power.Tag]map[string]int64{}, map[power.Tag]uint64{}
	}
	known := v.of[key]
	if known == nil {
		known = map[string]int64{}
		v.of[key] = known
	}
	last, ok := known[value]
	if len(value) > dimension.MaxValueBytes || !ok && len(known) >= most {
		if v.over[key]++; v.over[key] == 1 && v.warn != nil {
			v.warn(key)
		}
		return dimension.Overflow
	}
	known[value] = max(last, ms)
	return value
}

// told notes that the values of tags still are.
func (v *values) told(tags power.Tags, ms int64) {
	for t := range tags.All {
		known := v.of[power.Tag{Kind: t.Kind, Name: t.Name}]
		if last, ok := known[t.Value]; ok {
			known[t.Value] = max(last, ms)
		}
	}
}

// shared returns tags in the memory of equal ones.
func (v *values) shared(tags power.Tags) power.Tags {
	if tags == "" {
		return ""
	}
	if same, ok := v.tags[tags]; ok {
		return same
	}
	if v.tags == nil {
		v.tags = map[power.Tags]power.Tags{}
	}
	v.tags[tags] = tags
	return tags
}

// forget makes room for others in the place of values not told since beforeMs.
func (v *values) forget(beforeMs int64) {
	for key, known := range v.of {
		for value, ms := range known {
			if ms < beforeMs {
				delete(known, value)
			}
		}
		if len(known) == 0 {
			delete(v.of, key)
		}
	}
	v.tags = nil
}

// WarnOverflow has warn told of each label or annotation, without a value, once it has
// more values than are told apart. It is called while the directory is locked.
func (d *Directory) WarnOverflow(warn func(power.Tag)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.values.warn = warn
}

// Overflowing returns the tags, without values, that have had more values than are
// told apart.
func (d *Directory) Overflowing() []power.Tag {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.SortedFunc(maps.Keys(d.values.over), func(a, b power.Tag) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}
