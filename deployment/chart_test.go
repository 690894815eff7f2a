package deployment_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/test/kubetest"
)

const chart = "helm/wattledger"

var update = flag.Bool("update", false, "write what is generated from the chart")

// options are values of the chart: each alone, and all at once.
var options = map[string]string{
	"defaults":   ``,
	"names":      `{nameOverride: ledger, fullnameOverride: books}`,
	"image":      `{image: {repository: registry.example/wattledger, tag: "1", pullPolicy: Always, pullSecrets: [registry]}}`,
	"labels":     `{extraLabels: {team: platform}, podLabels: {tier: books}, podAnnotations: {a: b}}`,
	"config":     `{prices: {electricity_rate: 0.3, currency: EUR}, config: {kepler: {interval: 15s}, transform: {idle_policy: even}}}`,
	"access":     `{tokens: {secretName: tokens}, tls: {secretName: tls}, monitor: {kind: service, bearerTokenSecret: {name: scrape}}}`,
	"small":      `{size: small, persistence: {storageClass: fast, size: 7Gi, retain: false}}`,
	"large":      `{size: large, persistence: {enabled: false}}`,
	"resources":  `{resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 3Gi}}}`,
	"account":    `{serviceAccount: {create: false}, service: {type: NodePort, port: 80, annotations: {a: b}}}`,
	"ingress":    `{ingress: {enabled: true, className: nginx, host: cost.example.com, tlsSecretName: cost, annotations: {a: b}}}`,
	"httpRoute":  `{httpRoute: {enabled: true, parentRefs: [{name: public, namespace: gateways}], hostnames: [cost.example.com]}}`,
	"policy":     `{networkPolicy: {enabled: true, from: [{namespaceSelector: {matchLabels: {a: b}}}], egress: [{ports: [{port: 53, protocol: UDP}]}]}}`,
	"closed":     `{networkPolicy: {enabled: true}, podDisruptionBudget: {enabled: true, maxUnavailable: 0}}`,
	"podMonitor": `{monitor: {kind: pod, interval: 15s, labels: {release: prometheus}}, prometheusRule: {enabled: true, labels: {release: prometheus}}}`,
	"dashboards": `{dashboards: {enabled: true, annotations: {folder: energy}}}`,
	"placement":  `{priorityClassName: system-cluster-critical, nodeSelector: {disk: ssd}, tolerations: [{key: infra, operator: Exists}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}, env: [{name: REDIS_URL, value: "redis://redis:6379"}]}`,
}

func helm(args ...string) ([]byte, error) {
	binary, err := kubetest.Helm()
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("helm %s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out, err
}

// render gives the chart's objects for values.
func render(t *testing.T, values ...string) ([]byte, error) {
	t.Helper()
	args := []string{"template", "wattledger", chart, "--namespace", "wattledger"}
	for _, v := range values {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--values", file)
	}
	return helm(args...)
}

// documents are the objects in a file of several.
func documents(b []byte) (docs [][]byte) {
	for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(string(b), -1) {
		if strings.Contains(doc, "kind:") {
			docs = append(docs, []byte(doc))
		}
	}
	return docs
}

// What the chart makes of every option is taken by a real API server, which knows every
// field; its pod passes the restricted Pod Security checks; and the program understands
// the configuration.
func TestChart(t *testing.T) {
	if _, err := helm("lint", "--strict", chart); err != nil {
		t.Error(err)
	}
	server := kubetest.Run(t)
	for _, object := range []string{
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: wattledger, labels: {pod-security.kubernetes.io/enforce: restricted}}",
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: wattledger}",
	} {
		if err := server.Apply([]byte(object), false); err != nil {
			t.Fatal(err)
		}
	}
	all, kinds := []string{}, map[string]bool{}
	check := func(name string, values ...string) {
		t.Run(name, func(t *testing.T) {
			out, err := render(t, values...)
			if err != nil {
				t.Fatal(err)
			}
			for _, doc := range documents(out) {
				kinds[take(t, server, doc)] = true
			}
		})
	}
	for name, values := range options {
		check(name, values)
		if name != "account" && name != "closed" && name != "podMonitor" {
			all = append(all, values)
		}
	}
	check("all", all...)
	for _, kind := range strings.Fields("StatefulSet Service ServiceAccount ConfigMap Ingress HTTPRoute NetworkPolicy PodDisruptionBudget ServiceMonitor PodMonitor PrometheusRule") {
		if !kinds[kind] {
			t.Errorf("no %s was made", kind)
		}
	}
	// A pod that asks for more is refused, so that those above were looked at.
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: wattledger}\nspec: {containers: [{name: a, image: a}]}"
	if err := server.Apply([]byte(pod), true); err == nil || !strings.Contains(err.Error(), "PodSecurity") {
		t.Errorf("a pod without a security context: %v", err)
	}
}

// take has the server judge an object, and a StatefulSet's pod too; it returns the kind.
func take(t *testing.T, server *kubetest.Server, doc []byte) string {
	t.Helper()
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &meta); err != nil {
		t.Fatal(err)
	}
	// Pods are admitted only with the account they name.
	if err := server.Apply(doc, meta.Kind != "ServiceAccount"); err != nil {
		t.Error(err)
	}
	switch meta.Kind {
	case "ConfigMap":
		var c corev1.ConfigMap
		if err := yaml.UnmarshalStrict(doc, &c); err != nil {
			t.Fatal(err)
		}
		if text, ok := c.Data["wattledger.yaml"]; ok {
			understood(t, text)
		}
	case "StatefulSet":
		var set appsv1.StatefulSet
		if err := yaml.UnmarshalStrict(doc, &set); err != nil {
			t.Fatal(err)
		}
		pod := corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: set.Spec.Template.ObjectMeta, Spec: set.Spec.Template.Spec}
		pod.Name, pod.Namespace = set.Name+"-0", set.Namespace
		for _, claim := range set.Spec.VolumeClaimTemplates {
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: claim.Name, VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name},
			}})
		}
		b, err := yaml.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Apply(b, true); err != nil {
			t.Error(err)
		}
	}
	return meta.Kind
}

// understood has the program read a configuration; the files it names need not be there.
func understood(t *testing.T, text string) {
	t.Helper()
	text = regexp.MustCompile(`(?m)^\s*(tokens_file|config_file): .*\n?`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`(?m)^web:\n?`).ReplaceAllString(text, "")
	file := filepath.Join(t.TempDir(), "wattledger.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := configs.Load(map[string]string{"config.file": file}, func(string) string { return "" }); err != nil {
		t.Error(err)
	}
}

// The schema refuses what is not there or cannot be, by its name.
func TestChartRefuses(t *testing.T) {
	for values, name := range map[string]string{
		`{persistance: {size: 1Gi}}`:                 "persistance",
		`{size: huge}`:                               "size",
		`{persistence: {size: lots}}`:                "size",
		`{httpRoute: {enabled: true}}`:               "parentRefs",
		`{podDisruptionBudget: {maxUnavailable: 2}}`: "maxUnavailable",
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want an error that names %s", values, err, name)
		}
	}
}

// A change of the configuration restarts the pod, another change does not.
func TestChartChecksum(t *testing.T) {
	sum := func(values string) string {
		t.Helper()
		out, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		return string(regexp.MustCompile(`checksum/config: \w+`).Find(out))
	}
	if base := sum(``); base == "" || base == sum(`{prices: {electricity_rate: 0.13}}`) || base != sum(`{size: large}`) {
		t.Errorf("checksum of the defaults is %q, and does not follow the configuration", base)
	}
}

const generated = `# Wattledger in a cluster: kubectl apply -f collector.yaml
# Then let Prometheus write to http://wattledger.wattledger:9201/api/v1/write.
# Generated from the chart in helm/wattledger by make manifests.
`

// What lies beside the chart is what the chart makes.
func TestGenerated(t *testing.T) {
	out, err := render(t, `{namespace: {create: true}}`)
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"collector.yaml": append([]byte(generated), out...), chart + "/files/alerts.yaml": alerts}
	dashboards, err := filepath.Glob("grafana/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range dashboards {
		if want[filepath.Join(chart, "files", file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	for file, content := range want {
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s is not what the chart makes (%v): run make manifests", file, err)
		}
	}
}
