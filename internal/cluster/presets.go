package cluster

import (
	"fmt"
	"time"
)

func label(pairs ...string) []Label { return labelSet(pairs...) }

func one(name, image string, shape Shape, base, peak float64) []Container {
	return []Container{{Name: name, Image: image, Shape: shape, BaseWatts: base, PeakWatts: peak}}
}

// Demo returns a cluster with something of everything: both generations of
// Kepler, GPUs seen by Kepler and by a dcgm-exporter, virtual machines, and
// workloads of every type in several namespaces.
func Demo(seed uint64, start time.Time) Config {
	gpuNodes := []string{"gpu-1", "gpu-2"}
	cpuNodes := []string{"worker-1", "worker-2", "worker-3", "legacy-1"}
	return Config{
		Name: "demo", Seed: seed, Start: start, Tick: 5 * time.Second, LabelDelay: 10 * time.Second,
		Nodes: []NodeConfig{
			{Name: "worker-1", IdleWatts: 38},
			{Name: "worker-2", IdleWatts: 36, VMs: []string{"vm-erp", "vm-build"}},
			{Name: "worker-3", IdleWatts: 41},
			{Name: "gpu-1", IdleWatts: 58, GPUs: 4},
			{Name: "gpu-2", IdleWatts: 57, GPUs: 4, GPUName: "NVIDIA L40S", DCGM: true},
			{Name: "legacy-1", Generation: Legacy, IdleWatts: 44},
		},
		Teams: map[string]string{
			"ml-platform": "ml", "data": "data", "analytics": "data", "shop": "checkout", "storage": "platform",
			"kube-system": "platform", "kepler": "platform", "monitoring": "platform",
		},
		Workloads: []Workload{
			{Namespace: "ml-platform", Kind: "PyTorchJob", Name: "llama-finetune", Type: "ml_training", Replicas: 2, GPUs: 1, Nodes: gpuNodes,
				Labels: label("training.kubeflow.org/job-name", "llama-finetune", "training.kubeflow.org/replica-type", "worker"),
				Containers: []Container{{Name: "pytorch", Image: "docker.io/pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime", Shape: Training,
					BaseWatts: 18, PeakWatts: 55, GPUWatts: 430}}},
			{Namespace: "ml-platform", Kind: "StatefulSet", Name: "vllm", Type: "inference", Replicas: 2, GPUs: 1, Nodes: gpuNodes,
				Labels: label("app.kubernetes.io/name", "vllm"),
				Containers: []Container{{Name: "server", Image: "docker.io/vllm/vllm-openai:v0.11.0", Shape: Bursty,
					BaseWatts: 6, PeakWatts: 28, GPUWatts: 300}}},
			{Namespace: "ml-platform", Kind: "Deployment", Name: "triton", Type: "inference", Replicas: 2, GPUs: 1, Nodes: gpuNodes,
				Labels: label("app", "triton"),
				Containers: []Container{{Name: "triton", Image: "nvcr.io/nvidia/tritonserver:25.06-py3", Shape: Bursty,
					BaseWatts: 4, PeakWatts: 18, GPUWatts: 180}}},
			{Namespace: "data", Kind: "CronJob", Name: "etl", Type: "batch", Replicas: 2, Every: time.Hour, Lasts: 20 * time.Minute, Nodes: cpuNodes,
				Labels: label("app", "etl"), Containers: one("spark", "docker.io/apache/spark:3.5.6", Batch, 8, 42)},
			{Namespace: "data", Kind: "CronJob", Name: "report", Type: "batch", Every: 30 * time.Minute, Lasts: 2 * time.Minute, Nodes: cpuNodes,
				Labels: label("app", "report"), Containers: one("report", "registry.demo/report:12", Batch, 4, 20)},
			{Namespace: "data", Kind: "StatefulSet", Name: "kafka", Type: "realtime", Replicas: 3, Nodes: cpuNodes,
				Labels: label("app.kubernetes.io/name", "kafka"), Containers: one("kafka", "docker.io/apache/kafka:4.1.0", Diurnal, 3, 9)},
			{Namespace: "data", Kind: "Deployment", Name: "stream-scoring", Type: "realtime", Replicas: 3, Nodes: cpuNodes,
				Labels:     label("app", "stream-scoring", "wattledger.io/workload-type", "realtime"),
				Containers: one("flink", "docker.io/library/flink:2.1", Steady, 4, 12)},
			{Namespace: "shop", Kind: "Deployment", Name: "web", Type: "web", Replicas: 8, Nodes: cpuNodes,
				Labels: label("app", "web"), Containers: append(one("nginx", "docker.io/library/nginx:1.29", Diurnal, 0.8, 7),
					Container{Name: "istio-proxy", Image: "docker.io/istio/proxyv2:1.27.1", Shape: Diurnal, BaseWatts: 0.3, PeakWatts: 1.5})},
			{Namespace: "shop", Kind: "Deployment", Name: "checkout", Type: "web", Replicas: 4, Nodes: cpuNodes,
				Labels: label("app", "checkout", "app.kubernetes.io/component", "web"), Containers: one("checkout", "docker.io/library/httpd:2.4", Diurnal, 1, 8)},
			{Namespace: "shop", Kind: "StatefulSet", Name: "postgres", Type: "database", Replicas: 3, Nodes: cpuNodes,
				Labels: label("app.kubernetes.io/name", "postgresql"), Containers: one("postgres", "docker.io/library/postgres:17", Compacting, 3, 16)},
			{Namespace: "shop", Kind: "StatefulSet", Name: "redis", Type: "cache", Replicas: 3, Nodes: cpuNodes,
				Labels: label("app.kubernetes.io/name", "redis"), Containers: one("redis", "docker.io/library/redis:8.2", Diurnal, 0.8, 3)},
			{Namespace: "storage", Kind: "StatefulSet", Name: "minio", Type: "storage", Replicas: 4, Nodes: cpuNodes,
				Labels: label("app", "minio"), Containers: one("minio", "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z", Compacting, 2, 11)},
			{Namespace: "analytics", Kind: "StatefulSet", Name: "clickhouse", Type: "database", Replicas: 2, Nodes: cpuNodes,
				Labels: label("app.kubernetes.io/name", "clickhouse"), Containers: one("clickhouse", "docker.io/clickhouse/clickhouse-server:25.8", Bursty, 4, 24)},
			{Namespace: "analytics", Kind: "Deployment", Name: "notebook", Type: "unknown", Replicas: 4,
				Labels: label("team", "research"), Containers: one("app", "registry.demo/research/tool:7", Bursty, 0.6, 9)},
			{Namespace: "kube-system", Kind: "DaemonSet", Name: "kube-proxy", Type: "system",
				Labels: label("k8s-app", "kube-proxy"), Containers: one("kube-proxy", "registry.k8s.io/kube-proxy:v1.34.1", Steady, 0.4, 1)},
			{Namespace: "kube-system", Kind: "DaemonSet", Name: "cilium", Type: "system",
				Labels: label("k8s-app", "cilium"), Containers: one("cilium-agent", "quay.io/cilium/cilium:v1.18.2", Steady, 1, 3)},
			{Namespace: "kube-system", Kind: "Deployment", Name: "coredns", Type: "system", Replicas: 2, Nodes: cpuNodes,
				Labels: label("k8s-app", "kube-dns"), Containers: one("coredns", "registry.k8s.io/coredns/coredns:v1.12.1", Diurnal, 0.4, 2)},
			{Namespace: "kepler", Kind: "DaemonSet", Name: "kepler", Type: "system",
				Labels: label("app.kubernetes.io/name", "kepler"), Containers: one("kepler", "quay.io/sustainable_computing_io/kepler:v0.11.4", Steady, 0.5, 1.2)},
			{Namespace: "monitoring", Kind: "StatefulSet", Name: "prometheus-k8s", Type: "system", Replicas: 2, Nodes: cpuNodes,
				Labels: label("app.kubernetes.io/name", "prometheus"), Containers: one("prometheus", "quay.io/prometheus/prometheus:v3.6.0", Compacting, 2, 8)},
		},
	}
}

// Sized returns a cluster of plain nodes with containers on each of them,
// every legacyEvery-th node with a legacy exporter (0 for none). Registers wrap
// at registerJoules (0 for the usual size).
func Sized(name string, seed uint64, start time.Time, nodes, containers, legacyEvery int, registerJoules float64) Config {
	config := Config{Name: name, Seed: seed, Start: start, LabelDelay: 5 * time.Second}
	kinds := []Workload{
		{Namespace: "shop", Kind: "Deployment", Name: "web", Type: "web", Containers: one("nginx", "docker.io/library/nginx:1.29", Diurnal, 1, 6)},
		{Namespace: "shop", Kind: "StatefulSet", Name: "postgres", Type: "database", Containers: one("postgres", "docker.io/library/postgres:17", Compacting, 2, 9)},
		{Namespace: "data", Kind: "Deployment", Name: "scoring", Type: "realtime", Containers: one("flink", "docker.io/library/flink:2.1", Steady, 2, 8)},
		{Namespace: "ml", Kind: "StatefulSet", Name: "train", Type: "ml_training", Containers: one("trainer", "docker.io/pytorch/pytorch:2.8.0", Training, 4, 22)},
		{Namespace: "shop", Kind: "StatefulSet", Name: "redis", Type: "cache", Containers: one("redis", "docker.io/library/redis:8.2", Bursty, 1, 4)},
	}
	for i := range nodes {
		node := NodeConfig{Name: fmt.Sprintf("node-%d", i+1), RegisterJoules: registerJoules}
		if legacyEvery > 0 && i%legacyEvery == legacyEvery-1 {
			node.Generation = Legacy
		}
		config.Nodes = append(config.Nodes, node)
		for k, w := range kinds {
			w.Replicas = containers/len(kinds) + b2i(k < containers%len(kinds))
			if w.Replicas == 0 {
				continue
			}
			w.Name = fmt.Sprintf("%s-%d", w.Name, i+1)
			w.Nodes = []string{node.Name}
			w.Labels = label("app", w.Name)
			config.Workloads = append(config.Workloads, w)
		}
	}
	return config
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
