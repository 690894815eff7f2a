package transform

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/index"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/transform/classify"
	"github.com/wattledger/wattledger/transform/dimension"
)

func shippedRules(t testing.TB) *classify.Classifier {
	t.Helper()
	file, err := os.ReadFile("../configs/workloads.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := classify.ParseRules(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An asker asks a directory about holders by their keys, as a stage does by its own numbers.
type asker struct {
	*Directory
	holders map[power.HolderKey]*holder
}

func ask(d *Directory) asker { return asker{d, map[power.HolderKey]*holder{}} }

// testDimensions has a team, from the pod or its namespace.
func testDimensions(t testing.TB) *dimension.Rules {
	t.Helper()
	rules, err := dimension.New(
		dimension.Config{"team": {{Label: dimension.Names{"team"}}, {NamespaceLabel: dimension.Names{"team"}}}},
		dimension.Keep{Keep: []string{"*"}, Drop: []string{"pod-template-hash"}, MaxValues: 5})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func newDirectory(t testing.TB) asker {
	return ask(NewDirectory(DefaultConfig(), shippedRules(t), testDimensions(t)))
}

func (a asker) Describe(key power.HolderKey, attrs power.Attributes, arrivalMs int64) *power.Holder {
	x := a.holders[key]
	if x == nil {
		x = &holder{info: &power.Holder{HolderKey: key}, settledMs: -1}
		a.holders[key] = x
	}
	var last *power.Attributes
	x.attrs = pack(attrs, &last)
	before := *x
	if news := len(a.describe(x, arrivalMs)) > 0; news != (!before.told || *before.info != *x.info) || news && before.told && before.info == x.info {
		panic("a description that was handed out has changed, or it is not said that there is a new one")
	}
	return x.info
}

func (a asker) Learn(f power.Fact, arrivalMs int64) (keys []power.HolderKey) {
	for _, x := range a.learn(f, arrivalMs) {
		keys = append(keys, x.info.HolderKey)
	}
	return keys
}

func (a asker) Release(key power.HolderKey) {
	a.release(a.holders[key])
	delete(a.holders, key)
}

// fact makes a fact from "name=value" pairs.
func fact(kind power.FactKind, pairs ...string) power.Fact {
	f := power.Fact{Kind: kind, Cluster: "c", Value: 1}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		f.Labels = append(f.Labels, power.Label{Name: name, Value: value})
	}
	slices.SortFunc(f.Labels, func(a, b power.Label) int { return strings.Compare(a.Name, b.Name) })
	return f
}

func containerKey(id string) power.HolderKey {
	return power.HolderKey{Cluster: "c", Node: "n", Kind: power.Container, ID: id}
}

func workloadOf(h *power.Holder) string {
	text := h.Workload.ID()
	if h.Inferred {
		text += "?"
	}
	return text
}

// A container is met before anything is known of its pod; every fact that comes
// later mends its description, and tells for whom.
func TestDirectoryLearnsLate(t *testing.T) {
	d := newDirectory(t)
	key := containerKey("0123456789abcdef")
	attributes := power.Attributes{}
	f := func(want string, wantType power.Type) {
		t.Helper()
		h := d.Describe(key, attributes, 0)
		if got := workloadOf(h); got != want || h.Type != wantType {
			t.Errorf("described as %s, %s by rule %q; want %s, %s", got, h.Type, h.Rule, want, wantType)
		}
		if again := d.Describe(key, attributes, 0); again != h {
			t.Error("the same description is another pointer")
		}
	}
	learn := func(want bool, x power.Fact) {
		t.Helper()
		got := d.Learn(x, 0)
		if want != (len(got) == 1 && got[0] == key) {
			t.Errorf("fact %v changes %v, want the container: %v", x.Labels, got, want)
		}
		if again := d.Learn(x, 0); again != nil {
			t.Errorf("the same fact again changes %v", again)
		}
	}
	f("c::container:0123456789ab?", power.Unknown)
	attributes.PodUID = "u1"
	f("c::container:0123456789ab?", power.Unknown)
	learn(true, fact(power.PodFact, "pod_id=u1", "pod_name=shop-7d9f5c6b8-x2x4q", "pod_namespace=retail", "zone=package", "pod=kepler-1", "namespace=kepler"))
	f("c:retail:deployment:shop?", power.Unknown)
	learn(false, fact(power.PodFact, "pod_id=u2", "pod_name=other-0", "pod_namespace=retail"))
	// Scraped without honorLabels: pod and namespace name kube-state-metrics.
	learn(true, fact(power.PodOwnerFact, "uid=u1", "exported_pod=shop-7d9f5c6b8-x2x4q", "exported_namespace=retail", "pod=ksm-1", "namespace=monitoring", "owner_kind=ReplicaSet", "owner_name=shop-7d9f5c6b8", "owner_is_controller=true"))
	f("c:retail:deployment:shop?", power.Unknown)
	learn(true, fact(power.ReplicaSetOwnerFact, "namespace=retail", "replicaset=shop-7d9f5c6b8", "owner_kind=Rollout", "owner_name=shop"))
	f("c:retail:rollout:shop", power.Unknown)
	learn(true, fact(power.PodContainerFact, "uid=u1", "pod=shop-7d9f5c6b8-x2x4q", "namespace=retail", "container=main", "container_id=containerd://0123456789abcdef", "image=docker.io/library/nginx:1.27"))
	f("c:retail:rollout:shop", power.Web)
	learn(true, fact(power.PodLabelsFact, "uid=u1", "pod=shop-7d9f5c6b8-x2x4q", "namespace=retail", "label_wattledger_io_workload_type=cache"))
	f("c:retail:rollout:shop", power.Cache)

	h := d.Describe(key, attributes, 0)
	if h.Pod != "shop-7d9f5c6b8-x2x4q" || h.PodUID != "u1" || h.Container != "main" || h.Image != "docker.io/library/nginx:1.27" {
		t.Errorf("described as %+v", h)
	}
	d.Release(key)
	if got := d.Learn(fact(power.PodLabelsFact, "uid=u1", "label_wattledger_io_workload_type=web"), 0); len(got) != 0 {
		t.Errorf("a released holder is told of: %v", got)
	}
}

func TestDirectoryOwners(t *testing.T) {
	d := newDirectory(t)
	pod := func(uid, name, ownerKind, ownerName string) {
		d.Learn(fact(power.PodOwnerFact, "uid="+uid, "pod="+name, "namespace=ns", "owner_kind="+ownerKind, "owner_name="+ownerName, "owner_is_controller=true"), 0)
	}
	f := func(uid, want string) {
		t.Helper()
		if got := workloadOf(d.Describe(containerKey("id-"+uid), power.Attributes{PodUID: uid}, 0)); got != want {
			t.Errorf("pod %s is of %s, want %s", uid, got, want)
		}
	}
	pod("1", "web-5d4b9c7f66-abcde", "ReplicaSet", "web-5d4b9c7f66")
	f("1", "c:ns:deployment:web?") // the ReplicaSet's own owner is not known
	d.Learn(fact(power.ReplicaSetOwnerFact, "namespace=ns", "replicaset=web-5d4b9c7f66", "owner_kind=<none>"), 0)
	f("1", "c:ns:replicaset:web-5d4b9c7f66")
	pod("2", "etl-29301234-9m2kd", "Job", "etl-29301234")
	f("2", "c:ns:cronjob:etl?")
	d.Learn(fact(power.JobOwnerFact, "namespace=ns", "job_name=etl-29301234", "owner_kind=CronJob", "owner_name=etl"), 0)
	f("2", "c:ns:cronjob:etl")
	pod("3", "train-worker-0", "PyTorchJob", "train")
	f("3", "c:ns:pytorchjob:train")
	pod("4", "js-0-x7k2p", "Job", "js-workers-0")
	f("4", "c:ns:job:js-workers-0")
	d.Learn(fact(power.JobOwnerFact, "namespace=ns", "job_name=js-workers-0", "owner_kind=JobSet", "owner_name=js"), 0)
	f("4", "c:ns:jobset:js")
	pod("5", "pi-driver", "SparkApplication", "pi")
	pod("6", "pi-exec-1", "Pod", "pi-driver")
	f("6", "c:ns:sparkapplication:pi")
	pod("7", "etcd-node-a", "Node", "node-a")
	f("7", "c:ns:pod:etcd") // one workload on all nodes
	pod("12", "web-3-x7k2p", "ReplicationController", "web-3")
	f("12", "c:ns:deploymentconfig:web?")
	d.Learn(fact(power.ReplicaSetOwnerFact, "namespace=ns", "replicationcontroller=web-3", "owner_kind=DeploymentConfig", "owner_name=web"), 0)
	f("12", "c:ns:deploymentconfig:web")
	pod("13", "nightly-etl-1700000000-main-123", "Workflow", "nightly-etl-1700000000")
	f("13", "c:ns:cronworkflow:nightly-etl?")
	pod("14", "release-abcde-main-123", "Workflow", "release-abcde")
	f("14", "c:ns:workflow:release-abcde")
	pod("8", "toolbox", "<none>", "<none>")
	f("8", "c:ns:pod:toolbox")
	pod("9", "loop", "Pod", "loop") // owns itself
	f("9", "c:ns:pod:loop")
	pod("10", "ping", "Pod", "pong")
	pod("11", "pong", "Pod", "ping")
	d.Describe(containerKey("id-10"), power.Attributes{PodUID: "10"}, 0) // ends

	// A static pod: the kubelet's UID and the API server's differ.
	d.Learn(fact(power.PodFact, "pod_id=kubelet-uid", "pod_name=kube-apiserver-node-a", "pod_namespace=kube-system"), 0)
	d.Learn(fact(power.PodOwnerFact, "uid=mirror-uid", "pod=kube-apiserver-node-a", "namespace=kube-system", "owner_kind=Node", "owner_name=node-a"), 0)
	f("kubelet-uid", "c:kube-system:pod:kube-apiserver")
}

func TestDirectoryInfersFromNames(t *testing.T) {
	f := func(pod, wantKind, wantName string) {
		t.Helper()
		kind, name, inferred := inferWorkload(pod)
		if kind != wantKind || name != wantName || !inferred {
			t.Errorf("%s: %s %s, inferred %v; want %s %s", pod, kind, name, inferred, wantKind, wantName)
		}
	}
	f("ml-training-7d9f5c6b8-x2x4q", "deployment", "ml-training")
	f("web-5d4b9c7f66-k8n2v", "deployment", "web")
	f("llm-infer-0", "statefulset", "llm-infer")
	f("cassandra-12", "statefulset", "cassandra")
	f("etl-29301234-9m2kd", "cronjob", "etl")
	f("node-exporter-x2x4q", "daemonset", "node-exporter")
	f("train-3-x7k2p", "job", "train")
	f("etcd-node-a", "pod", "etcd-node-a")
	f("toolbox", "pod", "toolbox")
	f("my-nginx", "pod", "my-nginx")
	f("-0", "pod", "-0")
}

// Legacy containers name their pod, with no UID, and have no kube-state-metrics.
func TestDirectoryWithoutFacts(t *testing.T) {
	d := newDirectory(t)
	h := d.Describe(containerKey("x"), power.Attributes{Namespace: "kcloud-workloads", Pod: "ml-training-7d9f5c6b8-x2x4q", Container: "trainer"}, 0)
	if got := workloadOf(h); got != "c:kcloud-workloads:deployment:ml-training?" || h.Type != power.MLTraining || h.Container != "trainer" {
		t.Errorf("described as %s, %+v", got, h)
	}
	f := func(kind power.HolderKind, want string, wantType power.Type) {
		t.Helper()
		h := d.Describe(power.HolderKey{Cluster: "c", Node: "n", Kind: kind}, power.Attributes{}, 0)
		if h.Workload.ID() != want || h.Type != wantType || h.Inferred {
			t.Errorf("%s is described as %+v", kind, h)
		}
	}
	f(power.System, "c:__system__:system:__system__", power.SystemType)
	f(power.Idle, "c:__idle__:idle:__idle__", power.Unknown)
	f(power.Unattributed, "c:__unattributed__:unattributed:__unattributed__", power.Unknown)
	static := power.HolderKey{Cluster: "c", Node: "node-a", Kind: power.Container, ID: "s"}
	if h := d.Describe(static, power.Attributes{Namespace: "kube-system", Pod: "etcd-node-a", Container: "etcd"}, 0); h.Workload.ID() != "c:kube-system:pod:etcd" || !h.Inferred {
		t.Errorf("a static pod is described as %+v", h)
	}
	vm := d.Describe(power.HolderKey{Cluster: "c", Node: "n", Kind: power.VM, ID: "v1"}, power.Attributes{Container: "vm-db"}, 0)
	if vm.Workload.ID() != "c::vm:vm-db" || vm.Type != power.Database {
		t.Errorf("a VM is described as %+v", vm)
	}
}

func TestDirectoryIsBounded(t *testing.T) {
	c := DefaultConfig()
	c.MaxPods = 10
	d := ask(NewDirectory(c, shippedRules(t), testDimensions(t)))
	hour := time.Hour.Milliseconds()
	d.Describe(containerKey("x"), power.Attributes{PodUID: "0"}, 0)
	for i := range 20 {
		d.Learn(fact(power.PodFact, fmt.Sprintf("pod_id=%d", i), fmt.Sprintf("pod_name=p-%d", i), "pod_namespace=ns"), int64(i))
	}
	if pods, holders, refused := d.Len(); pods != 10 || holders != 1 || refused != 10 {
		t.Errorf("%d pods, %d holders, %d refused; want 10, 1, 10", pods, holders, refused)
	}
	// Three days later the old ones make room, but for the one a holder needs.
	d.Learn(fact(power.PodFact, "pod_id=new", "pod_name=new", "pod_namespace=ns"), 72*hour)
	if pods, _, _ := d.Len(); pods != 2 {
		t.Errorf("%d pods after three days, want 2", pods)
	}
	if h := d.Describe(containerKey("x"), power.Attributes{PodUID: "0"}, 72*hour); h.Pod != "p-0" {
		t.Errorf("the pod of a live holder is forgotten: %+v", h)
	}
}

func TestDirectorySnapshot(t *testing.T) {
	facts := []power.Fact{
		fact(power.PodFact, "pod_id=u1", "pod_name=a-0", "pod_namespace=ns"),
		fact(power.PodFact, "pod_id=u2", "pod_name=a-0", "pod_namespace=ns"),
		fact(power.PodOwnerFact, "uid=u1", "pod=a-0", "namespace=ns", "owner_kind=StatefulSet", "owner_name=a"),
		fact(power.ReplicaSetOwnerFact, "namespace=ns", "replicaset=r", "owner_kind=Deployment", "owner_name=r"),
		fact(power.PodLabelsFact, "uid=u1", "pod=a-0", "namespace=ns", "label_app=x", "annotation_y=z"),
		fact(power.PodContainerFact, "uid=u1", "pod=a-0", "namespace=ns", "container=m", "container_id=docker://id1", "image=redis"),
		fact(power.PodContainerFact, "uid=u1", "pod=a-0", "namespace=ns", "container=b", "container_id=docker://id2", "image=redis"),
		fact(power.PodRequestsFact, "uid=u1", "pod=a-0", "namespace=ns", "container=m", "resource=nvidia_com_gpu"),
	}
	var want []byte
	for seed := range 20 {
		d := newDirectory(t)
		r := rand.New(rand.NewPCG(uint64(seed), 0))
		r.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
		for _, f := range facts {
			d.Learn(f, 7)
		}
		var b bytes.Buffer
		if err := d.save(&b); err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = b.Bytes()
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Fatal("the same facts in another order give other bytes")
		}
		back := newDirectory(t)
		if err := back.load(&b); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := back.save(&again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), want) {
			t.Fatal("what is loaded is saved as other bytes")
		}
		before, after := d.Describe(containerKey("id1"), power.Attributes{}, 0), back.Describe(containerKey("id1"), power.Attributes{}, 0)
		if *before != *after || workloadOf(after) != "c:ns:statefulset:a" || after.Type != power.Cache {
			t.Fatalf("described as %+v before and as %+v after", before, after)
		}
	}
	for n := range want {
		if err := newDirectory(t).load(bytes.NewReader(want[:n])); err == nil {
			t.Fatalf("the first %d of %d bytes load without an error", n, len(want))
		}
	}
}

func FuzzDirectoryLoad(f *testing.F) {
	rules := shippedRules(f)
	d := ask(NewDirectory(DefaultConfig(), rules, testDimensions(f)))
	d.Learn(fact(power.PodContainerFact, "uid=u1", "pod=a-0", "namespace=ns", "container=m", "container_id=docker://id1", "image=redis"), 5)
	d.Learn(fact(power.JobOwnerFact, "namespace=ns", "job_name=r", "owner_kind=CronJob", "owner_name=r"), 6)
	var b bytes.Buffer
	if err := d.save(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		d := ask(NewDirectory(DefaultConfig(), rules, testDimensions(t)))
		if err := d.load(bytes.NewReader(data)); err != nil {
			if pods, _, _ := d.Len(); pods != 0 {
				t.Fatalf("%d pods after an error", pods)
			}
			return
		}
		d.Describe(containerKey("id1"), power.Attributes{PodUID: "u1"}, 0)
		d.Learn(fact(power.PodFact, "pod_id=u1", "pod_name=a-0", "pod_namespace=ns"), 1<<40)
	})
}

func BenchmarkDirectory(b *testing.B) {
	d := newDirectory(b)
	var facts []power.Fact
	for i := range 1000 {
		facts = append(facts,
			fact(power.PodFact, fmt.Sprintf("pod_id=u%d", i), fmt.Sprintf("pod_name=p-%d", i), "pod_namespace=ns"),
			fact(power.PodOwnerFact, fmt.Sprintf("uid=u%d", i), fmt.Sprintf("pod=p-%d", i), "namespace=ns", "owner_kind=StatefulSet", "owner_name=p"))
		d.Describe(containerKey(fmt.Sprint(i)), power.Attributes{PodUID: fmt.Sprintf("u%d", i)}, 0)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for _, f := range facts {
			for _, key := range d.Learn(f, 0) {
				d.Describe(key, power.Attributes{PodUID: "u" + key.ID}, 0)
			}
		}
		n += len(facts)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "facts/s")
}

// Whoever comes and goes, a directory tells just those holders of a change that
// were described from what has changed.
func TestDirectoryAudience(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 3))
		var a audience
		want := map[subject]map[uint32]bool{}
		for range 3000 {
			s, holder := subject{kind: byUID, a: fmt.Sprint(r.IntN(40))}, r.Uint32N(30)
			if want[s] == nil {
				want[s] = map[uint32]bool{}
			}
			switch {
			case !want[s][holder]:
				a.join(index.Hash(s), holder)
				want[s][holder] = true
			default:
				a.leave(index.Hash(s), holder)
				delete(want[s], holder)
			}
			if a.any(s) != (len(want[s]) > 0) {
				t.Fatalf("seed %d: %v has listeners: %v, want %v", seed, s, a.any(s), want[s])
			}
			got := a.of(s, nil)
			slices.Sort(got)
			if !slices.Equal(got, slices.Sorted(maps.Keys(want[s]))) {
				t.Fatalf("seed %d: %v is heard by %v, want %v", seed, s, got, want[s])
			}
		}
		if len(a.listeners) > 40*30 {
			t.Fatalf("seed %d: %d listeners: their places are not used again", seed, len(a.listeners))
		}
	}
}

// A pod name that is recreated again and again costs each time what the first cost:
// facts and descriptions a pod are the same for few and for many.
func BenchmarkRecreated(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				recreate(b, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/pod")
		})
	}
}

func recreate(t testing.TB, n int) (d asker) {
	d = newDirectory(t)
	for i := range n {
		uid, ms := fmt.Sprintf("uid-%06d", i), int64(i)*1000
		pod := []power.Label{{Name: "namespace", Value: "db"}, {Name: "pod", Value: "postgres-0"}, {Name: "uid", Value: uid}}
		d.Learn(power.Fact{Kind: power.PodOwnerFact, Cluster: "c", Value: 1, Labels: append(slices.Clone(pod),
			power.Label{Name: "owner_kind", Value: "StatefulSet"}, power.Label{Name: "owner_name", Value: "postgres"})}, ms)
		d.Learn(power.Fact{Kind: power.PodLabelsFact, Cluster: "c", Value: 1, Labels: append(slices.Clone(pod), power.Label{Name: "label_run", Value: uid})}, ms)
		key := power.HolderKey{Cluster: "c", Node: "n", Kind: power.Container, ID: uid}
		if h := d.Describe(key, power.Attributes{PodUID: uid, Namespace: "db", Pod: "postgres-0", Container: "postgres"}, ms); h.Workload.ID() != "c:db:statefulset:postgres" {
			t.Fatalf("described as %+v", h)
		}
	}
	return d
}

// The looks that one more pod of a name costs do not grow with how many there were.
func TestRecreatedPodsAreBounded(t *testing.T) {
	d := recreate(t, 500)
	if n := len(d.named(subject{byName, "c", "db", "postgres-0"})); n != maxSame {
		t.Errorf("%d pods are found by one name, want the newest %d", n, maxSame)
	}
	if heard := d.asked.of(subject{byName, "c", "db", "postgres-0"}, nil); len(heard) > 0 {
		t.Errorf("%d holders are described anew for another pod of their name", len(heard))
	}
	if newest := d.named(subject{byName, "c", "db", "postgres-0"})[0].uid; newest != "uid-000499" {
		t.Errorf("the newest is %s", newest)
	}
}
