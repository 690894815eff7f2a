package classify

import (
	"os"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/power"
)

func TestShippedRules(t *testing.T) {
	c := shippedRules(t)
	f := func(want power.Type, wantRule string, s Subject) {
		t.Helper()
		got := c.Classify(s)
		if got.Type != want || got.Rule != wantRule || got.Reason == "" {
			t.Errorf("%+v\n got %+v\nwant %s by %s", s, got, want, wantRule)
		}
		if kind, rule := c.Type(s); kind != got.Type || rule != got.Rule {
			t.Errorf("Type gives %s by %s, Classify %s by %s", kind, rule, got.Type, got.Rule)
		}
		for _, a := range got.Alternatives {
			if a.Type == got.Type || a.Confidence > 1-got.Confidence+1e-9 {
				t.Errorf("%+v: alternative %+v", got, a)
			}
		}
	}
	image := func(names ...string) Subject { return Subject{Namespace: "ns", Workload: "x", Images: names} }
	owner := func(kinds ...string) Subject { return Subject{Namespace: "ns", Workload: "x", OwnerKinds: kinds} }
	label := func(key, value string) Subject {
		return Subject{Namespace: "ns", Workload: "x", Labels: map[string]string{key: value}}
	}

	// A user's word beats everything, in both spellings.
	f(power.Batch, "label-workload-type", Subject{Namespace: "kube-system", Images: []string{"redis"}, Labels: map[string]string{"wattledger.io/workload-type": "batch"}})
	f(power.MLTraining, "label-workload-type", label("wattledger_io_workload_type", "ml-training"))
	f(power.Inference, "label-workload-type", Subject{Annotations: map[string]string{"workloadType": "serving"}})
	f(power.Cache, "image-cache", Subject{Images: []string{"redis"}, Labels: map[string]string{"workload-type": "nonsense"}})

	f(power.SystemType, "namespace-system", Subject{Namespace: "kube-system", Workload: "etcd", Images: []string{"registry.k8s.io/etcd:3.5.1"}})
	f(power.SystemType, "namespace-system", Subject{Namespace: "openshift-monitoring"})

	f(power.MLTraining, "kubeflow-training", owner("PyTorchJob"))
	f(power.MLTraining, "kubeflow-training-label", label("training.kubeflow.org/job-name", "t"))
	f(power.Inference, "kserve", label("serving.kserve.io/inferenceservice", "m"))
	f(power.Inference, "inference-owner", owner("pod", "SeldonDeployment"))
	f(power.Inference, "seldon", label("seldon-deployment-id", "m"))
	f(power.Inference, "ray-serve", label("ray.io/originated-from-crd", "RayService"))
	f(power.Batch, "spark", owner("pod", "sparkapplication"))
	f(power.Batch, "spark-label", label("spark-role", "executor"))
	f(power.Inference, "leaderworkerset", label("leaderworkerset.sigs.k8s.io/name", "m"))
	f(power.Batch, "owner-batch", owner("Job", "CronJob"))
	f(power.Batch, "owner-batch", owner("workflow"))
	f(power.Batch, "volcano-label", label("volcano.sh/job-name", "j"))
	f(power.SystemType, "owner-daemonset", owner("DaemonSet"))
	f(power.Unknown, "owner-statefulset", owner("StatefulSet"))

	f(power.Inference, "image-inference", image("vllm/vllm-openai:v0.9"))
	f(power.Inference, "image-inference", image("nvcr.io/nvidia/tritonserver:25.01-py3"))
	f(power.Inference, "image-inference", image("ghcr.io/huggingface/text-generation-inference@sha256:abc"))
	f(power.MLTraining, "image-ml-framework", image("pytorch/pytorch:2.5.1-cuda12"))
	f(power.MLTraining, "image-training", image("registry.local:5000/team/llm-trainer:3"))
	f(power.Database, "image-database", image("docker.io/library/postgres:16"))
	f(power.Database, "image-database", image("docker.io/bitnami/postgresql:16"))
	f(power.Cache, "image-cache", image("redis:7"))
	f(power.Cache, "image-cache", image("memcached"))
	f(power.Storage, "image-storage", image("quay.io/minio/minio"))
	f(power.Realtime, "image-realtime", image("quay.io/strimzi/kafka:0.45"))
	f(power.Web, "image-web", image("nginx:1.27"))
	f(power.SystemType, "image-exporter", image("quay.io/prometheuscommunity/postgres-exporter:v0.15"))
	f(power.Web, "image-web", image("istio/proxyv2:1.24", "nginx"))
	f(power.Inference, "command-serving", Subject{Images: []string{"registry/app"}, Command: []string{"python", "-m", "vllm.entrypoints.openai.api_server"}})
	f(power.MLTraining, "command-training", Subject{Command: []string{"torchrun", "--nproc-per-node=8", "main.py"}})

	gpu := map[string]float64{"nvidia.com/gpu": 1}
	f(power.MLTraining, "gpu-request-job", Subject{OwnerKinds: []string{"job"}, Resources: gpu})
	f(power.Inference, "gpu-request-service", Subject{OwnerKinds: []string{"deployment"}, Resources: map[string]float64{"nvidia_com_gpu": 2}})
	f(power.MLTraining, "gpu-request", Subject{Resources: map[string]float64{"furiosa.ai/rngd": 1}})
	f(power.MLTraining, "gpu-batch-scheduler", Subject{OwnerKinds: []string{"jobset"}, Resources: gpu})
	// A request of an accelerator is only a prior: what the image says counts.
	f(power.Database, "image-database", Subject{Images: []string{"milvusdb/milvus"}, Resources: gpu})

	f(power.MLTraining, "name-training", Subject{Namespace: "kcloud-workloads", Workload: "ml-training"})
	f(power.Inference, "name-inference", Subject{Namespace: "kcloud-workloads", Workload: "llm-infer"})

	if got := c.Classify(Subject{Namespace: "ns", Workload: "constraint", OwnerKinds: []string{"deployment"}, Resources: map[string]float64{"nvidia.com/gpu": 0}}); got.Stage != StageNone || got.Type != power.Unknown {
		t.Errorf("nothing speaks for a type, got %+v", got)
	}
}

func TestParseRulesErrorsNameTheLine(t *testing.T) {
	f := func(file, want string) {
		t.Helper()
		if _, err := ParseRules([]byte(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nerror is %v, want one with %q", file, err, want)
		}
	}
	head := "rules:\n  - {name: a, type: web, images: x}\n  - name: b\n"
	f(head+"    type: web\n    imagez: x\n", `line 5: unknown key "imagez"`)
	f(head+"    type: webb\n    images: x\n", `line 4: unknown type "webb"`)
	f(head+"    type: web\n", `line 3: rule "b": has no condition`)
	f(head+"    images: x\n", `line 3: rule "b": wants either type or type_from_label`)
	f(head+"    type: web\n    images: x\n    confidence: 2\n", `line 3: rule "b": confidence 2`)
	f(head+"    type: web\n    images: x\n    alternatives: {x: 1}\n", `line 3: rule "b": alternatives: unknown type "x"`)
	f(head+"    type: web\n    images: {}\n", `line 5: want a value or a list of values`)
	f("rules:\n  - {name: a, type: web, images: x}\n  - {name: a, type: web, images: x}\n", `line 3: rule "a": a rule before has the same name`)
	f("rules: []\n---\nrules: []", "more than one YAML document")
}

func FuzzParseRules(f *testing.F) {
	if file, err := os.ReadFile("../../configs/workloads.yaml"); err == nil {
		f.Add(file)
	}
	f.Add([]byte("rules:\n  - {name: a, type: web, images: [\"*x\", y], labels: {a: \"*\"}}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := ParseRules(file)
		if err != nil {
			return
		}
		got := c.Classify(Subject{Namespace: "a", Workload: "a-b", Images: []string{"a/b:c"}, OwnerKinds: []string{"job"}, Labels: map[string]string{"a": "b"}})
		if !(got.Confidence >= 0 && got.Confidence <= 1) {
			t.Fatalf("confidence %v", got.Confidence)
		}
	})
}

func BenchmarkClassifierType(b *testing.B) {
	c := shippedRules(b)
	s := Subject{Namespace: "retail", Workload: "checkout", OwnerKinds: []string{"replicaset", "deployment"}, Images: []string{"registry.local/team/checkout:1"},
		Labels: map[string]string{"app.kubernetes.io/name": "checkout", "pod-template-hash": "x"}}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		c.Type(s)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pods/s")
}

func shippedRules(t testing.TB) *Classifier {
	t.Helper()
	file, err := os.ReadFile("../../configs/workloads.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseRules(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
