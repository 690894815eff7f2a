// Package kubetest gives tests a real API server of Kubernetes on etcd, the custom
// resources of the Prometheus Operator and of the Gateway API, and Helm.
package kubetest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// What is built or taken; go checks each against its checksum database or go.sum.
const (
	kubernetes = "v1.37.2"
	helm       = "v4.3.0"
	operator   = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
	gateway    = "sigs.k8s.io/gateway-api@v1.4.0"
)

// Helm returns the path of helm.
func Helm() (string, error) {
	return cached("helm-"+helm, "helm", func(dir string) *exec.Cmd {
		cmd := exec.Command("go", "install", "-ldflags=-s", "helm.sh/helm/v4/cmd/helm@"+helm)
		cmd.Dir = dir // outside of this module
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "CGO_ENABLED=0")
		return cmd
	})
}

// apiserver returns the path of the program in the folder of that name.
func apiserver() (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	return cached("apiserver-"+kubernetes, "apiserver", func(dir string) *exec.Cmd {
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "apiserver"),
			"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion="+kubernetes, ".")
		cmd.Dir = filepath.Join(filepath.Dir(string(mod)), "test", "kubetest", "apiserver")
		cmd.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0")
		return cmd
	})
}

// cached builds a program once, into the user's cache directory. Processes that want
// it at the same time wait for the one that builds.
func cached(folder, name string, build func(dir string) *exec.Cmd) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "wattledger", folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // and with it the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	binary := filepath.Join(dir, name)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	work, err := os.MkdirTemp(dir, "build")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if out, err := build(work).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", folder, err, out)
	}
	return binary, os.Rename(filepath.Join(work, name), binary)
}

// customResources returns the definitions that the chart's objects need.
func customResources() ([]string, error) {
	var files []string
	for module, patterns := range map[string][]string{
		operator: {"example/prometheus-operator-crd/*_servicemonitors.yaml", "example/prometheus-operator-crd/*_podmonitors.yaml", "example/prometheus-operator-crd/*_prometheusrules.yaml"},
		gateway:  {"config/crd/standard/*_httproutes.yaml"},
	} {
		cmd := exec.Command("go", "mod", "download", "-json", module)
		cmd.Dir = os.TempDir() // outside of this module
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", module, err, out)
		}
		var at struct{ Dir string }
		if err := json.Unmarshal(out, &at); err != nil {
			return nil, err
		}
		for _, pattern := range patterns {
			found, err := filepath.Glob(filepath.Join(at.Dir, pattern))
			if err != nil || len(found) != 1 {
				return nil, fmt.Errorf("%s: %s is %v", module, pattern, found)
			}
			files = append(files, found...)
		}
	}
	return files, nil
}
