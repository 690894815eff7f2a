package transform

import (
	"fmt"
	"testing"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/transform/dimension"
)

// factAt returns what kube-state-metrics says of a pod or namespace at a second.
func factAt(kind power.FactKind, second int64, pairs ...string) power.Fact {
	f := fact(kind, pairs...)
	f.AtMs = zero + second*1000
	return f
}

// tagDesk is a desk whose container web is of a pod that is known.
func tagDesk(t *testing.T) *desk {
	d := newDesk(t, IdleSeparate)
	d.Holder(0, 1, power.HolderKey{Cluster: "c1", Node: "node-a", Kind: power.Container, ID: "web"}, power.Attributes{Container: "web", Pod: "shop-0", PodUID: "u1", Namespace: "retail"}, "")
	return d
}

func (d *desk) tell(f power.Fact) {
	f.Cluster = "c1"
	d.position++
	d.Learn(d.position, f.AtMs+500, f)
}

// teams returns what team each minute's energy of web was booked to, as the newest
// charges and descriptions say.
func (d *desk) teams(t *testing.T, latest map[string]*power.Holder, minutes map[int64]*power.Holder) string {
	t.Helper()
	b := d.collect()
	for _, h := range b.Holders {
		latest[fmt.Sprint(h.HolderKey, h.SinceMs)] = h
	}
	for _, c := range b.Charges {
		if c.Holder.ID == "web" {
			minutes[(c.StartMs-zero)/60_000] = c.Holder
		}
	}
	text := ""
	for m := range int64(len(minutes)) {
		h := minutes[m]
		if newest := latest[fmt.Sprint(h.HolderKey, h.SinceMs)]; newest != nil {
			h = newest
		}
		v, ok := h.Tags.Get(power.DimensionTag, "team")
		if !ok {
			v = "-"
		}
		text += v
	}
	return text
}

func TestTagsOverTime(t *testing.T) {
	type step func(d *desk)
	use := func(minute int64) step {
		return func(d *desk) { d.book(reading(1, power.Used, minute*60, minute*60+60, 60)) }
	}
	half := func(minute int64) step {
		return func(d *desk) { d.book(reading(1, power.Used, minute*60, minute*60+30, 30)) }
	}
	pod := func(second int64, pairs ...string) step {
		return func(d *desk) {
			d.tell(factAt(power.PodLabelsFact, second, append([]string{"uid=u1", "pod=shop-0", "namespace=retail"}, pairs...)...))
		}
	}
	namespace := func(second int64, pairs ...string) step {
		return func(d *desk) {
			d.tell(factAt(power.NamespaceLabelsFact, second, append([]string{"namespace=retail"}, pairs...)...))
		}
	}
	f := func(name, want string, steps ...step) {
		t.Helper()
		// Whether what is known is collected after each step or at the end must not matter.
		for _, often := range []bool{true, false} {
			d := tagDesk(t)
			latest, minutes := map[string]*power.Holder{}, map[int64]*power.Holder{}
			for _, s := range steps {
				s(d)
				if often {
					d.teams(t, latest, minutes)
				}
			}
			if got := d.teams(t, latest, minutes); got != want {
				t.Errorf("%s, collected often %v: minutes are of %q, want %q", name, often, got, want)
			}
		}
	}
	f("known from the start", "aaa", pod(0, "label_team=a"), use(0), use(1), use(2))
	f("learned late", "aaa", use(0), use(1), pod(110, "label_team=a"), use(2))
	f("changed in mid life", "aabb", pod(0, "label_team=a"), use(0), use(1), pod(120, "label_team=b"), use(2), use(3))
	f("changed in the middle of a minute", "abb", pod(0, "label_team=a"), use(0), half(1), pod(95, "label_team=b"), use(2))
	f("changed twice in a minute", "acc", pod(0, "label_team=a"), use(0), half(1), pod(70, "label_team=b"), pod(80, "label_team=c"), use(2))
	f("and back", "aba", pod(0, "label_team=a"), use(0), pod(60, "label_team=b"), use(1), pod(120, "label_team=a"), use(2))
	f("vanished", "a-", pod(0, "label_team=a"), use(0), pod(60), use(1))
	f("another label changed", "aaa", pod(0, "label_team=a", "label_x=1"), use(0), pod(60, "label_team=a", "label_x=2"), use(1), use(2))
	f("told by one who is behind", "aabb", pod(0, "label_team=a"), use(0), use(1), pod(125, "label_team=b"), pod(124, "label_team=a"), use(2), use(3))
	f("of the namespace", "nnn", namespace(0, "label_team=n"), use(0), use(1), use(2))
	f("the pod's own counts first", "aa", namespace(0, "label_team=n"), pod(0, "label_team=a"), use(0), use(1))
	f("of the namespace, learned after a change", "nnbb", pod(0, "label_team="), pod(1, "label_other=1"), use(0), use(1),
		pod(120, "label_team=b"), use(2), use(3), namespace(200, "label_team=n"))
	f("of the namespace, changed", "nnm", namespace(0, "label_team=n"), use(0), use(1), namespace(120, "label_team=m"), use(2))
	f("no labels shown at first", "aa", pod(0), use(0), pod(60, "label_team=a"), use(1))
}

// TestManyValues shows that a label with too many values stays bounded and says so.
func TestManyValues(t *testing.T) {
	d := newDirectory(t)
	for i := range 9 {
		key := power.HolderKey{Cluster: "c", Node: "n", Kind: power.Container, ID: fmt.Sprint("id", i)}
		pod := []string{fmt.Sprint("uid=u", i), fmt.Sprint("pod=p", i), "namespace=ns"}
		d.Learn(fact(power.PodLabelsFact, append(pod, fmt.Sprintf("label_run=r%d", i), "label_team=a", "label_pod_template_hash=123")...), 0)
		h := d.Describe(key, power.Attributes{PodUID: fmt.Sprint("u", i), Pod: fmt.Sprint("p", i), Namespace: "ns"}, 0)
		want := fmt.Sprint("r", i)
		if i >= 5 {
			want = dimension.Overflow
		}
		if got, _ := h.Tags.Get(power.PodLabel, "run"); got != want {
			t.Errorf("pod %d: run is %q, want %q", i, got, want)
		}
		if got, ok := h.Tags.Get(power.PodLabel, "pod_template_hash"); ok {
			t.Errorf("pod %d: the hash %q of a controller is kept", i, got)
		}
		if got, _ := h.Tags.Get(power.PodLabel, "team"); got != "a" {
			t.Errorf("pod %d: team is %q", i, got)
		}
	}
	if over := d.Overflowing(); len(over) != 1 || over[0] != (power.Tag{Kind: power.PodLabel, Name: "run"}) {
		t.Errorf("too many values have %v, want the label run", over)
	}
}
