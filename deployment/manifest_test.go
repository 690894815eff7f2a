// Package deployment_test checks what users deploy: the manifests as the
// Kubernetes API server reads them, and the image as an engine builds it.
package deployment_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/wattledger/wattledger/configs"
)

// The manifest has no field that Kubernetes does not know, its parts refer to
// each other by names that exist, and it asks for no more rights than it needs.
func TestCollectorManifest(t *testing.T) {
	b, err := os.ReadFile("collector.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var (
		namespace corev1.Namespace
		config    corev1.ConfigMap
		account   corev1.ServiceAccount
		service   corev1.Service
		headless  corev1.Service
		set       appsv1.StatefulSet
	)
	into := map[string]any{"Namespace": &namespace, "ConfigMap": &config, "ServiceAccount": &account, "Service": &service, "Service wattledger-headless": &headless, "StatefulSet": &set}
	for i, doc := range documents(b) {
		var meta metav1.PartialObjectMetadata
		if err := yaml.Unmarshal(doc, &meta); err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		name := meta.Kind
		if strings.HasSuffix(meta.Name, "-headless") {
			name += " " + meta.Name
		}
		object, ok := into[name]
		if !ok {
			t.Fatalf("document %d: unexpected kind %q, or a second one", i, name)
		}
		delete(into, name)
		if err := yaml.UnmarshalStrict(doc, object); err != nil {
			t.Fatalf("%s: %v", meta.Kind, err)
		}
	}
	if len(into) > 0 {
		t.Fatalf("missing: %v", into)
	}

	eq := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	holds := func(what string, p *bool, want bool) {
		t.Helper()
		if p == nil || *p != want {
			t.Errorf("%s is not set to %v", what, want)
		}
	}
	for kind, meta := range map[string]metav1.ObjectMeta{"ConfigMap": config.ObjectMeta, "Service": service.ObjectMeta, "StatefulSet": set.ObjectMeta} {
		eq(kind+" namespace", meta.Namespace, namespace.Name)
	}
	eq("apiVersion of the StatefulSet", set.APIVersion, "apps/v1")
	eq("serviceName", set.Spec.ServiceName, headless.Name)
	eq("address of the headless Service", headless.Spec.ClusterIP, corev1.ClusterIPNone)
	eq("serviceAccountName", set.Spec.Template.Spec.ServiceAccountName, account.Name)
	eq("replicas", *set.Spec.Replicas, int32(1))
	for key, value := range set.Spec.Selector.MatchLabels {
		eq("pod label "+key, set.Spec.Template.Labels[key], value)
	}
	for key, value := range service.Spec.Selector {
		eq("pod label "+key, set.Spec.Template.Labels[key], value)
	}

	pod := set.Spec.Template.Spec
	if len(pod.Containers) != 1 {
		t.Fatalf("%d containers, want 1", len(pod.Containers))
	}
	c := pod.Containers[0]
	port := c.Ports[0]
	eq("containerPort", port.ContainerPort, int32(9201))
	eq("targetPort", service.Spec.Ports[0].TargetPort.StrVal, port.Name)
	for name, probe := range map[string]*corev1.Probe{"/-/healthy": c.LivenessProbe, "/-/ready": c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil {
			t.Fatalf("no probe of %s", name)
		}
		eq("probe path", probe.HTTPGet.Path, name)
		eq("probe port", probe.HTTPGet.Port.StrVal, port.Name)
	}
	if c.StartupProbe == nil {
		t.Error("no startupProbe: a long replay would be killed")
	}
	for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := c.Resources.Requests[resource], c.Resources.Limits[resource]
		if request.IsZero() || limit.Cmp(request) < 0 {
			t.Errorf("%s: request %v, limit %v", resource, &request, &limit)
		}
	}

	if pod.SecurityContext == nil || c.SecurityContext == nil || c.SecurityContext.Capabilities == nil {
		t.Fatal("security contexts are missing")
	}
	holds("runAsNonRoot", pod.SecurityContext.RunAsNonRoot, true)
	holds("automountServiceAccountToken", pod.AutomountServiceAccountToken, false)
	holds("readOnlyRootFilesystem", c.SecurityContext.ReadOnlyRootFilesystem, true)
	holds("allowPrivilegeEscalation", c.SecurityContext.AllowPrivilegeEscalation, false)
	eq("seccomp profile", pod.SecurityContext.SeccompProfile.Type, corev1.SeccompProfileTypeRuntimeDefault)
	if !slices.Contains(c.SecurityContext.Capabilities.Drop, "ALL") {
		t.Error("capabilities are not dropped")
	}
	eq("runAsUser", *pod.SecurityContext.RunAsUser, imageUser(t))
	eq("fsGroup", *pod.SecurityContext.FSGroup, imageUser(t))

	// Every mount has a volume, and every written path is one.
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil {
			eq("config volume", v.ConfigMap.Name, config.Name)
			for _, item := range v.ConfigMap.Items {
				if _, ok := config.Data[item.Key]; !ok {
					t.Errorf("config volume takes key %q, which the ConfigMap lacks", item.Key)
				}
			}
		}
	}
	if len(set.Spec.VolumeClaimTemplates) != 1 {
		t.Fatalf("%d volumeClaimTemplates, want 1", len(set.Spec.VolumeClaimTemplates))
	}
	claim := set.Spec.VolumeClaimTemplates[0]
	volumes[claim.Name] = true
	if size := claim.Spec.Resources.Requests[corev1.ResourceStorage]; size.IsZero() {
		t.Error("the volume claim asks for no storage")
	}
	mounts := map[string]string{}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("mount %s has no volume", m.Name)
		}
		mounts[m.MountPath] = m.Name
	}
	eq("volume at /data", mounts["/data"], claim.Name)
	if !slices.Contains(c.Args, "--storage.path=/data") {
		t.Errorf("arguments %q do not store at /data", c.Args)
	}
	// The program understands what it is given.
	given := map[string]string{}
	for _, arg := range c.Args {
		if name, value, ok := strings.Cut(strings.TrimPrefix(arg, "--"), "="); ok {
			given[name] = value
		}
	}
	name := filepath.Base(given["config.file"])
	eq("folder of config.file", filepath.Dir(given["config.file"]), mountOf(c, "config"))
	given["config.file"] = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(given["config.file"], []byte(config.Data[name]), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(given, func(string) string { return "" })
	if err != nil {
		t.Fatalf("configuration: %v", err)
	}
	eq("listen address", cfg.Web.ListenAddress, ":"+strconv.Itoa(int(port.ContainerPort)))
	eq("electricity rate", cfg.Transform.Cost.ElectricityPerKWh, 0.12)
}

// mountOf returns where a volume is mounted.
func mountOf(c corev1.Container, volume string) string {
	for _, m := range c.VolumeMounts {
		if m.Name == volume {
			return m.MountPath
		}
	}
	return ""
}

// imageUser is the user of the Dockerfile's last stage.
func imageUser(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`).FindStringSubmatch(string(b))
	if m == nil || m[1] != m[2] || strings.HasPrefix(m[1], "0") {
		t.Fatalf("the Dockerfile's user is %q", m)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
