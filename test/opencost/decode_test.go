// Package opencost decodes answers with the types of OpenCost's own clients. It is a
// module of its own, so that these are no dependency of the product.
package opencost

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencost/opencost/core/pkg/opencost"
)

// demo starts the demo, which has some hours of a small cluster behind it.
func demo(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "wattledger")
	build := exec.Command("go", "build", "-o", binary, "./cmd/wattledger")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(binary, "demo", "--storage.path="+t.TempDir(), "--web.listen-address="+address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	url := "http://" + address
	// Its past comes in pieces: it is there when hours that are over have stopped to grow.
	from := time.Now().Truncate(time.Hour).Add(-4 * time.Hour)
	before := -1.0
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Second) {
		nodes, sum := map[string]map[string]any{}, 0.0
		if get(fmt.Sprintf("%s/assets?window=%d,%d", url, from.Unix(), from.Add(4*time.Hour).Unix()), &nodes) != nil {
			continue
		}
		for _, n := range nodes {
			sum += n["totalCost"].(float64)
		}
		if sum > 0 && sum == before {
			return url
		}
		before = sum
	}
	t.Fatal("the demo shows nothing")
	return ""
}

func get(url string, data any) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	envelope := struct {
		Code   int
		Status string
		Data   any
	}{Data: data}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return fmt.Errorf("%w in %.500s", err, text)
	}
	if envelope.Code != 200 || envelope.Status != "success" {
		return fmt.Errorf("%.500s", text)
	}
	return nil
}

// TestDecode reads every kind of answer with OpenCost's types, and holds their sums
// against the native route.
func TestDecode(t *testing.T) {
	url := demo(t)
	to := time.Now().UTC().Truncate(time.Hour)
	from := to.Add(-4 * time.Hour)
	window := fmt.Sprintf("window=%d,%d", from.Unix(), to.Unix())
	native := 0.0
	{
		r, err := http.Get(fmt.Sprintf("%s/cost/hourly?start=%d&end=%d", url, from.Unix(), to.Unix()))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var answer struct {
			Totals struct {
				TotalCost float64 `json:"total_cost"`
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.Totals.TotalCost <= 0 {
			t.Fatalf("native: %+v, %v", answer, err)
		}
		native = answer.Totals.TotalCost
	}
	for _, query := range []string{
		"aggregate=namespace", "aggregate=cluster,namespace&accumulate=true", "", "aggregate=controller&step=1h", "aggregate=label:app&step=2h",
		"aggregate=namespace&shareIdle=true", "aggregate=pod&shareNamespaces=kube-system",
	} {
		var sets []map[string]opencost.Allocation
		if err := get(url+"/allocation/compute?includeIdle=true&"+window+"&"+query, &sets); err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		sum := 0.0
		for _, set := range sets {
			for name, a := range set {
				sum += a.TotalCost()
				if a.Name != name || a.Minutes() <= 0 || a.Properties == nil || math.IsNaN(a.CPUEfficiency()) {
					t.Errorf("%s: %q: %+v", query, name, a)
				}
			}
		}
		if math.Abs(sum-native) > 1e-9*native {
			t.Errorf("%s: the costs add up to %v, those of /cost/hourly to %v", query, sum, native)
		}
	}
	var summary opencost.SummaryAllocationSetRangeResponse
	if err := get(url+"/allocation/summary?aggregate=namespace&"+window, &summary); err != nil || len(summary.SummaryAllocationSets) != 1 || len(summary.SummaryAllocationSets[0].SummaryAllocations) < 3 {
		t.Errorf("summary: %+v, %v", summary, err)
	}
	nodes := map[string]map[string]any{}
	if err := get(url+"/assets?"+window, &nodes); err != nil || len(nodes) != 6 {
		t.Errorf("assets: %d nodes, %v", len(nodes), err)
	}
	sum := 0.0
	for _, n := range nodes {
		sum += n["totalCost"].(float64)
	}
	if math.Abs(sum-native) > 1e-9*native {
		t.Errorf("the nodes cost %v, all %v", sum, native)
	}
}
