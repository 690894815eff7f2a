package power

import "testing"

func TestTagName(t *testing.T) {
	f := func(key, want string) {
		t.Helper()
		if got := TagName(key); got != want {
			t.Errorf("TagName(%q) = %q, want %q", key, got, want)
		}
	}
	f("app.kubernetes.io/name", "app_kubernetes_io_name")
	f("workloadType", "workload_type")
	f("training.kubeflow.org/job-name", "training_kubeflow_org_job_name")
	f("already_so", "already_so")
	f("한글", "______")
}
