package influxtest

import (
	"os/exec"
	"strings"
	"testing"
)

// TestBinary builds influxd where it has not been built yet.
func TestBinary(t *testing.T) {
	path, err := Binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "InfluxDB") {
		t.Errorf("%s version: %v %s", path, err, out)
	}
}
