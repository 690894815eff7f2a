package kubetest

import (
	"strings"
	"testing"
)

// make install builds the programs by this test.
func TestBinaries(t *testing.T) {
	for _, binary := range []func() (string, error){Helm, apiserver} {
		if _, err := binary(); err != nil {
			t.Error(err)
		}
	}
}

// The server takes what is right, and names a field that is misspelt, in its own
// objects and in custom ones.
func TestStrict(t *testing.T) {
	s := Run(t)
	right := "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: a, namespace: default}\nspec:\n  selector: {}\n  endpoints: [{port: http, interval: 30s}]\n"
	if err := s.Apply([]byte(right), true); err != nil {
		t.Error(err)
	}
	for object, field := range map[string]string{
		strings.Replace(right, "interval", "intervall", 1):                                          "intervall",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\ndatta: {a: b}\n": "datta",
	} {
		if err := s.Apply([]byte(object), true); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: the answer is %v", field, err)
		}
	}
}
